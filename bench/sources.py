"""Where the vectors of a bench come from: a dump, an HDF5 file of ann-benchmarks, GloVe, digits, generated families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vecstore.bench.generated import generate, parse_generated
from vecstore.formats import open_dump
from vecstore.formats.npy import read_npy

from vecstore.errors import FormatError, OptionError, ShapeError, require

__all__ = ["Judgement", "Source", "read_judgements", "read_source", "read_truth", "read_weights"]

Floats = NDArray[np.float32]
HDF5 = (".hdf5", ".h5")


@dataclass(frozen=True)
class Judgement:
    """A row judged relevant to a query; the grade is 1 or more."""

    query: int
    row: int
    grade: int


@dataclass(frozen=True)
class Source:
    """Vectors as they come, before they are split.

    Attributes
    ----------
    name : str
    x : (n, d) float32
    keys : list of str, list of bytes, (n,) int64 or None
    queries : (q, d) float32 or None
        Those that came along; else rows are held out.
    truth : (q, k) int64 or None
        Rows of `x` nearest to each query, best first, where they are known.
    judgements : sequence of Judgement
        Relevant rows; they are searched, not trained on.
    weights : (n,) float64 or None
        How often each row is used.
    """

    name: str
    x: Floats
    keys: Any = None
    queries: Floats | None = None
    truth: NDArray[np.int64] | None = None
    judgements: Sequence[Judgement] = ()
    weights: NDArray[np.float64] | None = None


def read_source(given: str | Path, *, options: dict[str, Any] | None = None) -> Source:
    """Read vectors from a path or a name.

    Parameters
    ----------
    given : str or path
        A dump; an ``.hdf5`` file of ann-benchmarks; ``glove``; ``digits``; ``generated:FAMILY:ROWSxDIMENSIONS:SEED``.
    options : dict, optional
        For `vecstore.formats.open_dump`: keys, columns, format.

    Raises
    ------
    FormatError
        The file cannot be read, or holds rows that are not finite numbers.
    MissingExtraError
        The package that reads or holds the data is not installed.
    """
    text = str(given)
    if (wanted := parse_generated(text)) is not None:
        family, rows, dimensions, seed = wanted
        return Source(text, generate(family, rows, dimensions, seed=seed))
    if text == "glove":
        from vecstore.bench.demo import load_words

        words = load_words()
        return Source("GloVe 6B, 50-d", words.vectors, words.keys)
    if text == "digits":
        datasets: Any = require("sklearn.datasets", purpose="the digits")
        return Source("digits (scikit-learn)", datasets.load_digits().data.astype(np.float32))
    if text.endswith(HDF5):
        return _ann_benchmarks(Path(text))
    batches = list(open_dump(Path(text), **(options or {})).batches())
    if not batches:
        raise FormatError("holds no vectors", path=text)
    keys: Any = None
    if isinstance(batches[0].keys, np.ndarray):
        keys = np.concatenate([batch.keys for batch in batches if batch.keys is not None])
    elif batches[0].keys is not None:
        keys = [key for batch in batches for key in batch.keys or []]
    return Source(Path(text).name, np.concatenate([batch.vectors for batch in batches]), keys)


def read_truth(path: Path) -> NDArray[np.int64]:
    """Return nearest rows from an .npy file, or the neighbours of an HDF5 file: (q, k) int64, best first."""
    found = _ann_benchmarks(path).truth if path.suffix in HDF5 else read_npy(path)
    if found is None or found.ndim != 2 or found.dtype.kind not in "iu":
        raise FormatError("a ground truth is an array (queries, k) of row numbers, best first", path=path)
    return np.asarray(found, np.int64)


def read_judgements(path: Path, source: Source) -> list[Judgement]:
    """Return relevance judgements.

    Parameters
    ----------
    path : Path
        Lines of ``query key grade`` (three columns) or ``query 0 key grade`` (TREC), by tabs or blanks, where query is
        the number of the query from 0 and key a key of the dump, or its row number in a dump without keys; or an
        .npy file (q,) with the row that is relevant to each query.

    Raises
    ------
    FormatError
        A line that is neither, or a key that is not in the dump.
    """
    if path.suffix == ".npy":
        rows = read_npy(path)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.max(initial=-1) >= len(source.x):
            raise FormatError("relevant rows are (q,) row numbers of the dump", path=path)
        return [Judgement(query, int(row), 1) for query, row in enumerate(rows) if row >= 0]
    row_of = None if source.keys is None else {_text(key): row for row, key in enumerate(source.keys)}
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        columns = line.split("\t") if "\t" in line else line.split()
        if len(columns) == 4:
            columns = [columns[0], *columns[2:]]
        if not columns or (number == 1 and len(columns) == 3 and not columns[2].lstrip("-").isdecimal()):
            continue  # an empty line; a header
        if len(columns) != 3 or not columns[0].isdecimal() or not columns[2].lstrip("-").isdecimal():
            raise FormatError("a judgement is: query number, key, grade", path=path, where=f"line {number}")
        row = row_of.get(columns[1], -1) if row_of is not None else int(columns[1]) if columns[1].isdecimal() else -1
        if not 0 <= row < len(source.x):
            raise FormatError(f"{columns[1]!r} is not in the dump", path=path, where=f"line {number}")
        if int(columns[2]) > 0:
            found.append(Judgement(int(columns[0]), row, int(columns[2])))
    return found


def read_weights(given: str, path: Path | None, rows: int) -> NDArray[np.float64]:
    """Return how often each row is used: (rows,) float64, adding up to 1.

    Parameters
    ----------
    given : str
        ``rank``: 1 / (row + 1), for dumps in order of frequency (Zipf); an .npy file; or a numeric column of the
        parquet dump at `path`.

    Raises
    ------
    FormatError
        The .npy file holds no array.
    OptionError
        There is no such column, or no parquet dump to have it.
    ShapeError
        The weights are not `rows` finite numbers of 0 or more.
    """
    if given == "rank":
        weights: NDArray[np.float64] = 1 / np.arange(1, rows + 1)
    elif given.endswith(".npy"):
        weights = read_npy(given).astype(np.float64)
    else:
        parquet: Any = require("pyarrow.parquet", purpose="a column of weights")
        if path is None or path.suffix not in (".parquet", ".pq"):
            raise OptionError(f"weights={given!r}: a column needs a parquet dump; write rank, or name an .npy file")
        table = parquet.read_table(path)
        if given not in table.column_names:
            raise OptionError(f"no column {given!r} in {path}; there are {', '.join(table.column_names)}")
        weights = table[given].to_numpy().astype(np.float64)
    if weights.shape != (rows,) or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise ShapeError(f"weights are {rows:,} numbers of 0 or more, one a row of the dump; found {weights.shape}")
    return np.asarray(weights / weights.sum())


def _ann_benchmarks(path: Path) -> Source:
    h5py: Any = require("h5py", purpose="reading HDF5")
    try:
        with h5py.File(path, "r") as file:
            arrays = {name: file[name][:] for name in ("train", "test", "neighbors") if name in file}
    except OSError as error:
        raise FormatError(f"not readable as HDF5: {error}", path=path) from None
    if "train" not in arrays:
        raise FormatError("no dataset 'train'; ann-benchmarks files hold train, test and neighbors", path=path)
    truth = arrays.get("neighbors")
    return Source(
        path.stem,
        np.asarray(arrays["train"], np.float32),
        queries=None if "test" not in arrays else np.asarray(arrays["test"], np.float32),
        truth=None if truth is None else np.asarray(truth, np.int64),
    )


def _text(key: Sequence[Any] | Any) -> str:
    return key.decode(errors="surrogateescape") if isinstance(key, bytes) else str(key)
