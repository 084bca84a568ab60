"""NYUv2, in either of two layouts: the labelled `.mat` file as distributed (needs h5py: `pip install milad-recipe[nyu]`), or the
folders of arrays that work on multi-task learning passes around (`train/image/0.npy`, `label`, `depth`, `normal`; 13 classes).

Labelled frames are single pictures, so each is a clip of one frame. The `.mat` has 894 names of things and no normals; its names are
brought to the eight classes of milad's rooms. Camera: the RGB camera of the data set's own toolbox.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..metrics import UNLABELLED
from .clip import Clip, LayoutError, Truth, checked, npy, words

SIZE = (480, 640)
INTRINSICS = (518.857901, 519.469611, 325.582245, 253.736166)
THIRTEEN = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall", "window",
)  # fmt: skip
ROOM = {
    "floor": ("floor", "floor mat", "rug", "carpet"),
    "wall": ("wall", "window", "door", "blinds", "curtain", "picture", "whiteboard", "mirror", "column"),
    "ceiling": ("ceiling",),
    "seat": ("chair", "sofa", "stool", "bench", "ottoman", "bed"),
    "table": ("table", "desk", "coffee table", "counter", "night stand", "dining table"),
    "storage": ("cabinet", "bookshelf", "shelves", "dresser", "drawer", "wardrobe", "refridgerator", "refrigerator", "chest"),
    "object": (),
    "person": ("person",),
}
"""milad's class → names of NYUv2; any other thing is an object."""
MAT_HINT = "download nyu_depth_v2_labeled.mat again"
FOLDER_HINT = "lay it out as SPLIT/image, label, depth and normal with files 0.npy, 1.npy …"


class _Single(Clip):
    """One labelled picture of a collection that reads it by number."""

    def __init__(self, collection, number: int):
        self.collection, self.number = collection, number
        self.name, self.size = f"{number:06}", collection.size
        self.intrinsics, self.classes = collection.intrinsics, collection.classes

    def __len__(self) -> int:
        return 1

    def rgb(self, frame: int) -> NDArray:
        return self.collection.picture(self.number)

    def truth(self, frame: int) -> Truth:
        return self.collection.labels(self.number)


class NYUv2:
    """A `.mat` file, or a folder with a split."""

    SPLITS = ("train", "val")

    def __init__(self, path: Path, split: str = "val"):
        self.collection = _Mat(path) if path.suffix == ".mat" else _Folder(path, split)

    def __iter__(self) -> Iterator[Clip]:
        return (_Single(self.collection, number) for number in self.collection.numbers)


class _Mat:
    """MATLAB 7.3, which is HDF5 with axes in the opposite order: images [N, 3, W, H], depths and labels [N, W, H]."""

    classes = tuple(ROOM)
    intrinsics = INTRINSICS

    def __init__(self, path: Path):
        try:
            import h5py
        except ImportError as error:
            raise LayoutError(f"{path}: expected h5py to read it, found none; run `pip install milad-recipe[nyu]`") from error
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            raise LayoutError(f"{path}: expected a MATLAB 7.3 file, found {words(error)}; {MAT_HINT}") from error
        self.path = path
        missing = [name for name in ("images", "depths", "labels", "names") if not isinstance(self.file.get(name), h5py.Dataset)]
        if missing:
            raise LayoutError(f"{path}: expected the variable `{missing[0]}`, found {', '.join(self.file) or 'none'}; {MAT_HINT}")
        count, width, height = checked(f"{path}: `labels`", self.file["labels"], (np.integer,), MAT_HINT, ("N", "W", "H")).shape
        checked(f"{path}: `images`", self.file["images"], (np.uint8,), MAT_HINT, (count, 3, width, height))
        checked(f"{path}: `depths`", self.file["depths"], (np.floating,), MAT_HINT, (count, width, height))
        self.size, self.numbers = (height, width), range(count)
        self.intrinsics = tuple(v * s for v, s in zip(INTRINSICS, (width / 640, height / 480) * 2))
        self.table = self._table()

    def _table(self) -> NDArray:
        """Label → class of a room; 0 is no label."""
        owner = {name: number for number, names in enumerate(ROOM.values()) for name in names}
        other = list(ROOM).index("object")
        references = self._read("names", ...).ravel()
        try:
            names = ["".join(chr(c) for c in np.asarray(self.file[reference]).ravel()) for reference in references]
        except Exception as error:  # h5py raises whatever the file's bytes lead it to
            raise LayoutError(f"{self.path}: `names`: expected references to texts, found others ({words(error)}); {MAT_HINT}") from None
        return np.array([UNLABELLED] + [owner.get(name, other) for name in names], np.uint8)

    def picture(self, number: int) -> NDArray:
        return np.ascontiguousarray(self._read("images", number).transpose(2, 1, 0))

    def labels(self, number: int) -> Truth:
        labels = self._read("labels", number).T
        low, high = labels.min(), labels.max()
        if low < 0 or high >= len(self.table):
            raise LayoutError(f"{self.path}: labels of frame {number}: expected 0…{len(self.table) - 1}, as `names` has them, found {low}…{high}; {MAT_HINT}")
        depth = self._read("depths", number).T.astype(np.float32)
        return Truth(segmentation=self.table[labels], depth=np.where(depth > 0, depth, np.float32(np.nan)))

    def _read(self, name: str, place) -> NDArray:
        try:
            return np.asarray(self.file[name][place])
        except Exception as error:  # h5py raises whatever the file's bytes lead it to
            raise LayoutError(f"{self.path}: expected `{name}`, found what cannot be read ({words(error)}); {MAT_HINT}") from None


class _Folder:
    """Arrays a picture: image [H, W, 3] in 0…1, label [H, W] with −1 for none, depth [H, W] or [H, W, 1], 0 for none, normal [H, W, 3].

    Its normals are x right, y up, z towards the camera; here y and z change sign."""

    classes = THIRTEEN

    def __init__(self, root: Path, split: str):
        self.root = root / split
        if not (self.root / "image").is_dir():
            found = ", ".join(sorted(path.name for path in root.iterdir())) if root.is_dir() else ""
            raise LayoutError(f"{self.root}: expected folders image, label, depth and normal, found {found or 'nothing'}; {FOLDER_HINT}")
        stems = [path.stem for path in (self.root / "image").glob("*.npy")]
        bad = [stem for stem in stems if not stem.isdecimal()]
        if bad or not stems:
            raise LayoutError(f"{self.root / 'image'}: expected files 0.npy, 1.npy …, found {bad[0] + '.npy' if bad else 'none'}; {FOLDER_HINT}")
        self.numbers = sorted(int(stem) for stem in stems)
        self.size = self._image(self.numbers[0], "H", "W").shape[:2]
        self.intrinsics = tuple(v * s for v, s in zip(INTRINSICS, (self.size[1] / 640, self.size[0] / 480) * 2))
        normals = self.labels(self.numbers[0]).normals
        if normals is not None and _facing(normals, self.intrinsics) < 0.9:
            raise LayoutError(
                f"{self.root}/normal/{self.numbers[0]}.npy: expected normals with x right, y up and z towards the camera, so that surfaces "
                "face it, found others; change their signs"
            )

    def picture(self, number: int) -> NDArray:
        image = self._image(number, *self.size)
        if image.dtype == np.uint8:
            return image
        if not (image.min() >= -0.01 and image.max() <= 1.01):
            file = self.root / "image" / f"{number}.npy"
            raise LayoutError(f"{file}: expected {image.dtype} in 0…1, found {image.min():g}…{image.max():g}; divide by 255, or store bytes as uint8")
        return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)

    def labels(self, number: int) -> Truth:
        label, depth = self._plane("label", number, np.integer, np.floating), self._plane("depth", number, np.floating).astype(np.float32)
        normals = None
        if (self.root / "normal").is_dir():
            normals = npy(self.root / "normal" / f"{number}.npy", (np.floating,), FOLDER_HINT, (*self.size, 3)).astype(np.float32)
            normals = normals.transpose(2, 0, 1) * np.float32([1, -1, -1])[:, None, None]
            length = np.linalg.norm(normals, axis=0)
            normals = np.where(length > 0.5, normals / np.maximum(length, 1e-6), 0).astype(np.float32)
        known = (label >= 0) & (label < len(THIRTEEN))
        return Truth(np.where(known, label, UNLABELLED).astype(np.uint8), np.where(depth > 0, depth, np.float32(np.nan)), normals)

    def _image(self, number: int, *size: int | str) -> NDArray:
        return npy(self.root / "image" / f"{number}.npy", (np.uint8, np.floating), FOLDER_HINT, (*size, 3))

    def _plane(self, part: str, number: int, *types: type) -> NDArray:
        return npy(self.root / part / f"{number}.npy", types, FOLDER_HINT, self.size, (*self.size, 1)).reshape(self.size)


def _facing(normals: NDArray, intrinsics: tuple[float, ...]) -> float:
    """Share of normals (milad's axes) that point to the camera's side, as those of everything that it sees must; 1 where there are none."""
    fx, fy, cx, cy = intrinsics
    height, width = normals.shape[1:]
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    towards = normals[0] * (columns - cx) / fx + normals[1] * (rows - cy) / fy + normals[2] < 0.05
    known = np.linalg.norm(normals, axis=0) > 0.5
    return float(towards[known].mean()) if known.any() else 1.0
