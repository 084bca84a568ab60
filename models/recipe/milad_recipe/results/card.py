"""The measured part of a bundle's `CARD.md`: what its networks reach, and how they do on pictures unlike those they were trained on.

The exporter writes what the bundle is and what it is not for; this part comes last in the file and is replaced whole.
"""

import os
from collections.abc import Callable

from ..config import RecipeError
from .plan import OPERATING, Plan, Row, World, main_rows
from .tables import HEADINGS, gmac, main_cells, table

TITLE = "## How good it is"
_WORDS = """On {clips} rendered clips of {frames} frames that neither training nor tuning has seen; all frames with a keyframe in force. *Shifted*: other textures,
light, camera height, field of view and densities than in training. The fall from one to the other is a hint of what real pictures would do
to it, and real ones differ more. Everything else is in `RESULTS.md`."""
_NAMES = {"slow": "slow network on every frame", "mila": "as shipped", "fast": "before the first keyframe (fast network alone)"}


def section(plan: Plan, world: World, find: Callable[[Row], dict | None]) -> str:
    """Title, words and a table; rows that were not measured are left out."""
    lines = []
    for rendered in filter(None, (world.name, world.shifted)):
        for mode, name in _NAMES.items():
            for interval, latency in OPERATING if mode == "mila" else OPERATING[:1]:
                found = find(main_rows(plan, world, rendered, interval, latency)[mode])
                if found:
                    words = f"{name}, interval {interval}, latency {latency}" if mode == "mila" else name
                    lines.append([words + ("" if rendered == world.name else ", shifted"), *main_cells(found["tasks"]), gmac(found)])
    words = _WORDS.format(clips=plan.seeds[1] - plan.seeds[0], frames=plan.frames)
    return f"{TITLE}\n\n{words}\n\n{table(['', *HEADINGS.values(), 'GMAC a frame'], lines)}\n"


def with_figures(card: str, measured: str) -> str:
    """The card with its measured part put in place of an earlier one."""
    return f"{card.partition(TITLE)[0].rstrip()}\n\n{measured}"


def write(plan: Plan, world: World, find: Callable[[Row], dict | None]) -> None:
    """Changes the shipped bundle's card, whole or not at all. Digests of a bundle leave its card out."""
    file = world.bundle / "CARD.md"
    if not file.is_file():
        raise RecipeError(f"{file}: expected the card of an exported bundle, found none; run `train --stage export` and copy the bundle there")
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(with_figures(file.read_text(encoding="utf-8"), section(plan, world, find)), encoding="utf-8")
    os.replace(unfinished, file)
