"""Additive quantization in the full space: beam search stage by stage, and exchange of single codes."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["exchange", "extend"]


# fastmath: distances are compared, not returned; the order of additions is free.
@njit(cache=True, nogil=True, fastmath=True)
def extend(stage, kept, products, shared, squares, costs, codes):
    """Give the `kept` beginnings of every row a code of the next stage; the cheapest of all are kept, cheapest first.

    products[n, i] = row n . codeword i of the stage; shared[j, k, i] = codeword k of stage j . codeword i;
    squares[i] = |codeword i|^2; costs[n, b] = squared distance of row n to beginning b, less the row's square;
    codes[n, b, j]. Returns how many beginnings each row has now, costs.shape[1] at most.
    """
    beam, entries = costs.shape[1], products.shape[1]
    total = np.empty(entries, np.float32)
    best = np.empty(beam, np.float32)
    parent, choice = np.empty(beam, np.int64), np.empty(beam, np.int64)
    before = np.empty((beam, codes.shape[2]), np.uint8)
    for n in range(products.shape[0]):
        found = 0
        for b in range(kept):
            for i in range(entries):
                total[i] = np.float32(0.5) * (costs[n, b] + squares[i]) - products[n, i]
            for j in range(stage):
                column = shared[j, codes[n, b, j]]
                for i in range(entries):
                    total[i] += column[i]
            for i in range(entries):
                if found == beam and total[i] >= best[beam - 1]:
                    continue
                place = min(found, beam - 1)
                while place > 0 and best[place - 1] > total[i]:
                    best[place], parent[place], choice[place] = best[place - 1], parent[place - 1], choice[place - 1]
                    place -= 1
                best[place], parent[place], choice[place] = total[i], b, i
                found = min(found + 1, beam)
        # Loops: a slice assigned would compile the text of its error, for seconds.
        for b in range(kept):
            for j in range(stage):
                before[b, j] = codes[n, b, j]
        for b in range(found):
            for j in range(stage):
                codes[n, b, j] = before[parent[b], j]
            codes[n, b, stage] = choice[b]
            costs[n, b] = np.float32(2) * best[b]
    return min(kept * entries, beam)


@njit(cache=True, nogil=True, fastmath=True)
def exchange(products, shared, squares, rounds, codes):
    """Replace single codes of codes[n] by better ones, stage after stage, until a round changes none.

    products[n, m, i] = row n . codeword i of stage m; shared[m, j, k, i] = codeword k of stage j . that codeword;
    squares[m, i] = |codeword i of stage m|^2.
    """
    rows, stages, entries = products.shape
    total = np.empty(entries, np.float32)
    for n in range(rows):
        for _ in range(rounds):
            changed = False
            for m in range(stages):
                for i in range(entries):
                    total[i] = np.float32(0.5) * squares[m, i] - products[n, m, i]
                for j in range(stages):
                    if j != m:
                        column = shared[m, j, codes[n, j]]
                        for i in range(entries):
                            total[i] += column[i]
                best = int(codes[n, m])
                for i in range(entries):
                    if total[i] < total[best]:
                        best = i
                if best != codes[n, m]:
                    codes[n, m] = best
                    changed = True
            if not changed:
                break
