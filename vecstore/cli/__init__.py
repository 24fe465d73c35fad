"""The command line. Every command is a few lines over the API.

``writing`` (convert), ``exporting`` (export), ``looking`` (info, get, search, verify), ``listing`` (codecs, formats),
``demonstration`` (demo), ``benching`` (bench) and others hold the commands; the other modules what they share.
"""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for bad input, 1 for failure or damage, 130 when interrupted."""
    from vecstore.cli.app import run

    run(arguments)
