"""Slow, readable twins of the kernels: plain Python and numpy, one line of thought each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import xxhash

M64 = (1 << 64) - 1


def levels(x, lowest, steps, most):
    """Return the nearest of the levels 0 to `most` of each number, of two the even one: (n, d) uint8."""
    return np.clip(np.rint((x - lowest) / steps), 0, most).astype(np.uint8)


def xxh64(keys: Sequence[bytes], seed: int = 0) -> np.ndarray:
    """Return the XXH64 of each key: (n,) uint64."""
    return np.array([xxhash.xxh64_intdigest(key, seed) for key in keys], np.uint64)


def nearest(z: np.ndarray, edges: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Return the first of the nearest centroids of each group, (n, m) uint8; codebooks[m, centroid, dimension]."""
    out = np.empty((len(z), len(codebooks)), np.uint8)
    for m, (start, end) in enumerate(pairwise(edges)):
        gaps = z[:, None, start:end].astype(np.float64) - codebooks[m, None, :, : end - start]
        out[:, m] = (gaps**2).sum(axis=2).argmin(axis=1)
    return out


def decode_rows(codes: np.ndarray, edges: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
    """Return the vectors that PQ codes stand for: (n, d) float32."""
    out = np.empty((len(codes), edges[-1]), np.float32)
    for n, row in enumerate(codes):
        for m, code in enumerate(row):
            out[n, edges[m] : edges[m + 1]] = codebooks[m, code, : edges[m + 1] - edges[m]]
    return out


def bits_of(chosen: np.ndarray) -> np.ndarray:
    """Return bools (..., 32) as uint32, the first one lowest."""
    return (chosen * (1 << np.arange(32, dtype=np.uint64))).sum(axis=-1).astype(np.uint32)


def tiled(codes: np.ndarray, tile_rows: int) -> np.ndarray:
    """Return the bytes of codes (n, width) laid out in transposed tiles, the last one filled up with zeros.

    A tile of more than 64 rows holds eight bytes of each row together, and is filled up to a multiple of 64 only.
    """
    unit = min(tile_rows, 64)
    whole = -(-len(codes) // unit) * unit
    padded = np.zeros((whole, codes.shape[1]), np.uint8)
    padded[: len(codes)] = codes
    together = 8 if tile_rows > 64 else 1
    pieces = [np.empty(0, np.uint8)]
    for start in range(0, whole, tile_rows):
        tile = padded[start : start + tile_rows]
        pieces += [tile[:, j : j + together].reshape(-1) for j in range(0, codes.shape[1], together)]
    return np.concatenate(pieces)


def find(keys: Sequence[object], wanted: Sequence[object]) -> list[int]:
    """Return the place of each wanted key among `keys`, -1 where it is not."""
    rows = {key: row for row, key in enumerate(keys)}
    return [rows.get(key, -1) for key in wanted]


def xor_places(h: int, seed: int, third: int) -> tuple[int, int, int]:
    """Return the three cells of a key map that belong to a hash."""
    g = (h + seed * 0x9E3779B97F4A7C15) & M64
    g = ((g ^ g >> 33) * 0xFF51AFD7ED558CCD) & M64
    g = ((g ^ g >> 33) * 0xC4CEB9FE1A85EC53) & M64
    g ^= g >> 33
    places = [((g >> shift & 0xFFFFFFFF) * third) >> 32 for shift in (0, 21, 32)]
    return places[0], third + places[1], 2 * third + places[2]


def xor_value(cells: np.ndarray, h: int, seed: int, third: int) -> int:
    """Return what a key map holds for a hash."""
    a, b, c = xor_places(h, seed, third)
    return int(cells[a] ^ cells[b] ^ cells[c])


def scores(queries: np.ndarray, x: np.ndarray, metric: str) -> np.ndarray:
    """Return cosine, dot product or squared distance of every query and vector, (q, n) float64; zeros have cosine 0."""
    queries, x = queries.astype(np.float64), x.astype(np.float64)
    products = queries @ x.T
    if metric == "dot":
        return products
    if metric == "l2":
        return np.maximum((queries**2).sum(axis=1)[:, None] + (x**2).sum(axis=1) - 2 * products, 0)
    sizes = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    return np.divide(products, sizes, out=np.zeros_like(products), where=sizes > 0)


def trellis_subset(path: list[int], i: int, parity: tuple[int, int]) -> int:
    """Return the subset of step i of a path of bits: the parities h0(D) u and h1(D) u."""
    high, low = (
        sum(path[i - e] for e in range(min(i + 1, polynomial.bit_length())) if polynomial >> e & 1) % 2
        for polynomial in parity
    )
    return 2 * high + low


def trellis_bits(code: bytes, bits: list[int], *, head: bool) -> tuple[list[int], list[int]]:
    """Return the path bits and the sub-indices of one code, in the layout with a head or in the one of before."""
    if not head:
        path: list[int] = []
        subs: list[int] = []
        for start in range(0, len(bits), 8):
            group = bits[start : start + 8]
            size = sum(group) // 8
            number, code = int.from_bytes(code[:size], "little"), code[size:]
            for _ in group:
                path.append(number & 1)
                number >>= 1
            for count in group:
                subs.append(number & ((1 << count - 1) - 1))
                number >>= count - 1
            assert number == 0
        assert code == b""
        return path, subs
    number = int.from_bytes(code, "little")

    def taken(count: int) -> int:
        nonlocal number
        found, number = number & ((1 << count) - 1), number >> count
        return found

    uppers = [taken(min(count - 1, 2)) for count in bits]
    lowers = [(taken(max(count - 3, 0)), max(count - 3, 0)) for count in bits]
    path = [taken(1) for _ in bits]
    assert number == 0
    return path, [upper << count | lower for upper, (lower, count) in zip(uppers, lowers, strict=True)]


def trellis_decode(
    code: bytes,
    bits: list[int],
    widths: list[int],
    levels: list[np.ndarray],
    parity: tuple[int, int],
    *,
    head: bool = True,
) -> list[float]:
    """Return the coefficients of one code; levels[j] are those of coefficient j."""
    path, subs = trellis_bits(code, bits, head=head)
    found: list[float] = []
    for i, width in enumerate(widths):
        for _ in range(width):
            found.append(levels[len(found)][4 * subs[i] + trellis_subset(path, i, parity)])
    return found


def trellis_distance(
    z: np.ndarray, bits: list[int], widths: list[int], levels: list[np.ndarray], parity: tuple[int, int]
) -> float:
    """Return the squared distance of z from the nearest of all codes, by way of the cheapest path into each state."""
    memory = parity[0].bit_length() - 1
    cheapest: dict[tuple[int, ...], float] = {(0,) * memory: 0.0}  # last path bits, newest last -> cost
    j = 0
    for count, width in zip(bits, widths, strict=True):
        reached: dict[tuple[int, ...], float] = {}
        for last, cost in cheapest.items():
            for bit in (0, 1):
                path = [*last, bit]
                subset = trellis_subset(path, memory, parity)
                gaps = [
                    sum((z[j + k] - levels[j + k][4 * sub + subset]) ** 2 for k in range(width))
                    for sub in range(1 << count - 1)
                ]
                state = tuple(path[1:])
                reached[state] = min(reached.get(state, np.inf), cost + min(gaps))
        cheapest, j = reached, j + width
    return min(cheapest.values())


def best_direction(z: np.ndarray, bits: int) -> float:
    """Return the largest cosine between z (d,) and a grid point of 2**bits levels, half a level away from zero.

    As the scale of the grid shrinks from infinity, one number after the other crosses to its next level; the best point
    is among those passed (Gao et al., SIGMOD 2025, algorithm 1).
    """
    z = np.abs(z.astype(np.float64))
    half = 1 << bits - 1
    scales = np.concatenate([np.arange(1, half) / value for value in z if value > 0] or [np.empty(0)])
    best = 0.0
    for scale in [0.0, *(scales * (1 + 1e-12))]:
        y = np.minimum(np.floor(z * scale), half - 1) + 0.5
        best = max(best, float(y @ z / np.linalg.norm(y)))
    return best


def beam_search(z: np.ndarray, codebooks: np.ndarray, beam: int) -> list[int]:
    """Return the code of z (d,) by keeping the `beam` best beginnings at every stage; codebooks[m, k, d]."""
    kept: list[tuple[list[int], np.ndarray]] = [([], z.astype(np.float64))]
    for words in codebooks:
        every = [(code, k, ((left - words[k]) ** 2).sum(), left - words[k]) for code, left in kept for k in range(256)]
        every.sort(key=lambda one: one[2])
        kept = [([*code, k], left) for code, k, _, left in every[:beam]]
    return kept[0][0]


def best_exchange(z: np.ndarray, codebooks: np.ndarray, code: np.ndarray) -> float:
    """Return the least squared distance from z (d,) that exchanging one entry of its code can reach."""
    chosen = [words[k] for words, k in zip(codebooks, code, strict=True)]
    left = z.astype(np.float64) - sum(chosen)
    return min(((left + word - words) ** 2).sum(axis=1).min() for word, words in zip(chosen, codebooks, strict=True))


def trellis_means(levels: list[np.ndarray], bits: list[int], widths: list[int], most: int) -> list[np.ndarray]:
    """Return the levels with those of a step of more than `most` bits replaced by means over its lowest index bits."""
    found = []
    for count, levels_of in zip(np.repeat(bits, widths), levels, strict=True):
        run = 1 << max(int(count) - most, 0)
        means = levels_of.reshape(-1, run, 4).mean(axis=1)  # [index >> dropped bits, subset]
        found.append(np.repeat(means, run, axis=0).reshape(-1))
    return found


def count_grams(key: bytes, word: bytes) -> int:
    """Return how many n-grams of 3 to 6 bytes of a key between marks consist of pieces that a word has, up to 255."""
    if not key:
        return 0
    marked, other = (bytes(letter & 0xDF for letter in b"\x02" + text + b"\x03") for text in (key, word))
    known = {other[at : at + 3] for at in range(len(other) - 2)}
    hits = [marked[at : at + 3] in known for at in range(len(marked) - 2)]
    grams = (hits[at : at + n - 2] for n in range(3, 7) for at in range(len(marked) - n + 1))
    return min(sum(map(all, grams)), 255)
