"""Measures rows and keeps each as a JSON file, so that an interrupted report goes on where it was, and only what changed is run again.

What is shipped is judged by `milad eval`; other designs by onnxruntime. Both give the same table of figures.
"""

import functools
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from .. import scenes
from ..evaluate import evaluate
from . import engine
from .plan import Plan, Row

FORMAT = 2
"""Of the kept files: another number measures everything anew."""


def digest(plan: Plan, row: Row, work: Path) -> str:
    """Of all that a row's figures depend on: the program too, where it is the judge; of the clips, one frame and the camera stand for all."""
    said = [FORMAT, plan.seeds, plan.frames, row.world, row.mode, row.interval, row.latency, row.engine]
    said += [] if row.busy is None else [row.busy]
    whole = hashlib.sha256(json.dumps(said).encode())
    clip = scenes.place(row.world, plan.seeds, plan.frames, work) / f"{plan.seeds[0]:07}"
    for file in (*row.files(), clip / "camera.json", clip / "000000.rgb.png", clip / "000000.depth.npy"):
        whole.update(file.name.encode() + (hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b"none"))
    if row.engine == "milad":
        whole.update(_program(Path(scenes.program())))
    return whole.hexdigest()


@functools.cache
def _program(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _file(work: Path, row: Row, ending: str) -> Path:
    return work / "results" / row.world / f"{row.key}.{ending}"


def kept(plan: Plan, row: Row, work: Path) -> dict | None:
    """The figures of a row that was measured before, unless something that it depends on has changed since."""
    file = _file(work, row, "json")
    if not file.is_file() or (row.states and not _file(work, row, "npy").is_file()):
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if found.get("digest") == digest(plan, row, work) else None


def there(row: Row) -> bool:
    """Whether all of its files are."""
    return all(file.is_file() for file in row.files())


def measure(plan: Plan, row: Row, work: Path) -> dict:
    """The figures of a row, measured now if need be."""
    found = kept(plan, row, work)
    if found is not None:
        return found
    file = _file(work, row, "json")
    file.parent.mkdir(parents=True, exist_ok=True)
    config = {"mode": row.mode, "interval": row.interval, "latency": row.latency, "world": row.world}
    config |= {} if row.busy is None else {"busy": row.busy}
    config |= {"seeds": plan.seeds, "frames": plan.frames} | ({"states": _file(work, row, "npy")} if row.states else {})
    with tempfile.TemporaryDirectory() as folder:
        bundle = row.bundle
        if bundle.suffix == ".onnx":
            bundle = Path(folder)
            for name, source in zip(("bundle.toml", "slow.onnx"), row.files()):
                shutil.copyfile(source, bundle / name)
        found = (engine.evaluate if row.engine == "milad" else evaluate)(bundle, config, work)
    found |= {"label": row.label, "digest": digest(plan, row, work)}
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, file)
    return found


def states(row: Row, work: Path) -> np.ndarray:
    """Sums of each clip of a measured row."""
    return np.load(_file(work, row, "npy"))
