"""The page: one file that asks no network, whose structure holds; and in a browser, where there is one, works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from vecstore.bench.page import page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

# Run in the page when it has drawn itself; what it writes into the title comes back with the dumped document.
DRIVE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const winner = () => document.querySelector(".winner").textContent, said = {};
  const slider = document.getElementById("budget");
  const move = (to) => { slider.value = to; slider.dispatchEvent(new Event("input")); return winner(); };
  said.small = move(0); said.large = move(1000);
  const over = frontier.plot.over.getBoundingClientRect(), p = frontier.spec.points[0];
  frontier.plot.over.dispatchEvent(new MouseEvent("mousemove", {
    clientX: over.left + frontier.plot.valToPos(p.x, "x"), clientY: over.top + frontier.plot.valToPos(p.y, "y") }));
  const tip = document.getElementById("tip");
  said.hover = tip.hidden ? "" : tip.textContent; said.point = lines[p.i].label;
  frontier.plot.over.dispatchEvent(new MouseEvent("click", {
    clientX: over.left + frontier.plot.valToPos(p.x, "x"), clientY: over.top + frontier.plot.valToPos(p.y, "y") }));
  said.detail = document.querySelector("#detail h2").textContent;
  said.rows = document.querySelectorAll("#table tbody tr").length;
  said.wide = document.documentElement.scrollWidth - innerWidth;
  document.title = JSON.stringify(said);
}, 100));
</script></body>
"""


class Reader(HTMLParser):
    """Collects the elements, and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [value for name in ("src", "href") if (value := found.get(name))]
        if tag not in ("meta", "input", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_one_file_that_asks_no_network(done):
    text = (done.out / "index.html").read_text(encoding="utf-8")
    reader = Reader(text)
    assert not reader.open and not reader.links and "@@" not in text
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|<link", text)
    assert len(reader.ids) == len(set(reader.ids))
    assert "The MIT License" in text and len(text) < 3_000_000


def test_every_place_that_the_program_fills_is_there(done):
    text = (done.out / "index.html").read_text(encoding="utf-8")
    wanted = set(re.findall(r'byId\("([a-z-]+)"\)', text)) | {"frontier", "speed", "method", "machine"}
    assert wanted <= set(Reader(text).ids)


def test_page_holds_what_was_computed(done):
    text = (done.out / "index.html").read_text(encoding="utf-8")
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)[0])
    labels = [line["label"] for line in data["lines"]]
    assert {"tcq:48", "sq:8", "numpy float32"} <= set(labels)
    assert all(len(row) == len(labels) for row in data["ties"]) and set(data["colours"]) == {
        line["family"] for line in data["lines"]
    }


def test_names_cannot_break_out_of_the_page(done):
    about = done.summary.about
    evil = {**about, "split": {**about["split"], "name": "</script><script>alert(1)</script>"}}
    text = page(type(done.summary)(evil, *[getattr(done.summary, n) for n in ("lines", "failed", "ties", "original")]))
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium or Chrome on the path")
@pytest.mark.parametrize("size", ["1400,900", "500,900"])
def test_slider_hover_and_detail_work_in_a_browser(done, tmp_path, size):
    browser = next(found for name in BROWSERS if (found := shutil.which(name)))
    driven = (done.out / "index.html").read_text(encoding="utf-8").replace("</body>", DRIVE)
    (tmp_path / "page.html").write_text(driven, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}", "--virtual-time-budget=20000"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    done_ = subprocess.run([browser, *flags, str(tmp_path / "page.html")], capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(\{.*?\})</title>", done_.stdout)
    assert title, done_.stdout[:2000] + done_.stderr[-2000:]
    said = json.loads(title[1].replace("&lt;", "<").replace("&amp;", "&"))
    assert said["small"] != said["large"] and said["point"] in said["hover"]
    assert said["detail"] == said["point"] and said["rows"] == len(done.summary.lines) and said["wide"] <= 0
