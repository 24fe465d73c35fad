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
from vecstore.codecs.trellis.tcq import TCQ
from vecstore.conversion.building import build
from vecstore.conversion.report import Front, Report
from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.conversion.tasks.options import CodecRequest, ConversionOptions
from vecstore.conversion.tasks.rows import parted
from vecstore.distributed.crew import Crew
from vecstore.errors import OptionError
from vecstore.measure.oversampling import measure_oversampling
from vecstore.progress import Listener, Step
from vecstore.search import scan_bytes
from vecstore.search.oversampling import DEFAULT_RECALL
from vecstore.store.store import Store

__all__ = ["compare_fronts"]

LEAST_ROWS = scan_bytes.LEAST_ROWS  # smaller stores are searched in no time, and in another way
SAMPLE_ROWS, SAMPLE_BYTES = 16_384, 16 << 20  # of a copy, at most
COPIES = 8, 16  # of each, searched as one store: from the difference follows what more rows take
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
        if other is None:
            return []
        rng = np.random.default_rng(options.seed)
        count = min(SAMPLE_ROWS, SAMPLE_BYTES // codec.code_bytes, rows * 8 // 9)
        vectors = store.vectors[np.sort(rng.choice(rows, count + count // 8, replace=False))]
    rng.shuffle(vectors)
    sample, asking = vectors[:count], vectors[count:]
    fronts, searches = [], []
    with TemporaryDirectory() as folder, ExitStack() as stack:
        for number, spec in enumerate((codec.spec, other)):
            report(Step("comparing", number, 2, "codecs", str(spec.layers[0])))
            trained = codec if spec is codec.spec else spec.fit(sample, seed=options.seed)
            factors = measure_oversampling(trained, asking, sample, rows=rows, metric=options.metric)
            fronts.append(Front(str(spec.layers[0]), factors[str(DEFAULT_RECALL)], 0.0))
            same = ConversionOptions(
                CodecRequest.of(trained), metric=options.metric, keep_norms=options.keep_norms, seed=options.seed
            )
            file = Path(folder) / f"{number}.vecs"
            build(parted(ArrayDump(sample)), file, same, Crew(None), lambda step: None)
            searches += [stack.enter_context(_copies(file, copies, fronts[-1].rescored)) for copies in COPIES]
        few, many = COPIES
        taken = _timed(searches, asking)
        report(Step("comparing", 2, 2, "codecs"))
    each = zip(fronts, taken[::2], taken[1::2], strict=True)
    scale = (rows / count - few) / (many - few)
    return [replace(front, search_ms=1e3 * (less + (more - less) * scale)) for front, less, more in each]


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
def _copies(file: Path, count: int, rescored: int) -> Iterator[Callable[[Floats], object]]:
    """Yield what searches so many copies of a store as one."""
    files = [file, *(file.with_name(f"{file.stem}-{count}-{number}.vecs") for number in range(1, count))]
    for copy in files[1:]:
        shutil.copyfile(file, copy)
    with Store([str(each) for each in files]) as store:
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
