"""The command line: every command is a few lines over the API. `app` has the commands, `console` what they print."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; errors are one line on stderr, exit status 2 for bad input and 1 for failure."""
    from vecstore.cli.app import run

    run()
