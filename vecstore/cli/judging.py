"""The command that asks word vectors for analogies and similarities: judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.text import Text

from vecstore.cli.console import print_json, stdout, table
from vecstore.cli.options import AsJson, examples
from vecstore.errors import OptionError

if TYPE_CHECKING:
    from vecstore.judging import Analogies, Pairs

__all__ = ["judge", "register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        rich_help_panel="Learn",
        epilog=examples(
            "vecstore judge words.vecs --analogies questions-words.txt",
            "vecstore judge original.vecs small.vecs --pairs wordsim353.tsv --pairs simlex999.txt",
        ),
    )(judge)


def judge(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Stores of words.", show_default=False)],
    analogies: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Lines of four words, in sections; repeatable.", show_default=False),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Lines of two words and a number; repeatable.", show_default=False),
    ] = None,
    method: Annotated[Literal["add", "mul", "average"], typer.Option(help="How analogies are answered.")] = "add",
    first: Annotated[int, typer.Option(metavar="N", help="Rows that analogies are about.", min=1)] = 300_000,
    as_json: AsJson = False,
) -> None:
    """Compare word vectors by analogies, and by similarities that people gave: what a codec does to them.

    Words are compared without case where a store does not hold them as they are written.
    """
    from vecstore.judging import analogies as ask
    from vecstore.judging import pairs as compare
    from vecstore.store.store import open_store
    from vecstore.words.words import Words

    if not analogies and not pairs:
        raise OptionError("there is nothing to judge by: give analogies=FILE or pairs=FILE")
    asked: list[tuple[Path, Path, Analogies]] = []
    compared: list[tuple[Path, Path, Pairs]] = []
    for path in stores:
        with open_store(path) as store:
            words = Words(store, fold_case=store.key_type == "str")
            asked += [(path, file, ask(words, file, method, first=first)) for file in analogies or []]
            compared += [(path, file, compare(words, file)) for file in pairs or []]
    if as_json:
        print_json([*map(_analogies_as_json, asked), *map(_pairs_as_json, compared)])
    else:
        _print(asked, compared)


def _print(asked: list[tuple[Path, Path, Analogies]], compared: list[tuple[Path, Path, Pairs]]) -> None:
    out = stdout()
    if asked:
        shown = table("analogies", "store", "right", "asked", "accuracy", right=("right", "asked", "accuracy"))
        for file in dict.fromkeys(file for _, file, _ in asked):
            own = [(path, found) for path, one, found in asked if one == file]
            for sections in zip(*([*found.sections, found.total] for _, found in own), strict=True):
                for (path, _), part in zip(own, sections, strict=True):
                    numbers = f"{part.correct:,}", f"{part.asked:,}", f"{part.accuracy:.1%}"
                    shown.add_row(Text(part.name), Text(path.name), *numbers)
        out.print(shown)
    if compared:
        shown = table("pairs", "store", "asked", "Pearson", "Spearman", right=("asked", "Pearson", "Spearman"))
        for path, file, one in compared:
            half = (one.spearman_high - one.spearman_low) / 2
            shown.add_row(
                Text(file.name),
                Text(path.name),
                f"{one.asked:,}",
                f"{one.pearson:.3f}",
                f"{one.spearman:.3f} ± {half:.3f}",
            )
        out.print(shown)


def _analogies_as_json(one: tuple[Path, Path, Analogies]) -> dict[str, Any]:
    path, file, found = one
    sections = [{"name": s.name, "correct": s.correct, "asked": s.asked, "skipped": s.skipped} for s in found.sections]
    return {"store": str(path), "analogies": str(file), "accuracy": found.accuracy, "sections": sections}


def _pairs_as_json(one: tuple[Path, Path, Pairs]) -> dict[str, Any]:
    path, file, found = one
    return {"store": str(path), "pairs": str(file), **vars(found)}
