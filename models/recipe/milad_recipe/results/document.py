"""`RESULTS.md`, out of measured rows: the same rows give the same text. No date, no path, no machine; what was not measured is said to be so."""

from collections.abc import Callable
from pathlib import Path

from numpy.typing import NDArray

from .. import bootstrap
from ..config import RecipeError
from ..metrics import Quality
from . import aims
from .ages import by_age
from .plan import OPERATING, Plan, Row, World, adversary_rows, float_rows, latency_rows, longer_row, main_rows, paired_rows
from .tables import DASH, HEADINGS, KINDS, gmac, main_cells, number, ratio_cells, table, values_cells as age_cells

Find = Callable[[Row], dict | None]
"""The figures of a row, None where it was not measured."""

DIFFERENCES = ("Δ mIoU", "Δ AbsRel", "Δ normals")

INTRODUCTION = """# Results

An implementation of MILA (Kim et al., ICCV Workshops 2021), not a reproduction of it: the paper's networks and schedules are not known to us,
and none of its figures are quoted. Everything here was measured on rendered scenes, which say how the method behaves, not how good the
networks are on real streets and in real rooms.

{clips} clips of {frames} frames, seeds {first} to {last}, that neither training nor tuning has seen. *Shifted* worlds (other textures, light, camera
height, field of view, densities) were never trained on. {engine}

- mIoU from one confusion matrix over all pixels; AbsRel, RMSE (m) and δ < 1.25 where the true depth is at most 80 m; normals in degrees.
- A keyframe every *interval* frames, in force *latency* frames later. In one table all systems are judged on the same frames: those with a
  keyframe in force. *Non-key* frames are those that are no keyframes themselves.
- MACs are counted from the files, attention included: those of Conv, MatMul, Gemm and attention, in the mean over a clip's frames (where its length is
  no multiple of the interval, the last keyframe counts for fewer frames).
- Δ_MTL: mean over the tasks of the relative change for the better, by mIoU, AbsRel and mean angle, against the slow network on every frame.
- *Consistency*: mIoU between a prediction and the next one along true flow. *Streaming*: each frame's truth against the answer that is out at
  that moment: the slow network starts no sooner than it is done, a plain one neither, but takes as much less time as it is smaller, rounded up to whole
  frames; the fast one is done by the next frame.
- Of two systems that are at most {ties} apart none is called better: there is one training of each.
"""


def text(plan: Plan, find: Find, states: Callable, pictures: Callable[[str], Path | None]) -> str:
    """The document. `states(row)`: sums of each clip; `pictures(name)`: where a plot or a strip lies, seen from the document, if it was made."""
    engine = (
        "Shipped bundles were run by `milad eval`, all others by onnxruntime."
        if plan.engine == "milad"
        else "All bundles were run by onnxruntime."
    )
    first, end = plan.seeds
    parts = [INTRODUCTION.format(clips=end - first, frames=plan.frames, first=first, last=end - 1, engine=engine, ties=_ties())]
    for world in plan.worlds:
        parts += _world(plan, world, find, states, pictures)
    return "\n".join(parts)


def _ties() -> str:
    apart = aims.TIES
    return f"{apart['segmentation']:g} mIoU, {apart['depth']:g} AbsRel or {apart['normals']:g}°"


def in_place(there: str, text: str) -> str:
    """`there`, an earlier document, with the worlds of `text` in place of its own; worlds that it lacked come last. Both must say the same of how it was measured."""
    (before, old), (introduction, new) = _parted(there), _parted(text)
    if before != introduction and old.keys() - new.keys():
        raise RecipeError(f"RESULTS.md: expected an introduction like that of the new measurement, found another (other clips, other rules); measure {', '.join(sorted(old.keys() - new.keys()))} anew, too")
    return introduction + "".join((old | new).values())


def _parted(text: str) -> tuple[str, dict[str, str]]:
    """What comes before the worlds, and each by name."""
    introduction, *parts = text.split("\n## ")
    return introduction, {part.partition("\n")[0]: f"\n## {part}".rstrip("\n") + "\n" for part in parts}


def _world(plan: Plan, world: World, find: Find, states: Callable, pictures: Callable) -> list[str]:
    parts = [f"## {world.name}\n"]
    parts += aims.section(plan, world, find)
    parts += ["\n".join(f"- {note}" for note in world.notes) + "\n"] if world.notes else []
    for rendered in filter(None, (world.name, world.shifted)):
        title = "" if rendered == world.name else ", shifted: never trained on"
        for interval, latency in OPERATING:
            parts.append(f"### Interval {interval}, latency {latency}{title}\n")
            rows = main_rows(plan, world, rendered, interval, latency)
            parts += [_main(rows, find), _details(rows, find)]
    parts += _rivals(plan, world, find, states)
    parts += _latencies(plan, world, find, pictures)
    parts += _ages(plan, world, find)
    parts += _longer(plan, world, find)
    parts += _float(plan, world, find)
    parts += _classes(plan, world, find)
    parts += _adversary(world, find, states)
    strip = pictures(f"{world.name}-strip")
    if strip:
        interval, latency = OPERATING[-1]
        words = (
            f"Two frames of the first clip, with the youngest and the oldest keyframe at interval {interval}, latency {latency}. On the left the "
            "picture, the keyframe's picture, and MILA's wrong classes in red."
        )
        parts.append(f"### Pictures\n\n{words}\n\n![{world.name}]({strip})\n")
    return parts


def _main(rows: dict[str, Row], find: Find) -> str:
    base = find(rows["slow"])
    headings = ["", *HEADINGS.values(), "GMAC a frame", "mIoU % of slow", "AbsRel ×", "normals ×", "fewer MACs %", "Δ_MTL %"]
    lines = []
    for row in rows.values():
        found = find(row)
        cells = [*main_cells(found and found["tasks"]), gmac(found), *ratio_cells(found, base)]
        lines.append([row.label + ("" if found else " (not measured)"), *cells])
    return table(headings, lines) + "\n"


def _details(rows: dict[str, Row], find: Find) -> str:
    headings = ["", "non-key mIoU", "AbsRel", "normals", "RMSE m", "δ<1.25 %", "median °", "<11.25° %", "<22.5° %", "<30° %"]
    headings += ["consistency", "streaming mIoU", "AbsRel", "normals"]
    lines = []
    for row in rows.values():
        found = find(row)
        if not found:
            continue
        depth, normals = (found["tasks"].get(task) or {} for task in ("depth", "normals"))
        cells = [*main_cells(found["other_frames"]), number(depth.get("rmse"), 2), number(depth.get("delta"), 1)]
        cells += [number(normals.get(name), 1) for name in ("median", "within_11.25", "within_22.5", "within_30")]
        lines.append([row.label, *cells, number(found["consistency"], 1), *main_cells(found["streaming"])])
    return table(headings, lines) + "\n" if lines else ""


def _rivals(plan: Plan, world: World, find: Find, states: Callable) -> list[str]:
    own, rivals = paired_rows(plan, world)
    measured = find(own)
    rivals = [row for row in rivals if find(row)] if measured else []
    if not rivals:
        return []
    lines = [[row.label, *_differences(measured, states(row), states(own))] for row in rivals]
    interval, latency = OPERATING[0]
    words = (
        f"Interval {interval}, latency {latency}, by onnxruntime. What MILA as shipped has more than each, with 95 % of 1000 paired draws of clips "
        "(bootstrap); in bold where they exclude zero. It tells clips apart, not trainings."
    )
    return [f"### MILA less its rivals\n\n{words}\n\n{table(['', *DIFFERENCES], lines)}\n"]


def _latencies(plan: Plan, world: World, find: Find, pictures: Callable) -> list[str]:
    groups = latency_rows(plan, world)
    lines = []
    for mila, copy in zip(groups["mila"], groups["copy"]):
        a, b = find(mila), find(copy)
        if a or b:
            lines.append([str(mila.latency), str(max(mila.interval, mila.latency, 1)), *main_cells(a and a["tasks"]), gmac(a), *main_cells(b and b["tasks"])])
    if not lines:
        return []
    headings = ["latency", "keyframe every", "MILA: mIoU %", "AbsRel", "normals °", "GMAC a frame", "copy: mIoU %", "AbsRel", "normals °"]
    parts = [f"### By the slow network's latency\n\nThere is one slow network: keyframes are at least its latency apart.\n\n{table(headings, lines)}\n"]
    for name, words in (("age", "quality by the keyframe's age"), ("macs", "quality against MACs")):
        place = pictures(f"{world.name}-{name}")
        if place:
            parts.append(f"![{world.name}: {words}]({place})\n")
    return parts


def _ages(plan: Plan, world: World, find: Find) -> list[str]:
    """Each age from the row of the smallest latency that reaches it, as the plot."""
    points = {mode: dict(found) for mode, found in by_age(plan, world, find).items()}
    seen = sorted(set(points.get("mila", {})) | set(points.get("copy", {})))
    if not seen:
        return []
    lines = [[f"{age:g}", *(cell for mode in ("mila", "copy", "slow") for cell in age_cells(points.get(mode, {}).get(age)))] for age in seen]
    headings = ["age", *(f"{name}: {heading}" for name in ("MILA", "copy", "slow") for heading in HEADINGS.values())]
    interval, latency = OPERATING[-1]
    words = (
        "Frames of the keyframe's age, each age at the smallest latency of the table above that has it; the slow network on the frames that have it at "
        f"interval {interval}, latency {latency}."
    )
    return [f"### By the keyframe's age\n\n{words}\n\n{table(headings, lines)}\n"]


def _longer(plan: Plan, world: World, find: Find) -> list[str]:
    longer = longer_row(world)
    own = main_rows(plan, world, world.name, *OPERATING[0])["slow"] if plan.engine == "onnxruntime" else float_rows(plan, world)["check-slow"]
    found = [(row, find(row)) for row in (own, longer) if row]
    if longer is None or any(figures is None for _, figures in found):
        return []
    lines = [[label, *main_cells(figures["tasks"])] for label, (_, figures) in zip(("slow network as shipped", longer.label), found)]
    return [f"### Is the slow network trained enough?\n\nInt8, by onnxruntime.\n\n{table(['', *HEADINGS.values()], lines)}\n"]


def _float(plan: Plan, world: World, find: Find) -> list[str]:
    rows, shipped = float_rows(plan, world), main_rows(plan, world, world.name, *OPERATING[0])
    lines, engines = [], {"milad": "`milad eval`", "onnxruntime": "onnxruntime"}
    for mode, name in (("slow", "slow network"), ("mila", "MILA")):
        check = rows[f"check-{mode}"]
        words = {f"as shipped, int8, by {engines[plan.engine]}": shipped[mode], f"as shipped, int8, by {engines[check.engine]}": check}
        adopted = aims.adopted(world, mode)
        but = f" but for the weights of the {' and the '.join(adopted)} network" if adopted else ""
        whole = f"float{but}, by onnxruntime"
        for words, row in (words | {whole: rows.get(f"float-{mode}")}).items():
            found = find(row) if row else None
            if found:
                lines.append([f"{name}, {words}", *main_cells(found["tasks"])])
    if len(lines) < 2:
        return []
    interval, latency = OPERATING[0]
    return [f"### int8 against float, and one engine against the other\n\nInterval {interval}, latency {latency}.\n\n{table(['', *HEADINGS.values()], lines)}\n"]


def _classes(plan: Plan, world: World, find: Find) -> list[str]:
    rows = main_rows(plan, world, world.name, *OPERATING[0])
    found = {name: find(rows[name]) for name in ("slow", "mila", "copy")}
    found = {name: entry["classes"]["segmentation"] for name, entry in found.items() if entry and "segmentation" in entry["classes"]}
    if not found:
        return []
    names = list(next(iter(found.values())))
    titles = {"slow": "slow network", "mila": "MILA as shipped", "copy": "copy"}
    lines = [[titles[name], *(number(each.get(c), 1) for c in names)] for name, each in found.items()]
    interval, latency = OPERATING[0]
    return [f"### IoU of each class\n\nIn percent; interval {interval}, latency {latency}.\n\n{table(['', *names], lines)}\n"]


def _adversary(world: World, find: Find, states: Callable) -> list[str]:
    settings = {name: [(row, find(row)) for row in rows] for name, rows in adversary_rows(world).items()}
    if sum(any(found for _, found in rows) for rows in settings.values()) < 2:
        return ["### Adversarial alignment\n\nNot measured.\n"]
    without = next(iter(settings.values()))
    lines = []
    for rows in settings.values():
        for seed, (row, found) in enumerate(rows):
            if not found:
                continue
            like = without[seed] if rows is not without and seed < len(without) else (None, None)
            cells = _differences(found, states(like[0]), states(row)) if like[1] else [DASH] * 3
            lines.append([row.label, *main_cells(found["tasks"]), *cells])
    headings = ["setting", *HEADINGS.values(), *DIFFERENCES]
    interval, latency = OPERATING[0]
    words = (
        f"Interval {interval}, latency {latency}. Δ: against the first setting with the same training seed, with 95 % of 1000 paired draws of "
        "clips (bootstrap); in bold where they exclude zero. It tells clips apart, not trainings: for those look at the seeds."
    )
    return [f"### Adversarial alignment\n\n{words}\n\n{table(headings, lines)}\n"]


def _differences(found: dict, a: NDArray, b: NDArray) -> list[str]:
    """Cells of b − a; `a` and `b` are sums of each clip, `found` tells how many classes there are. One clip, or a task less, has no such differences."""
    if len(a) < 2 or not KINDS.keys() <= found["tasks"].keys():
        return [DASH] * 3
    differences = bootstrap.paired(Quality(KINDS, len(found["classes"]["segmentation"])), a, b)
    return [_difference(differences[task], digits) for task, digits in (("segmentation", 2), ("depth", 4), ("normals", 2))]


def _difference(difference: bootstrap.Difference, digits: int) -> str:
    middle = number(difference.mean, digits, sign=True)
    middle = f"**{middle}**" if difference.significant() else middle
    return f"{middle} [{number(difference.low, digits, sign=True)}, {number(difference.high, digits, sign=True)}]"
