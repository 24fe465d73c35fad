"""Which library reads and writes what lies at a URL: obstore, which can write conditionally, or fsspec.

fsspec is for what obstore does not know, or where it is not installed.
"""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import urlsplit

from vecstore.remote.fsspec_objects import FsspecObjects
from vecstore.remote.objects import Objects
from vecstore.remote.obstore_objects import ObstoreObjects

__all__ = ["objects_at", "objects_of_bucket"]

OBSTORE_SCHEMES = frozenset(
    ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https", "memory")  # as obstore.store.from_url
)


def objects_at(url: str) -> Objects:
    """Return the objects below a URL.

    Raises
    ------
    RemoteError
        No library that is installed knows this kind of URL.
    MissingExtraError
        Neither obstore nor fsspec is installed.
    """
    found = objects_of_bucket(url)
    if found is not None:
        return found
    return FsspecObjects(url)


def objects_of_bucket(url: str) -> Objects | None:
    """Return the objects below a URL that obstore knows, None for others, or where it is not installed."""
    if urlsplit(url).scheme not in OBSTORE_SCHEMES or find_spec("obstore") is None:
        return None
    return ObstoreObjects(url)
