"""Do predictions keep still on what keeps still? Each pixel is followed by true flow to the next frame, and both predictions compared
(as Liu et al., ECCV 2020, do with estimated flow). Whether the class is right does not matter.

Which pixels show the same piece of the world is decided by truth alone: a prediction has no say in what is judged.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .metrics import Segmentation

DEPTH_FACTOR = 1.25
"""How much the depth of one piece may change from frame to frame: fast motion towards a near thing, not another thing."""


def pairs(now: Mapping[str, NDArray], then: Mapping[str, NDArray], flow: NDArray) -> tuple[NDArray, NDArray]:
    """Flat indices of pixels in a frame and of the same pieces in the next one.

    `now`, `then`: `segmentation` and `depth` of the truth of both; `flow` [2, H, W] from the first to the second. A piece goes to the
    nearest pixel; it is left out where that lies outside, has another true class or a depth off by more than `DEPTH_FACTOR`, or where
    a nearer piece goes too."""
    height, width = flow.shape[1:]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    known = np.isfinite(flow).all(0)
    column, row = (_rounded(np.where(known, start + by, -1.0)) for start, by in ((columns, flow[0]), (rows, flow[1])))
    inside = (known & (row >= 0) & (row < height) & (column >= 0) & (column < width)).ravel()
    origin = np.flatnonzero(inside)
    target = (row.ravel()[origin] * width + column.ravel()[origin]).astype(np.int64)
    before, after = now["depth"].ravel()[origin].astype(np.float32), then["depth"].ravel()[target].astype(np.float32)
    with np.errstate(invalid="ignore"):
        similar = (before <= after * DEPTH_FACTOR) & (after <= before * DEPTH_FACTOR) & (np.isinf(before) == np.isinf(after))
    same = similar & (now["segmentation"].ravel()[origin] == then["segmentation"].ravel()[target])
    origin, target, before = origin[same], target[same], before[same]
    # Of several that go to one pixel the nearest, and of those as near the first.
    order = np.lexsort((origin, before, target))
    first = np.ones(len(order), bool)
    first[1:] = target[order][1:] != target[order][:-1]
    return origin[order][first], target[order][first]


def _rounded(values: NDArray) -> NDArray:
    """To the nearest integer, halves away from zero."""
    return np.trunc(values + np.copysign(np.float32(0.5), values)).astype(np.int64)


class Consistency:
    """mIoU between predicted classes and the next ones, along true flow."""

    def __init__(self, classes: int):
        self.between = Segmentation(classes)

    def add(self, now: NDArray, then: NDArray, truth_now: Mapping[str, NDArray], truth_then: Mapping[str, NDArray], flow: NDArray) -> None:
        """Predicted classes [H, W] of two frames in a row, the truth of both, and the flow from the first to the second."""
        origin, target = pairs(truth_now, truth_then, flow)
        self.between.add(then.ravel()[target], now.ravel()[origin])

    def miou(self) -> float:
        """In percent."""
        return self.between.figures()["miou"]
