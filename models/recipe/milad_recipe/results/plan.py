"""What `results` measures: a small file that names the bundles, and the rows that follow from it.

A baseline that is named but not there is a row "not measured", never an error: a report may be written before everything is trained.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from ..scenes import REPORTING

OPERATING = ((5, 2), (10, 4))
"""(keyframe interval, slow network's latency in frames) at which the shipped networks are judged."""
LATENCIES = range(11)
_KEYS = {"bundle", "shifted", "float", "plain", "warping", "adversary"}


@dataclass(frozen=True)
class World:
    """One shipped bundle and what it is compared with."""

    name: str
    bundle: Path
    shifted: str = ""
    """The world that was never trained on; empty: none."""
    float_bundle: Path | None = None
    plain: dict[str, Path] = field(default_factory=dict)
    """Share of the slow network's MACs → bundle whose slow network alone is judged."""
    warping: Path | None = None
    adversary: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    """Setting → a bundle for each training seed; the first setting is the one without."""


@dataclass(frozen=True)
class Plan:
    """All of the file."""

    seeds: tuple[int, int]
    frames: int
    engine: str
    worlds: tuple[World, ...]


@dataclass(frozen=True)
class Row:
    """One system on one world."""

    key: str
    """Unique in its world; the name of the file that its figures are kept in."""
    label: str
    world: str
    bundle: Path
    mode: str
    interval: int = 1
    latency: int = 0
    engine: str = "onnxruntime"
    states: bool = False
    """Whether each clip's sums are kept, for the bootstrap."""


def load(path: Path, work: Path) -> Plan:
    """The plan in `path`; its `bundle`s are relative to the current folder, all others to `work`."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: expected a plan of results, found {error}; models/recipe/results.toml is one to start from") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: expected TOML, found {error}; put that right") from None
    try:
        first, end = (int(seed) for seed in table.pop("seeds"))
        frames, engine = int(table.pop("frames")), str(table.pop("engine", "milad"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected `seeds` [first, end) and `frames`, found {error!r}; write seeds = [2_000_000, 2_000_030]") from None
    if not REPORTING <= first < end:
        raise ValueError(f"{path}: seeds: expected reporting seeds, from {REPORTING} on, found {first}..{end}; those below are for training and tuning")
    if engine not in ("milad", "onnxruntime"):
        raise ValueError(f"{path}: engine: expected milad or onnxruntime, found {engine!r}; name one of them")
    return Plan((first, end), frames, engine, tuple(_world(path, name, entry, work) for name, entry in table.items()))


def _world(path: Path, name: str, entry, work: Path) -> World:
    if not isinstance(entry, dict) or "bundle" not in entry or set(entry) - _KEYS:
        found = sorted(set(entry) - _KEYS) if isinstance(entry, dict) else entry
        raise ValueError(f"{path}: {name}: expected a table of {', '.join(sorted(_KEYS))}, found {found}; put that right")
    return World(
        name=name,
        bundle=Path(entry["bundle"]),
        shifted=entry.get("shifted", ""),
        float_bundle=work / entry["float"] if "float" in entry else None,
        plain={share: work / place for share, place in entry.get("plain", {}).items()},
        warping=work / entry["warping"] if "warping" in entry else None,
        adversary={setting: tuple(work / place for place in places) for setting, places in entry.get("adversary", {}).items()},
    )


def main_rows(plan: Plan, world: World, rendered: str) -> list[Row]:
    """The systems of the main table, on the world itself or its shifted variant."""
    bundle, engine = world.bundle, plan.engine
    rows = [Row("slow", "slow network on every frame", rendered, bundle, "slow", engine=engine)]
    for n, latency in OPERATING:
        rows.append(Row(f"mila-{n}-{latency}", f"**MILA as shipped**, interval {n}, latency {latency}", rendered, bundle, "mila", n, latency, engine))
    for share, place in world.plain.items():
        rows.append(Row(f"plain-{share}", f"plain network on every frame, {share} of slow's MACs", rendered, place, "slow"))
    if world.warping is not None:
        for n, latency in OPERATING:
            label = f"flow warping in ILA's place, interval {n}, latency {latency}"
            rows.append(Row(f"warping-{n}-{latency}", label, rendered, world.warping, "mila", n, latency))
    rows.append(Row("fast", "fast network alone", rendered, bundle, "fast", engine=engine))
    for n, latency in OPERATING:
        rows.append(Row(f"copy-{n}-{latency}", f"copy the keyframe's result, interval {n}, latency {latency}", rendered, bundle, "copy", n, latency, engine))
    return rows


def latency_rows(plan: Plan, world: World) -> list[Row]:
    """MILA as shipped and copying, at each latency and the shorter interval."""
    n = OPERATING[0][0]
    return [
        Row(f"{mode}-{n}-{latency}", f"{mode}, latency {latency}", world.name, world.bundle, mode, n, latency, plan.engine)
        for mode in ("mila", "copy")
        for latency in LATENCIES
    ]


def float_rows(world: World) -> list[Row]:
    """The same networks before quantisation."""
    if world.float_bundle is None:
        return []
    rows = [Row("float-slow", "slow network, float", world.name, world.float_bundle, "slow")]
    return rows + [Row(f"float-mila-{n}-{l}", f"MILA, float, interval {n}, latency {l}", world.name, world.float_bundle, "mila", n, l) for n, l in OPERATING]


def check_rows(plan: Plan, world: World) -> list[Row]:
    """The shipped bundle by onnxruntime, where the engine is another: both must agree."""
    if plan.engine == "onnxruntime":
        return []
    n, latency = OPERATING[0]
    return [
        Row("check-slow", "slow network, onnxruntime", world.name, world.bundle, "slow"),
        Row(f"check-mila-{n}-{latency}", "MILA, onnxruntime", world.name, world.bundle, "mila", n, latency),
    ]


def adversary_rows(world: World) -> list[tuple[str, int, Row]]:
    """(setting, number of the training seed, row)."""
    n, latency = OPERATING[0]
    return [
        (setting, seed, Row(f"adversary-{i}-{seed}", f"{setting}, seed {seed + 1}", world.name, place, "mila", n, latency, states=True))
        for i, (setting, places) in enumerate(world.adversary.items())
        for seed, place in enumerate(places)
    ]
