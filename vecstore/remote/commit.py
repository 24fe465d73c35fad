"""Objects written by one of several writers, or by none, and what an answer that never came means."""

from __future__ import annotations

from contextlib import suppress

from vecstore.errors import CommitUncertainError, ConflictError, RemoteError
from vecstore.remote.objects import Answer, Denied, Objects, Refused

__all__ = ["put_for_good", "put_in_force"]

ATTEMPTS = 3


def put_in_force(objects: Objects, name: str, body: bytes, mark: str | None, *, generation: int) -> None:
    """Write an object if it still has a mark, or, with None, if it is not there yet.

    An answer that is lost, or that says no to a request that the library repeated, tells nothing: the object is read
    back, and what it holds decides.

    Raises
    ------
    ConflictError
        Another writer was first; nothing has changed.
    CommitUncertainError
        The bucket does not say whether the object was written.
    RemoteError
        It may not be written.
    """
    url = f"{objects.url}/{name}"
    for _ in range(ATTEMPTS):
        refused = False
        try:
            if mark is None:
                objects.create(name, body)
            else:
                objects.replace(name, body, mark)
            return
        except Refused:
            refused = True
        except Denied:
            raise
        except RemoteError as error:
            doubt: RemoteError = error
        found = _read_back(objects, name)
        if found is not None and found.data == body:
            return
        if refused or (found is not None and found.mark != mark):
            raise ConflictError(f"{url}: another writer was first; nothing has changed: do it again")
    raise CommitUncertainError(
        f"{url}: the bucket does not say whether generation {generation} is in force ({doubt}); see what is there, "
        "and do it again if it is not",
        generation=generation,
    ) from doubt


def put_for_good(objects: Objects, name: str, body: bytes) -> None:
    """Write an object that is never changed, unless it is there; raises `RemoteError`.

    Libraries do not repeat a conditional write whose answer got lost, since it may have been done: here that is well.
    """
    for left in reversed(range(ATTEMPTS)):
        try:
            objects.create(name, body)
            return
        except Refused:  # another writer was first, or this one was
            return
        except RemoteError as error:
            if isinstance(error, Denied) or not left:
                raise


def _read_back(objects: Objects, name: str) -> Answer | None:
    """Return what is there now, None where nothing is, or nothing is told."""
    for _ in range(ATTEMPTS):
        with suppress(RemoteError):
            try:
                return objects.get(name)
            except FileNotFoundError:
                return None
    return None
