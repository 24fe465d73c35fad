"""What mkdocs has to be told: pages beside docs/, links that leave it, and where the package's modules lie.

A page links as on the forge: to `../CONTRIBUTING.md`, to `../tests/compat/independent_reader.py`. On the site the pages
of the root are pages, and any other file that is linked to is copied, so that no link needs the forge.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Pages at the root of the repository, and where the site has them.
BESIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
MAPPED = ("formats", "bench")  # folders that the distribution maps into the package
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?(\))|(<(?:img|source)[^>]*?(?:src|srcset)=\")([^\"#]+)(\")")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)

_tree: tempfile.TemporaryDirectory[str] | None = None


@event_priority(100)  # before mkdocstrings reads its options
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Copy package and mapped folders into one tree, as a wheel has them: there docstrings are read."""
    global _tree
    _tree = tempfile.TemporaryDirectory()
    package = Path(_tree.name) / "vecstore"
    for source, place in [(ROOT / "vecstore", package), *((ROOT / name, package / name) for name in MAPPED)]:
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
    handlers = config.plugins["mkdocstrings"].config.handlers
    handlers.setdefault("python", {})["paths"] = [_tree.name]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of the root and the sources that pages link to."""
    for name, place in BESIDE.items():
        if (ROOT / name).exists():
            files.append(File.generated(config, place, content=(ROOT / name).read_text()))
    for file in list(files.documentation_pages()):
        for target in _targets(_origin(file.src_uri)):
            if target not in BESIDE and not target.startswith("docs/") and (ROOT / target).is_file():
                place = f"source/{target}"
                if files.get_file_from_path(place) is None:
                    files.append(File.generated(config, place, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to where the site has what they lead to."""
    origin = _origin(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        before, target, anchor, after = link[1] or link[5], link[2] or link[6], link[3] or "", link[4] or link[7]
        if re.match(r"[a-z]+:|/", target):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        place = BESIDE.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"source/{path}")
        return f"{before}{posixpath.relpath(place, here or '.')}{anchor}{after}"

    return _outside_code(markdown, moved)


def on_post_build(config: MkDocsConfig) -> None:
    """Clear the copied tree away."""
    if _tree is not None:
        _tree.cleanup()


def _origin(src_uri: str) -> str:
    """Return the path in the repository of a page of the site."""
    return {place: name for name, place in BESIDE.items()}.get(src_uri, f"docs/{src_uri}")


def _targets(origin: str) -> set[str]:
    """Return the paths in the repository that a page links to."""
    found: set[str] = set()

    def seen(link: re.Match[str]) -> str:
        target = link[2] or link[6]
        if not re.match(r"[a-z]+:|/", target):
            found.add(posixpath.normpath(posixpath.join(posixpath.dirname(origin), target)))
        return link[0]

    _outside_code((ROOT / origin).read_text(), seen)
    return found


def _outside_code(text: str, change: Any) -> str:
    """Return the text with links changed, those in code left alone."""
    pieces, at = [], 0
    for code in CODE.finditer(text):
        pieces += [LINK.sub(change, text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*pieces, LINK.sub(change, text[at:])])
