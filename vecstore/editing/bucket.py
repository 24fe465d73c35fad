"""Stores in buckets are built and changed on the local disk, uploaded under new names, and put in force in one step."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from vecstore.container.container import Container
from vecstore.container.head import head_of
from vecstore.container.opener import downloaded
from vecstore.editing.commit import entry_of
from vecstore.editing.lock import Lock
from vecstore.errors import ConflictError, ExistsError, OptionError, RemoteError
from vecstore.remote.commit import put_for_good, put_in_force
from vecstore.remote.heads import HEAD_SUFFIX
from vecstore.remote.path import RemotePath
from vecstore.remote.urls import Place, is_url, local_path, place
from vecstore.shard.models import MODEL, model_file
from vecstore.shard.shard import Shard
from vecstore.store.history import kept_name
from vecstore.store.manifest import MANIFEST_NAME, TOMBSTONES, Manifest

__all__ = ["checked_out", "destination", "lock_of", "put_manifest", "upload"]

UPLOADS = 8  # at the same time
_KIND = re.compile(r"[a-z]+")


@contextmanager
def destination(path: str | os.PathLike[str], *, force: bool, resume: bool = False) -> Iterator[Path]:
    """Give a local path to write a store to; of a URL it is a temporary one, uploaded when the block ends.

    Raises
    ------
    OptionError
        A URL, and `resume`: nothing is kept of what was begun.
    ExistsError
        A store is there, and `force` is not set.
    """
    target = place(path)
    if isinstance(target, Path):
        yield target
        return
    if resume:
        raise OptionError(f"{path}: resume= goes on with what lies beside a local store; convert to one, and upload it")
    _require_free(target, force)  # before hours of work, and again when it is done
    _require_writable(target)
    with tempfile.TemporaryDirectory(prefix="vecstore-") as folder:
        local = Path(folder, target.name)
        yield local
        upload(local, path, force=force)


def upload(path: str | os.PathLike[str], url: str | os.PathLike[str], *, force: bool = False) -> int:
    """Copy a store into a bucket, and return its generation there.

    It is a directory there, also if it is a file here, so that it can be changed. Readers see all of it or nothing;
    with `force` it takes the place of a store that is there, of which open handles keep what they show.

    Parameters
    ----------
    path : path
        A store on the disk: a file, or a directory.
    url : str
        Such as ``s3://bucket/docs.vecs``.
    force : bool
        Replace a store that is there.

    Raises
    ------
    ExistsError
        A store is there, and `force` is not set.
    OptionError
        `url` is no URL.
    RemoteError
        The bucket cannot be written.
    ConflictError
        Another writer was first.
    CommitUncertainError
        The bucket does not say whether it is in force.
    """
    target = place(url)
    if isinstance(target, Path):
        raise OptionError(f"{url}: upload is for URLs, such as s3://bucket/docs.vecs; copy the store there")
    if is_url(path):
        raise OptionError(f"{path}: upload is for stores on the disk; copy all objects by what the bucket comes with")
    local = local_path(path, "")
    _require_writable(target)
    old, mark = _in_force(target)
    if old is not None and not force:
        raise _exists(target)
    if local.is_dir():
        new, folder = Manifest.read(local), local
    else:
        name = "shard-00000.vecs"
        new = Manifest(0, (entry_of(local, name, rows=Shard(local).rows),))
        folder = local.parent
    generation = 0 if old is None else old.generation + 1
    files = {entry["file"]: folder / (entry["file"] if local.is_dir() else local.name) for entry in new.every}
    _publish(target, replace(new, generation=generation), files, old, mark)
    return generation


@contextmanager
def checked_out(url: str, *, wait_s: float = 0.0, cache: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Give a local copy of a store in a bucket; what the block commits to it is put in force there when it ends.

    Files are hard links to those of the cache where that is on the same disk. Of processes that have one cache, one
    writes at a time; those of other machines are told at the end that another one was first. Raises as `upload`, and
    `BusyError`.
    """
    target = place(url, cache)
    assert isinstance(target, RemotePath)
    with lock_of(target, wait_s), tempfile.TemporaryDirectory(prefix="vecstore-") as folder:
        old, mark = _in_force(target)
        if old is None:
            raise OptionError(
                f"{url}: no directory of shards is there, so nothing can be changed; upload a store first"
            )
        local = Path(folder, target.name)
        local.mkdir()
        with ThreadPoolExecutor(UPLOADS) as pool:
            list(pool.map(lambda entry: _fetch(target, entry, local), old.every))
        old.write(local)
        yield local
        new = Manifest.read(local)
        if new.generation != old.generation:
            known = {entry["file"] for entry in old.every}
            files = {entry["file"]: local / entry["file"] for entry in new.every if entry["file"] not in known}
            _publish(target, new, files, old, mark)


def lock_of(directory: Place, wait_s: float) -> Lock:
    """Return the lock that writers of a store on this machine hold; raises `BusyError` when it is entered."""
    if isinstance(directory, Path):
        return Lock(directory, wait_s=wait_s)
    return Lock(directory.cache.folder, wait_s=wait_s, name=directory.lock_name, of=str(directory))


def put_manifest(target: RemotePath, new: Manifest) -> int:
    """Put a manifest, whose files are all there, in force as the next generation, and return that."""
    old, mark = _in_force(target)
    generation = 0 if old is None else old.generation + 1
    _publish(target, replace(new, generation=generation), {}, old, mark)
    return generation


def _publish(target: RemotePath, new: Manifest, files: dict[str, Path], old: Manifest | None, mark: str | None) -> None:
    """Upload files, under names that stand for their content, and put the manifest in force.

    So an upload that is done again finds what is there already, and that of another writer is never written over.
    """
    named = {entry["file"]: _name_of(entry, new.generation) for entry in new.every if entry["file"] in files}
    codecs: set[Any] = set()
    if old is not None and len(files) < len(new.every):
        codecs.add(None)  # what was there before brings the codec, as a rule
    jobs = []
    for file, name in named.items():
        codec = Container(files[file]).identity(MODEL)
        jobs.append((target / name, files[file], codec not in codecs and None not in codecs))
        codecs.add(codec)
    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(lambda job: _put(*job), jobs))
    if old is not None:
        # It is there after a writer that was killed, or is about to be first.
        put_for_good(target.objects, f"{target.key}/{kept_name(old.generation)}", old.to_bytes())
    body = _renamed(new, named).to_bytes()
    put_in_force(target.objects, f"{target.key}/{MANIFEST_NAME}", body, mark, generation=new.generation)


def _put(path: RemotePath, file: Path, models: bool) -> None:
    """Upload a file and its head, unless it is there."""
    (path.sibling(HEAD_SUFFIX)).put(head_of(file, models=models).to_bytes())
    size = path.size()
    if size is not None and size != file.stat().st_size:
        raise ConflictError(f"{path}: another file of this name is there; nothing has changed: do it again")
    if size is None:
        path.put(file)


def _fetch(target: RemotePath, entry: dict[str, Any], local: Path) -> None:
    """Bring a whole file of a store, verified, and kept in the cache."""
    cached = downloaded(target / entry["file"])
    try:
        os.link(cached, local / entry["file"])
    except OSError:  # another disk
        import shutil

        shutil.copyfile(cached, local / entry["file"])


def _in_force(target: RemotePath) -> tuple[Manifest | None, str | None]:
    """Return the manifest that is in force, and its mark; (None, None) where there is no store."""
    if not target.is_dir():
        return None, None
    return Manifest.read(target), target.mark


def _require_free(target: RemotePath, force: bool) -> None:
    if not force and target.is_dir():
        raise _exists(target)


def _require_writable(target: RemotePath) -> None:
    """Write an object as a commit does, and remove it; raises `RemoteError` where that is not possible."""
    probe = target / ".writable"
    try:
        put_for_good(target.objects, probe.key, b"")
    except FileNotFoundError:
        raise RemoteError(f"{target.objects.url}: there is no such bucket; create it, or check the URL") from None
    with suppress(RemoteError):  # who may not remove may write
        probe.unlink()


def _exists(target: RemotePath) -> ExistsError:
    return ExistsError(f"{target}: exists; choose another name, or replace it with force=True")


def _name_of(entry: dict[str, Any], generation: int) -> str:
    """Return a name that no other content has: its number is made of the fingerprint. Models have such names."""
    if entry["file"] == model_file(entry["fingerprint"]):
        return str(entry["file"])
    kind = _KIND.match(entry["file"])
    assert kind is not None
    return f"{kind[0]}-{generation:05d}-{int(entry['fingerprint'], 16):020d}.vecs"


def _renamed(manifest: Manifest, names: dict[str, str]) -> Manifest:
    """Return the manifest with other names for files."""

    def renamed(entry: dict[str, Any]) -> dict[str, Any]:
        found = entry | {"file": names.get(entry["file"], entry["file"])}
        return found | {TOMBSTONES: renamed(entry[TOMBSTONES])} if TOMBSTONES in entry else found

    shards, maps = (tuple(map(renamed, entries)) for entries in (manifest.shards, manifest.key_maps))
    return replace(manifest, shards=shards, key_maps=maps)
