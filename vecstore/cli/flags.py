"""Messages of the library name arguments, ``force=True``; the shell shows them as flags, ``--force``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["in_flags"]

WORKERS = "workers"

# An argument and its value, which may be left out. No part of a path, nor of anything in quotes.
ARGUMENT = re.compile(r"""(?<![^\s(])([a-z][a-z_]*)=("[^"]*"|'[^']*'|\.\.\.|[\w.-]*)(?=[.,:;)]*(?:\s|$))""")


def in_flags(message: str, commands: Iterable[Any]) -> str:
    """Return a message with its arguments written as the options of `commands`; of two that have one, the first.

    Parameters
    ----------
    message : str
        It writes an argument as ``name=value``, or ``name=`` where any value is meant.
    commands : iterable of click commands
        Their parameters are named as the library's. Groups stand for the commands in them.
    """
    options: dict[str, Any] = {}
    for command in _leaves(commands):
        for option in command.params:
            if option.param_type_name == "option":
                options.setdefault(option.name, option)
    if WORKERS in options:
        options.setdefault("executor", options[WORKERS])  # of so many processes
    return ARGUMENT.sub(lambda found: _flag(options[found[1]], found[2]) if found[1] in options else found[0], message)


def _leaves(commands: Iterable[Any]) -> Iterator[Any]:
    for command in commands:
        yield from _leaves(command.commands.values()) if hasattr(command, "commands") else (command,)


def _flag(option: Any, value: str) -> str:
    """Return how an option is given that value; a switch has a name for its opposite only."""
    on, off = _longest(option.opts), _longest(option.secondary_opts)
    if not option.is_flag:
        return f"{on} {value.strip(chr(34) + chr(39) + '.')}".strip()
    if value == "False":
        return off or f"no {on}"
    return on or f"no {off}"


def _longest(names: list[str]) -> str:
    return max(names, key=len, default="")
