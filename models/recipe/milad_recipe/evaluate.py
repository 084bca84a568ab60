"""Quality of a bundle on labelled clips, by onnxruntime: the independent check of `milad eval`, and the only judge of what the daemon
does not run (other designs' operators, a slow network alone). Every definition here is that of `milad eval`.

Scored are frames with truth for which a keyframe is in force, in every mode, so that modes of one interval and latency are compared on
the same frames. Maps are published as large as the truth. What is answered, and when, is `sequence`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .config import RecipeError
from .datasets import Clip, open_clips
from .datasets.clip import Truth
from .metrics import DEPTH_CAP, UNLABELLED, Quality
from .published import image, published
from .scenes import rendered
from .sequence import Networks, answers, period
from .temporal import Consistency

Maps = dict[str, NDArray]


@dataclass
class Measurement:
    """What was found, sums kept so that clips can be drawn anew."""

    all: Quality
    other: Quality
    """Frames that are no keyframes."""
    streaming: Quality
    """Each frame's truth against the answer that was out at that moment."""
    consistency: Consistency
    ages: dict[int, Quality] = field(default_factory=dict)
    """By frames since the keyframe in force."""
    clips: list[NDArray] = field(default_factory=list)
    """`Quality.state()` of `all`, clip by clip."""
    frames: int = 0
    played: int = 0
    """Frames, scored or not."""
    keyframes: int = 0
    """Of those played."""

    def to_dict(self, classes: tuple[str, ...]) -> dict:
        """Figures alone, ready for JSON; NaN becomes None."""
        figures = {
            "tasks": self.all.figures(),
            "other_frames": self.other.figures(),
            "streaming": self.streaming.figures(),
            "ages": {str(age): quality.figures() for age, quality in sorted(self.ages.items())},
            "consistency": self.consistency.miou(),
            "classes": {
                name: dict(zip(classes, task.per_class().tolist())) for name, task in self.all.tasks.items() if task.kind == "segmentation"
            },
            "clips": len(self.clips),
            "frames": self.frames,
        }
        return _plain(figures)


def _plain(value):
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def answer_at(mode: str, latency: int, moment: int, busy: int | None = None) -> int:
    """The frame whose answer is there at the moment of a frame; negative where none is. What is computed of a picture is there in the
    next frame at the earliest, what is kept from a keyframe at once; the slow network can start no sooner than it is done, after `busy` frames if it is
    another one than that whose latency is given."""
    if mode == "slow":
        busy = max(latency if busy is None else busy, 1)
        return (moment - busy) // busy * busy
    return moment if mode == "copy" and latency else moment - 1


def measure(
    networks: Networks,
    clips: Iterable[Clip],
    mode: str,
    interval: int,
    latency: int,
    cap: float = DEPTH_CAP,
    progress=lambda clip: None,
    busy: int | None = None,
) -> Measurement:
    """Runs all clips. Classes are matched by name; those that only one side knows are not scored. `busy`: see `answer_at`."""
    kinds, clips = {task["name"]: task["kind"] for task in networks.tasks}, list(clips)
    known = [set(_class_table(networks, clip).tolist()) - {UNLABELLED} for clip in clips]
    empty = Quality(kinds, len(_classes(networks)), cap, frozenset(set.union(*known)) if known else None)
    result = Measurement(empty.empty(), empty.empty(), empty.empty(), Consistency(len(_classes(networks))))
    for clip in clips:
        whole = empty.empty()
        _clip(networks, clip, mode, interval, latency, busy, result, whole)
        result.clips.append(whole.state())
        result.all += whole
        progress(clip)
    return result


def _clip(
    networks: Networks, clip: Clip, mode: str, interval: int, latency: int, busy: int | None, result: Measurement, whole: Quality
) -> None:
    entry, labelled, table = networks.toml["input"], set(clip.labelled()), _class_table(networks, clip)
    pictures = (image(clip.rgb(frame), entry) for frame in range(len(clip)))
    n = period(interval, latency)
    shown: dict[int, Maps] = {}
    before: tuple[Maps, Truth] | None = None
    for answer in answers(networks, pictures, mode, interval, latency):
        number = answer.frame
        result.played += 1
        result.keyframes += number % n == 0
        if answer.outputs is None:
            continue
        maps = {
            task["name"]: published(task | dict(zip(("height", "width"), clip.size)), answer.outputs[f"task.{task['name']}"])
            for task in networks.tasks
            if task["kind"] != "raw"
        }
        shown[number] = maps
        shown.pop(number - 2 * max(latency, 1), None)
        if number < latency:
            continue
        truth = clip.truth(number) if number in labelled else None
        if truth is None:
            before = None
            continue
        if truth.segmentation is not None:
            truth = replace(truth, segmentation=table[truth.segmentation])
        frame = whole.empty()
        frame.add(maps, truth.by_kind())
        age = result.ages.setdefault((number - latency) % n + latency, whole.empty())
        for sums in (whole, age, *([result.other] if number % n else [])):
            sums.include(frame)
        result.frames += 1
        if number >= latency + max(latency, 1):
            result.streaming.add(shown[answer_at(mode, latency, number, busy)], truth.by_kind())
        if before is not None:
            _follow(networks, result, before, (maps, truth))
        before = (maps, truth)


def _follow(networks: Networks, result: Measurement, before: tuple[Maps, Truth], now: tuple[Maps, Truth]) -> None:
    """Consistency from the frame before, where truth has what it takes."""
    name = next((task["name"] for task in networks.tasks if task["kind"] == "segmentation"), None)
    truths = (before[1], now[1])
    if name is None or before[1].flow is None or any(truth.segmentation is None or truth.depth is None for truth in truths):
        return
    result.consistency.add(before[0][name], now[0][name], *(truth.by_kind() for truth in truths), before[1].flow)


def _classes(networks: Networks) -> tuple[str, ...]:
    return next((tuple(entry["name"] for entry in task["classes"]) for task in networks.tasks if task["kind"] == "segmentation"), ())


def _class_table(networks: Networks, clip: Clip) -> NDArray:
    """Class in the bundle by class in the truth; by number where the clip does not name its classes."""
    classes, table = _classes(networks), np.full(256, UNLABELLED, np.uint8)
    known = clip.classes or classes
    for number, name in enumerate(known):
        if name in classes:
            table[number] = classes.index(name)
    if classes and (table == UNLABELLED).all():
        raise RecipeError(
            f"clip {clip.name}: expected classes that the bundle knows ({', '.join(classes)}), found {', '.join(known)}; evaluate on clips of the "
            "kind that the bundle is for"
        )
    return table


def _clips(config: Mapping, work: Path, size: tuple[int, int], latency: int) -> list[Clip]:
    """What is to be judged, some of it labelled where the first keyframe has come into force."""
    if "clips" not in config:
        clips, named = rendered(config["world"], config["seeds"], config["frames"], work, size), config["world"]
    else:
        clips, named = (open_clips(config["clips"]), config["clips"]) if isinstance(config["clips"], str) else (config["clips"], "clips")
    labelled = [frame for clip in clips for frame in clip.labelled()]
    if not labelled:
        raise RecipeError(f"{named}: expected frames with truth, found none in {len(clips)} clips; choose a split that has labels")
    if max(labelled) < latency:
        raise RecipeError(
            f"{named}: expected frames with truth from {latency} on, when the first keyframe comes into force, found none behind {max(labelled)}; "
            "give longer clips or a smaller latency"
        )
    return clips


DEFAULTS = {"mode": "mila", "latency": 0, "depth_cap": DEPTH_CAP, "threads": 1}


def evaluate(bundle_dir: Path | str, config: Mapping, work: Path | str) -> dict:
    """`config`: `mode`, `interval` (default: the bundle's), `latency`, and either `clips` (a data set by `datasets.open_clips`, or clips) or `world`,
    `seeds` [first, end) and `frames`: scenes, rendered once below `work` at the size of the networks' picture. `states`, if given, is a file for the
    clips' states; `busy`: see `answer_at`."""
    for key, least in (("interval", 1), ("latency", 0), ("frames", 1)):
        if config.get(key) is not None and config[key] < least:
            raise RecipeError(f"{key}: expected a number of frames from {least} on, found {config[key]}; give such a number")
    networks = Networks(Path(bundle_dir), config.get("threads", DEFAULTS["threads"]))
    mode, latency = config.get("mode", DEFAULTS["mode"]), int(config.get("latency", DEFAULTS["latency"]))
    interval = int(config.get("interval") or networks.toml["keyframe_interval"])
    clips = _clips(config, Path(work), networks.size, latency)
    cap = float(config.get("depth_cap", DEFAULTS["depth_cap"]))
    found = measure(networks, clips, mode, interval, latency, cap, config.get("progress", lambda clip: None), config.get("busy"))
    if "states" in config:
        np.save(config["states"], np.stack(found.clips))
    said = {"bundle": networks.toml["name"], "mode": mode, "interval": interval, "latency": latency, "depth_cap": cap}
    return said | found.to_dict(_classes(networks)) | {"macs": networks.macs(mode, found.keyframes / max(found.played, 1))}
