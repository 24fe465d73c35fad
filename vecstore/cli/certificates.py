"""How certificates are printed."""

from __future__ import annotations

from typing import Any

__all__ = ["certificate", "recalls"]


def certificate(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the lines of a certificate (or of what older files have in its place)."""
    reason = "tables are fitted to every row" if found.get("tables") else "there were few"
    seen = "that training did not see" if found.get("held_out") else f"of the training sample: {reason}"
    lines = [
        ("measured on", f"{found['rows']:,} rows {seen}"),
        *recalls(found),
        (
            "cosine",
            f"mean {found['cosine_mean']:.4f}, 1% below {found['cosine_p1']:.4f}, least {found['cosine_min']:.4f}",
        ),
        (
            "error",
            f"{found['relative_error']:.4f} of the variance (R² {1 - found['relative_error']:.4f}){_bound(found)}",
        ),
    ]
    if "bytes" in found:
        size = found["bytes"]
        lines.append(("bytes", f"{size['row']:.1f} a row: {size['code']} the code, the rest its share of the model"))
    if "collisions" in found.get("tables", {}):
        lines.append(("collisions", f"{found['tables']['collisions']:.2%} of the rows share all entries with another"))
    if found.get("weighted_r2") is not None:
        lines.append(("weighted R²", f"{found['weighted_r2']:.4f} of the variance kept, rows weighted by importance"))
    factors = found.get("oversampling") or ({"0.999": found["oversample"]} if "oversample" in found else {})
    if factors:
        shown = ", ".join(f"{factor} for recall {recall}" for recall, factor in factors.items())
        lines.append(("rescoring", f"rows for each one wanted: {shown}"))
    return lines


def recalls(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a line for the recall of held-out rows, and one for that of real queries."""
    lines = []
    for name, whose in (("recall", "held-out rows"), ("query_recall", "of the given queries")):
        if name in found:
            measured = found[name]
            numbers = ", ".join(
                f"@{k} {mean:.3f} ({low:.3f} to {high:.3f})" for k, (mean, low, high) in measured["at"].items()
            )
            lines.append(("recall", f"{numbers}: {measured['queries']:,} {whose} among {measured['base']:,} rows"))
    return lines


def _bound(found: dict[str, Any]) -> str:
    if "bound" not in found:
        return ""
    beyond = found["bound"]["decibels"]
    return f", {abs(beyond):.2f} dB {'above' if beyond >= 0 else 'below'} the Gaussian limit"
