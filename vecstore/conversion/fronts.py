"""Which codec in front of a fine layer is searched faster: measured when a store is made, on small copies of it.

Scans of `tcq` read few bytes of a row and rescore few rows, scans of `bin` take less arithmetic: which is faster
depends on the vectors, on how many there are and on the processor, so no rule says it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from vecstore.codecs.base import Floats, Quantizer
from vecstore.codecs.codec import Codec, CodecSpec
from vecstore.codecs.scalar.binary import Binary
from vecstore.codecs.transforms.normalize import unit
from vecstore.codecs.trellis.tcq import TCQ
from vecstore.conversion.report import Front, Report
from vecstore.conversion.tasks.options import ConversionOptions
from vecstore.errors import OptionError
from vecstore.measure.fidelity import RAW
from vecstore.measure.oversampling import measure_oversampling
from vecstore.measure.scan_bytes import measure_scan_bytes
from vecstore.progress import Listener, Step
from vecstore.search import scan_bytes
from vecstore.search.oversampling import DEFAULT_RECALL
from vecstore.shard.certificate import Certificate
from vecstore.shard.writer import ShardWriter
from vecstore.store.store import Store

__all__ = ["compare_fronts"]

LEAST_ROWS = scan_bytes.LEAST_ROWS  # smaller stores are searched in no time, and in another way
SAMPLE_ROWS = 16_384  # of a copy
MOST_BYTES = 4096  # of a row, whose copies take half a gigabyte of disk
QUERIES, K, ROUNDS = 16, 10, 4


def compare_fronts(done: Report, options: ConversionOptions, report: Listener) -> list[Front]:
    """Return what a search of a new store takes with the codec in front that it has, and with the other one.

    Nothing where its codec is not `tcq` or `bin` in front of another, or where rows are few.
    """
    rows = done.rows
    if rows < LEAST_ROWS or "/" not in done.codec:
        return []
    with Store(done.path) as store:
        try:
            codec = store.codec
        except OptionError:  # there are several
            return []
        other = _other(codec)
        if other is None or codec.code_bytes > MOST_BYTES:
            return []
        rng = np.random.default_rng(options.seed)
        count = min(SAMPLE_ROWS, rows * 8 // 9)
        vectors = store.vectors[np.sort(rng.choice(rows, count + count // 8, replace=False))]
    rng.shuffle(vectors)
    try:
        return _compared(codec, other, unit(vectors) if options.keep_norms else vectors, rows, options, report)
    except OSError:  # no room for copies; the store is there
        return []


def _compared(
    codec: Codec, other: CodecSpec, vectors: Floats, rows: int, options: ConversionOptions, report: Listener
) -> list[Front]:
    """Return what searches take, as measured on copies of most of some vectors (n, d), the last ones asking."""
    count = len(vectors) * 8 // 9
    sample, asking, copies = vectors[:count], vectors[count:], -(-LEAST_ROWS // count)
    fronts, searches = [], []
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for number, spec in enumerate((codec.spec, other)):
            report(Step("comparing", number, 2, "codecs", str(spec.layers[0])))
            trained = codec if spec is codec.spec else spec.fit(sample, seed=options.seed)
            factors = measure_oversampling(trained, asking, sample, rows=rows, metric=options.metric)
            fronts.append(Front(str(spec.layers[0]), factors[str(DEFAULT_RECALL)], 0.0))
            trusted = Certificate(prefixes=measure_scan_bytes(trained, asking, sample, raw=RAW[options.metric]))
            files = [Path(folder) / f"{number}-{copy}.vecs" for copy in range(copies)]
            shard = ShardWriter(files[0], trained, metric=options.metric, key_type=None)
            shard.add(sample)
            shard.close({"certificate": trusted.to_dict()})
            for copy in files[1:]:
                shutil.copyfile(files[0], copy)
            # Searched as one store, once and twice: from the difference follows what more rows take.
            searches += [stack.enter_context(_asking(files * times, fronts[-1].rescored)) for times in (1, 2)]
        taken = _timed(searches, asking)
        report(Step("comparing", 2, 2, "codecs"))
    each = zip(fronts, taken[::2], taken[1::2], strict=True)
    more = rows / (count * copies) - 1
    return [replace(front, search_ms=1e3 * (once + (twice - once) * more)) for front, once, twice in each]


def _other(codec: Codec) -> CodecSpec | None:
    """Return the specification with the other quantizer in front, of as many bytes."""
    if len(codec.layers) < 2 or codec.partition is not None or codec.layers[0].spec.byte_steps:
        return None
    coarse = codec.layers[0]
    quantizer: Quantizer
    match coarse.spec.quantizer:
        case Binary():
            quantizer = TCQ(coarse.code_bytes)
        case TCQ():
            quantizer = Binary()
        case _:
            return None
    steps = *coarse.spec.transforms, quantizer
    return replace(codec.spec, layers=(replace(coarse.spec, steps=steps), *codec.spec.layers[1:]))


@contextmanager
def _asking(files: list[Path], rescored: int) -> Iterator[Callable[[Floats], object]]:
    """Yield what searches some files as one store."""
    with Store([str(file) for file in files]) as store:
        yield lambda query: store.search(query, K, rescore=rescored)


def _timed(searches: list[Callable[[Floats], object]], asking: Floats) -> list[float]:
    """Return what each search takes, in seconds, one query after the other, while searches take turns."""
    taken: list[list[float]] = [[] for _ in searches]
    for _ in range(ROUNDS):
        for search, own in zip(searches, taken, strict=True):
            for query in asking[:QUERIES]:
                start = time.perf_counter()
                search(query)
                own.append(time.perf_counter() - start)
    return [median(own[QUERIES:]) for own in taken]  # the first round reads files and makes ready
