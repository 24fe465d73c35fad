"""How certificates are printed."""

from __future__ import annotations

from typing import Any

from vecstore.shard.certificate import CODES, ORIGINALS, ROWS_AS_QUERIES, Certificate

__all__ = ["certificate", "covered", "recalls"]


def certificate(found: Certificate) -> list[tuple[str, str]]:
    """Return the lines of a certificate (or of what older files have in its place)."""
    lines = [] if found.rows is None else [("measured on", f"{found.rows:,} rows {_seen(found)}")]
    lines += [*recalls(found), *_cosines(found)]
    if found.relative_error is not None:
        error = found.relative_error
        lines.append(("error", f"{error:.4f} of the variance (R² {1 - error:.4f}){_bound(found)}"))
    if found.bytes is not None:
        size = found.bytes
        lines.append(("bytes", f"{size.row:.1f} a row as budgets count, {size.code} of them the code"))
    return [*lines, *_tables(found), *_rescoring(found), *_found(found)]


def covered(found: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return lines that say of which rows a certificate speaks, where others came since."""
    if found is None or (found["at"] is None and not found["added"] + found["deleted"]):
        return []
    told = f"the {found['measured']:,} rows of " + (
        "the conversion" if found["at"] is None else f"generation {found['at']}, measured again"
    )
    if found["added"] + found["deleted"]:
        told += f"; since then {found['added']:,} were added and {found['deleted']:,} deleted, up to generation "
        told += f"{found['generation']}"
    lines = [("speaks of", told)]
    if found["against"] == CODES:
        lines.append(("", "by their codes alone: recall, cosine and error are those of the conversion's rows, and not"))
        lines.append(("", "compared with the originals of rows added since; vecstore certify STORE DUMP does that"))
    drift = found["drift"]
    if drift:
        lines.append(("", f"R² of added rows {drift['r2']:.3f} at least, of the codec's own {drift['own_r2']:.3f}"))
    if found["stale"]:
        lines.append(("", "stale: over 10% of the rows were not measured; vecstore certify measures again"))
    return lines


def recalls(found: Certificate) -> list[tuple[str, str]]:
    """Return a line for the recall of rows as queries, and one for that of real ones or for how they differ."""
    lines = []
    for measured, whose in ((found.recall, ROWS_AS_QUERIES), (found.query_recall, "of the given queries")):
        if measured is not None:
            numbers = ", ".join(f"@{k} {interval}" for k, interval in measured.at.items())
            where = f"{measured.queries:,} {whose} among {measured.base:,} rows"
            beyond = "" if measured.extrapolated is None else f", extrapolated to {measured.extrapolated:,}"
            lines.append(("recall", f"{numbers}: {where}{beyond}"))
    low = None if found.recall is None or found.query_recall is not None else found.recall.of_real_queries
    if low is not None:
        command = "convert" if found.again is None else "certify"
        lines.append(("", f"real queries often miss up to a third more, @10 {low:.3f}: {command} with --queries FILE"))
    return lines


def _seen(found: Certificate) -> str:
    if found.again is not None and found.again.against == ORIGINALS:
        trained = "" if found.training_rows is None else f"; training saw {found.training_rows:,} of the conversion's"
        return f"of the {found.again.rows:,} that lived{trained}"
    reason = "tables are fitted to every row" if found.tables else "there were few"
    return "that training did not see" if found.held_out else f"of the training sample: {reason}"


def _found(found: Certificate) -> list[tuple[str, str]]:
    if found.found is None:
        return []
    whose = ROWS_AS_QUERIES if found.found.by == ROWS_AS_QUERIES else "given queries"
    numbers = ", ".join(f"@{k} {interval}" for k, interval in found.found.at.items())
    return [
        ("searches", f"find, of what exact scores of the codes put first, {numbers}: {found.found.queries:,} {whose}")
    ]


def _cosines(found: Certificate) -> list[tuple[str, str]]:
    mean, low, least = found.cosine_mean, found.cosine_p1, found.cosine_min
    if mean is None or low is None or least is None:
        return []
    return [("cosine", f"mean {mean:.4f}, 1% below {low:.4f}, least {least:.4f}")]


def _bound(found: Certificate) -> str:
    if found.bound is None:
        return ""
    beyond = found.bound.decibels
    return f", {abs(beyond):.2f} dB {'above' if beyond >= 0 else 'below'} the Gaussian limit"


def _tables(found: Certificate) -> list[tuple[str, str]]:
    lines = []
    collisions = (found.tables or {}).get("collisions")
    if isinstance(collisions, (int, float)):
        lines.append(("collisions", f"{collisions:.2%} of the rows share all entries with another"))
    if found.weighted_r2 is not None:
        lines.append(("weighted R²", f"{found.weighted_r2:.4f} of the variance kept, rows weighted by importance"))
    return lines


def _rescoring(found: Certificate) -> list[tuple[str, str]]:
    factors = found.oversampling or ({"0.999": found.oversample} if found.oversample is not None else {})
    if not factors:
        return []
    shown = ", ".join(f"{factor} for recall {recall}" for recall, factor in factors.items())
    return [("rescoring", f"rows for each one wanted: {shown}")]
