"use strict";
// The page of a bench. `data` is what vecstore.bench.summary computed; nothing is measured or estimated here.
const data = JSON.parse(document.getElementById("data").textContent);
const about = data.about, split = about.split, lines = data.lines;
const full = 4 * split.dimensions;
const state = { budget: 48, account: "code", metric: "recall@10", batch: "queries/s, batch 64", chosen: null, hidden: new Set(), sort: ["bytes", 1], filter: "" };
const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Elements are made of text, never of markup: names come from users' files.
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (name === "style") made.style.cssText = value;
    else if (value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const value = (line, name) => (line.metrics[name] || [null])[0];
const size = (line) => line.bytes[state.account];
const percent = (x, digits = 1) => (100 * x).toFixed(digits) + "%";
function number(x) {
  if (x === null || x === undefined) return "";
  const a = Math.abs(x);
  if (a >= 100 || Number.isInteger(x)) return Math.round(x).toLocaleString("en");
  return a >= 10 ? x.toFixed(1) : a >= 1 ? x.toFixed(2) : a >= 0.001 ? x.toFixed(3) : x.toExponential(1);
}
// With as many digits as the interval bears out: two that change.
function interval(own, from, to) {
  if (!(to > from)) return number(own);
  const digits = Math.min(Math.max(1 - Math.floor(Math.log10(to - from)), 0), 4);
  const fixed = (x) => x.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${fixed(own)} (${fixed(from)} to ${fixed(to)})`;
}
function bytes(x) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (x >= 999.5 && at < 4) { x /= 1000; at++; }
  return (x >= 100 || at === 0 ? Math.round(x) : x.toFixed(1)) + " " + units[at];
}

// The answer: the most recall in so many bytes, as far as the queries can tell; then the smaller file, within 1%; then
// the faster one. It is the rule of vecstore.measure.choice, whose errors of differences came with the data.

function pick(fits) {
  if (!fits.length) return null;
  const more = (name) => (a, b) => ((value(lines[b], name) ?? 0) > (value(lines[a], name) ?? 0) ? b : a);
  const top = fits.reduce(more("recall@10")), tied = fits.filter((i) => data.equal[i][top] === "1");
  const least = Math.min(...tied.map((i) => lines[i].file_bytes));
  return tied.filter((i) => lines[i].file_bytes <= 1.01 * least).reduce(more("queries/s, batch 1"));
}
const within = (budget, kind) => lines.map((_, i) => i).filter((i) => (!kind || lines[i].kind === kind) && size(lines[i]) !== null && size(lines[i]) <= budget + 1e-9);
const best = (budget, kind) => pick(within(budget, kind));
const sizes = () => lines.map(size).filter((x) => x !== null);
const range = () => [Math.max(1, Math.floor(Math.min(...sizes()))), Math.ceil(Math.max(...sizes()))];
const toSlider = (b) => { const [low, high] = range(); return 1000 * Math.log(b / low) / Math.log(high / low || 2); };
const fromSlider = (s) => { const [low, high] = range(); return Math.round(low * Math.pow(high / low, s / 1000)); };

function answer() {
  const verdict = byId("verdict");
  verdict.replaceChildren();
  byId("ratio").textContent = `of ${full.toLocaleString("en")} as float32: ${number(full / state.budget)} times smaller`;
  const own = best(state.budget, "codec"), peer = best(state.budget, "peer");
  const at = own === null ? peer : own;
  if (at === null) {
    verdict.append(el("p", {}, `Nothing that was measured fits into ${state.budget} bytes; the smallest takes ${number(range()[0])}.`));
    return;
  }
  const line = lines[at], [mean, low, high] = line.metrics["recall@10"];
  verdict.append(
    el("span", { class: "take" }, own === null ? "No codec of vecstore fits; of the others, take" : "Take"),
    el("button", { class: "winner", on: { click: () => choose(at, true) } }, line.label),
    meter(mean, low, high),
    el("p", {}, el("b", {}, percent(mean)), ` of the ten nearest are found (95% interval ${percent(low)} to ${percent(high)}), in ${number(size(line))} bytes a vector; ${number(line.file_bytes)} on disk, ` + (split.keys ? "with its key." : "without a key (a key takes its text and about six bytes).")),
    el("p", {}, `A million vectors take ${bytes(1e6 * line.bytes.code)} and ${bytes(line.bytes.model * split.base_rows)} of model, instead of ${bytes(1e6 * full)}.`),
  );
  const others = el("div", { class: "others" });
  const ties = lines.map((_, i) => i).filter((i) => i !== at && lines[i].kind === "codec" && size(lines[i]) !== null && size(lines[i]) <= state.budget && data.ties[at][i] === "1");
  others.append(el("p", {}, ties.length ? "No different within the noise: " : "Every other codec of no more bytes keeps less, beyond the noise.", ...named(ties)));
  if (peer !== null && own !== null) {
    const gap = mean - value(lines[peer], "recall@10"), tie = data.ties[own][peer] === "1";
    others.append(el("p", {}, "Best of the other libraries: ", ...named([peer]), ` with ${percent(value(lines[peer], "recall@10"))}` + (tie ? ", a tie." : `, ${number(Math.abs(100 * gap))} points ${gap > 0 ? "less" : "more"}.`)));
  }
  verdict.append(others);
}
const named = (indices) => indices.slice(0, 6).flatMap((i, n) => [n ? ", " : "", el("code", {}, lines[i].label), ` (${number(size(lines[i]))} B)`]).concat(indices.length > 6 ? [` and ${indices.length - 6} more`] : []);
const meter = (mean, low, high) => el("div", { class: "meter" },
  el("i", { style: `width:${percent(mean)}` }),
  el("b", { style: `left:${percent(low)};width:${percent(Math.max(high - low, 0.002))}` }));

function setBudget(to, from) {
  state.budget = Math.max(1, Math.round(to));
  if (from !== "slider") byId("budget").value = toSlider(state.budget);
  if (from !== "number") byId("budget-number").value = state.budget;
  answer();
  frontier.redraw();
}

// Charts: uPlot gives axes and scales, the marks are drawn here, so that whiskers and hit tests are exact.

class Chart {
  constructor(holder, describe) {
    this.holder = byId(holder);
    this.describe = describe;
    this.over = null;
    new ResizeObserver(() => this.resize()).observe(this.holder);
  }
  make() {
    if (this.plot) this.plot.destroy();
    const { points, x, y } = this.spec = this.describe();
    const axis = (label, own) => ({ stroke: css("--soft"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--line"), width: 1 }, font: "12px system-ui", labelFont: "13px system-ui", label, labelSize: 26, ...own });
    const spread = (own, pick) => {
      const all = points.flatMap(pick).filter((v) => v !== null && (!own.log || v > 0));
      const [low, high] = all.length ? [Math.min(...all), Math.max(...all)] : [1, 2];
      return own.log ? [low / 1.3, high * 1.3] : [low - 0.05 * (high - low || 1), high + 0.05 * (high - low || 1)];
    };
    const xr = spread(x, (p) => [p.x]), yr = spread(y, (p) => [p.y, p.low, p.high]);
    const narrow = this.holder.clientWidth < 560;
    this.plot = new uPlot({
      width: this.holder.clientWidth, height: narrow ? 320 : this.holder.id === "frontier" ? 460 : 400,
      padding: [12, 12, 0, 0], legend: { show: false }, cursor: { show: false },
      scales: {
        x: { time: false, range: () => xr, ...(x.log ? { distr: 3, log: x.log } : {}) },
        y: { range: () => yr, ...(y.log ? { distr: 3, log: y.log } : {}) },
      },
      axes: [
        axis(x.label, x.log === 2 ? { splits: (u, i, low, high) => powers(low, high), values: (u, all) => all.map(number), filter: (u, all) => all } : {}),
        axis(y.label, { size: 58, ...(y.log ? { splits: (u, i, low, high) => decades(low, high), values: (u, all) => all.map(number), filter: (u, all) => all } : {}) }),
      ],
      series: [{}, { paths: () => null, points: { show: false } }],
      hooks: { draw: [(u) => this.marks(u)] },
    }, [[xr[0], xr[1]], [yr[0], yr[1]]], this.holder);
    this.plot.over.addEventListener("mousemove", (event) => this.hover(event));
    this.plot.over.addEventListener("mouseleave", () => this.leave());
    this.plot.over.addEventListener("click", (event) => { this.hover(event); if (this.over !== null) choose(this.over, true); });
  }
  resize() {
    if (this.plot && Math.abs(this.plot.width - this.holder.clientWidth) > 1) this.make();
  }
  redraw() { if (this.plot) this.plot.redraw(false); }
  marks(u) {
    const c = u.ctx, ratio = devicePixelRatio || 1, { points, steps, cut } = this.spec;
    const at = (p) => [u.valToPos(p.x, "x", true), u.valToPos(p.y, "y", true)];
    c.save();
    c.beginPath(); c.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height); c.clip();
    if (cut) {
      const x = u.valToPos(cut(), "x", true);
      c.fillStyle = css("--accent-soft"); c.globalAlpha = 0.55;
      c.fillRect(u.bbox.left, u.bbox.top, x - u.bbox.left, u.bbox.height);
      c.globalAlpha = 1; c.strokeStyle = css("--accent"); c.lineWidth = 1.5 * ratio; c.setLineDash([5 * ratio, 4 * ratio]);
      c.beginPath(); c.moveTo(x, u.bbox.top); c.lineTo(x, u.bbox.top + u.bbox.height); c.stroke(); c.setLineDash([]);
    }
    if (steps) {
      c.strokeStyle = css("--soft"); c.lineWidth = 1.25 * ratio; c.beginPath();
      steps().forEach((p, i) => { const [x, y] = at(p); if (i) c.lineTo(x, this.stepY); else c.moveTo(x, y); c.lineTo(x, y); this.stepY = y; });
      c.lineTo(u.bbox.left + u.bbox.width, this.stepY); c.stroke();
    }
    if (this.spec.limit) {
      c.strokeStyle = css("--warn"); c.lineWidth = 1.5 * ratio; c.setLineDash([2 * ratio, 4 * ratio]); c.beginPath();
      this.spec.limit.forEach((p, i) => { const [x, y] = at(p); if (i) c.lineTo(x, y); else c.moveTo(x, y); });
      c.stroke(); c.setLineDash([]);
    }
    for (const p of points) {
      const [x, y] = at(p), strong = p.i === this.over || p.i === state.chosen, r = (strong ? 7 : 5) * ratio;
      c.strokeStyle = c.fillStyle = p.colour;
      if (p.low !== null && p.high - p.low > 0) {
        c.lineWidth = 1 * ratio; c.globalAlpha = 0.6; c.beginPath();
        c.moveTo(x, u.valToPos(p.low, "y", true)); c.lineTo(x, u.valToPos(p.high, "y", true)); c.stroke(); c.globalAlpha = 1;
      }
      c.beginPath();
      if (p.peer) { c.moveTo(x, y - r); c.lineTo(x + r, y); c.lineTo(x, y + r); c.lineTo(x - r, y); c.closePath(); } else c.arc(x, y, r, 0, 2 * Math.PI);
      c.fill();
      c.lineWidth = (strong ? 2.5 : 1) * ratio; c.strokeStyle = strong ? css("--ink") : css("--card"); c.stroke();
    }
    if (steps) this.names(u, steps().map((p) => [lines[p.i].label, ...at(p)]), ratio);
    c.restore();
  }
  // The name of each dot on the stepped line, to its left, unless it would lie on another name.
  names(u, dots, ratio) {
    const c = u.ctx, tall = 14 * ratio, taken = [];
    c.font = `${12 * ratio}px ui-monospace, monospace`; c.textAlign = "right"; c.textBaseline = "middle";
    for (const [name, x, y] of dots) {
      const wide = c.measureText(name).width, right = x - 9 * ratio, middle = y - 9 * ratio;
      const free = taken.every(([left, end, own]) => right < left || right - wide > end || Math.abs(own - middle) > tall);
      if (!free || right - wide < u.bbox.left) continue;
      taken.push([right - wide, right, middle]);
      c.lineWidth = 3 * ratio; c.strokeStyle = css("--card"); c.strokeText(name, right, middle);
      c.fillStyle = css("--ink"); c.fillText(name, right, middle);
    }
  }
  // Dots so near to one that they hide each other.
  stacked(point) {
    const place = (p) => [this.plot.valToPos(p.x, "x"), this.plot.valToPos(p.y, "y")], [x, y] = place(point);
    return this.spec.points.filter((p) => { const [a, b] = place(p); return p !== point && Math.hypot(a - x, b - y) < 8; });
  }
  hover(event) {
    const box = this.plot.over.getBoundingClientRect(), mx = event.clientX - box.left, my = event.clientY - box.top;
    let near = null, least = 28;
    for (const p of this.spec.points) {
      const far = Math.hypot(this.plot.valToPos(p.x, "x") - mx, this.plot.valToPos(p.y, "y") - my);
      if (far < least) { least = far; near = p; }
    }
    const now = near === null ? null : near.i;
    if (now !== this.over) { this.over = now; this.redraw(); }
    if (near === null) return hideTip();
    showTip(event, near, this.stacked(near));
  }
  leave() { this.over = null; hideTip(); this.redraw(); }
}
// 1, 2, 5, 10 ... as far as they lie inside; only the tens where that is enough
function decades(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) for (const m of [1, 2, 5]) if (m * 10 ** e >= low && m * 10 ** e <= high) found.push(m * 10 ** e);
  return found.length > 8 ? found.filter((v) => Number.isInteger(+Math.log10(v).toFixed(6))) : found;
}
function powers(low, high) {
  const found = [];
  for (let p = 0; p <= 20; p++) if (2 ** p >= low && 2 ** p <= high) found.push(2 ** p);
  return found;
}
function showTip(event, point, others) {
  const line = lines[point.i], tip = byId("tip"), [mean, low, high] = line.metrics["recall@10"];
  const rows = [el("code", {}, line.label), el("div", {}, `${number(line.bytes.code)} bytes, ${line.family}${line.trains_on_base ? "†" : ""}`),
    el("div", {}, `recall@10 ${percent(mean)} (${percent(low)} to ${percent(high)})`)];
  if (state.metric !== "recall@10") rows.push(el("div", {}, `${state.metric}: ${number(value(line, state.metric))}`));
  const speed = value(line, state.batch);
  if (speed !== null) rows.push(el("div", {}, `${number(speed)} ${state.batch}`));
  if (others.length) rows.push(el("div", {}, "here too: ", ...others.slice(0, 6).flatMap((p, n) => [n ? ", " : "", el("code", {}, lines[p.i].label)]), others.length > 6 ? ` and ${others.length - 6} more` : ""));
  tip.replaceChildren(...rows);
  tip.hidden = false;
  const wide = tip.offsetWidth, tall = tip.offsetHeight;
  tip.style.left = Math.max(8, Math.min(event.clientX + 16, innerWidth - wide - 8)) + "px";
  tip.style.top = (event.clientY + tall + 28 > innerHeight ? event.clientY - tall - 14 : event.clientY + 16) + "px";
}
function hideTip() { byId("tip").hidden = true; }

const shown = () => lines.map((line, i) => [line, i]).filter(([line]) => !state.hidden.has(line.family));
const point = (line, i, x, metric) => { const [y, low, high] = line.metrics[metric]; return { i, x, y, low, high, colour: data.colours[line.family], peer: line.kind === "peer" }; };
const LOG = /queries\/s|rows\/s|^fit|lookup|open|MB,/;
const frontier = new Chart("frontier", () => ({
  points: shown().filter(([line]) => size(line) !== null && line.metrics[state.metric] && value(line, state.metric) !== null).map(([line, i]) => point(line, i, size(line), state.metric)),
  x: { label: `bytes a vector, ${ACCOUNTS[state.account]}`, log: 2 },
  y: { label: state.metric, log: LOG.test(state.metric) ? 10 : 0 },
  cut: () => state.budget,
  limit: state.metric === "r2" && state.account === "code" ? data.original.bound.map(([x, lost]) => ({ x, y: 1 - lost })) : null,
  steps: state.metric === "recall@10" ? () => {
    let top = -1;
    return shown().filter(([line]) => size(line) !== null).sort((a, b) => size(a[0]) - size(b[0]) || value(b[0], "recall@10") - value(a[0], "recall@10"))
      .filter(([line]) => value(line, "recall@10") > top && ((top = value(line, "recall@10")), true)).map(([line, i]) => point(line, i, size(line), "recall@10"));
  } : null,
}));
const speed = new Chart("speed", () => ({
  points: shown().filter(([line]) => line.metrics[state.batch]).map(([line, i]) => ({ ...point(line, i, value(line, "recall@10"), state.batch), low: null, high: null })),
  x: { label: "recall@10, held out" }, y: { label: "queries a second", log: 10 },
}));

// One codec in full.

const GROUPS = [
  ["Search", ["recall@1", "recall@10", "recall@100", "weighted recall@10", "ndcg@10", "mrr@10", "evalrank", "tau@100", "dot bias", "dot error"]],
  ["Fidelity", ["r2", "weighted r2", "cosine mean", "weighted cosine mean", "cosine p1", "cosine min", "knn overlap", "db above bound"]],
  ["Geometry, before and after", ["hubness", "isotropy", "effective rank"]],
  ["Systems", ["queries/s, batch 1", "queries/s, batch 64", "lookup p50 us", "lookup p99 us", "cold open ms", "warm open ms", "fit s", "encode rows/s", "RSS MB, 1 process", "RSS MB, 4 processes", "PSS MB, 1 process", "PSS MB, 4 processes"]],
];
const pairs = (rows) => el("table", {}, el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))))));

function choose(i, jump) {
  state.chosen = i;
  const line = lines[i], panel = byId("detail"), settings = Object.entries(line.settings).filter(([name]) => name !== "label");
  panel.style.setProperty("--own", data.colours[line.family]);
  panel.replaceChildren(el("div", { class: "card-head" }, el("h2", {}, line.label), el("span", { class: "tag" }, line.family + (line.version ? ` ${line.version}` : ""))));
  for (const dispute of line.disputes) panel.append(el("p", { class: "bad" }, "Disputed: " + dispute));
  if (line.trains_on_base) panel.append(el("p", { class: "hint" }, "† This library can only train on the rows that it then searches, which flatters it."));
  if (settings.length) panel.append(el("p", { class: "hint" }, "Settings: ", ...settings.flatMap(([name, own], n) => [n ? ", " : "", el("code", {}, `${name} = ${JSON.stringify(own)}`)])));
  const [mean, low, high] = line.metrics["recall@10"];
  panel.append(meter(mean, low, high), el("h3", {}, "Queries by their recall@10"));
  const most = Math.max(...line.histogram);
  panel.append(el("div", { class: "bars", role: "img", "aria-label": "histogram of recall over queries" }, ...line.histogram.map((n, at) => el("div", { title: `${n} queries with ${at / 10}`, style: `height:${100 * n / most}%` }))),
    el("div", { class: "bars-axis" }, el("span", {}, "0"), el("span", {}, "0.5"), el("span", {}, "1")));
  const groups = el("div", { class: "groups" });
  const group = (title, rows) => { if (rows.length) groups.append(el("div", { class: "group" }, el("h3", {}, title), pairs(rows))); };
  group("Bytes", [
    ["of a code", number(line.bytes.code)], ["of it, read by a scan", number(line.bytes.scanned)], ["a row's share of the model", number(line.bytes.model)],
    ["whole file / rows (amortised)", line.bytes.amortised === null ? "not saved by the library" : number(line.bytes.amortised)],
    ["whole file (stored)", line.stored_total === null ? "" : bytes(line.stored_total)], ["codes and model (resident)", bytes(line.bytes.resident)]]);
  for (const [title, names] of GROUPS) group(title, names.filter((name) => value(line, name) !== null).map((name) => {
    const [own, from, to] = line.metrics[name];
    const before = title.startsWith("Geometry") ? `${number(data.original[name])} → ` : "";
    return [name, before + interval(own, from, to)];
  }));
  group("Recall@10 after rescoring the best", line.oversampling.map(([factor, recall]) => [`${10 * factor} rows`, percent(recall)]));
  group("Similarity thresholds", line.thresholds.map((t) => [`${+t.original.toFixed(3)} becomes`, `${t.matched.toFixed(3)} (${t.low.toFixed(3)} to ${t.high.toFixed(3)}); left as it is, ${percent(t.lost, 0)} are lost, ${percent(t.gained, 0)} gained`]));
  panel.append(groups);
  if (line.seeds.length > 1) panel.append(el("p", { class: "hint" }, `${line.seeds.length} seeds; recall@10 varies by ${number(line.seed_spread)} (standard deviation) between them.`));
  frontier.redraw(); speed.redraw(); table();
  if (jump && innerWidth < 960) panel.scrollIntoView({ behavior: "smooth", block: "start" });
}

// The table.

const COLUMNS = [
  ["codec", (l) => l.label], ["bytes", (l) => l.bytes.code], ["+ model", (l) => l.bytes["code + model"]], ["on disk", (l) => l.bytes.amortised],
  ["recall@1", (l) => value(l, "recall@1")], ["recall@10", (l) => value(l, "recall@10")], ["±", (l) => (l.metrics["recall@10"][2] - l.metrics["recall@10"][1]) / 2], ["recall@100", (l) => value(l, "recall@100")],
  ["R²", (l) => value(l, "r2")], ["q/s", (l) => value(l, "queries/s, batch 1")], ["q/s ×64", (l) => value(l, "queries/s, batch 64")], ["fit s", (l) => value(l, "fit s")], ["rows/s", (l) => value(l, "encode rows/s")],
];
const THREE = new Set(["recall@1", "recall@10", "±", "recall@100", "R²"]);
const tops = lines.map((line) => {
  const fits = lines.map((_, j) => j).filter((j) => lines[j].bytes.code <= line.bytes.code + 1e-9);
  return pick(fits);
});
function table() {
  const [by, way] = state.sort, read = (COLUMNS.find(([name]) => name === by) || COLUMNS[1])[1];
  const rows = lines.map((line, i) => [line, i]).filter(([line]) => (line.label + " " + line.family).toLowerCase().includes(state.filter.toLowerCase()));
  rows.sort(([a, i], [b, j]) => { const x = read(a), y = read(b); return x === y ? i - j : x === null ? 1 : y === null ? -1 : way * (x < y ? -1 : 1); });
  const head = el("tr", {}, ...COLUMNS.map(([name]) => el("th", { "aria-sort": name === by ? (way > 0 ? "ascending" : "descending") : null }, el("button", { type: "button", on: { click: () => { state.sort = [name, name === by ? -way : name === "codec" || name === "bytes" ? 1 : -1]; table(); } } }, name + (name === by ? (way > 0 ? " ↑" : " ↓") : "")))));
  const body = rows.map(([line, i]) => {
    const mark = tops[i] === i ? el("span", { class: "tag best" }, "best") : data.ties[tops[i]][i] === "1" ? el("span", { class: "tag" }, "tie") : null;
    const first = [el("span", { class: "dot " + line.kind, style: `--own:${data.colours[line.family]}` }), el("code", {}, line.label), line.trains_on_base ? "†" : null, line.beside ? "‡" : null, line.disputes.length ? el("span", { class: "tag bad" }, "disputed") : mark];
    const act = () => choose(i, true);
    return el("tr", { tabindex: 0, class: i === state.chosen ? "chosen" : null, on: { click: act, keydown: (e) => { if (e.key === "Enter") act(); } } },
      ...COLUMNS.map(([name, own], n) => (n ? el("td", {}, own(line) === null ? "" : THREE.has(name) ? own(line).toFixed(3) : number(own(line))) : el("td", {}, ...first.filter((x) => x)))));
  });
  byId("table").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
}

function recommendations() {
  const body = about.budgets.map((budget) => {
    const kind = lines.some((l) => l.kind === "codec" && l.bytes.code <= budget) ? "codec" : null;
    const fits = lines.map((_, i) => i).filter((i) => lines[i].bytes.code <= budget + 1e-9 && (!kind || lines[i].kind === kind));
    if (!fits.length) return el("tr", {}, el("td", {}, String(budget)), el("td", {}, "nothing fits"), el("td"));
    const top = pick(fits);
    const ties = fits.filter((i) => i !== top && data.ties[top][i] === "1");
    return el("tr", { on: { click: () => { setBudget(budget); choose(top); } } }, el("td", {}, String(budget)),
      el("td", {}, el("code", {}, lines[top].label), ties.length ? el("span", { class: "tag" }, "or " + ties.slice(0, 3).map((i) => lines[i].label).join(", ")) : ""),
      el("td", {}, percent(value(lines[top], "recall@10"))));
  });
  byId("sizes").replaceChildren(el("thead", {}, el("tr", {}, ...["bytes", "codec", "recall@10"].map((name) => el("th", {}, name)))), el("tbody", {}, ...body));
}

// What it was measured on, and how.

function facts(holder, rows) {
  byId(holder).replaceChildren(el("dl", {}, ...rows.filter(([, own]) => own !== null && own !== "").flatMap(([name, own]) => [el("dt", {}, name), el("dd", {}, own)])));
}
const ACCOUNTS = { code: "the code alone", "code + model": "code and model", amortised: "the whole file" };
function start() {
  const peers = new Set(lines.filter((l) => l.kind === "peer").map((l) => l.name)), codecs = lines.filter((l) => l.kind === "codec").length;
  byId("name").textContent = split.name;
  byId("lead").textContent = `${split.base_rows.toLocaleString("en")} vectors of ${split.dimensions} dimensions searched by ${split.metric} with ${split.queries} queries that no codec was trained on: ${codecs} codec${codecs === 1 ? "" : "s"}` + (peers.size ? ` beside ${[...peers].join(", ")}.` : ".");
  byId("account").append(...Object.entries(ACCOUNTS).map(([name, label]) => el("label", {}, el("input", { type: "radio", name: "account", value: name, checked: name === "code" ? "" : null, on: { change: () => { state.account = name; ticks(); setBudget(state.budget); frontier.make(); } } }), el("span", {}, label))));
  const metrics = [...new Set(lines.flatMap((line) => Object.keys(line.metrics)))].filter((name) => name !== "bound");
  const order = GROUPS.flatMap(([, names]) => names);
  metrics.sort((a, b) => (order.indexOf(a) + 1 || 99) - (order.indexOf(b) + 1 || 99));
  byId("metric").append(...metrics.map((name) => el("option", { selected: name === state.metric ? "" : null }, name)));
  byId("metric").addEventListener("change", (e) => { state.metric = e.target.value; byId("limit").hidden = state.metric !== "r2"; frontier.make(); });
  byId("batch").append(...["queries/s, batch 1", "queries/s, batch 64"].map((name) => el("option", { value: name, selected: name === state.batch ? "" : null }, name.split(", ")[1])));
  byId("batch").addEventListener("change", (e) => { state.batch = e.target.value; speed.make(); });
  byId("filter").addEventListener("input", (e) => { state.filter = e.target.value; table(); });
  byId("budget").addEventListener("input", (e) => setBudget(fromSlider(+e.target.value), "slider"));
  byId("budget-number").addEventListener("input", (e) => { if (+e.target.value >= 1) setBudget(+e.target.value, "number"); });
  byId("chips").append(...Object.entries(data.colours).map(([family, colour]) => {
    const chip = el("button", { type: "button", "aria-pressed": "true", class: lines.find((l) => l.family === family).kind, style: `--own:${colour}` }, el("i"), family);
    chip.addEventListener("click", () => { const off = state.hidden.has(family); off ? state.hidden.delete(family) : state.hidden.add(family); chip.setAttribute("aria-pressed", String(off)); frontier.make(); speed.make(); });
    return chip;
  }));
  byId("legend").textContent = "best: nothing of no more bytes keeps more; tie: the difference to that best is inside the noise (paired bootstrap over the queries, 95%)." + (peers.size ? " ◆ are other libraries" : "") + (lines.some((l) => l.trains_on_base) ? "; † trained on the very rows that it searches, which flatters it." : peers.size ? "." : "") + about.notes.map((note) => ` ${note}.`).join("");
  const dropped = Object.entries(split.dropped).filter(([, n]) => n).map(([name, n]) => `${n.toLocaleString("en")} ${name.replace("_", " ")}`).join(", ");
  facts("method", [
    ["Rows", `${split.rows.toLocaleString("en")} given; ${split.train_rows.toLocaleString("en")} trained on, ${split.base_rows.toLocaleString("en")} others searched; no row is in both` + (dropped ? `; dropped: ${dropped}` : "")],
    ["Queries", `${split.queries}, ${split.queries_from}; never trained on`], ["Truth", `${split.truth_from}, by ${split.metric}`],
    ["Recall@k", "share of the k exact nearest that an exhaustive search of the compressed rows finds among its first k, without rescoring unless a codec has two layers"],
    ["Intervals", "95%, bootstrap over queries, 2,000 resamples; comparisons are paired"],
    ["Choice", "the most recall; of what falls short of it by no more than one standard error, query by query, the smallest file, and of files of the same size, within 1%, the fastest"],
    ["Bytes", "code: of one row; code and model: with its share of codebooks and rotations; whole file: everything on the disk, keys included, divided by the rows"],
    ["Check", "every store is reopened by another process; its neighbours must be those of its decoded rows, its bytes those of the file"],
    ["Before", `effective rank ${number(data.original["effective rank"])}, isotropy ${number(data.original.isotropy)}, hubness ${number(data.original.hubness)}, mean cosine ${number(data.original["mean cosine"])}`],
  ]);
  facts("machine", [
    ["Machine", about.machine], ["Started", about.started.replace("T", " ").replace("Z", " UTC")], ["Measuring took", `${number(about.total_wall_s)} s, ${number(about.total_cpu_s)} s of processor time`],
    ["Seed of the split", String(split.seed)], ["Data", split.fingerprint], ["Versions", Object.entries(about.versions).filter(([, v]) => v).map(([n, v]) => `${n} ${v}`).join(", ")],
    ["Failed", data.failed.map((f) => `${f.label}: ${f.error}`).join("; ")], ["Not finished", about.unfinished ? `${about.unfinished} runs; run the same command again` : ""],
    ["Not installed", Object.entries(about.absent).map(([name, why]) => `${name} (${why})`).join("; ")],
  ]);
  ticks();
  const [low, high] = range();
  const first = about.budgets.find((b) => b >= 48) || about.budgets[about.budgets.length - 1] || 48;
  setBudget(Math.min(Math.max(first, low), high));
  frontier.make(); speed.make(); table(); recommendations();
  choose(best(state.budget, "codec") ?? best(state.budget) ?? 0);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { frontier.make(); speed.make(); });
}
function ticks() {
  const [low, high] = range(), all = powers(low, high), each = Math.ceil(all.length / 8);
  byId("ticks").replaceChildren(...all.filter((_, i) => i % each === 0).map((p) => el("span", { style: `left:${toSlider(p) / 10}%` }, String(p))));
}
start();
