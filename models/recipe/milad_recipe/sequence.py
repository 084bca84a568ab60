"""A bundle's ONNX files on a clip, frame after frame, by onnxruntime: docs/BUNDLE.md, "When a keyframe comes into force", to the letter.

This is the cross-check of `milad eval`, so it shares no code with the daemon; and it runs what the daemon need not: bundles whose fast
network uses operators that only onnxruntime has, and folders with a slow network alone.
"""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from . import macs
from .config import RecipeError
from .datasets.clip import words
from .limits import KEYFRAMES

Arrays = dict[str, NDArray]
MODES = ("mila", "slow", "fast", "copy")


def session(model: Path | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """On the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises whatever the file's bytes lead it to
        place = "a network in memory" if isinstance(model, bytes) else model
        raise RecipeError(f"{place}: expected a network that onnxruntime runs, found one that it cannot load ({words(error)}); export it again") from None


def _numbers(value, low: float = float("-inf")) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) and low < v < float("inf") for v in value)


def _tables(value) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(entry, dict) for entry in value)


_WHOLE = ("a whole number from 1 on", lambda value: type(value) is int and value >= 1)
_NAME = ("a name", lambda value: isinstance(value, str))
_KINDS = {
    "segmentation": {"classes": ("tables with a `name` each", lambda value: _tables(value) and all(isinstance(v.get("name"), str) for v in value))},
    "depth": {"encoding": ("metres, log or inverse", lambda value: value in ("metres", "log", "inverse"))},
    "normals": {},
    "raw": {"channels": _WHOLE},
}
_BUNDLE = {
    "name": _NAME,
    "keyframe_interval": _WHOLE,
    "input": ("a table", lambda value: isinstance(value, dict)),
    "task": ("a table for each task", _tables),
}
_INPUT = {
    "width": _WHOLE,
    "height": _WHOLE,
    "mean": ("three numbers", _numbers),
    "std": ("three numbers above 0", lambda value: _numbers(value, 0)),
    "resize": ("stretch, crop or letterbox", lambda value: value in ("stretch", "crop", "letterbox")),
}
_TASK = {"name": _NAME, "kind": (" or ".join(_KINDS), lambda value: isinstance(value, str) and value in _KINDS), "width": _WHOLE, "height": _WHOLE}


def described(file: Path) -> dict:
    """`bundle.toml`, with what is read of it here checked."""
    try:
        toml = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{file}: expected TOML, found {words(error)}; write it as docs/BUNDLE.md says") from None

    def need(place: str, table: dict, wanted: dict) -> None:
        for key, (kind, fits) in wanted.items():
            if key not in table or not fits(table[key]):
                found = repr(table[key])[:80] if key in table else "none"
                raise RecipeError(f"{file}: {place}{key}: expected {kind}, found {found}; write it as docs/BUNDLE.md says")

    need("", toml, _BUNDLE)
    need("input.", toml["input"], _INPUT)
    for number, task in enumerate(toml["task"], 1):
        need(f"task {number}: ", task, _TASK)
        need(f"task {number}: ", task, _KINDS[task["kind"]])
    return toml


def _channels(task: dict) -> int:
    return {"segmentation": len(task.get("classes", ())), "depth": 1, "normals": 3, "raw": task.get("channels")}[task["kind"]]


@dataclass(frozen=True)
class Answer:
    """What is published for a frame."""

    frame: int
    outputs: Arrays | None
    """`task.*`; None where there is nothing to publish yet."""
    age: int | None
    """Frames since the keyframe that it rests on; None where it rests on none."""
    keyframe: bool
    """Whether this frame is one."""


class Networks:
    """The networks of a bundle's folder; `fast.onnx` may be missing where only `slow` and `copy` are asked for."""

    def __init__(self, folder: Path, threads: int = 1):
        file = folder / "bundle.toml"
        if not file.is_file():
            raise RecipeError(f"{folder}: expected a bundle, found no bundle.toml; give a folder as docs/BUNDLE.md describes it")
        self.folder, self.toml = folder, described(file)
        self.slow, self.fast = (
            session(folder / f"{name}.onnx", threads) if (folder / f"{name}.onnx").is_file() else None for name in ("slow", "fast")
        )
        self.inputs = {value.name: value.shape for value in self.fast.get_inputs()} if self.fast else {}
        self.memory = [name for name in self.inputs if name not in ("image", "valid", "age")]
        self._check()

    def _check(self) -> None:
        """Refuses networks that are not as bundle.toml tells, or do not belong together."""
        height, width = self.size
        wanted = {"image": [1, 3, height, width]} | {f"task.{task['name']}": [1, _channels(task)] for task in self.tasks}
        shapes = {
            name: {value.name: value.shape for value in (*network.get_inputs(), *network.get_outputs())}
            for name, network in (("slow", self.slow), ("fast", self.fast))
            if network
        }
        for network, found in shapes.items():
            for name, shape in wanted.items():
                if found.get(name, [])[: len(shape)] != shape:
                    place = f"{self.folder / network}.onnx: {name}"
                    raise RecipeError(f"{place}: expected the shape {shape} … that bundle.toml tells, found {found.get(name, 'none')}; export the bundle again")
        for name in self.memory if self.slow else ():
            given = shapes["slow"].get(name) or shapes["fast"].get(f"next.{name}") or []
            if given[1:] != self.inputs[name][1:]:
                place = f"{self.folder}: memory {name}"
                raise RecipeError(f"{place}: expected {self.inputs[name]} as fast.onnx takes it, found {given or 'none'}; take both networks of one export")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the networks' picture."""
        return self.toml["input"]["height"], self.toml["input"]["width"]

    @property
    def tasks(self) -> list[dict]:
        """The tables `[[task]]`."""
        return self.toml["task"]

    def macs(self, mode: str, keyframes: float) -> dict[str, float]:
        """Multiply-accumulates of a run of each network, and the mean a frame in a mode where a share of frames is `keyframes`: the fast
        network runs on every frame, those included; its part that depends on memory alone runs once with each keyframe."""
        files = {name: self.folder / f"{name}.onnx" for name in ("slow", "fast")}
        try:
            slow = macs.count(files["slow"].read_bytes()) if self.slow else 0
            fast, once = macs.split(files["fast"].read_bytes(), frozenset(self.memory)) if self.fast else (0, 0)
        except Exception as error:  # onnx raises whatever the file's bytes lead it to
            raise RecipeError(f"{self.folder}: expected networks of static shapes, found others ({words(error)}); export the bundle again") from None
        mean = {"slow": slow, "fast": fast, "copy": slow * keyframes, "mila": (slow + once) * keyframes + fast}
        return {"slow": slow, "fast": fast, "mean": mean[mode]}

    def run_slow(self, image: NDArray) -> Arrays:
        """Every output of `slow.onnx`."""
        return _run(self._present("slow"), {"image": image})

    def run_fast(self, image: NDArray, keyframes: list[tuple[int, Arrays]], now: int) -> Arrays:
        """Every output of `fast.onnx`; `keyframes`: number and memory of those in force, the newest first."""
        network, feeds = self._present("fast"), {"image": image}
        for name, shape in self.inputs.items():
            if name == "image":
                continue
            feeds[name] = np.full(shape, -1.0 if name == "age" else 0.0, np.float32)
            for t, (number, memory) in enumerate(keyframes[: shape[0]]):
                feeds[name][t] = {"age": now - number, "valid": 1.0}[name] if name in ("age", "valid") else memory[name][0]
        return _run(network, feeds)

    def keyframe(self, image: NDArray) -> tuple[Arrays, Arrays]:
        """The slow network's outputs, and the memory of this frame."""
        slow, own = self.run_slow(image), {}
        if any(name not in slow for name in self.memory):
            own = self.run_fast(image, [], 0)
        return slow, {name: slow[name] if name in slow else own[f"next.{name}"] for name in self.memory}

    def _present(self, name: str) -> onnxruntime.InferenceSession:
        network = getattr(self, name)
        if network is None:
            raise RecipeError(f"{self.folder}: expected {name}.onnx for this mode, found none; export it, or ask for another mode")
        return network


def _run(network: onnxruntime.InferenceSession, feeds: Arrays) -> Arrays:
    names = [output.name for output in network.get_outputs()]
    return dict(zip(names, network.run(names, feeds)))


def _tasks(outputs: Arrays) -> Arrays:
    return {name: array for name, array in outputs.items() if name.startswith("task.")}


def period(interval: int, latency: int) -> int:
    """Frames from keyframe to keyframe: there is one slow network, and it takes `latency` frames."""
    return max(interval, latency, 1)


def answers(networks: Networks, images: Iterable[NDArray], mode: str, interval: int, latency: int) -> Iterator[Answer]:
    """What is published, frame by frame.

    `slow`: the slow network on every frame, at no delay. `fast`: the fast network that never sees a keyframe. `copy`: the newest finished
    keyframe's result. `mila`: the fast network with the newest finished keyframe's memory, but the slow network's own result where
    the frame is itself that keyframe (latency 0)."""
    if mode not in MODES:
        raise RecipeError(f"mode: expected one of {', '.join(MODES)}, found {mode!r}; name one of them")
    n = period(interval, latency)
    coming: list[tuple[int, Arrays, Arrays]] = []
    in_force: list[tuple[int, Arrays]] = []
    result: Arrays | None = None
    for number, image in enumerate(images):
        is_keyframe = mode in ("mila", "copy") and number % n == 0
        if mode == "slow":
            yield Answer(number, _tasks(networks.run_slow(image)), 0, True)
            continue
        if is_keyframe:
            slow, memory = networks.keyframe(image) if mode == "mila" else (networks.run_slow(image), {})
            coming.append((number, _tasks(slow), memory))
        while coming and coming[0][0] + latency <= number:
            key, result, memory = coming.pop(0)
            in_force = [(key, memory), *in_force][:KEYFRAMES]
        age = number - in_force[0][0] if in_force else None
        if mode == "copy" or (mode == "mila" and age == 0):
            yield Answer(number, result, age, is_keyframe)
        else:
            yield Answer(number, _tasks(networks.run_fast(image, in_force, number)), age, is_keyframe)
