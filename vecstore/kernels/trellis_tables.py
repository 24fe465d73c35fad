"""The 8-bit tables by which trellis codes are scanned: of every query for every stage."""

from __future__ import annotations

import numpy as np
from numba import njit

from vecstore.kernels.arguments import PRODUCT, UNIT, Stage

__all__ = ["MOST_SUM", "fill", "tables_of"]

MOST_ENTRY, MOST_SUM = 255, 65535


@njit(cache=True, nogil=True)
def tables_of(stages, used, queries):
    """Return tables[stage, q, lookup, entry] and scales[stage, q], for so many stages.

    A score is bias * scale[0] + scale[1] + sum of table entries * scale[2].
    """
    count, widest = len(queries.weights), 0
    for i in range(used):
        widest = max(widest, len(Stage(*stages[i]).norm_terms))
    scales = np.empty((used, count, 3))
    tables = np.empty((used, count, widest, Stage(*stages[0]).norm_terms.shape[1]), np.uint8)
    for i in range(used):
        stage = Stage(*stages[i])
        passes, made_for = stage.lookups[0], queries.made_for[i]
        for q in range(count):
            terms = products(queries.weights[q], stage.owners, stage.levels, stage.norm_terms)
            norms, into = stage.norm_terms, tables[i, q]
            found = fill(queries.kind, made_for[q], stage.typical, terms, norms, stage.norm_bias, passes, into)
            for j in range(3):  # a tuple assigned would compile the text of its error, for seconds
                scales[i, q, j] = found[j]
    return tables, scales


@njit(cache=True, nogil=True)
def products(weights, owners, levels, shape):
    """Return tables (lookups, 64) float32, as many as `shape` has, that add up to q . x."""
    terms = np.zeros(shape.shape, np.float32)
    for coefficient in range(len(owners)):
        into, own, weight = terms[owners[coefficient]], levels[coefficient], weights[coefficient]
        for entry in range(len(own)):
            into[entry] += weight * own[entry]
    return terms


@njit(cache=True, nogil=True)
def fill(kind, made_for, length, terms, norm_terms, norm_bias, passes, tables):
    """Write tables of 8 bits; return what a score is: bias * [0] + [1] + sum of their entries * [2].

    A score q . x / |x| is B + (q . x - B |x|) / |x|; near the bound B, where it matters, |x| may be taken as
    `length` in the denominator and as (|x|^2 + length^2) / (2 length), its tangent there, in the numerator.
    """
    a, b, constant, over = 1.0, 0.0, 0.0, 1.0
    if kind == UNIT:
        over = 1 / length
        b = -made_for / (2 * length)
        constant = b * (norm_bias + length * length)
    elif kind != PRODUCT:
        a, b, constant = 2.0, -1.0, -norm_bias
    lows = np.empty(len(terms))
    widest = total = 0.0
    for i in range(len(passes)):
        together = 0.0
        for j in range(passes[i, 0], passes[i, 0] + passes[i, 1]):
            low, high = np.inf, -np.inf
            for e in range(terms.shape[1]):
                value = a * terms[j, e] + b * norm_terms[j, e]
                low, high = min(low, value), max(high, value)
            lows[j] = low
            constant += low
            together += high - low
        widest, total = max(widest, together), total + together
    # Rounding adds at most one half to each entry.
    unit = max(widest / (MOST_ENTRY - 2), total / (MOST_SUM - len(terms)), 1e-30)
    for j in range(len(terms)):
        for e in range(terms.shape[1]):
            value = a * terms[j, e] + b * norm_terms[j, e]
            tables[j, e] = np.uint8((value - lows[j]) / unit + 0.5)
    return a * over, constant * over + (made_for if kind == UNIT else 0.0), unit * over
