"""Is one system better than another, or were the clips kind to it? Paired bootstrap over clips: frames of a clip are not independent.

The same clips are drawn, with replacement, for both; figures are computed from the drawn clips' summed states, so that mIoU stays
one confusion matrix. Nothing here depends on the order of the clips or on a clock: the seed is fixed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .metrics import Quality


@dataclass(frozen=True)
class Difference:
    """Of a main figure, b − a."""

    mean: float
    low: float
    """2.5 % quantile."""
    high: float
    """97.5 % quantile."""
    p: float
    """Two-sided: twice the smaller share of draws on one side of zero; at least 1 / draws."""

    def significant(self) -> bool:
        """Whether 95 % of the draws exclude zero."""
        return self.low > 0 or self.high < 0


def paired(like: Quality, a: NDArray, b: NDArray, draws: int = 1000, seed: int = 0) -> dict[str, Difference]:
    """`a` and `b`: `Quality.state()` of each clip, [clips, sums], the same clips in the same order. By task."""
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise ValueError(f"states of the same two or more clips are expected, found {a.shape} and {b.shape}: evaluate both on the same seeds")
    random = np.random.Generator(np.random.PCG64(seed))
    clips = len(a)
    times = random.multinomial(clips, np.full(clips, 1.0 / clips), size=draws).astype(np.float64)
    # In parts: a state holds a whole histogram.
    found = np.concatenate([_main(like, part @ b) - _main(like, part @ a) for part in np.array_split(times, max(1, draws // 50))])
    whole = (_main(like, b.sum(0)[None]) - _main(like, a.sum(0)[None]))[0]
    names = list(like.tasks)
    return {name: _difference(whole[i], found[:, i]) for i, name in enumerate(names)}


def _main(like: Quality, states: NDArray) -> NDArray:
    """[n, tasks]: main figures of n states."""
    quality, rows = like.empty(), []
    for state in states:
        quality.load(state)
        rows.append(list(quality.main().values()))
    return np.array(rows)


def _difference(whole: float, drawn: NDArray) -> Difference:
    low, high = np.quantile(drawn, [0.025, 0.975])
    side = min((drawn <= 0).mean(), (drawn >= 0).mean())
    p = min(1.0, max(2.0 * side, 1.0 / len(drawn)))
    return Difference(mean=float(whole), low=float(low), high=float(high), p=float(p))
