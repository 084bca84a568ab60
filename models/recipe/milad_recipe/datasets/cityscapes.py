"""Cityscapes video: leftImg8bit_sequence, gtFine, disparity and camera, unpacked side by side as they are distributed.

A snippet has 30 frames and its 20th alone is labelled. Classes are the 19 of the benchmark (trainIds). Depth comes from disparity:
depth = baseline · fx / d with d = (p − 1) / 256, p = 0 being no measurement (the data set's README). There are no normals.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..metrics import UNLABELLED
from .clip import Clip, LayoutError, Truth, colours, labels, picture_size

LABELLED_FRAME, FRAMES = 19, 30
CLASSES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19, "traffic sign": 20,
    "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31,
    "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
"""Name → labelId, in order of trainId."""
SKY = CLASSES["sky"]
TRAIN_IDS = np.full(256, UNLABELLED, np.uint8)
for _train_id, _label_id in enumerate(CLASSES.values()):
    TRAIN_IDS[_label_id] = _train_id
PARTS = {"leftImg8bit_sequence": "leftImg8bit.png", "gtFine": "gtFine_labelIds.png", "disparity": "disparity.png", "camera": "camera.json"}


class Snippet(Clip):
    """The 30 frames around one labelled frame `city_sequence_frame`."""

    classes = tuple(CLASSES)

    def __init__(self, root: Path, split: str, name: str):
        self.root, self.split, self.name = root, split, name
        self.city, self.sequence, number = name.rsplit("_", 2)
        self.first = int(number) - LABELLED_FRAME
        missing = [i for i in range(FRAMES) if not self._file("leftImg8bit_sequence", i).is_file()]
        if missing:
            file = self._file("leftImg8bit_sequence", missing[0])
            raise LayoutError(
                f"{file}: expected the {FRAMES} frames around the labelled frame {name}, found {FRAMES - len(missing)}; "
                "unpack leftImg8bit_sequence_trainvaltest.zip beside gtFine"
            )
        self.size = picture_size(self._file("leftImg8bit_sequence", LABELLED_FRAME), _again("leftImg8bit_sequence"))
        file = self._file("camera", LABELLED_FRAME)
        try:
            camera = json.loads(file.read_text(encoding="utf-8"))
            self.intrinsics = tuple(float(camera["intrinsic"][key]) for key in ("fx", "fy", "u0", "v0"))
            self.baseline = float(camera["extrinsic"]["baseline"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LayoutError(
                f"{file}: expected the camera's `intrinsic` and `extrinsic`, found {error!r}; unpack camera_trainvaltest.zip beside gtFine"
            ) from error

    def __len__(self) -> int:
        return FRAMES

    def rgb(self, frame: int) -> NDArray:
        return colours(self._file("leftImg8bit_sequence", frame), self.size, _again("leftImg8bit_sequence"))

    def labelled(self) -> list[int]:
        return [LABELLED_FRAME]

    def truth(self, frame: int) -> Truth | None:
        if frame != LABELLED_FRAME:
            return None
        ids = self._label("gtFine", np.uint8)
        depth = None
        if (self.root / "disparity").is_dir():
            depth = metres(self._label("disparity", np.uint16), self.intrinsics[0], self.baseline)
            depth[ids == SKY] = np.inf
        return Truth(segmentation=TRAIN_IDS[ids], depth=depth)

    def _file(self, part: str, frame: int) -> Path:
        return self.root / part / self.split / self.city / f"{self.city}_{self.sequence}_{self.first + frame:06}_{PARTS[part]}"

    def _label(self, part: str, dtype: type) -> NDArray:
        return labels(self._file(part, LABELLED_FRAME), self.size, dtype, _again(part))


class Cityscapes:
    """The snippets of a split, in order of name."""

    SPLITS = ("train", "val", "test")

    def __init__(self, root: Path, split: str = "val"):
        self.root, self.split = root, split
        for part in ("leftImg8bit_sequence", "gtFine", "camera"):
            if not (root / part / split).is_dir():
                found = ", ".join(sorted(path.name for path in root.iterdir())) if root.is_dir() else ""
                raise LayoutError(
                    f"{root}: expected the folder {part}/{split} of Cityscapes, found {found or 'nothing'}; unpack its archives into one folder"
                )
        ending = f"_{PARTS['gtFine']}"
        self.names = sorted(path.name.removesuffix(ending) for path in (root / "gtFine" / split).glob(f"*/*{ending}"))
        if not self.names:
            raise LayoutError(f"{root / 'gtFine' / split}: expected files CITY/*{ending}, found none; unpack gtFine_trainvaltest.zip again")
        bad = [name for name in self.names if not all(part.isdecimal() for part in name.rsplit("_", 2)[1:]) or name.count("_") < 2]
        if bad:
            raise LayoutError(f"{root}: expected labels named CITY_SEQUENCE_FRAME{ending}, found {bad[0]}{ending}; give them their own names back")

    def __iter__(self) -> Iterator[Clip]:
        return (Snippet(self.root, self.split, name) for name in self.names)


def _again(part: str) -> str:
    return f"unpack {part}_trainvaltest.zip again"


def metres(disparity: NDArray, focal: float, baseline: float) -> NDArray:
    """Depth of a disparity picture (uint16); NaN where it has no measurement."""
    pixels = (disparity.astype(np.float32) - 1) / 256
    with np.errstate(divide="ignore"):
        depth = np.float32(focal * baseline) / pixels
    return np.where(pixels > 0, depth, np.float32(np.nan))
