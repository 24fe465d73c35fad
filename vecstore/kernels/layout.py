"""Numbers that the layout of codes and the kernels share; read without loading compiled code."""

from __future__ import annotations

__all__ = ["ENTRIES", "LANES", "SOURCES", "TOGETHER"]

LANES = 64  # rows that are scanned at once, and whose bytes lie together
ENTRIES = 64  # of a table: what one permutation of a register can look up in
SOURCES = 4  # bytes of a code, at most, that an index comes from
TOGETHER = 4  # look-ups, at most, whose entries are added up in 8 bits
