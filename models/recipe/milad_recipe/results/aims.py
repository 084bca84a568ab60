"""What the shipped networks are to reach, and whether they do. Aims are fixed; a shortfall is printed like everything else."""

from collections.abc import Callable
from pathlib import Path

from ..progress import Log
from .plan import OPERATING, Plan, Row, World, float_rows, longer_row, main_rows
from .tables import DASH, KINDS, main, number, ratios, table

SLOW = {"street": {"segmentation": 80.0, "depth": 0.12, "normals": 14.5}}
"""World → what the slow network is to reach by itself."""
RATIOS = {
    (5, 2): {"segmentation": 0.97, "depth": 1.08, "normals": 1.05, "macs": 0.30},
    (10, 4): {"segmentation": 0.95, "depth": 1.18, "normals": 1.10, "macs": 0.20},
}
"""Of the slow network on every frame, by interval and latency."""
LONGER_GAIN = 0.5
"""mIoU that half as many samples again may add to the slow network: more, and it was not trained enough for its ratio to mean anything."""
INT8_LOSS = 0.5
"""mIoU that int8 may cost."""
TIES = {"segmentation": 0.5, "depth": 0.001, "normals": 0.1}
"""Main figures that are no further apart are a tie: there is one training of each network."""
WORDS = {"segmentation": "mIoU", "depth": "AbsRel", "normals": "normals"}
DIGITS = {"segmentation": 1, "depth": 3, "normals": 2, "macs": 3}

Line = tuple[str, str, str, bool | None]


def section(plan: Plan, world: World, find: Callable[[Row], dict | None]) -> list[str]:
    """A table of all aims, met or not."""
    lines = _slow(plan, world, find) + _trained(plan, world, find)
    for at in OPERATING:
        lines += _ratios(plan, world, find, at)
        lines += _rivals(plan, world, find, at)
    lines += _int8(plan, world, find)
    words = {True: "met", False: "**not met**", None: "not measured"}
    return ["### Aims\n", table(["aim", "wanted", "measured", ""], [[a, b, c, words[met]] for a, b, c, met in lines]) + "\n"]


def _better(task: str, found: float, wanted: float) -> bool:
    return found >= wanted if task == "segmentation" else found <= wanted


def _slow(plan: Plan, world: World, find: Callable) -> list[Line]:
    found = find(main_rows(plan, world, world.name, *OPERATING[0])["slow"])
    values = main(found and found["tasks"])
    lines = []
    for task, wanted in SLOW.get(world.name, {}).items():
        value = values[task]
        sign = "≥" if task == "segmentation" else "≤"
        met = None if value is None else _better(task, value, wanted)
        lines.append((f"slow network, {WORDS[task]}", f"{sign} {wanted:g}", number(value, DIGITS[task]), met))
    return lines


def _trained(plan: Plan, world: World, find: Callable) -> list[Line]:
    """Whether the slow network was trained enough: against the fast one, and against itself."""
    slow, fast = samples_seen(world, "slow"), samples_seen(world, "fast")
    counted = slow is not None and fast is not None
    told = " (as told to `adopt`)" if adopted(world, "slow") else ""
    lines = [(f"samples seen by the slow network{told}", f"≥ {fast:,}" if counted else "≥ the fast one's", f"{slow:,}" if counted else DASH, slow >= fast if counted else None)]
    longer, own = longer_row(world), main_rows(plan, world, world.name, *OPERATING[0])["slow"]
    if plan.engine != "onnxruntime":  # the longer one is judged by onnxruntime; so must this one be
        own = float_rows(plan, world)["check-slow"]
    gain = None
    a, b = (main(found and found["tasks"])["segmentation"] for found in (find(own), find(longer) if longer else None))
    if None not in (a, b):
        gain = b - a
    lines.append(("half as many samples again: mIoU the slow network gains", f"< {LONGER_GAIN:g}", number(gain, 2, sign=True), None if gain is None else gain < LONGER_GAIN))
    return lines


def samples_seen(world: World, stage: str) -> int | None:
    """What a training's log says last."""
    seen = None
    for entry in _logged(world, stage):
        seen = entry.get("samples", seen)
    return seen


RUNS = {"slow": ("slow",), "mila": ("slow", "fast")}
"""The networks that a mode runs, by their stages."""


def adopted(world: World, mode: str) -> list[str]:
    """Those of the mode's networks whose float files have the weights of a shipped one in 8 bits, because that was all there was."""
    return [stage for stage in RUNS[mode] if any(entry.get("adopted") for entry in _logged(world, stage))]


def _logged(world: World, stage: str) -> list[dict]:
    file = Path(world.trained) / stage / "log.jsonl" if world.trained else None
    return Log(file).entries() if file is not None and file.is_file() else []


def _ratios(plan: Plan, world: World, find: Callable, at: tuple[int, int]) -> list[Line]:
    rows = main_rows(plan, world, world.name, *at)
    found = ratios(find(rows["mila"]), find(rows["slow"]))
    lines = []
    for name, wanted in RATIOS[at].items():
        value, words = found[name], f"interval {at[0]}, latency {at[1]}: {WORDS.get(name, 'MACs')} of the slow network's"
        sign = "≥" if name == "segmentation" else "≤"
        met = None if value is None else _better(name, value, wanted)
        lines.append((words, f"{sign} {wanted:g} ×", number(value, DIGITS["macs"]), met))
    return lines


def _rivals(plan: Plan, world: World, find: Callable, at: tuple[int, int]) -> list[Line]:
    """Better on every task than the plain network that costs as much, within a tenth, and than flow warping. A tie is not better."""
    rows = main_rows(plan, world, world.name, *at)
    own = find(rows["mila"])
    plain = {name: find(row) for name, row in rows.items() if name.startswith("plain-")}
    plain = {name: found for name, found in plain.items() if found}
    rivals = {"flow warping": find(rows["warping"]) if "warping" in rows else None}
    apart = {name: abs(found["macs"]["mean"] / own["macs"]["mean"] - 1) for name, found in plain.items()} if own else {}
    near = min(apart, key=apart.__getitem__, default=None)
    rivals["the plain network of equal mean cost"] = plain[near] if near and apart[near] <= 0.1 else None
    lines = []
    for name, found in rivals.items():
        words = f"interval {at[0]}, latency {at[1]}: better than {name} on every task"
        a, b = (main(entry and entry["tasks"]) for entry in (own, found))
        if None in (*a.values(), *b.values()):
            lines.append((words, "3 of 3", DASH, None))
            continue
        tied = [WORDS[task] for task in KINDS if abs(a[task] - b[task]) <= TIES[task]]
        won = [WORDS[task] for task in KINDS if WORDS[task] not in tied and _better(task, a[task], b[task])]
        said = [", ".join(won)] if 0 < len(won) < 3 else []
        said += [f"a tie: {', '.join(tied)}"] if tied else []
        lines.append((words, "3 of 3", f"{len(won)} of 3" + (f" ({'; '.join(said)})" if said else ""), len(won) == 3))
    return lines


def _int8(plan: Plan, world: World, find: Callable) -> list[Line]:
    shipped, rows = main_rows(plan, world, world.name, *OPERATING[0]), float_rows(plan, world)
    lines = []
    for mode, words in (("slow", "slow network"), ("mila", "MILA")):
        whole = find(rows[f"float-{mode}"]) if f"float-{mode}" in rows else None
        int8, full = (main(found and found["tasks"])["segmentation"] for found in (find(shipped[mode]), whole))
        loss = None if None in (int8, full) else full - int8
        met = None if loss is None else loss <= INT8_LOSS
        left = [stage for stage in RUNS[mode] if stage not in adopted(world, mode)]
        cost = "int8 costs" if len(left) == len(RUNS[mode]) else f"8-bit activations{''.join(f' and weights of the {stage} network' for stage in left)} cost"
        lines.append((f"{words}: mIoU that {cost}", f"≤ {INT8_LOSS:g}", number(loss, 2), met))
    return lines
