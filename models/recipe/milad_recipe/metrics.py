"""How good dense predictions are: sums over pixels that can be merged, and the figures that follow from them.

Conventions: mIoU from one confusion matrix over all pixels of all clips, never a mean of means; depth and normals over supervised
pixels alone. A figure without a single pixel is NaN, never 0. Nothing here reads files or runs networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

UNLABELLED = 255
DEPTH_CAP = 80.0
"""Metres: true depth beyond it (and sky) is not supervised; predictions are held to it."""
DEPTH_FLOOR = 1e-3
"""Metres: predictions are held to it from below, so that RMSE and δ stay finite whatever a network says."""
BINS_A_DEGREE = 100
"""Of the histogram that the median is read from."""
ANGLE_BINS = 180 * BINS_A_DEGREE + 1
NO_DIRECTION = 90.0
"""Degrees: what a prediction of length 0 counts as."""
ANGLE_LIMITS = (11.25, 22.5, 30.0)

Figures = dict[str, float]


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan


class Segmentation:
    """Confusion matrix [truth, prediction]."""

    kind = "segmentation"

    def __init__(self, classes: int, scored: frozenset[int] | None = None):
        """`scored`: the classes that the truth knows, if not all; no other counts in the mean."""
        self.confusion = np.zeros((classes, classes), np.int64)
        self.scored = np.array([scored is None or i in scored for i in range(classes)], bool)

    def add(self, predicted: NDArray, truth: NDArray) -> None:
        """Maps of class numbers; truth outside the classes (`UNLABELLED`) does not count."""
        n = len(self.confusion)
        counted = truth < n
        pairs = truth[counted].astype(np.int64) * n + np.minimum(predicted[counted], n - 1)
        self.confusion += np.bincount(pairs.ravel(), minlength=n * n).reshape(n, n)

    def per_class(self) -> NDArray:
        """Intersection over union in percent; NaN for a class that neither truth nor prediction has, or that is not scored."""
        hits = np.diag(self.confusion).astype(np.float64)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        return np.divide(100.0 * hits, union, out=np.full(len(hits), math.nan), where=(union > 0) & self.scored)

    def figures(self) -> Figures:
        """`miou` over the classes that occur, in percent."""
        each = self.per_class()
        seen = each[~np.isnan(each)]
        return {"miou": float(seen.mean()) if len(seen) else math.nan}

    def state(self) -> NDArray:
        """All sums as one vector: states of clips add up to the state of them all."""
        return self.confusion.ravel().astype(np.float64)

    def load(self, state: NDArray) -> None:
        """The opposite of `state`."""
        self.confusion = np.rint(state).astype(np.int64).reshape(self.confusion.shape)


class Depth:
    """Sums over pixels whose true depth is finite, above 0 and not beyond `cap` metres, and for which there is an answer."""

    kind = "depth"

    def __init__(self, cap: float = DEPTH_CAP):
        self.cap = cap
        self.sums = np.zeros(4)
        """Supervised pixels, sum of |d − t| / t, of (d − t)², of δ < 1.25."""

    def add(self, predicted: NDArray, truth: NDArray) -> None:
        """Maps in metres. What is predicted beyond `cap`, or is NaN, counts as `cap`."""
        with np.errstate(invalid="ignore"):
            supervised = np.isfinite(truth) & (truth > 0) & (truth <= self.cap)
        t, d = truth[supervised].astype(np.float64), predicted[supervised].astype(np.float64)
        d = np.clip(np.where(np.isnan(d), self.cap, d), DEPTH_FLOOR, self.cap)
        ratio = np.maximum(d / t, t / d)
        self.sums += (t.size, (np.abs(d - t) / t).sum(), ((d - t) ** 2).sum(), (ratio < 1.25).sum())

    def figures(self) -> Figures:
        """`abs_rel` (a share), `rmse` in metres, `delta` (δ < 1.25) in percent."""
        count, relative, squared, close = self.sums
        return {
            "abs_rel": _ratio(relative, count),
            "rmse": math.sqrt(squared / count) if count else math.nan,
            "delta": 100.0 * _ratio(close, count),
        }

    def state(self) -> NDArray:
        """All sums as one vector."""
        return self.sums.copy()

    def load(self, state: NDArray) -> None:
        """The opposite of `state`."""
        self.sums = state.astype(np.float64)


class Normals:
    """Angles between predicted and true normals, over pixels that have a true one."""

    kind = "normals"

    def __init__(self):
        self.sums = np.zeros(2 + len(ANGLE_LIMITS))
        """Pixels, sum of angles in degrees, pixels within each of `ANGLE_LIMITS`."""
        self.histogram = np.zeros(ANGLE_BINS, np.int64)

    def add(self, predicted: NDArray, truth: NDArray) -> None:
        """Maps [3, H, W]: true ones of length 1, or 0 where there is none, which does not count; predicted ones of any length."""
        t, p = truth.reshape(3, -1).astype(np.float64), predicted.reshape(3, -1).astype(np.float64)
        length = np.linalg.norm(t, axis=0)
        supervised = np.isfinite(length) & (length > 0.5)
        t, p = t[:, supervised] / length[supervised], p[:, supervised]
        # By the tangent of both products: exact for small angles too.
        sine = np.linalg.norm(np.cross(p, t, axis=0), axis=0)
        angle = np.degrees(np.arctan2(sine, (t * p).sum(0)))
        angle = np.where((p != 0).any(0) & np.isfinite(angle), angle, NO_DIRECTION)
        self.sums += (angle.size, angle.sum(), *((angle < limit).sum() for limit in ANGLE_LIMITS))
        bins = (angle * BINS_A_DEGREE).astype(np.int64)
        self.histogram += np.bincount(bins, minlength=ANGLE_BINS)

    def figures(self) -> Figures:
        """`mean` and `median` in degrees (the median to 0.01°), `within_11.25` … in percent."""
        count, total, *within = self.sums
        shares = {f"within_{limit:g}": 100.0 * _ratio(part, count) for limit, part in zip(ANGLE_LIMITS, within)}
        return {"mean": _ratio(total, count), "median": self._median()} | shares

    def _median(self) -> float:
        count = self.histogram.sum()
        if not count:
            return math.nan
        below = np.cumsum(self.histogram)
        bin_ = int(np.searchsorted(below, count / 2))
        inside = (count / 2 - (below[bin_] - self.histogram[bin_])) / self.histogram[bin_]
        return float(bin_ + inside) / BINS_A_DEGREE

    def state(self) -> NDArray:
        """All sums as one vector."""
        return np.concatenate([self.sums, self.histogram])

    def load(self, state: NDArray) -> None:
        """The opposite of `state`."""
        self.sums = state[: len(self.sums)].astype(np.float64)
        self.histogram = np.rint(state[len(self.sums) :]).astype(np.int64)


Accumulator = Segmentation | Depth | Normals
MAIN = {"segmentation": ("miou", True), "depth": ("abs_rel", False), "normals": ("mean", False)}
"""Of each kind, the figure that stands for it, and whether more of it is better."""


class Quality:
    """An accumulator a task, by the task's name."""

    def __init__(self, kinds: Mapping[str, str], classes: int = 0, cap: float = DEPTH_CAP, scored: frozenset[int] | None = None):
        """`kinds`: task → kind; others than these three (raw) are not judged."""
        make = {"segmentation": lambda: Segmentation(classes, scored), "depth": lambda: Depth(cap), "normals": Normals}
        self._like = (dict(kinds), classes, cap, scored)
        self.tasks: dict[str, Accumulator] = {name: make[kind]() for name, kind in kinds.items() if kind in make}

    def add(self, predicted: Mapping[str, NDArray], truth: Mapping[str, NDArray]) -> None:
        """`predicted` by task, `truth` by kind (`segmentation`, `depth`, `normals`); what truth lacks is not judged."""
        for name, task in self.tasks.items():
            if truth.get(task.kind) is not None:
                task.add(predicted[name], truth[task.kind])

    def figures(self) -> dict[str, Figures]:
        """By task."""
        return {name: task.figures() for name, task in self.tasks.items()}

    def main(self) -> Figures:
        """The one figure of each task."""
        return {name: task.figures()[MAIN[task.kind][0]] for name, task in self.tasks.items()}

    def state(self) -> NDArray:
        """All sums of all tasks as one vector."""
        return np.concatenate([task.state() for task in self.tasks.values()] or [np.zeros(0)])

    def load(self, state: NDArray) -> None:
        """The opposite of `state`."""
        start = 0
        for task in self.tasks.values():
            end = start + len(task.state())
            task.load(state[start:end])
            start = end

    def empty(self) -> Quality:
        """Another of the same tasks, with nothing in it."""
        return Quality(*self._like)

    def include(self, other: Quality) -> None:
        """Adds the sums of another one of the same tasks."""
        self.load(self.state() + other.state())

    def __add__(self, other: Quality) -> Quality:
        """Both together."""
        both = self.empty()
        both.load(self.state() + other.state())
        return both


def delta_mtl(found: Mapping[str, float], base: Mapping[str, float], kinds: Mapping[str, str]) -> float:
    """Δ_MTL in percent: the mean over tasks of the relative change for the better, by main figure (Maninis et al., CVPR 2019)."""
    changes = []
    for name, kind in kinds.items():
        if kind in MAIN and name in found and name in base:
            sign = 1.0 if MAIN[kind][1] else -1.0
            changes.append(sign * (found[name] - base[name]) / base[name])
    return 100.0 * sum(changes) / len(changes) if changes else math.nan
