"""What `results` measures: a small file that names the bundles, and the rows that follow from it.

A baseline that is named but not there is a row "not measured", never an error: a report may be written before everything is trained.
"""

import math
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config import RecipeError
from ..scenes import REPORTING

OPERATING = ((5, 2), (10, 4))
"""(keyframe interval, slow network's latency in frames) at which the shipped networks are judged."""
KEPT = Path("models/rivals")
"""What shipped networks were compared with, from the current folder as shipped bundles are: fast networks, each a bundle that shares the shipped slow
network, and plain ones, a file each."""
_KEYS = {"bundle", "shifted", "float", "plain", "warping", "adversary", "longer", "trained"}


@dataclass(frozen=True)
class World:
    """One shipped bundle and what it is compared with."""

    name: str
    bundle: Path
    shifted: str = ""
    """The world that was never trained on; empty: none."""
    float_bundle: Path | None = None
    plain: dict[str, Path] = field(default_factory=dict)
    """Share of the slow network's MACs → bundle whose slow network alone is judged, or an ONNX file of such a network with the outputs
    of the shipped one."""
    warping: Path | None = None
    adversary: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    """Setting → a bundle for each training seed; the first setting is the one without."""
    longer: Path | None = None
    """The slow network again, trained half as long again: is the shipped one trained enough? As `plain`."""
    trained: Path | None = None
    """Work folder of the shipped networks' training: its logs tell how many samples each has seen."""


@dataclass(frozen=True)
class Plan:
    """All of the file."""

    seeds: tuple[int, int]
    frames: int
    engine: str
    latencies: tuple[int, ...]
    worlds: tuple[World, ...]


@dataclass(frozen=True)
class Row:
    """One system on one world."""

    key: str
    """Unique in its world; the name of the file that its figures are kept in."""
    label: str
    world: str
    bundle: Path
    """A folder; or, for the mode `slow`, one file, described by the bundle.toml of `described_by`."""
    mode: str
    interval: int
    latency: int
    engine: str = "onnxruntime"
    states: bool = False
    """Whether each clip's sums are kept, for the bootstrap."""
    described_by: Path | None = None
    busy: int | None = None
    """Frames that a network on every frame takes, where it is not the slow one."""

    def files(self) -> list[Path]:
        """What must be there, and what the figures depend on."""
        if self.bundle.suffix == ".onnx":
            return [self.described_by / "bundle.toml", self.bundle]
        return [self.bundle / name for name in ("bundle.toml", "slow.onnx", *(["fast.onnx"] if self.mode in ("mila", "fast") else []))]


def load(path: Path, work: Path) -> Plan:
    """The plan in `path`; its `bundle`s are relative to the current folder, all others to `work`, or to `KEPT` if they are only there."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: expected a plan of results, found {error}; models/recipe/results.toml is one to start from") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: expected TOML, found {error}; put that right") from None
    try:
        first, end = (int(seed) for seed in table.pop("seeds"))
        frames, engine = int(table.pop("frames")), str(table.pop("engine", "milad"))
        latencies = tuple(int(latency) for latency in table.pop("latencies", range(11)))
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"{path}: expected `seeds` [first, end) and `frames`, found {error!r}; write seeds = [2_000_000, 2_000_030]") from None
    if not REPORTING <= first < end:
        raise RecipeError(f"{path}: seeds: expected reporting seeds, from {REPORTING} on, found {first}..{end}; those below train and tune")
    if engine not in ("milad", "onnxruntime"):
        raise RecipeError(f"{path}: engine: expected milad or onnxruntime, found {engine!r}; name one of them")
    return Plan((first, end), frames, engine, latencies, tuple(_world(path, name, entry, work) for name, entry in table.items()))


def _world(path: Path, name: str, entry, work: Path) -> World:
    if not isinstance(entry, dict) or "bundle" not in entry or set(entry) - _KEYS:
        found = (sorted(set(entry) - _KEYS) or "no bundle") if isinstance(entry, dict) else entry
        raise RecipeError(f"{path}: {name}: expected a table with `bundle` and any of {', '.join(sorted(_KEYS))}, found {found}; put that right")

    def place(named: str) -> Path:
        """In the work folder; or where rivals are kept, if it is only there."""
        return KEPT / named if (KEPT / named).exists() and not (work / named).exists() else work / named

    for share in entry.get("plain", {}):
        try:
            is_share = 0 < float(share) <= 1
        except ValueError:
            is_share = False
        if not is_share:
            raise RecipeError(f"{path}: {name}: plain: expected shares of the slow network's MACs, found {share!r}; write plain = {{ \"0.28\" = … }}")
    return World(
        name=name,
        bundle=Path(entry["bundle"]),
        shifted=entry.get("shifted", ""),
        float_bundle=place(entry["float"]) if "float" in entry else None,
        plain={share: place(named) for share, named in entry.get("plain", {}).items()},
        warping=place(entry["warping"]) if "warping" in entry else None,
        longer=place(entry["longer"]) if "longer" in entry else None,
        trained=place(entry["trained"]) if "trained" in entry else None,
        adversary={setting: tuple(map(place, places)) for setting, places in entry.get("adversary", {}).items()},
    )


def main_rows(plan: Plan, world: World, rendered: str, interval: int, latency: int) -> dict[str, Row]:
    """The systems of one table, all judged on the same frames: those with a keyframe in force."""

    def row(key, label, bundle, mode, engine="onnxruntime"):
        return Row(f"{key}-{interval}-{latency}", label, rendered, bundle, mode, interval, latency, engine)

    shipped = {"bundle": world.bundle, "engine": plan.engine}
    rows = {"slow": row("slow", "slow network on every frame", mode="slow", **shipped)}
    rows["mila"] = row("mila", "**MILA as shipped**", mode="mila", **shipped)
    for share, place in world.plain.items():
        plain = row(f"plain-{share}", f"plain network on every frame, {share} of slow's MACs", place, "slow")
        # As quick as it is smaller.
        rows[f"plain-{share}"] = replace(plain, described_by=world.bundle, busy=max(1, math.ceil(float(share) * latency)))
    if world.warping is not None:
        rows["warping"] = row("warping", "flow warping in ILA's place", world.warping, "mila")
    rows["fast"] = row("fast", "fast network alone", mode="fast", **shipped)
    rows["copy"] = row("copy", "copy the keyframe's result", mode="copy", **shipped)
    return rows


def latency_rows(plan: Plan, world: World) -> dict[str, list[Row]]:
    """MILA as shipped and copying, at the shorter interval and each latency."""
    n = OPERATING[0][0]
    return {
        mode: [Row(f"{mode}-{n}-{l}", f"{mode}, latency {l}", world.name, world.bundle, mode, n, l, plan.engine) for l in plan.latencies]
        for mode in ("mila", "copy")
    }


def float_rows(plan: Plan, world: World) -> dict[str, Row]:
    """The same networks before quantisation, and the shipped ones by the other engine: the daemon and onnxruntime must agree."""
    other = "milad" if plan.engine == "onnxruntime" else "onnxruntime"
    n, latency = OPERATING[0]
    rows = {}
    for mode in ("slow", "mila"):
        if world.float_bundle is not None:
            rows[f"float-{mode}"] = Row(f"float-{mode}-{n}-{latency}", f"{mode}, float", world.name, world.float_bundle, mode, n, latency)
        rows[f"check-{mode}"] = Row(f"check-{mode}-{n}-{latency}", f"{mode}, {other}", world.name, world.bundle, mode, n, latency, other)
    return rows


def longer_row(world: World) -> Row | None:
    """The slow network that was trained longer, on the frames of the first table."""
    n, latency = OPERATING[0]
    label = "slow network, half as many samples again"
    return world.longer and Row(f"longer-{n}-{latency}", label, world.name, world.longer, "slow", n, latency, described_by=world.bundle)


def adversary_rows(world: World) -> dict[str, list[Row]]:
    """By setting, a row for each training seed."""
    n, latency = OPERATING[0]
    return {
        setting: [
            Row(f"adversary-{i}-{seed}", f"{setting}, seed {seed + 1}", world.name, place, "mila", n, latency, states=True)
            for seed, place in enumerate(places)
        ]
        for i, (setting, places) in enumerate(world.adversary.items())
    }


def all_rows(plan: Plan) -> list[Row]:
    """Every row once."""
    rows: dict[tuple[str, str], Row] = {}
    for world in plan.worlds:
        several = [main_rows(plan, world, rendered, *at) for rendered in (world.name, world.shifted) if rendered for at in OPERATING]
        longer = longer_row(world)
        several += [{longer.key: longer}] if longer else []
        several += [float_rows(plan, world), *({row.key: row for row in rows} for rows in latency_rows(plan, world).values())]
        several += [{row.key: row for row in rows} for rows in adversary_rows(world).values()]
        for group in several:
            for row in group.values():
                rows.setdefault((row.world, row.key), row)
    return list(rows.values())
