"""Quality by the keyframe's age, gathered from the rows of all latencies: for the plot and for the table."""

from collections.abc import Callable

from .plan import OPERATING, Plan, Row, World, latency_rows, main_rows
from .tables import main

Points = list[tuple[float, dict]]


def by_age(plan: Plan, world: World, find: Callable[[Row], dict | None]) -> dict[str, Points]:
    """Per system, (age, main figures): each age from the row of the smallest latency that reaches it."""
    points = {mode: _ages([find(row) for row in rows]) for mode, rows in latency_rows(plan, world).items()}
    rows = main_rows(plan, world, world.name, *OPERATING[-1])
    return points | {mode: _ages([find(rows[mode])]) for mode in ("slow", "fast")}


def _ages(found: list[dict | None]) -> Points:
    ages: dict[int, dict] = {}
    for entry in filter(None, found):
        for age, figures in entry["ages"].items():
            ages.setdefault(int(age), main(figures))
    return [(float(age), ages[age]) for age in sorted(ages)]
