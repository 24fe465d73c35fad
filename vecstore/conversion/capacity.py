"""What a large conversion will take: bytes, hours and machines, from what a small one takes on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from vecstore.conversion.rates import Rates, measure_rates
from vecstore.conversion.shards.key_ranges import segment_ranges
from vecstore.errors import OptionError
from vecstore.keys.map import VALUE_BITS
from vecstore.store.manifest import require_few

__all__ = ["Plan", "plan"]

CELLS = 1.23  # of a key map, for each key
SCRATCH_KEY, SCRATCH_ROW = 24 + 8, 4  # bytes that tasks leave to each other: of a key, of a row
FILE_BYTES = 1 << 30  # of the dump, where it is not said how many files it has
HOUR = 3600
UNITS = {"TB": 1e12, "GB": 1e9, "MB": 1e6, "kB": 1e3}
MOST_OF_ALL = 10**15  # rows, bytes, cores
MOST = {"dimensions": 1 << 14, "key_bytes": 1 << 10}  # some ten thousand vectors, a million keys are made up here


@dataclass(frozen=True)
class Plan:
    """What a conversion and its store will take. As text: a table for people.

    Attributes
    ----------
    rows, machines, cores : int
    dump_bytes, stored_bytes, scratch_bytes : int
        Of the dump as Parquet of float32, of the store, of what tasks leave to each other meanwhile.
    shards, tasks : int
    cpu_hours : dict of str to float
        By stage: ``reading``, ``fitting``, ``encoding``, ``mapping``.
    hours : dict of str to float
        The same on the clock; ``fitting`` is one task.
    scanned_bytes : int
        What a search of all rows has to have in memory.
    search_machines : int
        How many hold that in three quarters of their memory.
    rates : Rates
    """

    rows: int
    machines: int
    cores: int
    dump_bytes: int
    stored_bytes: int
    scratch_bytes: int
    shards: int
    tasks: int
    cpu_hours: dict[str, float]
    hours: dict[str, float]
    scanned_bytes: int
    search_machines: int
    rates: Rates

    def to_dict(self) -> dict[str, Any]:
        """Return the members, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {_time(hours)}" for stage, hours in self.hours.items())
        held = "1 machine holds" if self.search_machines == 1 else f"{self.search_machines:,} machines hold"
        lines = {
            "dump": _size(self.dump_bytes),
            "store": f"{_size(self.stored_bytes)} in {self.shards:,} shards, {self.rates.row_bytes:.1f} B a row",
            "scratch": f"{_size(self.scratch_bytes)} until the store is there",
            "CPU": f"{_time(sum(self.cpu_hours.values()))} in {self.tasks:,} tasks",
            "clock": f"{_time(sum(self.hours.values()))} on {self.machines} x {self.cores} cores: {stages}",
            "search": f"{_size(self.scanned_bytes)} scanned; {held} it in memory",
        }
        return "\n".join(f"{name:<8} {text}" for name, text in lines.items())


def plan(  # noqa: PLR0913 - options are parameters, as users know them
    rows: float,
    dimensions: int,
    codec: str = "sq:8",
    *,
    machines: int = 1,
    cores: int = 8,
    shard_bytes: int = 1 << 30,
    files: int | None = None,
    key_bytes: int = 16,
    memory_bytes: int = 64 << 30,
    disk_bytes_s: float = 500e6,
    rates: Rates | None = None,
) -> Plan:
    """Predict what a conversion takes, on machines whose cores are as fast as this one.

    A small conversion of made-up vectors is measured here first, from Parquet, on all cores: ten seconds to a few
    minutes. Tasks are taken to be handed out as workers become free, so that a stage ends at most one task later than
    it would if work could be divided at will (Graham, Bounds for certain multiprocessing anomalies, 1966).

    Parameters
    ----------
    rows : float
        A whole number, such as ``1e9``.
    dimensions : int
    codec : str
    machines, cores : int
        How many, and cores of each, which are one worker each.
    shard_bytes : int
    files : int, optional
        Of the dump; by default one for each GiB, and at least one for each worker.
    key_bytes : int
        Of the text of a key, on average; 0 for rows without keys.
    memory_bytes : int
        Of a machine that searches.
    disk_bytes_s : float
        What a machine reads and writes in a second.
    rates : Rates, optional
        Measured before, for the same codec and dimensions: nothing is measured then.

    Raises
    ------
    OptionError
        A number that is none or out of range, more shards than a store has, or rates of another codec.
        `MissingExtraError` without pyarrow.
    CodecError
        The specification does not fit.
    """
    given = {"rows": rows, "dimensions": dimensions, "machines": machines, "cores": cores, "shard_bytes": shard_bytes}
    given |= {"memory_bytes": memory_bytes, "disk_bytes_s": disk_bytes_s} | ({} if files is None else {"files": files})
    _require_whole(given | {"key_bytes": key_bytes})
    rates = rates or measure_rates(codec, int(dimensions), key_bytes=key_bytes)
    _require_of(rates, codec, dimensions, key_bytes, shard_bytes)
    n, workers = int(rows), int(machines) * int(cores)
    dump_bytes = int(n * rates.dump_bytes)
    shards = ceil(n * rates.row_bytes / (shard_bytes - rates.fixed_bytes))
    require_few(shards)
    files = files or max(ceil(dump_bytes / FILE_BYTES), workers)
    stored = int(n * rates.row_bytes + shards * rates.fixed_bytes)
    tasks = {"reading": files, "fitting": 1, "encoding": shards}
    seconds = {
        "reading": n * rates.reading_s + files * rates.file_s,
        "fitting": rates.fitting_s,
        "encoding": n * rates.encoding_s + shards * rates.shard_s,
    }
    moved = {"reading": dump_bytes, "fitting": 0, "encoding": dump_bytes + stored}
    if key_bytes and shards > 1:
        stored += int(n * CELLS * next(bits for bits in VALUE_BITS if shards <= 1 << bits) / 8)
        tasks["mapping"], moved["mapping"] = len(segment_ranges(n)), 8 * n
        seconds["mapping"] = n * rates.mapping_s
    hours = {
        stage: max(_makespan(seconds[stage], tasks[stage], workers), moved[stage] / (machines * disk_bytes_s)) / HOUR
        for stage in tasks
    }
    return Plan(
        n,
        int(machines),
        int(cores),
        dump_bytes,
        stored,
        n * (SCRATCH_ROW + (SCRATCH_KEY if key_bytes else 0)),
        shards,
        sum(tasks.values()),
        {stage: own / HOUR for stage, own in seconds.items()},
        hours,
        int(n * rates.code_bytes),
        max(ceil(n * rates.code_bytes / (0.75 * memory_bytes)), 1),
        rates,
    )


def _require_whole(given: dict[str, Any]) -> None:
    for name, value in given.items():
        least, most = int(name != "key_bytes"), MOST.get(name, MOST_OF_ALL)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not least <= value <= most or value != int(value):
            raise OptionError(f"{name} is a whole number from {least} to {most:,}, found {value!r}")


def _require_of(rates: Rates, codec: str, dimensions: int, key_bytes: int, shard_bytes: int) -> None:
    if (rates.codec, rates.dimensions, rates.key_bytes) != (codec, dimensions, key_bytes):
        raise OptionError(
            f"rates are those of {rates.codec}, {rates.dimensions} dimensions, {rates.key_bytes} bytes a key"
        )
    if shard_bytes <= rates.fixed_bytes + rates.row_bytes:
        raise OptionError(f"shard_bytes={shard_bytes:,}: a shard takes {rates.fixed_bytes:,.0f} bytes beside its rows")


def _makespan(total_s: float, tasks: int, workers: int) -> float:
    """Return how long tasks of equal length take at most that are handed out as workers become free."""
    return total_s / workers + (1 - 1 / workers) * total_s / tasks


def _size(size_bytes: float) -> str:
    unit = next((unit for unit in ("TB", "GB", "MB") if size_bytes >= UNITS[unit]), "kB")
    return f"{size_bytes / UNITS[unit]:,.1f} {unit}"


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{HOUR * hours:.2g} s"
