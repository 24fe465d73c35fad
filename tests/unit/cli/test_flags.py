"""Messages speak the language of their door: flags in the shell, arguments in Python."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import typer
from vecstore.bench.running import bench
from vecstore.formats import open_dump, write_dump

import vecstore as package
from vecstore.cli.app import app
from vecstore.cli.flags import in_flags
from vecstore.conversion.certifying.recertification import recertify
from vecstore.errors import VecstoreError

ROOT = Path(__file__).parents[3]
FLAG = re.compile(r"(?<![\w-])--[a-z]")


def convert(source: str = "x.npy", codec: str | None = None, **options: object) -> object:
    return package.convert(source, "new.vecs", codec, **options)


def search(**options: object) -> object:
    with package.open("words.vecs") as store:
        return store.search(store["key 1"], **options)


DOORS = {  # a command line: the same in Python, and what each of them says
    "convert x.npy words.vecs": (
        lambda: package.convert("x.npy", "words.vecs"),
        "replace it with force=True",
        "replace it with --force",
    ),
    "convert x.npy new.vecs -c sq:4 --budget 8": (
        lambda: convert(codec="sq:4", budget=8),
        "codec= and budget= both",
        "--codec and --budget both",
    ),
    "convert x.npy new.vecs --workers 2": (
        lambda: convert(executor=ThreadPoolExecutor(2)),
        "executor= needs shard_bytes=, such as 1GiB",
        "--workers needs --shard-size, such as 1GiB",
    ),
    "convert bad.npy new.vecs": (
        lambda: convert("bad.npy"),
        'with on_bad="skip", or store zeros with on_bad="zero"',
        "with --on-bad skip, or store zeros with --on-bad zero",
    ),
    "convert twice.vec new.vecs": (
        lambda: convert("twice.vec"),
        'with on_duplicate="first" or on_duplicate="last"',
        "with --on-duplicate first or --on-duplicate last",
    ),
    "convert odd.bin new.vecs": (
        lambda: convert("odd.bin"),
        "name one with format=: npy",
        "name one with --from: npy",
    ),
    "convert two.npz new.vecs": (
        lambda: convert("two.npz"),
        "name it with array=... (",
        "name it with --array (",
    ),
    "convert twice.vec new.vecs --vector-column x": (
        lambda: open_dump("twice.vec", vector_column="x"),
        "vector_column= is for",
        "--vector-column is for",
    ),
    "export words.vecs x.npy": (
        lambda: write_dump("x.npy", [], dimensions=8, rows=0, key_type=None),
        "replace it with force=True",
        "replace it with --force",
    ),
    "verify words.vecs --certificate x.npy": (
        lambda: recertify(package.open("words.vecs"), "x.npy"),
        "name their file with keys=",
        "name their file with --keys",
    ),
    "search words.vecs --key 'key 1' --min-score 1 --metric l2": (
        lambda: search(min_score=1, metric="l2"),
        "give max_distance= instead of min_score=",
        "give --max-distance instead of --min-score",
    ),
    "search words.vecs --key 'key 1' --recall 2": (
        lambda: search(recall=2),
        "exact=True misses nothing",
        "--exact misses nothing",
    ),
    "search words.vecs --key 'key 1' --recall .9": (
        lambda: search(recall=0.9),
        "recall= is for two-layer stores without rescore=,",
        "--recall is for two-layer stores without --rescore,",
    ),
    "bench x.npy --out full": (
        lambda: bench("x.npy", "full"),
        "choose another out=",
        "choose another --out",
    ),
    "bench x.npy --qrels judged.tsv": (
        lambda: bench("x.npy", "new", qrels="judged.tsv"),
        "give them too (queries=)",
        "give them too (--queries)",
    ),
}


@pytest.mark.parametrize("line", DOORS)
def test_both_doors(vecstore, words, line):
    np.save("bad.npy", np.full((3, 8), np.nan, np.float32))
    np.savez("two.npz", a=np.zeros((3, 8)), b=np.zeros((3, 8)))
    Path("twice.vec").write_text("2 2\na 1 2\na 2 1\n")
    Path("odd.bin").write_bytes(b"\x00\x01\x02\x03" * 9)
    Path("full").mkdir()
    Path("full", "something").touch()
    call, in_python, in_shell = DOORS[line]
    with pytest.raises(VecstoreError) as caught:
        call()
    assert in_python in str(caught.value)
    told = vecstore(*shlex.split(line))
    assert told.exit_code == 2 and in_shell in told.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("convert with keep_order=True", "convert with no --any-order"),
        ("keep_order=False gives them up", "--any-order gives them up"),
        ("x.vecs: exists (force=True), or force=False", "x.vecs: exists (--force), or no --force"),
        ("shard_bytes=100; seed=-1, seed='7'.", "--shard-size 100; --seed -1, --seed 7."),
        ("format=npy", "--from npy"),  # export has another, --to
        ("rescore=20", "--rescore 20"),  # of another command
        ("no argument=1, no option", "no argument=1, no option"),
        ("seed=3/x.npy: in data/seed=3/x.npy", "seed=3/x.npy: in data/seed=3/x.npy"),
        ("no key 'seed=3'; keys=store.keys[0]", "no key 'seed=3'; keys=store.keys[0]"),
    ],
)
def test_in_flags(message, shown):
    commands = typer.main.get_command(app)
    assert in_flags(message, [commands.commands["convert"], commands]) == shown


def test_messages_below_the_commands_name_no_flag():
    rooms = [path for room in ("vecstore", "formats", "bench") for path in sorted((ROOT / room).rglob("*.py"))]
    below = [path for path in rooms if not {"cli", "scripts"} & set(path.relative_to(ROOT).parts)]
    named = [
        f"{path.relative_to(ROOT)}: {text}" for path in below for text in _texts(path) if FLAG.search(text.strip(" -"))
    ]
    assert len(below) > 150 and named == []


def _texts(path: Path) -> Iterator[str]:
    """Yield the strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value
