"""What a shell offers behind the options: codecs, formats, columns of keys, files by their endings."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

__all__ = ["codec_specs", "columns", "dump_formats", "export_formats", "files"]


def codec_specs(incomplete: str) -> list[str]:
    """Return the specifications that begin so, one step longer at most."""
    from vecstore.codecs.registry import BUILT_IN

    step = re.split(r"[,/+]", incomplete)[-1]
    before = incomplete[: len(incomplete) - len(step)]
    names = sorted([*BUILT_IN, "cells", *([] if before else ["mixed"])])
    return [before + name for name in names if name.startswith(step)]


def dump_formats(incomplete: str) -> list[tuple[str, str]]:
    """Return the formats that are read and begin so, with what they are."""
    return _formats(incomplete, "readable")


def export_formats(incomplete: str) -> list[tuple[str, str]]:
    """Return the formats that are written and begin so, with what they are."""
    return _formats(incomplete, "writable")


def _formats(incomplete: str, ability: str) -> list[tuple[str, str]]:
    from vecstore.formats import all_formats

    able = [entry for entry in all_formats().values() if getattr(entry, ability)]
    return [(entry.name, entry.description) for entry in able if entry.name.startswith(incomplete)]


def columns(context: typer.Context, incomplete: str) -> list[str]:
    """Return the columns of the dump on the command line that begin so; none where it is no Parquet file."""
    try:
        parquet: Any = import_module("pyarrow.parquet")
        names: list[str] = parquet.read_schema(context.params["source"]).names
    except Exception:  # no dump yet, none that can be read, no pyarrow: a shell wants no complaints
        return []
    return [name for name in names if name.startswith(incomplete)]


def files(*endings: str) -> Callable[[str], list[str]]:
    """Return a function that offers the files with one of these endings, and the directories on the way to them."""

    def offered(incomplete: str) -> list[str]:
        folder, _, begun = incomplete.rpartition("/")
        here = Path(f"{folder}/" if "/" in incomplete else ".").expanduser()
        try:
            found = sorted(path for path in here.iterdir() if path.name.startswith(begun))
        except OSError:
            return []
        before = f"{folder}/" if "/" in incomplete else ""
        shown = [path for path in found if not path.name.startswith(".") or begun.startswith(".")]
        names = [
            f"{before}{path.name}" + "/" * path.is_dir()
            for path in shown
            if path.is_dir() or path.name.lower().endswith(endings)
        ]
        if len(names) == 1 and names[0].endswith("/"):
            names += offered(names[0])  # or the shell would take the directory for the whole word
        return names

    return offered
