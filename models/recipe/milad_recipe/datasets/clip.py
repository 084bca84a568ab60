"""What every data set gives: a clip of frames in order, some or all of them with truth. Frames are read when asked for, not before.

A loader makes `Clip`s; it never guesses: where its layout is not the one it knows it raises `LayoutError`, one sentence that says
what was expected, what was found and what to do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..config import RecipeError
from ..metrics import DEPTH_CAP, UNLABELLED

Intrinsics = tuple[float, float, float, float]
"""fx, fy, cx, cy in pixels of the clip's own frames."""


class LayoutError(RecipeError):
    """A data set that is not laid out as its loader knows it."""


def words(error: Exception) -> str:
    """What a library says is wrong, as part of a sentence."""
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _opened(file: Path, hint: str) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as opened:
            if not all(opened.size):
                raise ValueError("no pixels")
            yield opened
    except Exception as error:  # Pillow raises whatever the file's bytes lead it to
        raise LayoutError(f"{file}: expected a picture, found one that cannot be read ({words(error)}); {hint}") from None


def picture_size(file: Path, hint: str) -> tuple[int, int]:
    """Height and width."""
    with _opened(file, hint) as opened:
        return opened.height, opened.width


def colours(file: Path, size: tuple[int, int], hint: str) -> NDArray:
    """uint8 [H, W, 3] of a picture of that size."""
    with _opened(file, hint) as opened:
        array = np.asarray(opened.convert("RGB"))
    return checked(file, array, (np.uint8,), hint, (*size, 3))


def labels(file: Path, size: tuple[int, int], dtype: type, hint: str) -> NDArray:
    """[H, W] of a picture of that size whose pixels are whole numbers."""
    with _opened(file, hint) as opened:
        array = np.asarray(opened.convert("L") if opened.mode == "1" else opened)
    low, high = checked(file, array, (np.integer,), hint, size).min(), array.max()
    if low < 0 or high > np.iinfo(dtype).max:
        raise LayoutError(f"{file}: expected numbers of 0…{np.iinfo(dtype).max}, found {low}…{high}; {hint}")
    return array.astype(dtype)


def npy(file: Path, types: tuple[type, ...], hint: str, *shapes: tuple[int | str, ...], mapped: bool = False) -> NDArray:
    """An npy file's array, checked; `mapped` into memory rather than read."""
    try:
        array = np.load(file, mmap_mode="r" if mapped else None)
        if not isinstance(array, np.ndarray):
            raise TypeError("an archive of arrays")
    except Exception as error:  # numpy raises whatever the file's bytes lead it to
        raise LayoutError(f"{file}: expected an npy array, found one that cannot be read ({words(error)}); {hint}") from None
    return checked(file, array, types, hint, *shapes)


def checked(place: Path | str, array: NDArray, types: tuple[type, ...], hint: str, *shapes: tuple[int | str, ...]) -> NDArray:
    """The array, if it is of one of the types and shapes; a letter in a shape is any size but 0."""

    def fits(shape) -> bool:
        return len(array.shape) == len(shape) and all(have == want or isinstance(want, str) and have for have, want in zip(array.shape, shape))

    if not any(np.issubdtype(array.dtype, kind) for kind in types) or not any(map(fits, shapes)):
        names = " or ".join({np.floating: "float", np.integer: "integer"}.get(kind, kind.__name__) for kind in types)
        wanted = " or ".join(f"({', '.join(map(str, shape))})" for shape in shapes)
        raise LayoutError(f"{place}: expected {names} of shape {wanted}, found {array.dtype} of shape {array.shape}; {hint}")
    return array


@dataclass(frozen=True)
class Truth:
    """Of one frame; None for what the data set does not have."""

    segmentation: NDArray | None = None
    """uint8 [H, W], class numbers; `UNLABELLED` where there is none."""
    depth: NDArray | None = None
    """float32 [H, W], metres along the optical axis; inf for sky; NaN where unknown."""
    normals: NDArray | None = None
    """float32 [3, H, W], unit vectors in camera axes (x right, y down, z forward); 0 where there is none."""
    flow: NDArray | None = None
    """float32 [2, H, W], dx dy in pixels to the next frame; NaN where unknown."""

    def by_kind(self) -> dict[str, NDArray]:
        """What there is, as `metrics.Quality.add` wants it."""
        kinds = {"segmentation": self.segmentation, "depth": self.depth, "normals": self.normals}
        return {kind: array for kind, array in kinds.items() if array is not None}

    def supervised(self, cap: float = DEPTH_CAP) -> dict[str, NDArray]:
        """Masks [H, W] by kind: the pixels that training and metrics may use."""
        masks = {}
        if self.segmentation is not None:
            masks["segmentation"] = self.segmentation != UNLABELLED
        if self.depth is not None:
            with np.errstate(invalid="ignore"):
                masks["depth"] = np.isfinite(self.depth) & (self.depth > 0) & (self.depth <= cap)
        if self.normals is not None:
            masks["normals"] = np.linalg.norm(self.normals, axis=0) > 0.5
        return masks


class Clip(ABC):
    """Frames in order."""

    name: str
    """Unique in its data set."""
    size: tuple[int, int]
    """Height and width of its frames."""
    intrinsics: Intrinsics | None = None
    classes: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Frames."""

    @abstractmethod
    def rgb(self, frame: int) -> NDArray:
        """uint8 [H, W, 3]."""

    @abstractmethod
    def truth(self, frame: int) -> Truth | None:
        """None for a frame without any."""

    def labelled(self) -> list[int]:
        """Frames that have truth."""
        return list(range(len(self)))


def resized(truth: Truth, height: int, width: int) -> Truth:
    """At another size: the nearest pixel of each (half-pixel centres), never a mean of two; flow vectors are scaled."""
    some = next(array for array in (truth.segmentation, truth.depth, truth.normals, truth.flow) if array is not None)
    source = some.shape[-2:]
    if source == (height, width):
        return truth
    rows = ((np.arange(height) + 0.5) * source[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * source[1] / width).astype(np.int64)

    def pick(array):
        return None if array is None else np.ascontiguousarray(array[..., rows[:, None], columns])

    flow = pick(truth.flow)
    if flow is not None:
        flow = flow * np.array([width / source[1], height / source[0]], np.float32)[:, None, None]
    return Truth(pick(truth.segmentation), pick(truth.depth), pick(truth.normals), flow)
