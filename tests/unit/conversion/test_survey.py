"""The first pass over a dump: what it counts, what it leaves out, what it draws."""

from __future__ import annotations

import numpy as np
import pytest
from vecstore.formats import Batch

from vecstore.conversion.sources.arrays import ArrayDump
from vecstore.conversion.survey import duplicates, survey
from vecstore.conversion.survey.sampler import Sampler
from vecstore.conversion.survey.survey import clean_batches, survey_dump
from vecstore.conversion.tasks.site import Site
from vecstore.errors import DuplicateKeyError, FormatError, ShapeError

X = np.arange(24, dtype=np.float32).reshape(8, 3) + 1
KEYS = [f"key {row}" for row in range(8)]


class CutDump(ArrayDump):
    """An array that comes in batches of the length asked for."""

    def __init__(self, vectors, keys=None, cut=3):
        super().__init__(vectors, keys)
        self.cut = cut

    def batches(self, rows=0):
        return self._batches(self.cut)


@pytest.fixture
def surveyed(tmp_path):
    """Return a function that surveys arrays and gives what is kept: (survey, vectors, keys)."""

    def run(vectors, keys=None, *, on_bad="error", on_duplicate="error", cut=3, seed=0):
        dump = CutDump(vectors, keys, cut)
        shares = []
        found = survey_dump(
            dump,
            on_bad=on_bad,
            on_duplicate=on_duplicate,
            seed=seed,
            site=Site(tmp_path),
            report=lambda step: shares.append((step.done, step.done / step.total)),
        )
        assert shares == sorted(shares) and shares[-1] == (len(vectors), 1)
        assert {file.name for file in tmp_path.iterdir()} <= {"keys-00000"}, "what was half written has gone"
        batches = list(clean_batches(dump, found, on_bad))
        kept = np.concatenate([batch.vectors for batch in batches])
        assert found.kept == len(kept) == found.rows - len(found.dropped)
        return found, kept, None if keys is None else [key for batch in batches for key in batch.keys]

    return run


def with_value(row, value):
    x = X.copy()
    x[row, 1] = value
    return x


@pytest.mark.parametrize("cut", [1, 3, 8, 100])
def test_sound_rows_all_stay(surveyed, cut):
    found, kept, keys = surveyed(X, KEYS, cut=cut)
    np.testing.assert_array_equal(kept, X)
    assert keys == KEYS and (found.rows, found.kept, found.bad, found.zeroed, found.duplicates) == (8, 8, 0, 0, 0)
    np.testing.assert_array_equal(found.sample, X[found.sample_rows])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("cut", [1, 3, 8])
def test_vectors_that_are_bad(surveyed, value, cut):
    x = with_value(4, value)
    reason = "row 4: a value beyond 1e+15" if np.isfinite(value) else "row 4: NaN or infinity"
    with pytest.raises(FormatError) as caught:
        surveyed(x, KEYS, cut=cut)
    assert reason in str(caught.value) and 'on_bad="skip", or store zeros with on_bad="zero"' in str(caught.value)

    found, kept, keys = surveyed(x, KEYS, on_bad="skip", cut=cut)
    np.testing.assert_array_equal(kept, np.delete(X, 4, axis=0))
    assert keys == KEYS[:4] + KEYS[5:] and (found.bad, found.zeroed, found.examples) == (1, 0, [reason])
    assert 4 not in found.sample_rows

    found, kept, keys = surveyed(x, KEYS, on_bad="zero", cut=cut)
    np.testing.assert_array_equal(kept, np.where(np.arange(8)[:, None] == 4, 0, X))
    assert keys == KEYS and (found.bad, found.zeroed, found.examples) == (0, 1, [reason])
    assert 4 not in found.sample_rows


@pytest.mark.parametrize("on_bad", ["skip", "zero"])
def test_empty_keys_cannot_be_kept(surveyed, on_bad):
    keys = [*KEYS[:2], "", *KEYS[3:7], ""]
    found, kept, left = surveyed(X, keys, on_bad=on_bad)
    np.testing.assert_array_equal(kept, np.delete(X, [2, 7], axis=0))
    assert left == [key for key in keys if key] and (found.bad, found.zeroed, found.duplicates) == (2, 0, 0)
    assert found.examples == ["row 2: empty key", "row 7: empty key"]
    with pytest.raises(FormatError, match="row 2: empty key"):
        surveyed(X, keys)


def test_a_few_bad_rows_are_quoted(surveyed):
    found, _, _ = surveyed(np.where(np.arange(8)[:, None] < 7, np.nan, X), on_bad="skip")
    assert len(found.examples) == survey.EXAMPLES < found.bad == 7


@pytest.mark.parametrize("cut", [1, 3, 8])
@pytest.mark.parametrize("kind", ["str", "bytes", "int64"])
def test_duplicates(surveyed, kind, cut):
    numbers = [1, 2, 1, 3, 2, 1, 4, 5]
    keys = {"str": [f"k{i}" for i in numbers], "bytes": [b"k%d" % i for i in numbers], "int64": numbers}[kind]
    with pytest.raises(DuplicateKeyError, match=r'rows \d and \d have the same key .*on_duplicate="first" or'):
        surveyed(X, keys, cut=cut)
    for policy, rows in (("first", [0, 1, 3, 6, 7]), ("last", [3, 4, 5, 6, 7])):
        found, kept, left = surveyed(X, keys, on_duplicate=policy, cut=cut)
        np.testing.assert_array_equal(kept, X[rows])
        assert left == [keys[row] for row in rows] and (found.duplicates, found.bad) == (3, 0)


@pytest.mark.parametrize(("policy", "rows"), [("first", [2, 3]), ("last", [2, 4])])
def test_a_bad_row_is_nobodys_duplicate(surveyed, policy, rows):
    x = X[:6].copy()
    x[[0, 5]] = np.nan
    keys = ["a", "", "b", "a", "a", "a"]
    found, kept, left = surveyed(x, keys, on_bad="skip", on_duplicate=policy)
    np.testing.assert_array_equal(kept, X[rows])
    assert left == ["b", "a"] and (found.bad, found.duplicates) == (3, 1)


def test_duplicates_in_ranges_of_hashes(surveyed, monkeypatch):
    """Hashes of more keys than fit are compared a range at a time; the result is the same."""
    keys = [f"k{i % 300}" for i in range(1000)]
    x = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    _, whole, _ = surveyed(x, keys, on_duplicate="last", cut=70)
    for name in ("SORT_KEYS", "LEAST_KEYS"):
        monkeypatch.setattr(duplicates, name, 90)
        found, ranged, left = surveyed(x, keys, on_duplicate="last", cut=70)
        np.testing.assert_array_equal(whole, ranged)
        assert found.duplicates == 700 and left == keys[700:]


@pytest.mark.parametrize("on_bad", ["skip"])
def test_nothing_left(surveyed, on_bad):
    with pytest.raises(ShapeError, match=r"no rows to store \(8 in the dump, 8 of them bad\)"):
        surveyed(np.full((8, 3), np.nan), on_bad=on_bad)


def test_a_dump_that_changes_between_the_passes(tmp_path):
    dump = CutDump(X)
    options = {"on_bad": "error", "on_duplicate": "error", "seed": 0, "site": Site(tmp_path)}
    found = survey_dump(dump, **options, report=lambda step: None)
    for rows in (5, 8):
        dump._batches = lambda cut, rows=rows: iter([Batch(X[:rows].copy(), None), Batch(X[:1].copy(), None)])
        with pytest.raises(FormatError, match=f"changed while it was read; .*found {rows + 1} rows, before 8"):
            list(clean_batches(dump, found, "error"))


def drawn(rows, seed, cut, *, capacity=256):
    sampler = Sampler(1, seed, capacity)
    for start in range(0, rows, cut):
        numbers = np.arange(start, min(start + cut, rows))
        sampler.offer(numbers[:, None].astype(np.float32), numbers)
    vectors, numbers, _ = sampler.found()
    np.testing.assert_array_equal(vectors[:][:, 0], numbers)
    order = np.random.default_rng(seed).permutation(len(numbers))[: len(numbers) // 2]
    np.testing.assert_array_equal(vectors.moved(order)[:, 0], numbers[order])
    return numbers


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 3000])
def test_sample_does_not_depend_on_batches(rows):
    samples = [drawn(rows, 7, cut) for cut in (1, 13, 300, 5000)]
    assert len(samples[0]) == min(rows, 256) == len(set(samples[0].tolist()))
    for other in samples[1:]:
        np.testing.assert_array_equal(samples[0], other)


def test_a_smaller_sample_begins_a_larger_one():
    small, large = (drawn(3000, 7, 100, capacity=capacity) for capacity in (256, 700))
    np.testing.assert_array_equal(small, large[:256])


def test_samples_of_different_seeds_differ():
    one, other = (set(drawn(3000, seed, 100).tolist()) for seed in (0, 1))
    assert len(one & other) < 60  # 22 expected


def test_sample_is_uniform():
    """Over many seeds every row is drawn as often, and stands at the beginning of the sample as often."""
    rows, seeds = 2000, 400
    drawn_times, led = np.zeros(rows), np.zeros(rows)
    for seed in range(seeds):
        numbers = drawn(rows, seed, 2000)
        drawn_times[numbers] += 1
        led[numbers[:64]] += 1
    for times, share in ((drawn_times, 256 / rows), (led, 64 / rows)):
        expected, spread = seeds * share, np.sqrt(seeds * share * (1 - share))
        assert np.abs(times - expected).max() < 5 * spread
        assert times.std() == pytest.approx(spread, rel=0.1)
        by_part = times.reshape(10, -1).sum(axis=1)  # early rows no more than late ones
        assert np.abs(by_part - seeds * share * rows / 10).max() < 4 * spread * np.sqrt(rows / 10)
