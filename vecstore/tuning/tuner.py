"""`vecstore.tune`: choose and train the codec that keeps most neighbours for a budget, or costs least for a recall."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from vecstore.codecs.checks import as_queries, as_vectors, check_seed
from vecstore.codecs.codec import Codec, codec
from vecstore.errors import BudgetError, OptionError, ShapeError
from vecstore.measure.recall import interval
from vecstore.metric import Metric, check_metric
from vecstore.parallel import checked_executor
from vecstore.progress import Progress, reported
from vecstore.shard.layer_distances import LAYER_DISTANCE_BYTES
from vecstore.tuning.budget import Budget, parse_budget, parse_target
from vecstore.tuning.candidates import FAMILIES, Family
from vecstore.tuning.evaluation import Evaluation, SuccessiveHalving, scan_class
from vecstore.tuning.result import Entry, Table, Tuned

__all__ = ["tune"]

HELD_OUT_ROWS = 1000
FEWEST_ROWS = 100
GROWTH = 1.08  # from one size to the next when a recall is to be reached
RESCORED = 100  # rows of the coarse layer that the fine one scores again, for ten wanted


def tune(  # noqa: PLR0913 - options are parameters, as users know them
    x: ArrayLike,
    budget: int | float | str | Budget | None = None,
    *,
    target: float | str | None = None,
    metric: Metric = "cosine",
    queries: ArrayLike | None = None,
    rows: int | None = None,
    keep_order: bool = True,
    seed: int = 0,
    executor: Executor | None = None,
    progress: Progress = False,
) -> Tuned:
    """Choose a codec by measuring, and train it.

    All codecs that are registered are candidates. Those that could not win even as ideal codes (rate-distortion
    bound) are left out; the others are trained on few rows, the better ones on more (successive halving: Jamieson &
    Talwalkar, AISTATS 2016), each judged by recall@10 on rows that it was not trained on, asked by rows that are in
    neither. Of candidates within one standard error of the best, the smallest file is taken; of equal ones, the one
    that is scanned fastest (`vecstore.measure.choice.choose`).

    Parameters
    ----------
    x : (n, d) array of numbers
        A sample of the vectors to come, or all of them; 10,000 tell well, more than 61,000 are not looked at.
    budget : number or str
        Bytes a row (``64``), ``"32x"`` smaller than float32, ``"5%"`` of it, or scanned and stored bytes of two
        layers, ``"24/200"``. The trained arrays count, shared out over the rows. Never exceeded.
    target : str or number, instead of `budget`
        ``"recall@10=0.95"``: the fewest bytes for which the lower end of the 95% interval reaches it.
    metric : {"cosine", "dot", "l2"}
    queries : (q, d) array, optional
        Real queries, which count as much as the held-out rows.
    rows : int, optional
        Of the store to come (of each of its shards), that share the model; n by default.
    keep_order : bool
        Count the four bytes that a row's number takes where codecs put rows in cells. False for stores with keys that
        are written with ``keep_order=False``, too.
    seed : int
        The same input and seed give the same codec.
    executor : concurrent.futures.Executor, optional
        Whose workers try the candidates of each round side by side, such as `vecstore.distributed.Processes`; the
        result is the same.
    progress : bool or callable
        True shows what is tried; a function is called with each `vecstore.progress.Step`.

    Returns
    -------
    Tuned
        The codec, trained on all of `x` but the held-out rows, with the `table` of all candidates.

    Raises
    ------
    BudgetError
        No codec is so small; the message says which comes nearest.
    OptionError
        Neither a budget nor a target, both, or another argument that is no good.
    ShapeError
        Fewer than 100 rows, or no vectors.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 16)).astype("f4")
    >>> tuned = vecstore.tune(x, budget=12)
    >>> tuned.entry.row_bytes <= 12, tuned.decode(tuned.encode(x)).shape
    (True, (1000, 16))
    """
    if (budget is None) == (target is None):
        raise OptionError('tune takes a budget (64, "32x", "24/200") or a target ("recall@10=0.95"), and not both')
    check_metric(metric)
    if rows is not None and rows < 1:
        raise OptionError(f"rows is how many the store will have, 1 or more; found {rows!r}")
    check_seed(seed)
    vectors = as_vectors(x)
    if len(vectors) < FEWEST_ROWS:
        raise ShapeError(f"{len(vectors)} rows are too few to tell codecs apart; tune on {FEWEST_ROWS} or more")
    vectors = vectors[np.random.default_rng(seed).permutation(len(vectors))]
    d = vectors.shape[1]
    with reported(progress) as report:
        halving = SuccessiveHalving(
            vectors,
            min(HELD_OUT_ROWS, len(vectors) // 10),
            None if queries is None else as_queries(queries, d),
            metric=metric,
            rows=len(vectors) if rows is None else rows,
            keep_order=keep_order,
            seed=seed,
            report=report,
        )
        halving.executor = None if executor is None else checked_executor(executor)
        found = _chosen(halving, budget, target)
        halving.finish()
    return found


def _chosen(halving: SuccessiveHalving, budget: int | float | str | Budget | None, target: float | str | None) -> Tuned:
    if target is not None:
        return _for_target(halving, parse_target(target))
    wanted = parse_budget("" if budget is None else budget, halving.x.shape[1])
    return _one_layer(halving, wanted) if wanted.scanned is None else _two_layers(halving, wanted, wanted.scanned)


def _one_layer(halving: SuccessiveHalving, budget: Budget) -> Tuned:
    chosen = _best(halving, FAMILIES, budget.stored, role="stored")
    return _finished(halving, chosen, budget.stored)


def _finished(halving: SuccessiveHalving, chosen: Evaluation, limit: float) -> Tuned:
    """Train the chosen codec on all rows that do not ask; a byte less where its model has grown."""
    train = halving.x[halving.held_out :]
    layer = ",".join(map(str, chosen.codec.spec.layers))
    halving.start(f"{chosen.codec.spec}, on {len(train):,} rows")
    trained = halving.fitted(chosen.family, chosen.cells, train, limit, start=layer)
    table = Table(halving.entries)
    entry = next(entry for entry in table if entry.chosen)
    return _tuned(halving, trained or chosen.codec, entry)


def _tuned(halving: SuccessiveHalving, trained: Codec, entry: Entry) -> Tuned:
    """Attach the table; the chosen entry tells of the codec as it was trained in the end."""
    final = replace(
        entry,
        codec=str(trained.spec),
        row_bytes=halving.row_bytes(trained),
        code_bytes=trained.code_bytes,
        model_bytes=trained.model_bytes,
    )
    return Tuned(trained, Table([final, *(other for other in halving.entries if other is not entry)]), final)


def _best(
    halving: SuccessiveHalving, families: tuple[Family, ...], limit: float, *, role: str, cells: bool = True
) -> Evaluation:
    found = halving.best(families, limit, role=role, cells=cells)
    if found is None:
        size, spec = halving.smallest(families)
        raise BudgetError(
            f"a budget of {limit:g} bytes a row: the smallest codec for these vectors is {spec} with {size:.2f} bytes, "
            f"its model shared out over {halving.rows:,} rows; give {np.ceil(size):.0f} or more"
        )
    return found


def _two_layers(halving: SuccessiveHalving, budget: Budget, scanned: float) -> Tuned:
    """Choose the layer that is scanned, then what the rest of the bytes buys for rescoring."""
    coarse = _best(halving, FAMILIES, scanned, role="scanned")
    # Cells belong to both layers, so their centroids are paid with the coarse one.
    room = budget.stored - halving.row_bytes(coarse.codec) - LAYER_DISTANCE_BYTES
    fine = halving.best(FAMILIES, room, role="stored", cells=False)
    if fine is None:
        size, spec = halving.smallest(FAMILIES)
        least = np.ceil(budget.stored - room + size)
        raise BudgetError(
            f"a budget of {scanned:g}/{budget.stored:g} bytes a row: beside {coarse.codec.spec}, which is scanned, the "
            f"smallest fine layer is {spec} with {size:.2f} bytes; give {scanned:g}/{least:.0f} or more"
        )
    rung, limit = halving.rungs[-1], room
    halving.start(f"{coarse.codec.spec}/{fine.codec.spec}")
    while True:
        pair = codec(f"{coarse.codec.spec}/{fine.codec.spec}").fit(
            halving.x[halving.held_out :], seed=halving.seed, rows=halving.rows
        )
        excess = halving.row_bytes(pair) - budget.stored
        if excess <= 0:
            break
        limit -= max(excess, 1.0)
        smaller = halving.fitted(fine.family, 0, halving.training(rung), limit)
        if smaller is None:
            raise BudgetError(f"a budget of {scanned:g}/{budget.stored:g} bytes leaves nothing for the fine layer")
        fine = replace(fine, codec=smaller)
    judged = codec(str(pair.spec)).fit(halving.training(rung), seed=halving.seed, rows=halving.rows)
    truth = halving.ground_truth(rung)
    decoded = [trained.decode(trained.encode(truth.base)) for trained in (coarse.codec, judged)]
    recalls = truth.recalls_rescored(*decoded, rescored=RESCORED)
    both = replace(
        halving.entry(replace(fine, codec=judged, recalls=recalls), rung, "stored", chosen=True),
        speed=scan_class(coarse.codec, halving.metric),
        recall=interval(recalls, seed=halving.seed),
    )
    halving.entries = [both, *(replace(entry, chosen=False) for entry in halving.entries)]
    return _tuned(halving, pair, both)


def _for_target(halving: SuccessiveHalving, target: float) -> Tuned:
    """Find the size by bisection with one adaptive family, choose among all there, and grow until it suffices."""
    d = halving.x.shape[1]
    rung = halving.rungs[-1]
    quick = replace(halving.rungs[0], base=rung.base)
    truth, train = halving.ground_truth(quick), halving.training(quick)
    sizes = list(dict.fromkeys(int(np.ceil(GROWTH**power)) for power in range(200) if GROWTH**power < 4 * d))
    sizes.append(4 * d + 1)  # float32 itself, and its share of no model
    probe = FAMILIES[0]
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high) // 2
        halving.start(f"{probe.name}, {sizes[middle]} bytes")
        trained = halving.fitted(probe, 0, train, sizes[middle])
        recalls = None if trained is None else truth.recalls(trained.decode(trained.encode(truth.base)))[truth.ks[-1]]
        if recalls is not None and recalls.mean() >= target:
            high = middle
        else:
            low = middle + 1
    families: tuple[Family, ...] = FAMILIES
    for size in sizes[max(low - 1, 0) :]:
        chosen = halving.best(families, size, role="stored", cells=True)
        if chosen is None:
            continue
        if interval(chosen.recalls, seed=halving.seed).low >= target:
            return _finished(halving, chosen, size)
        halving.entries = [replace(entry, chosen=False) for entry in halving.entries]
        # From here on the best family only grows; floats are there for when no code suffices.
        families = tuple(family for family in FAMILIES if family in (chosen.family, FAMILIES[-1]))
    raise BudgetError(f"recall@10 of {target:g} is not reached, not even by float32; ask for less")
