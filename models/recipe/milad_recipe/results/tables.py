"""Cells and tables of a report, in Markdown. A figure that is not there is a dash, never a zero."""

import math
from collections.abc import Iterable, Mapping, Sequence

from ..metrics import MAIN, delta_mtl

KINDS = {"segmentation": "segmentation", "depth": "depth", "normals": "normals"}
"""Task → kind, as the shipped bundles name their tasks."""
HEADINGS = {"segmentation": "mIoU %", "depth": "AbsRel", "normals": "normals °"}
DASH = "–"


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """Rounded; a dash for what is not there."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-−")


def main(figures: Mapping | None) -> dict[str, float | None]:
    """The main figure of each task, out of a table by task."""
    found = {}
    for task, kind in KINDS.items():
        value = ((figures or {}).get(task) or {}).get(MAIN[kind][0])
        found[task] = value
    return found


def main_cells(figures: Mapping | None) -> list[str]:
    """mIoU, AbsRel, mean angle."""
    return values_cells(main(figures))


def values_cells(values: Mapping | None) -> list[str]:
    """The same out of main figures by task; dashes for None."""
    values = values or {task: None for task in KINDS}
    return [number(values["segmentation"], 1), number(values["depth"], 3), number(values["normals"], 2)]


def ratios(found: Mapping | None, base: Mapping | None) -> dict[str, float | None]:
    """Each main figure as a multiple of the base's, and `macs` likewise."""
    if not found or not base:
        return {task: None for task in (*KINDS, "macs")}
    a, b = main(found["tasks"]), main(base["tasks"])
    result = {task: a[task] / b[task] if a[task] is not None and b[task] else None for task in KINDS}
    return result | {"macs": found["macs"]["mean"] / base["macs"]["mean"] if base["macs"]["mean"] else None}


def ratio_cells(found: Mapping | None, base: Mapping | None) -> list[str]:
    """mIoU in percent of the base's, AbsRel and normals in multiples, MACs saved in percent, Δ_MTL."""
    r = ratios(found, base)
    share = None if r["segmentation"] is None else 100 * r["segmentation"]
    saved = None if r["macs"] is None else 100 * (1 - r["macs"])
    delta = None
    if found and base and all(r[task] is not None for task in KINDS):
        delta = delta_mtl(main(found["tasks"]), main(base["tasks"]), KINDS)
    return [number(share, 1), number(r["depth"], 2), number(r["normals"], 2), number(saved, 1), number(delta, 1, sign=True)]


def gmac(found: Mapping | None) -> str:
    """Mean multiply-accumulates a frame, in units of 10⁹."""
    return number(found["macs"]["mean"] / 1e9, 3) if found else DASH


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, all others are numbers."""
    lines = ["| " + " | ".join(headings) + " |", "|---|" + "---:|" * (len(headings) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
