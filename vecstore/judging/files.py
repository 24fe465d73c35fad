"""Files of questions, as word2vec's and the sets of word pairs come."""

from __future__ import annotations

from pathlib import Path

from vecstore.errors import FormatError

__all__ = ["read_analogies", "read_pairs"]

Question = tuple[str, str, str, str]


def read_analogies(path: str | Path) -> dict[str, list[Question]]:
    """Return the questions of each section: lines of four words, under lines ``: name``.

    Raises `FormatError` for any other line, and for a file without questions.
    """
    sections: dict[str, list[Question]] = {}
    questions: list[Question] = []
    for number, line in _lines(path):
        if line.startswith(":"):
            questions = sections.setdefault(line[1:].strip(), [])
            continue
        words = line.split()
        if len(words) != 4:
            raise FormatError("an analogy is four words", path=path, where=f"line {number}", found=repr(line[:60]))
        if not sections:
            questions = sections.setdefault("", [])
        questions.append((words[0], words[1], words[2], words[3]))
    if not any(sections.values()):
        raise FormatError("holds no analogies", path=path, expected="lines of four words")
    return sections


def read_pairs(path: str | Path) -> list[tuple[str, str, float]]:
    """Return pairs of words with the similarity that people gave: lines of two words and a number.

    They are separated by tabs, else by commas, else by blanks. Lines that begin with # are left out, and so is a first
    line without a number. Raises `FormatError` for any other line, and for a file without pairs.
    """
    found: list[tuple[str, str, float]] = []
    first = True
    for number, line in _lines(path):
        if line.startswith("#"):
            continue
        separator = next((mark for mark in ("\t", ",") if mark in line), None)
        fields = [field.strip() for field in line.split(separator)]
        try:
            found.append((fields[0], fields[1], float(fields[2])))
        except (IndexError, ValueError):
            if not first:
                raise FormatError(
                    "a pair is two words and a number", path=path, where=f"line {number}", found=repr(line[:60])
                ) from None
        first = False
    if not found:
        raise FormatError("holds no pairs", path=path, expected="lines of two words and a number")
    return found


def _lines(path: str | Path) -> list[tuple[int, str]]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("is no text in UTF-8", path=path, where=f"byte {error.start}") from None
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
