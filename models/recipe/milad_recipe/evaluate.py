"""Quality of a bundle on labelled clips, by onnxruntime: the independent check of `milad eval`, and the only judge of what the daemon
does not run (other designs' operators, a slow network alone).

All frames with truth and an answer count. Frames before the first finished keyframe count too where there is an answer (the fast
network's own); `copy` has none there. What is published, when, and at which age is `sequence`'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .datasets import Clip, open_clips
from .datasets.clip import Truth, resized
from .metrics import DEPTH_CAP, Quality
from .published import image, published
from .scenes import rendered
from .sequence import Answer, Networks, answers, period
from .temporal import Consistency

Maps = dict[str, NDArray]


@dataclass
class Measurement:
    """What was found, sums kept so that clips can be drawn anew."""

    all: Quality
    other: Quality
    """Frames that are no keyframes."""
    streaming: Quality
    """Each frame's truth against the answer that was there at that moment."""
    consistency: Consistency
    ages: dict[int | None, Quality] = field(default_factory=dict)
    clips: list[NDArray] = field(default_factory=list)
    """`Quality.state()` of `all`, clip by clip."""
    frames: int = 0

    def to_dict(self, classes: tuple[str, ...]) -> dict:
        """Figures alone, ready for JSON; NaN becomes None."""
        figures = {
            "tasks": self.all.figures(),
            "other_frames": self.other.figures(),
            "streaming": self.streaming.figures(),
            "ages": {"none" if age is None else str(age): quality.figures() for age, quality in sorted(self.ages.items(), key=_by_age)},
            "consistency": self.consistency.miou(),
            "classes": {
                name: dict(zip(classes, task.per_class().tolist())) for name, task in self.all.tasks.items() if task.kind == "segmentation"
            },
            "clips": len(self.clips),
            "frames": self.frames,
        }
        return _plain(figures)


def _by_age(item: tuple) -> int:
    return -1 if item[0] is None else item[0]


def _plain(value):
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def streamed(mode: str, interval: int, latency: int) -> Callable[[int], int]:
    """Frame → the frame whose answer is there when it is captured (negative: none yet).

    The fast network is done within a frame, so its answer is one frame old; copying costs nothing. `slow` on every frame takes
    `latency` frames and can start no sooner than it is done: what is there is the newest one finished."""
    if mode == "slow":
        busy = max(latency, 1)
        return lambda frame: (frame - busy) // busy * busy
    if mode == "copy":
        return lambda frame: frame
    return lambda frame: frame - 1


def measure(
    networks: Networks, clips: Iterable[Clip], mode: str, interval: int, latency: int, cap: float = DEPTH_CAP, progress=lambda clip: None
) -> Measurement:
    """Runs all clips. They must have the bundle's classes in its order, where they say which they have."""
    kinds = {task["name"]: task["kind"] for task in networks.tasks}
    classes = _classes(networks)
    empty = Quality(kinds, len(classes), cap)
    result = Measurement(empty.empty(), empty.empty(), empty.empty(), Consistency(len(classes)))
    for clip in clips:
        if clip.classes and classes and tuple(clip.classes) != classes:
            raise ValueError(f"clip {clip.name}: expected the bundle's classes {', '.join(classes)}, found {', '.join(clip.classes)}; map them first")
        whole = empty.empty()
        _clip(networks, clip, mode, interval, latency, result, whole)
        result.clips.append(whole.state())
        result.all += whole
        progress(clip)
    return result


def _clip(networks: Networks, clip: Clip, mode: str, interval: int, latency: int, result: Measurement, whole: Quality) -> None:
    entry, labelled = networks.toml["input"], set(clip.labelled())
    pictures = (image(clip.rgb(frame), entry) for frame in range(len(clip)))
    source = streamed(mode, interval, latency)
    shown: dict[int, Maps] = {}
    before: tuple[Maps, Truth] | None = None
    for answer in answers(networks, pictures, mode, interval, latency):
        maps = _maps(networks, answer)
        shown[answer.frame] = maps
        shown.pop(answer.frame - 2 * max(latency, interval, 2) - 2, None)
        truth = clip.truth(answer.frame) if answer.frame in labelled else None
        if truth is None:
            before = None
            continue
        truths = _at_size(networks, truth)
        if maps:
            frame = whole.empty()
            frame.add(maps, truths)
            whole.load(whole.state() + frame.state())
            age = result.ages.setdefault(answer.age, whole.empty())
            age.load(age.state() + frame.state())
            if answer.frame % period(interval, latency):
                result.other.load(result.other.state() + frame.state())
            result.frames += 1
        then = shown.get(source(answer.frame))
        if then:
            result.streaming.add(then, truths)
        _follow(networks, result, before, maps, truths)
        before = (maps, Truth(**truths, flow=None if truth.flow is None else _flow(networks, truth))) if maps else None


def _maps(networks: Networks, answer: Answer) -> Maps:
    if answer.outputs is None:
        return {}
    return {task["name"]: published(task, answer.outputs[f"task.{task['name']}"]) for task in networks.tasks if task["kind"] != "raw"}


def _at_size(networks: Networks, truth: Truth) -> dict[str, NDArray]:
    """Truth by kind, each at the size of the map of its task."""
    found = {}
    for task in networks.tasks:
        kind = task["kind"]
        one = truth.by_kind().get(kind)
        if one is not None:
            found[kind] = getattr(resized(Truth(**{kind: one}), task["height"], task["width"]), kind)
    return found


def _flow(networks: Networks, truth: Truth) -> NDArray:
    task = next(task for task in networks.tasks if task["kind"] == "segmentation")
    return resized(Truth(flow=truth.flow), task["height"], task["width"]).flow


def _follow(networks: Networks, result: Measurement, before: tuple[Maps, Truth] | None, maps: Maps, truths: dict[str, NDArray]) -> None:
    """Consistency from the frame before, where both have what it takes."""
    name = next((task["name"] for task in networks.tasks if task["kind"] == "segmentation"), None)
    if before is None or not maps or name is None or before[1].flow is None:
        return
    earlier = before[1].by_kind()
    if all("depth" in truth and "segmentation" in truth and truth["depth"].shape == truth["segmentation"].shape for truth in (earlier, truths)):
        result.consistency.add(before[0][name], maps[name], earlier, truths, before[1].flow)


def _classes(networks: Networks) -> tuple[str, ...]:
    return next((tuple(entry["name"] for entry in task["classes"]) for task in networks.tasks if task["kind"] == "segmentation"), ())


DEFAULTS = {"mode": "mila", "latency": 0, "depth_cap": DEPTH_CAP, "threads": 1}


def evaluate(bundle_dir: Path | str, config: Mapping, work: Path | str) -> dict:
    """`config`: `mode`, `interval` (default: the bundle's), `latency`, and either `clips` (a data set by `datasets.open_clips`) or `world`,
    `seeds` [first, end) and `frames`: scenes, rendered once below `work`. `states`, if given, is a file for the clips' states."""
    networks = Networks(Path(bundle_dir), config.get("threads", DEFAULTS["threads"]))
    mode, latency = config.get("mode", DEFAULTS["mode"]), int(config.get("latency", DEFAULTS["latency"]))
    interval = int(config.get("interval") or networks.toml["keyframe_interval"])
    clips = open_clips(config["clips"]) if "clips" in config else rendered(config["world"], config["seeds"], config["frames"], Path(work))
    cap = float(config.get("depth_cap", DEFAULTS["depth_cap"]))
    found = measure(networks, clips, mode, interval, latency, cap, config.get("progress", lambda clip: None))
    if "states" in config:
        np.save(config["states"], np.stack(found.clips))
    said = {"bundle": networks.toml["name"], "mode": mode, "interval": interval, "latency": latency, "depth_cap": cap}
    return said | found.to_dict(_classes(networks)) | {"macs": networks.macs(mode, interval, latency)}
