"""Rendered clips as `milad scene --packed` writes them: a folder of npy arrays a clip, mapped into memory rather than read."""

from collections.abc import Iterator
from pathlib import Path

import json

import numpy as np
from numpy.typing import NDArray

from ..metrics import UNLABELLED
from .clip import Clip, LayoutError, Truth, npy

TYPES = {"rgb": np.uint8, "class": np.uint8, "depth": np.float16, "normals": np.int8, "flow": np.float16}
HINT = "render it with `milad scene --world street --seeds 0..4 --frames 24 --packed --out FOLDER`"


class PackedClip(Clip):
    """`rgb.npy` u8 [N,H,W,3], `class.npy` u8 [N,H,W], `depth.npy` f16 [N,H,W], `normals.npy` i8 [N,3,H,W] (× 127), optional
    `flow.npy` f16 [N,2,H,W], `camera.json`."""

    def __init__(self, folder: Path):
        self.name, self.folder = folder.name, folder
        shape = npy(folder / "class.npy", (np.uint8,), HINT, ("N", "H", "W"), mapped=True).shape
        frames, self.size = shape[0], shape[1:]
        shapes = {"rgb": (*shape, 3), "class": shape, "depth": shape, "normals": (frames, 3, *self.size), "flow": (frames, 2, *self.size)}
        there = [name for name in TYPES if name != "flow" or (folder / "flow.npy").is_file()]
        self.arrays = {name: npy(folder / f"{name}.npy", (TYPES[name],), HINT, shapes[name], mapped=True) for name in there}
        self.intrinsics, self.classes = camera(folder, frames)

    def __len__(self) -> int:
        return len(self.arrays["class"])

    def rgb(self, frame: int) -> NDArray:
        return np.array(self.arrays["rgb"][frame])

    def truth(self, frame: int) -> Truth:
        flow = self.arrays.get("flow")
        return Truth(
            segmentation=np.array(self.arrays["class"][frame]),
            depth=self.arrays["depth"][frame].astype(np.float32),
            normals=self.arrays["normals"][frame].astype(np.float32) / np.float32(127),
            flow=None if flow is None else flow[frame].astype(np.float32),
        )


class PackedClips:
    """All clips of a folder, in order of name."""

    def __init__(self, root: Path):
        self.root = root
        self.folders = sorted(path.parent for path in root.glob("[!.]*/rgb.npy")) if root.is_dir() else []
        if not self.folders:
            raise LayoutError(f"{root}: expected folders with rgb.npy, class.npy, depth.npy and normals.npy, found none; {HINT}")

    def __iter__(self) -> Iterator[Clip]:
        return (PackedClip(folder) for folder in self.folders)


def camera(folder: Path, frames: int) -> tuple[tuple[float, float, float, float] | None, tuple[str, ...]]:
    """Intrinsics and class names of `camera.json`, as far as it tells them; it may be missing. If it tells how many frames, there must be so many."""
    file = folder / "camera.json"
    if not file.is_file():
        return None, ()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = content.get("intrinsics")
        if isinstance(found, dict):
            found = [found[key] for key in ("fx", "fy", "cx", "cy")]
        classes = tuple(str(entry["name"] if isinstance(entry, dict) else entry) for entry in content.get("classes", ()))
        intrinsics = None if found is None else tuple(float(value) for value in found)
        told = content.get("frames", frames)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LayoutError(f"{file}: expected JSON with `intrinsics` [fx, fy, cx, cy], found {error!r}; write it anew or remove it") from error
    if type(told) is int and told != frames:
        raise LayoutError(f"{file}: expected as many `frames` as lie beside it, {frames}, found {told!r}; bring those that are missing back")
    if len(classes) > UNLABELLED:
        raise LayoutError(f"{file}: expected at most {UNLABELLED} `classes`, found {len(classes)}; name those that the labels have")
    if intrinsics is not None and len(intrinsics) != 4:
        raise LayoutError(f"{file}: expected `intrinsics` of four numbers fx, fy, cx, cy, found {len(intrinsics)}; write it anew or remove it")
    return intrinsics, classes
