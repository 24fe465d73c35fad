"""A compiled loop that Python calls: machine code from a library, or compiled by numba where there is none."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["Entry"]

MOST_SIGNED = (1 << 63) - 1


class Entry:
    """A kernel with the types of its arguments.

    Called with arguments of other types, it raises TypeError.

    Attributes
    ----------
    module, function : str
        Where numba finds it: a module of this room, and a name in it.
    signatures : tuple of str
        The types of its arguments; `ahead.types` says what the names stand for.
    """

    def __init__(self, place: str, *signatures: str) -> None:
        self.module, self.function = place.split(".")
        self.signatures = signatures
        self._call: Callable[..., Any] = self._first_call

    @property
    def name(self) -> str:
        """What the machine code is called in a library."""
        return f"{self.module}.{self.function}"

    def __call__(self, *arguments: Any) -> Any:
        found = self._call(*arguments)
        return self._by_another(arguments) if found is NotImplemented else found

    def load(self) -> None:
        """Make it ready to be called."""
        if self._call == self._first_call:
            from vecstore.kernels.libraries import functions

            self._call = next(functions(self.name), None) or self._compiled()

    def _first_call(self, *arguments: Any) -> Any:
        self.load()
        return self._call(*arguments)

    def _by_another(self, arguments: tuple[Any, ...]) -> Any:
        """Call what was made for another level, which tests ask for."""
        from vecstore.kernels.libraries import functions

        for function in functions(self.name):
            found = function(*arguments)
            if found is not NotImplemented:
                return found
        given = ", ".join(_described(argument) for argument in arguments)
        raise TypeError(f"{self.name} takes ({') or ('.join(self.signatures)}); given ({given})")

    def kernel(self) -> Any:
        """Return the function that numba compiles."""
        return getattr(import_module(f"vecstore.kernels.{self.module}"), self.function)

    def _compiled(self) -> Callable[..., Any]:
        kernel = self.kernel()

        def call(*arguments: Any) -> Any:
            # numba spells out a named tuple at every call, 0.15 us a field: it is given plain ones.
            return kernel(*map(_plain, arguments))

        return call


def _plain(argument: Any) -> Any:
    if isinstance(argument, tuple):
        return tuple(map(_plain, argument))
    # numba takes every int for a signed one.
    return np.uint64(argument) if isinstance(argument, int) and argument > MOST_SIGNED else argument


def _described(argument: Any) -> str:
    if isinstance(argument, tuple):
        return f"({', '.join(map(_described, argument))})"
    return f"{argument.dtype}[{argument.ndim}d]" if hasattr(argument, "ndim") else type(argument).__name__
