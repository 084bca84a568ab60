"""Plots of a report: quality by the keyframe's age, and against MACs. Needs matplotlib: `pip install milad-recipe[plots]`."""

from collections.abc import Callable
from pathlib import Path

from .ages import by_age
from .plan import OPERATING, Plan, Row, World, main_rows
from .tables import HEADINGS, main

Find = Callable[[Row], dict | None]
COLOURS = {"slow": "#222222", "mila": "#c0392b", "copy": "#7f8c8d", "fast": "#2980b9", "plain": "#27ae60", "warping": "#8e44ad"}
NAMES = {"slow": "slow", "mila": "MILA", "copy": "copy", "fast": "fast alone", "plain": "plain", "warping": "flow warping"}


def draw(plan: Plan, world: World, find: Find, folder: Path) -> list[str]:
    """Names of the plots that could be drawn, without ending."""
    done = []
    for name, panels in (("age", age_panels(plan, world, find)), ("macs", against_macs(plan, world, find))):
        if any(panels["points"].values()):
            _draw(panels, folder / f"{world.name}-{name}.png")
            done.append(f"{world.name}-{name}")
    return done


def age_panels(plan: Plan, world: World, find: Find) -> dict:
    """Per system, (age, main figures)."""
    points = by_age(plan, world, find)
    return {"points": points, "axis": "age of the keyframe, frames", "line": set(points)}


def against_macs(plan: Plan, world: World, find: Find) -> dict:
    """Per system, (GMAC a frame, main figures), at all operating points."""
    points: dict[str, list] = {}
    for at in OPERATING:
        for name, row in main_rows(plan, world, world.name, *at).items():
            found = find(row)
            if found:
                points.setdefault(name.split("-")[0], []).append((found["macs"]["mean"] / 1e9, main(found["tasks"])))
    return {"points": points, "axis": "GMAC a frame", "line": {"plain", "mila", "copy", "warping"}}


def _draw(panels: dict, file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(HEADINGS), figsize=(12, 3.4), dpi=90, layout="constrained")
    for axis, (task, heading) in zip(axes, HEADINGS.items()):
        for name, points in panels["points"].items():
            pairs = sorted((x, figures[task]) for x, figures in points if figures[task] is not None)
            if pairs:
                style = "-" if name in panels["line"] else ""
                axis.plot(*zip(*pairs), style, marker="o", markersize=4, color=COLOURS[name], label=NAMES[name])
        axis.set(xlabel=panels["axis"], title=heading + (" (more is better)" if task == "segmentation" else " (less is better)"))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    # Without it the file would tell the version that drew it.
    figure.savefig(file, metadata={"Software": None})
    pyplot.close(figure)
