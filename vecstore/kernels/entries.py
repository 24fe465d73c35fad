"""The kernels that Python calls, with the types of their arguments.

From here machine code is compiled ahead of time (`vecstore.kernels.ahead`), so a process that calls one needs no numba.
Types are numba's: ``f4[:, ::1]`` is an array of two dimensions whose rows lie one after the other, ``out(...)`` one
that is written to. ``level`` is the tag of an instruction set (`levels.tag`), ``tag(n)`` that of another number. Names
in capitals are the tuples of `arguments`.
"""

from __future__ import annotations

from vecstore.kernels.entry import Entry

__all__ = [
    "add_gram",
    "add_targets",
    "bound_segments",
    "count_grams",
    "decode_levels",
    "decode_pq",
    "decode_rans",
    "decode_trellis",
    "encode_levels",
    "encode_lists",
    "encode_pq",
    "encode_rabitq",
    "encode_rans",
    "encode_trellis",
    "exchange_codes",
    "extend_codes",
    "find_integers",
    "find_texts",
    "find_values",
    "four_pieces",
    "gather_entries",
    "gather_row",
    "gather_tiled",
    "join_rows",
    "locate_texts",
    "mark_rows",
    "maxsim_cells",
    "maxsim_decoded",
    "maxsim_panels",
    "maxsim_trellis",
    "maxsim_whole",
    "multiply_rows",
    "offer_all",
    "offer_listed",
    "offer_near",
    "parse_lines",
    "parse_records",
    "peel",
    "scan_batch",
    "scan_lists",
    "scan_numbers",
    "scan_tiles",
    "scan_trellis",
    "score_lists",
    "score_numbers",
    "score_tiles",
    "score_trellis",
    "sort_heaps",
    "split_rows",
    "string_numbers",
    "subword_ids",
    "sum_entries",
    "sum_errors",
    "write_lines",
    "xxh64_packed",
]

# Keys
xxh64_packed = Entry("hashing.xxh64_packed", "u1[::1], i8[::1], i8, u8, out(u8[::1])")
_INDEXES = "i8[:, ::1], i8[::1], u8[::1]"  # what describes each index, which one is asked for a key, hashes of keys
find_texts = Entry(
    "lookup.find_texts",
    f"u1[::1], u4[::1], i8[::1], i8[::1], i8[::1], i8[::1], {_INDEXES}, u1[::1], i8[::1], i8, out(i8[::1])",
)
locate_texts = Entry("lookup.locate_texts", "u1[::1], u4[::1], i8[::1], i8[::1], i8[::1], out(i8[::1]), out(i8[::1])")
find_integers = Entry("lookup.find_integers", f"u4[::1], i8[::1], i8[::1], i8[::1], {_INDEXES}, i8[::1], out(i8[::1])")
find_values = Entry("keymap.find_values", "u1[::1], i8[::1], i8[::1], i8[::1], i8, i8, u8[::1], out(i8[::1])")
peel = Entry("keymap.peel", "u8[::1], u2[::1], u8, i8, out(u2[::1])")
count_grams = Entry("grams.count_grams", "u1[::1], i8[::1], u1[::1], u1[::1], i8, i8, out(u1[::1]), out(i8[::1])")

# Search
scan_tiles = Entry(
    "table_scan.scan_tiles",
    "tag(4), level, TILES, TABLE_QUERIES, HEAP, i8[:, ::1], u4[::1]",
    "tag(8), level, TILES, TABLE_QUERIES, HEAP, i8[:, ::1], u4[::1]",
)
# Rows of all queries together: those of query q are rows[indptr[q]:indptr[q + 1]].
_LISTED = "i8[::1], i8[::1], out(f8[::1])"
score_tiles = Entry("table_scan.score_tiles", f"TILES, TABLE_QUERIES, {_LISTED}")
_NUMBERS = "(tag(0), b1)", "(tag(1), b1)", "(tag(2), b1)", "(tag(3), b1)"  # number kinds of `numbers`
scan_numbers = Entry(
    "number_scan.scan_numbers",
    *(f"{kind}, level, TILES, NUMBER_QUERIES, HEAP, i8[:, ::1], u4[::1]" for kind in _NUMBERS),
)
scan_batch = Entry(
    "number_batch.scan_batch",
    *(
        f"{kind}, {how}, level, (i8, i8), TILES, NUMBER_QUERIES, HEAP, i8[:, ::1], u4[::1]"
        for kind, how in zip(_NUMBERS, ("of_bytes", "tag(0)", "tag(0)", "tag(0)"), strict=True)
    ),
)
score_numbers = Entry("number_scan.score_numbers", *(f"{kind}, TILES, NUMBER_QUERIES, {_LISTED}" for kind in _NUMBERS))
scan_trellis = Entry(
    "trellis_scan.scan_trellis", "level, i8, TILES, (STAGE, STAGE, STAGE), TRELLIS_QUERIES, HEAP, i8[:, ::1], u4[::1]"
)
maxsim_trellis = Entry(
    "maxsim.maxsim_trellis",
    "level, TILES, (STAGE, STAGE, STAGE), TRELLIS_QUERIES, CENTROIDS, i8[::1], i8[::1], i8, out(f8[::1])",
)
maxsim_whole = Entry(
    "maxsim_whole.maxsim_whole",
    "level, TILES, i8, LOOKUPS, WHOLE_NUMBERS, WHOLE_QUERIES, CENTROIDS, i8[::1], i8[::1], i8, out(f8[::1])",
)
maxsim_panels = Entry(
    "maxsim_panels.maxsim_panels",
    *(
        f"{kind}, {how}, level, (i8, i8), TILES, PIECES, NUMBER_QUERIES, CENTROIDS, i8[::1], i8[::1], i8, out(f8[::1])"
        for kind, how in zip(_NUMBERS, ("of_bytes", "tag(0)", "tag(0)", "tag(0)"), strict=True)
    ),
)
score_trellis = Entry("trellis_scores.score_trellis", f"TILES, DECODING, TRELLIS_SCORES, {_LISTED}")
maxsim_decoded = Entry(
    "trellis_scores.maxsim_decoded", "TILES, DECODING, TRELLIS_SCORES, i8[::1], i8[::1], i8[::1], out(f8[::1])"
)
maxsim_cells = Entry("centroids.maxsim_cells", "level, (i8, i8), CENTROIDS, i8[::1], i8[::1], i8, out(f8[::1])")
gather_tiled = Entry("gather.gather_tiled", "TILES, i8[::1], out(u1[:, ::1])")
mark_rows = Entry("gather.mark_rows", "i8[::1], b1, out(b1[::1])")
offer_all = Entry("heap.offer_all", "f4[:, ::1], i8[::1], HEAP", "f4[:, :], i8[::1], HEAP", "f8[:, :], i8[::1], HEAP")
offer_listed = Entry("heap.offer_listed", "f8[::1], i8[::1], i8[::1], HEAP")
sort_heaps = Entry("heap.sort_heaps", "HEAP")
offer_near = Entry(
    "near.offer_near",
    "f4[:, ::1], f4[::1], f4[::1], f4[::1], f4[:, ::1], f4[:, ::1], f4[::1], f4[::1], i8[::1], HEAP",
)
_QUERY = "LISTS, i8[::1], f8[::1]"  # and which lists, and by what their codes are multiplied
bound_segments = Entry("sparse.bound_segments", f"{_QUERY}, out(f8[::1])")
scan_lists = Entry("sparse_scan.scan_lists", f"{_QUERY}, i8[::1], f8[::1], i8, u4[::1], HEAP, i8")
score_lists = Entry("sparse_scan.score_lists", f"{_QUERY}, i8[::1], out(f8[::1])")
gather_row = Entry("sparse.gather_row", "LISTS, i8, out(u4[::1]), out(u1[::1])")
gather_entries = Entry("sparse.gather_entries", "LISTS, i8[::1], b1[::1], out(i8[::1]), out(u4[::1]), out(u1[::1])")

# Decoding
_PLAN = "u1[::1], i8[::1], i8[::1], f4[::1], (i8[::1], i8[::1], i8[::1], i8[::1])"  # how `trellis` describes a code
decode_pq = Entry(
    "pq.decode_rows",
    "u1[:, ::1], i8[::1], f4[:, :, ::1], out(f4[:, ::1])",
    "u1[:, :], i8[::1], f4[:, :, ::1], out(f4[:, :])",
)
decode_levels = Entry("scalar.decode_levels", "u1[:, ::1], f4[::1], f4[::1], out(f4[:, ::1])")
decode_trellis = Entry(
    "trellis.decode_rows",
    f"u1[:, ::1], {_PLAN}, i8[::1], i8[::1], i8, out(f4[:, ::1])",
    f"u1[:, :], {_PLAN}, i8[::1], i8[::1], i8, out(f4[:, :])",
)
decode_rans = Entry("rans.decode", "u2[::1], u1[::1], u4[:, ::1], out(u1[::1])")
sum_entries = Entry("tables.sum_entries", "i8[::1], i8[::1], f4[:, ::1], out(f4[:, ::1])")
subword_ids = Entry("subwords.subword_ids", "u1[::1], i8[::1], i8, i8, i8, i8, i8, b1, out(i8[::1]), out(i8[::1])")
four_pieces = Entry("subwords.four_pieces", "u1[::1], i8, out(i8[:, ::1])")
string_numbers = Entry("subwords.string_numbers", "u1[::1], i8[::1], i8, out(u8[::1])")

# Encoding and reading of dumps
encode_pq = Entry("pq.nearest", "f4[:, ::1], i8[::1], f4[:, :, ::1], out(u1[:, ::1])")
encode_lists = Entry("sparse_encoding.encode_lists", "i8[::1], u2[::1], u1[::1], i8, i8, out(u4[::1]), out(u1[::1])")
encode_trellis = Entry("trellis.encode_rows", f"f4[:, ::1], {_PLAN}, i8[::1], out(u1[:, ::1])")
encode_rabitq = Entry("rabitq.nearest_directions", "f4[:, ::1], i8, out(u1[:, ::1])")
multiply_rows = Entry("row_products.multiply_rows", "level, (i8, i8), f4[:, ::1], f4[:, :], out(f4[:, ::1])")
_GRID = "f4[::1], f4[::1], f8"  # lowest levels, steps, the number of the highest level
encode_levels = Entry("scalar.encode_levels", f"f4[:, ::1], {_GRID}, out(u1[:, ::1])")
sum_errors = Entry("scalar.sum_errors", f"f4[:, ::1], {_GRID}, out(f4[::1])")
encode_rans = Entry("rans.encode", "u1[::1], u1[::1], u4[:, ::1], out(u2[::1])")
extend_codes = Entry("additive.extend", "i8, i8, f4[:, :], f4[:, :, ::1], f4[::1], out(f4[:, ::1]), out(u1[:, :, ::1])")
exchange_codes = Entry("additive.exchange", "f4[:, :, ::1], f4[:, :, :, ::1], f4[:, ::1], i8, out(u1[:, ::1])")
add_targets = Entry("tables.add_targets", "i8[::1], i8[::1], f8[::1], f4[:, :], out(f8[:, ::1])")
add_gram = Entry("tables.add_gram", "i8[::1], i8[::1], f8[::1], f8[:, ::1], out(f8[::1]), out(f8[:, ::1])")
write_lines = Entry("decimal_lines.write_lines", "f4[:, ::1], i8, u1[::1], i8[::1], i8, u1[::1], out(u1[::1])")
parse_records = Entry("records.parse_records", "u1[::1], i8, i8, b1, i8[::1], out(f4[:, ::1]), out(i8[:, ::1])")
split_rows = Entry("records.split_rows", "u1[::1], i8, out(u1[:, ::1]), out(i8[:, ::1])")
join_rows = Entry("records.join_rows", "u1[::1], i8[::1], u1[:, ::1], out(u1[::1])")
parse_lines = Entry("decimals.parse_lines", "u1[::1], i8, i8, out(f4[:, ::1]), out(i8[:, ::1])")
