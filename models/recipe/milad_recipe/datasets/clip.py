"""What every data set gives: a clip of frames in order, some or all of them with truth. Frames are read when asked for, not before.

A loader makes `Clip`s; it never guesses: where its layout is not the one it knows it raises `LayoutError`, one sentence that says
what was expected, what was found and what to do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..config import RecipeError
from ..metrics import DEPTH_CAP, UNLABELLED

Intrinsics = tuple[float, float, float, float]
"""fx, fy, cx, cy in pixels of the clip's own frames."""


class LayoutError(RecipeError):
    """A data set that is not laid out as its loader knows it."""


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
