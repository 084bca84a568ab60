"""Stage export: a bundle of the quantised networks, and beside it one of the float networks to compare with. Each appears whole or not at all."""

import json
import shutil
from pathlib import Path

from . import bundle, checkpoint, macs, stage_data, stage_fast, stage_slow
from .bundle import Description, Task
from .config import Config, RecipeError
from .data import MEAN, STD
from .stage_quantise_fast import own_slow, slow_file
from .worlds import CLASSES, FRAME_INTERVAL_S

KINDS = {"bundle": "int8", "bundle-float": "float"}
"""Folder in the work folder → which files go into it."""

_CARD = """
{names} from one camera, for `milad`.

{origin}
- {width}×{height} pixels, {fps:.0f} frames/s, a keyframe every {interval} frames. Depth in metres up to {far:g}; what is farther, the sky too, is about {far:g}.
- Multiply-accumulates: slow network {slow:.0f} million a keyframe, fast network {fast:.1f} million a frame ({ratio:.1f} times fewer). Both {kind}.
- Classes: {classes}.
"""


_RENDERED = """- **Trained on rendered scenes** (world `{world}`; {seen}), never on a real picture. Not for real streets or rooms,
  not for driving, and not for anything where a wrong answer hurts: train on your own data first.
- How good it is, on seeds that neither training nor tuning saw: `models/RESULTS.md`."""
_DATA_SET = """- **Trained on a data set** (`{kind}`; {seen}). How good it is elsewhere is not known; not for anything where a wrong answer hurts."""


def origin(config: Config) -> str:
    """What it was trained on, in two words: the kind of data set, never where it lies on this machine."""
    return config.data.train_from.partition(":")[0] or f"rendered scenes ({config.world})"


def description(config: Config, work: Path, kind: str, files: dict[str, bytes]) -> Description:
    """bundle.toml and CARD.md."""
    width, height, classes = config.width, config.height, CLASSES[config.world]
    tasks = (
        Task("segmentation", "segmentation", width, height, classes=classes),
        Task("depth", "depth", width, height, encoding="log"),
        Task("normals", "normals", width, height),
    )
    tasks = tuple(task for task in tasks if task.name in config.tasks)
    slow, fast = (macs.count(files[name]) / 1e6 for name in ("slow", "fast"))
    source = (_DATA_SET if config.data.train_from else _RENDERED).format(kind=origin(config), world=config.world, seen=_seen(config, work))
    card = _CARD.format(
        origin=source, names=", ".join(task.name for task in tasks).capitalize(), width=width, height=height, fps=1 / FRAME_INTERVAL_S,
        interval=config.interval, far=config.data.far, slow=slow, fast=fast, ratio=slow / fast, kind=kind, classes=", ".join(name for name, _ in classes),
    )  # fmt: skip
    return Description(
        name=config.name,
        trained_on=origin(config),
        frame_interval_s=FRAME_INTERVAL_S,
        keyframe_interval=config.interval,
        width=width,
        height=height,
        tasks=tasks,
        intrinsics=intrinsics(config, work),
        mean=MEAN,
        std=STD,
        card=card,
    )


def _seen(config: Config, work: Path) -> str:
    """What each network was trained on, as its checkpoint tells it. Of adopted networks it is not known which clips that was."""
    said = []
    for name, stage, words in (("slow", stage_slow, "pictures for the slow network"), ("fast", stage_fast, "frames for the fast one")):
        state = checkpoint.need(stage.folder(work) / "checkpoint.pt", config.digest(*stage.PARTS), name)
        adopted = state.get("adopted", False)
        before = 0 if adopted else max(state.get("before", 0), 0)
        own = state["samples"] - before
        text = f"{own:,} {words}" if own > 0 else f"an unknown number of {words}"
        text += f", on weights that had seen {before:,} before" if before else ""
        text += "" if adopted or config.data.train_from else f", drawn from seeds {config.data.train[0]} to {config.data.train[1] - 1}"
        said.append(text)
    return "; ".join(said)


def intrinsics(config: Config, work: Path) -> tuple[float, float, float, float] | None:
    """The mean over some training clips of what their camera.json says, or None where they say nothing."""
    found = []
    for path in sorted(stage_data.folder(config, work).glob("*/camera.json"))[:64]:
        given = json.loads(path.read_text(encoding="utf-8")).get("intrinsics")
        if given is not None:
            found.append([float(given[name]) for name in ("fx", "fy", "cx", "cy")] if isinstance(given, dict) else [float(x) for x in given])
    return tuple(round(sum(column) / len(found), 3) for column in zip(*found)) if found else None


def run(config: Config, work: Path) -> None:
    """Writes both bundles."""
    bundles = {name: {"slow": slow_file(config, work, kind), "fast": stage_fast.folder(work) / f"fast-{kind}.onnx"} for name, kind in KINDS.items()}
    for name, kind in KINDS.items():
        for network, path in bundles[name].items():
            if not path.is_file():
                raise RecipeError(f"{path}: expected the {kind} {network} network, found no such file; run --stage quantise-{network} first")
    slow, fast = stage_slow.fingerprint(config, work), stage_fast.fingerprint(config, work)
    if not own_slow(config):
        checkpoint.signed(stage_slow.folder(work), "quantise-slow", slow=slow)
    checkpoint.signed(stage_fast.folder(work), "quantise-fast", slow=slow, fast=fast)
    for name, kind in KINDS.items():
        files = {network: path.read_bytes() for network, path in bundles[name].items()}
        partial, place = work / f".{name}.partial", work / name
        shutil.rmtree(partial, ignore_errors=True)
        bundle.write(partial, description(config, work, kind, files), files)
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
        print(f"{place}: {sum(len(data) for data in files.values()) / 1e6:.2f} MB")
