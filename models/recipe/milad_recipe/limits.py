"""What the numbers and words of a configuration must be: by themselves (`LIMITS`), and together (`RULES`)."""

import re
from dataclasses import dataclass

from .worlds import CLASSES, TASKS


@dataclass(frozen=True)
class Within:
    """Numbers from `low` to `high`; `below`: without `high` itself; `step`: its multiples alone."""

    low: float
    high: float
    below: bool = False
    step: int = 1

    def __contains__(self, value) -> bool:
        return self.low <= value <= self.high and not (self.below and value == self.high) and (self.step == 1 or value % self.step == 0)

    def __str__(self) -> str:
        bounds = f"{self.low} to {self.high}"
        return f"{bounds}, {self.high} excluded" if self.below else bounds if self.step == 1 else f"a multiple of {self.step} from {bounds}"


class OneOf(tuple):
    """Words to choose from."""

    def __str__(self) -> str:
        return " or ".join(self)


@dataclass(frozen=True)
class Text:
    """What a pattern matches, and how to say it."""

    pattern: str
    words: str

    def __contains__(self, value) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.words


KEYFRAMES = 8
"""That are in force at once, at most."""
TUNING, REPORTING = 1_000_000, 2_000_000
"""First seeds of clips for tuning, and of those for reporting alone."""
WORLDS = tuple(world for world in CLASSES if not world.endswith("-shifted"))
"""To train on."""

_COUNT, _CHANNELS, _WEIGHT, _SHARE = Within(1, 1_000_000), Within(1, 1024), Within(0, 1_000_000), Within(0, 1)
_SQUEEZED = Within(4, 1024)  # channels that Context halves and Gate quarters
_BLOCKS, _FACTOR, _BELOW_1 = Within(0, 64), Within(0, 10), Within(0, 1, below=True)
_SIDE = Within(32, 8192, step=16)  # 16: the coarsest stride; below 32 batch normalisation has one cell there; 8192: a bundle's largest
_METRES = Within(0.001, 65504)  # packed depth is float16
_PATH = Text(r"[^\0]*", "a path without a null character")
LIMITS = {
    "Config": {
        "name": Text(r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits, '-', '_' or '.'"),
        "width": _SIDE, "height": _SIDE, "interval": Within(1, 1000), "calibration": _COUNT, "evaluate_clips": _COUNT,
    },
    "Data": {"frames": Within(2, 1_000_000), "far": _METRES, "near": _METRES, "at_least": _COUNT, "train_from": _PATH, "tune_from": _PATH},
    "Augment": {"gain": _FACTOR, "gamma": _FACTOR, "colour": _FACTOR, "noise": _FACTOR},
    "Losses": {
        "segmentation": _WEIGHT, "rare": _FACTOR, "jaccard": _WEIGHT, "depth": _WEIGHT, "depth_relative": _WEIGHT, "depth_gradient": _WEIGHT,
        "sky": _WEIGHT, "normals": _WEIGHT,
    },
    "Training": {
        "samples": Within(1, 10**12), "minutes": Within(0, 10**7), "batch": Within(1, 65536), "rate": _FACTOR, "weight_decay": _FACTOR,
        "warm_up": _BELOW_1, "average": _BELOW_1, "clip": Within(1e-6, 10**6), "workers": Within(0, 256), "seed": Within(0, 2**63 - 1),
        "validate_every": Within(1, 10**12), "start": _PATH,
    },
    "Sizes": {
        "stem": _CHANNELS, "channels": _SQUEEZED, "blocks": _BLOCKS, "dilations": Within(1, 64), "decoder": _BLOCKS, "feature": _SQUEEZED,
        "trunk": _CHANNELS,
    },
    "Slow": {"transport": _SHARE},
    "FastSizes": {
        "propagation": OneOf(("ila", "flow", "concatenate", "none")), "attention": OneOf(("shared", "task")), "channels": _SQUEEZED,
        "blocks": _BLOCKS, "query": _CHANNELS, "hidden": _CHANNELS, "radius": Within(0, 64), "keyframes": Within(1, KEYFRAMES),
        "keys": OneOf(("fast", "slow")),
    },
    "FastLosses": {"feature": _WEIGHT, "key_dropout": _SHARE, "segmentation": _WEIGHT, "depth": _WEIGHT, "normals": _WEIGHT},
    "Ages": {"near": Within(1, 1000), "far": Within(1, 1000), "near_share": _SHARE, "frames_per_keyframe": Within(1, 64)},
    "Adversary": {"weight": _WEIGHT, "on": OneOf(("fused", "projected")), "rate": _FACTOR, "channels": _CHANNELS, "start": _SHARE},
    "Fast": {"heads_rate": _FACTOR, "early_rate": _FACTOR, "values": OneOf(("float", "int8"))},
}  # fmt: skip
"""By table and key: what a value, or each of a list's, must be."""

RULES = (
    (
        "world", f"one of {', '.join(WORLDS)}", "name one of them: shifted worlds are for reports alone",
        lambda c: c.world not in WORLDS and repr(c.world),
    ),
    (
        "predict", f"some of {', '.join(TASKS)}", "name those that the data has truth for",
        lambda c: ", ".join(name for name in c.predict if name not in TASKS),
    ),
    (
        "data.train", f"[first, end] with 0 ≤ first < end ≤ {TUNING}", "later seeds are for tuning and reports",
        lambda c: not 0 <= c.data.train[0] < c.data.train[1] <= TUNING and list(c.data.train),
    ),
    (
        "data.tune", f"[first, end] with {TUNING} ≤ first < end ≤ {REPORTING}", "earlier seeds are for training, later ones for reports",
        lambda c: not TUNING <= c.data.tune[0] < c.data.tune[1] <= REPORTING and list(c.data.tune),
    ),
    (
        "training.cut", "false where training.start names no checkpoint", "name one, or leave it out",
        lambda c: any(part.training.cut and not part.training.start for part in (c.slow, c.fast)) and "true",
    ),
    ("data.near", "less than data.far", "lower it", lambda c: c.data.near >= c.data.far and f"{c.data.near} and {c.data.far}"),
    (
        "losses", "a weight above 0 for a task that is predicted", "raise one",
        lambda c: not c.losses.teach(c.predict) and "none",
    ),
    (
        "fast.losses", "a factor above 0 for a task that is predicted and has losses", "raise one",
        lambda c: not c.losses.weighed(c.fast.losses).teach(c.predict) and "none",
    ),
    (
        "slow.sizes.blocks", "at least 1 at strides 8 and 16, where the first block halves the map", "raise it",
        lambda c: 0 in c.slow.sizes.blocks[1:] and list(c.slow.sizes.blocks),
    ),
    (
        "fast.ages.near", "at most fast.ages.far", "lower it",
        lambda c: c.fast.ages.near > c.fast.ages.far and f"{c.fast.ages.near} and {c.fast.ages.far}",
    ),
    (
        "fast.sizes.keys", "fast where propagation is flow, which compares like with like", "set it to fast",
        lambda c: c.fast.sizes.propagation == "flow" and c.fast.sizes.keys != "fast" and "slow",
    ),
    (
        "fast.adversary.on", "fused where fast.sizes has not propagation = 'ila' and keys = 'slow'", "set those, or this to fused",
        lambda c: c.fast.adversary.weight and (c.fast.sizes.propagation, c.fast.sizes.keys) != ("ila", "slow")
        and c.fast.adversary.on != "fused" and "projected",
    ),
)  # fmt: skip
"""What values must be together: key, what is expected, what to do, and a function that gives what is found, or nothing where all is well."""
