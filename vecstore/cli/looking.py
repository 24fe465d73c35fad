"""The commands that read a store: info, get, search and verify."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from vecstore.cli.certificates import certificate, covered
from vecstore.cli.console import facts, print_json, say, shown_key, stdout, table
from vecstore.cli.keys import find_rows, parse_key
from vecstore.cli.options import AsJson, Force, SearchMetric, ShownColumns, StorePath, examples
from vecstore.cli.printing import decimals, print_answers, print_columns, print_vectors
from vecstore.cli.queries import columns_of, read_queries, read_rows
from vecstore.cli.sizes import format_bytes, row_bytes
from vecstore.errors import CorruptError, OptionError
from vecstore.shard.certificate import Certificate, certificate_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vecstore.formats import Dump
    from vecstore.store.store import Store

__all__ = ["get", "info", "register", "search", "verify", "warm"]

PANEL = "Read"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        rich_help_panel=PANEL,
        epilog=examples("vecstore info words.vecs", "vecstore info words.vecs --json | jq .bytes"),
    )(info)
    app.command(
        rich_help_panel=PANEL,
        epilog=examples(
            "vecstore get words.vecs king queen",
            "vecstore get words.vecs king queen --output royals.npy",
            "vecstore get words.vecs -- -dash   (-- before a key that begins with a dash)",
        ),
    )(get)
    app.command(
        rich_help_panel=PANEL,
        epilog=examples(
            "vecstore search words.vecs --key king -k 5",
            "vecstore search docs.vecs --vector queries.npy --recall 0.95 --json",
            "vecstore search words.vecs --key king --min-score 0.6 --all",
            "vecstore search docs.vecs --key curl --where \"section = 'net'\" --columns section,size",
            "vecstore search words.vecs --vector - < queries.txt   (a line of numbers a query)",
        ),
    )(search)
    app.command(
        rich_help_panel=PANEL,
        epilog=examples("vecstore verify words.vecs", "vecstore verify words.vecs --certificate words.txt"),
    )(verify)
    app.command(rich_help_panel=PANEL, epilog=examples("vecstore warm", "vecstore warm words.vecs"))(warm)


def info(store: StorePath, as_json: AsJson = False) -> None:
    """Show what a store holds, what it costs and how faithful it is."""
    import vecstore

    with vecstore.open(store) as opened:
        about = opened.info()
    if as_json:
        print_json(about)
        return
    out = stdout()
    for title, rows in _sections(about):
        out.print(Text(title, style="bold cyan"))
        out.print(facts(*rows))
        out.print()


def get(
    store: StorePath,
    keys: Annotated[
        list[str],
        typer.Argument(metavar="KEY...", help="Keys; row numbers in a store without keys.", show_default=False),
    ],
    columns: ShownColumns = None,
    as_json: AsJson = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.npy", help="Write the vectors to a NumPy file.")
    ] = None,
    force: Force = False,
) -> None:
    """Look vectors up.

    Prints a line 'key x1 ... xd' each, or the first few numbers where stdout is a terminal.
    """
    import vecstore

    with vecstore.open(store) as opened:
        rows = find_rows(opened, keys)
        vectors, beside = opened.vectors[rows], columns_of(opened, columns, rows)
        names = [shown_key(parse_key(opened, key)) for key in keys]
    if output is not None:
        _save(output, vectors, force)
        say(f"{len(vectors):,} x {vectors.shape[1]} float32 written to {output}")
    if as_json:
        every = zip(names, beside, vectors, strict=True)
        print_json([{"key": key, **own, "vector": decimals(x)} for key, own, x in every])
    elif columns is not None:
        print_columns(names, beside)
    elif output is None:
        print_vectors(names, vectors)


def search(
    store: StorePath,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="Nearest to this key, itself left out; repeatable."),
    ] = None,
    vector: Annotated[
        str | None,
        typer.Option(metavar="QUERY", help="Nearest to these vectors: FILE.npy, numbers 0.1,0.2,... or - for stdin."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Neighbours a query.", min=1)] = 10,
    metric: Annotated[
        SearchMetric | None, typer.Option(help="Instead of the store's own; hamming for bin codes.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(metavar="S", help="Cosine or dot: leave out what scores less.")
    ] = None,
    max_distance: Annotated[
        float | None, typer.Option(metavar="D", help="L2 (squared) and hamming: leave out what is farther.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="With --min-score or --max-distance: all within it, not only k.")
    ] = False,
    rows: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Only these: FILE.npy (row numbers or a mask), or keys, one a line."),
    ] = None,
    exclude: Annotated[str | None, typer.Option(metavar="FILE", help="Not these: a file as for --rows.")] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="CONDITION", help="Only rows whose columns satisfy it: \"section = 'net' and size < 9\"."),
    ] = None,
    columns: ShownColumns = None,
    rescore: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Coarse/fine stores: rows scored again for each one wanted; 0 for none.",
            show_default="as measured at conversion",
        ),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            help="Coarse/fine stores: share of the fine layer's neighbours that rescoring has to find.",
            show_default="0.99",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Coarse/fine stores: rescore until nothing can have been missed.")
    ] = False,
    nprobe: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Stores with cells: look only into the N nearest.", show_default="all"),
    ] = None,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="Scores and limits as they were between the original vectors.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find the nearest vectors, by a scan of the codes."""
    import numpy as np

    import vecstore

    if (not keys) == (vector is None):
        raise OptionError("say what to search for: --key KEY, or --vector FILE.npy (or 0.1,0.2,..., or - for stdin)")
    if everything and (recall is not None or exact or rescore):
        raise OptionError(
            "--all misses nothing: --rescore 0 gives the coarse scores; --recall and --exact do not go with it"
        )
    with vecstore.open(store) as opened:
        own = find_rows(opened, keys) if keys else None
        queries = opened.vectors[own] if own is not None else read_queries(vector or "")
        names = [shown_key(parse_key(opened, key)) for key in keys or ()]
        options: dict[str, Any] = {
            "metric": metric,
            "min_score": min_score,
            "max_distance": max_distance,
            "rows": None if rows is None else read_rows(opened, rows),
            "exclude": None if exclude is None else read_rows(opened, exclude),
            "where": where,
            "rescore": "auto" if rescore is None else rescore,
            "nprobe": nprobe,
            "calibrated": calibrated,
        }
        if everything:
            within = opened.range_search(np.atleast_2d(queries), **options)
            found = within if isinstance(within, list) else [within]
        else:
            more = 0 if own is None else 1
            batch = opened.search(np.atleast_2d(queries), k + more, **options, recall=recall, exact=exact)
            found = batch.each()
        metric = metric or opened.metric
        beside = [columns_of(opened, columns, result.rows) for result in found]
    answers = []
    for query, result in enumerate(found):
        kept = [at for at, row in enumerate(result.rows.tolist()) if own is None or row != own[query]]
        neighbours = [
            {
                "key": shown_key(result.keys[at]),
                "row": int(result.rows[at]),
                "score": round(float(result.scores[at]), 6),
                **beside[query][at],
            }
            for at in (kept if everything else kept[:k])
        ]
        answers.append({"query": names[query] if names else query, "neighbours": neighbours})
    if as_json:
        plan = {"plan": found[0].plan.to_dict()} if where is not None and found else {}
        print_json({"metric": metric, "results": answers} | plan)
    else:
        print_answers(answers, metric, titled=len(answers) > 1)


def verify(
    store: StorePath,
    dump: Annotated[
        str | None,
        typer.Option("--certificate", metavar="DUMP", help="Measure the certificate again, with the original dump."),
    ] = None,
    keys: Annotated[Path | None, typer.Option(metavar="FILE", help="Keys of that dump, one a line.")] = None,
    queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npy", help="With --certificate: the queries that the conversion was given."),
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every row, too.")] = False,
) -> None:
    """Check every byte of a store against its checksum, that its codec can be read, and that every key finds its row.

    Ends with status 1 and the damaged place when something is wrong, or when the certificate does not hold.
    """
    import vecstore
    from vecstore.formats import open_dump

    start = time.perf_counter()
    with vecstore.open(store) as opened:
        size, rows = opened.verify(deep=deep, progress=True), len(opened)
        elapsed_s = time.perf_counter() - start
        stdout().print(Text(f"{store}: sound; {rows:,} rows, {size:,} bytes checked in {elapsed_s:.2f} s"))
        if dump is not None:
            given = None if queries is None else read_queries(str(queries))
            _verify_certificate(opened, open_dump(dump, keys=keys, key_type=opened.key_type), given)


def _verify_certificate(opened: Store, dump: Dump, queries: NDArray[np.float32] | None) -> None:
    from vecstore.conversion.certifying.recertification import recertify

    findings = recertify(opened, dump, queries=queries, progress=True)
    shown = table("certificate", "stated", "measured", "", right=("stated", "measured"))
    for finding in findings:
        verdict = "holds" if finding.holds else "does not hold"
        shown.add_row(finding.name, f"{finding.stated:.4f}", f"{finding.found:.4f}", verdict)
    stdout().print(shown)
    if queries is None and certificate_in(opened.description).query_recall is not None:
        stdout().print("Not measured again: the recall of queries; give them with --queries.")
    if not all(finding.holds for finding in findings):
        raise CorruptError("the certificate does not hold for this dump", path=opened.path)


def _sections(about: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    from vecstore.keys.kind import KINDS
    from vecstore.search.explain import Explanation
    from vecstore.store.numbering import Numbering

    size = about["bytes"]
    kind = KINDS.get(about["key_type"])
    shards = f", {about['shards']} shards" if about["shards"] > 1 else ""
    parts = ", ".join(f"{name} {format_bytes(part)}" for name, part in size["parts"].items())
    deleted = f", and {about['deleted']:,} deleted ones" if about["deleted"] else ""
    cells = about["cells"]
    sections = [
        (
            about["path"],
            [
                ("rows", f"{about['rows']:,} x {about['dimensions']}{deleted}"),
                ("codec", about["codec"]),
                ("metric", about["metric"]),
                ("keys", kind.label if kind else "none: rows are found by number"),
                ("lengths", "kept beside the codes" if about["norms"] else "as the codec keeps them"),
                *([("cells", _cells(cells))] if cells else []),
                ("row order", Numbering(about["row_order"], about["left_out"]).explained(keyed=kind is not None)),
                ("search", str(Explanation(**about["search"]))),
                ("format", f"{about['format']}{shards}"),
            ],
        ),
        (
            "bytes",
            [
                ("resident", f"{format_bytes(size['resident'])}: the codes that a search scans"),
                ("stored", f"{format_bytes(size['stored'])}: everything on disk ({parts})"),
                ("per vector", row_bytes(size, about["rows"], about["dimensions"])),
            ],
        ),
    ]
    if about["columns"]:
        sections.append(("columns", [(column["name"], _column(column)) for column in about["columns"]]))
    if about["fields"]:
        sections.append(("fields", [(one["name"], _field(one)) for one in about["fields"]]))
    if about["certificate"]:
        lines = certificate(Certificate.from_dict(about["certificate"]))
        sections.append(("certificate", [*lines, *covered(about["certified"])]))
    if about["provenance"]:
        sections.append(("provenance", [(name, _plain(value)) for name, value in about["provenance"].items()]))
    if about["user"]:
        sections.append(("metadata", [(name, _plain(value)) for name, value in about["user"].items()]))
    return sections


def _cells(found: dict[str, int]) -> str:
    order = found["order_bytes"]
    kept = f"; {format_bytes(order)} for the order of the rows" if order else ""
    return f"{found['count']:,}, in {format_bytes(found['centroid_bytes'])} of centroids{kept}"


def _column(found: dict[str, Any]) -> str:
    nulls = f", {found['nulls']:,} null" if found["nulls"] else ""
    return f"{found['type']}{nulls}, {format_bytes(found['size_bytes'])}"


def _field(found: dict[str, Any]) -> str:
    told = [f"{found[name]:,} {name}" for name in ("vectors", "entries", "terms", "dimensions") if name in found]
    told += [f"{found['missing']:,} rows without"] if found.get("missing") else []
    told += [f"made of {found['muvera'].get('of')}"] if "muvera" in found else []
    codec = found.get("codec", f"{found.get('weight_bits')} bits a weight")
    kept = (found["certificate"] or {}).get("agreement")
    measured = [] if kept is None else [f"{kept:.1%} of the ten best kept"]
    return ", ".join([found["kind"], codec, *told, format_bytes(found["size_bytes"]), *measured])


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _save(path: Path, vectors: NDArray[np.float32], force: bool) -> None:
    import numpy as np

    from vecstore.formats.replacement import Replacement

    with Replacement(path, force=force) as file:
        np.save(file, vectors)


def warm(stores: Annotated[list[Path] | None, typer.Argument(help="Stores to read into memory.")] = None) -> None:
    """Make ready what a first search waits for: compiled kernels, which an image keeps, and the pages of stores."""
    import vecstore
    from vecstore.kernels.levels import best_level
    from vecstore.kernels.libraries import path_of

    path = path_of(best_level())
    say(f"kernels for {best_level()}: {path or 'numba compiles them, at first use'}")
    for store in stores or ():
        with vecstore.open(store) as opened:
            opened.warm()
            say(f"{store}: {len(opened):,} rows are ready")
