"""The application: its commands put together, and what happens when one of them fails."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import tempfile
from typing import Annotated, Any

import typer
from typer import Abort  # click's word for Ctrl-C
from typer.core import TyperGroup

from vecstore.cli import (
    benching,
    certifying,
    demonstration,
    editing,
    exporting,
    importing,
    judging,
    listing,
    looking,
    peeking,
    planning,
    tuning,
    writing,
)
from vecstore.cli.console import complain
from vecstore.cli.flags import in_flags
from vecstore.cli.options import examples
from vecstore.errors import CorruptError, VecstoreError, did_you_mean

__all__ = ["app", "run"]

INTERRUPTED, ENDED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # exit statuses, as shells give them


class Commands(TyperGroup):
    """The commands; a misspelt one is answered with the nearest, and what fails speaks of flags."""

    def resolve_command(self, context: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            context.fail(f"no command {args[0]!r}{did_you_mean(args[0], self.commands)}; see vecstore --help")
        return super().resolve_command(context, args)

    def invoke(self, context: Any) -> Any:
        try:
            return super().invoke(context)
        except VecstoreError as error:
            error.args = (in_flags(str(error), [self.commands[context.invoked_subcommand], self]),)
            raise


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compact, memory-mapped stores for embeddings: convert a dump once, then look up and search anywhere.",
    epilog=examples(
        "vecstore demo",
        "vecstore convert vectors.npy vectors.vecs --keys keys.txt --codec sq:8",
        "vecstore search vectors.vecs --key 'some key'",
    ),
)
for module in (
    writing,
    exporting,
    editing,
    certifying,
    peeking,
    importing,
    looking,
    tuning,
    planning,
    judging,
    listing,
    demonstration,
    benching,
):
    module.register(app)


def _show_version(asked: bool) -> None:
    if asked:
        from vecstore.version import __version__

        typer.echo(f"vecstore {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    args = sys.argv[1:] if arguments is None else arguments
    before = signal.signal(signal.SIGTERM, _ended)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for what the terminal's encoding lacks
    try:
        status = app(args, standalone_mode=False)
        if status == INTERRUPTED:  # how newer typer hands a Ctrl-C on
            status = _stopped(INTERRUPTED, args)
        sys.stdout.flush()
    except (KeyboardInterrupt, Abort):
        status = _stopped(INTERRUPTED, args)
    except _EndedError:
        status = _stopped(ENDED, args)
    except Exception as error:
        if "--debug" in args and not hasattr(error, "format_message"):
            raise
        status = _status_of(error)
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(status if isinstance(status, int) else 0)


def _status_of(error: Exception) -> int:
    """Say in one line what went wrong; return the exit status."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2  # the help has been shown
    if hasattr(error, "format_message"):  # a usage error of the command line
        complain(error.format_message())
        return 2
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would flush into the pipe
        return 0
    if isinstance(error, VecstoreError):
        complain(str(error))
        return 1 if isinstance(error, CorruptError) else 2
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason += f"; make room where it is written, and for temporary files in {tempfile.gettempdir()}"
        complain(f"{error.filename}: {reason}" if error.filename else reason)
        return 2 if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)) else 1
    complain(f"{type(error).__name__}: {error} (--debug before the command shows the traceback; please report it)")
    return 1


class _EndedError(BaseException):
    """A signal asked this process to end: unwind, as Ctrl-C does, so that temporary files and processes go too."""


def _ended(*_: object) -> None:
    raise _EndedError


def _stopped(status: int, args: list[str]) -> int:
    """Say in one line that somebody stopped it; return the exit status."""
    kept = "what is done is kept: give the same command to go on" if "--resume" in args else "nothing was written"
    complain(f"{'ended' if status == ENDED else 'interrupted'}; {kept}")
    return status
