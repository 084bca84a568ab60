"""What `results` measures: a small file that names the bundles, and the rows that follow from it.

A baseline that is named but not there is a row "not measured", never an error: a report may be written before everything is trained.
"""

import math
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config import RecipeError
from ..limits import REPORTING

OPERATING = ((5, 2), (10, 4))
"""(keyframe interval, slow network's latency in frames) at which the shipped networks are judged."""
KEPT = Path("models/rivals")
"""What shipped networks were compared with, from the current folder as shipped bundles are: fast networks, each a bundle that shares the shipped slow
network, and plain ones, a file each."""


def _texts(value) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _table(value, fits) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


def _is_text(value) -> bool:
    return isinstance(value, str)


def _are_frames(value, least: int = 0) -> bool:
    return type(value) is int and value >= least


_PATH = ("a path in quotes", _is_text, '"…"')
_KEYS = {
    "bundle": _PATH,
    "shifted": ("the name of a world in quotes", _is_text, '"…"'),
    "float": _PATH,
    "plain": ("a table of paths", lambda value: _table(value, _is_text), '{ "0.28" = "…" }'),
    "warping": _PATH,
    "adversary": ("a table of lists of paths", lambda value: _table(value, _texts), '{ "none" = ["…"] }'),
    "longer": _PATH,
    "trained": _PATH,
    "notes": ("a list of sentences", _texts, '["…"]'),
}
"""Of a world: what each key's value is, and how it is written."""
_RULES = {
    "seeds": ("[first, end)", lambda value: isinstance(value, list) and len(value) == 2 and all(map(_are_frames, value)), "[2_000_000, 2_000_030]"),
    "frames": ("a whole number from 1 on", lambda value: _are_frames(value, 1), "50"),
    "engine": ("milad or onnxruntime", lambda value: value in ("milad", "onnxruntime"), '"milad"'),
    "latencies": ("whole numbers from 0 on", lambda value: isinstance(value, list) and all(map(_are_frames, value)), "[0, 1, 2]"),
}
"""The same for all worlds."""


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
    notes: tuple[str, ...] = ()
    """What a reader must know of how these networks and their rivals were trained: told below the aims."""


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
    described_by: Path | None = None
    busy: int | None = None
    """Frames that a network on every frame takes, where it is not the slow one."""

    @property
    def states(self) -> bool:
        """Whether each clip's sums are kept, for the bootstrap: of what onnxruntime judges at the first operating point."""
        return self.engine == "onnxruntime" and (self.interval, self.latency) == OPERATING[0]

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
    except ValueError as error:
        raise RecipeError(f"{path}: expected TOML, found {error}; put that right") from None
    missing = [key for key in ("seeds", "frames") if key not in table]
    if missing:
        raise RecipeError(f"{path}: expected `seeds` and `frames`, found no `{missing[0]}`; write {missing[0]} = {_RULES[missing[0]][2]}")
    rules = {"engine": "milad", "latencies": list(range(11))} | {key: table.pop(key) for key in _RULES if key in table}
    _fit(f"{path}", rules, _RULES)
    (first, end), engine = rules["seeds"], rules["engine"]
    if not REPORTING <= first < end:
        raise RecipeError(f"{path}: seeds: expected reporting seeds, from {REPORTING} on, found {first}..{end}; those below train and tune")
    latest = max(*rules["latencies"], *(latency for _, latency in OPERATING))
    if rules["frames"] <= latest:
        raise RecipeError(f"{path}: frames: expected more than the largest latency, {latest}, found {rules['frames']}; write more, or smaller latencies")
    worlds = tuple(_world(path, name, entry, work) for name, entry in table.items())
    if not worlds:
        raise RecipeError(f"{path}: expected a table for each world, found none; write [street] with bundle = \"…\"")
    return Plan((first, end), rules["frames"], engine, tuple(rules["latencies"]), worlds)


def _fit(place: str, table: dict, wanted: dict) -> None:
    """Refuses the first value that is not of its key's kind."""
    for key, value in table.items():
        kind, fits, example = wanted[key]
        if not fits(value):
            raise RecipeError(f"{place}: {key}: expected {kind}, found {value!r}; write {key} = {example}")


def _world(path: Path, name: str, entry, work: Path) -> World:
    if not isinstance(entry, dict) or "bundle" not in entry or set(entry) - set(_KEYS):
        found = (sorted(set(entry) - set(_KEYS)) or "no bundle") if isinstance(entry, dict) else entry
        raise RecipeError(f"{path}: {name}: expected a table with `bundle` and any of {', '.join(sorted(_KEYS))}, found {found}; put that right")
    _fit(f"{path}: {name}", entry, _KEYS)

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
        notes=tuple(entry.get("notes", ())),
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


def paired_rows(plan: Plan, world: World) -> tuple[Row, list[Row]]:
    """MILA as shipped and its rivals, all by onnxruntime on the frames of the first table, with the states of each clip."""
    rows = main_rows(plan, world, world.name, *OPERATING[0])
    own = rows["mila"] if plan.engine == "onnxruntime" else float_rows(plan, world)["check-mila"]
    return own, [row for name, row in rows.items() if name.startswith(("plain", "warping"))]


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
            Row(f"adversary-{i}-{seed}", f"{setting}, seed {seed + 1}", world.name, place, "mila", n, latency)
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
