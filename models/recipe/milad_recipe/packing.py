"""Clips of a data set → packed clips for training, at the networks' size: read once, and then as fast as rendered ones.

What a data set has no truth for stays unknown (class 255, depth NaN, normals 0): a loss is taken where there is truth, never elsewhere.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .config import Config, RecipeError
from .datasets import Clip, open_clips
from .datasets.clip import Truth, resized
from .metrics import UNLABELLED
from .progress import Bar
from .worlds import CLASSES

LIKE = {
    "street": {
        "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"), "person": ("rider",), "vegetation": ("terrain",),
        "pole": ("traffic light", "traffic sign"), "building": ("wall", "fence"),
    },
    "room": {
        "seat": ("chair", "sofa", "bed"), "storage": ("furniture",), "wall": ("window", "picture"), "object": ("books", "objects", "tv"),
    },
}  # fmt: skip
"""A world's class → names of the data sets that mean it too."""


def run(config: Config, out: Path, bar: Bar) -> None:
    """Packs what is not there yet."""
    jobs = []
    for what, (low, high) in (("tune", config.data.tune), ("train", config.data.train)):
        named = getattr(config.data, f"{what}_from")
        if not named:
            raise RecipeError(
                f"data.{what}_from: expected a data set beside data.{'tune' if what == 'train' else 'train'}_from, found none; "
                "name one as KIND:PATH or KIND:PATH:SPLIT"
            )
        found = [clip for clip in open_clips(named) if clip.labelled()]
        if not found:
            raise RecipeError(f"{named}: expected clips with truth, found none; choose a split that has labels")
        jobs += [(low + number, clip) for number, clip in enumerate(found[: high - low])]
    for done, (number, clip) in enumerate(jobs):
        if not (out / f"{number:07}").is_dir():
            pack(clip, out / f"{number:07}", config)
        bar.show((done + 1) / len(jobs), f"{done + 1} of {len(jobs)} clips", last=done + 1 == len(jobs))


def pack(clip: Clip, folder: Path, config: Config) -> None:
    """One clip: written to a temporary name, renamed when whole."""
    height, width = config.height, config.width
    labelled, table = clip.labelled(), numbers(clip, config.world)
    arrays = {
        "rgb": np.zeros((len(clip), height, width, 3), np.uint8),
        "class": np.full((len(clip), height, width), UNLABELLED, np.uint8),
        "depth": np.full((len(clip), height, width), np.nan, np.float16),
        "normals": np.zeros((len(clip), 3, height, width), np.int8),
    }
    for frame in range(len(clip)):
        arrays["rgb"][frame] = picture(clip.rgb(frame), height, width)
        truth = clip.truth(frame) if frame in labelled else None
        if truth is not None:
            _put(arrays, frame, resized(truth, height, width), table)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array)
        camera = {"labelled": labelled, "from": clip.name}
        if clip.intrinsics is not None:
            scales = (width / clip.size[1], height / clip.size[0]) * 2
            camera["intrinsics"] = [value * scale for value, scale in zip(clip.intrinsics, scales)]
        (partial / "camera.json").write_text(json.dumps(camera))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(arrays: dict[str, NDArray], frame: int, truth: Truth, table: NDArray) -> None:
    if truth.segmentation is not None:
        arrays["class"][frame] = table[truth.segmentation]
    if truth.depth is not None:
        arrays["depth"][frame] = np.where(truth.depth > 0, truth.depth, np.nan)
    if truth.normals is not None:
        arrays["normals"][frame] = np.rint(truth.normals * 127)


def picture(rgb: NDArray, height: int, width: int) -> NDArray:
    """At the networks' size, stretched by a triangle filter that is as wide as what becomes one pixel, as `milad` does it."""
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((width, height), Image.Resampling.BILINEAR))


def numbers(clip: Clip, world: str) -> NDArray:
    """Class of the world by class of the clip; those that it does not have are unknown. A clip that names no classes has the world's."""
    names = [name for name, _ in CLASSES[world]]
    owner = {name: number for number, name in enumerate(names)}
    owner |= {other: owner[name] for name, others in LIKE.get(world, {}).items() for other in others if other not in owner}
    table = np.full(256, UNLABELLED, np.uint8)
    for number, name in enumerate(clip.classes or names):
        table[number] = owner.get(name, UNLABELLED)
    if (table == UNLABELLED).all():
        raise RecipeError(
            f"clip {clip.name}: expected some class of {world} ({', '.join(names)}), found {', '.join(clip.classes)}; choose the world that it shows"
        )
    return table
