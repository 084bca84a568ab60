"""One configuration file for a whole training run: what may stand in it, its defaults, and what went wrong in it in one sentence.

Every stage's checkpoint carries a digest of the parts of the configuration that it depends on (`Config.digest`).
"""

import dataclasses
import difflib
import hashlib
import json
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path

from .limits import LIMITS, RULES
from .worlds import CLASSES, TASKS


LATER = {"later": True}
"""Marks a setting that came after networks had been trained: while it has its default it is not in the digest, and their checkpoints still load."""


class RecipeError(Exception):
    """Something a user can put right: one sentence that says what was expected, what was found, what to do."""


@dataclass(frozen=True)
class Data:
    """Clips rendered for training. Seeds are half-open ranges; those below 1,000,000 train, below 2,000,000 tune, the rest only report.

    Clips of a data set instead: `train_from` and `tune_from`, named as for `evaluate`; they get the ranges' numbers."""

    train: tuple[int, int] = (0, 600)
    tune: tuple[int, int] = (1_000_000, 1_000_016)
    frames: int = 24
    far: float = 80.0
    """Metres: what is farther, the sky too, counts as this far."""
    near: float = 0.2
    at_least: int = 1
    """Training starts when so many clips are there; clips that come later are found every minute."""
    train_from: str = field(default="", metadata=LATER)
    tune_from: str = field(default="", metadata=LATER)


@dataclass(frozen=True)
class Augment:
    """Changes to a training picture: the most that each may be, 0 for none."""

    flip: bool = True
    gain: float = 0.25
    gamma: float = 0.2
    colour: float = 0.1
    noise: float = 0.02


@dataclass(frozen=True)
class Losses:
    """Weights of the task losses, 0 for none."""

    segmentation: float = 1.0
    rare: float = 0.25
    """Classes weigh their share of pixels to the power of minus this."""
    jaccard: float = 0.5
    depth: float = 2.0
    depth_relative: float = field(default=0.0, metadata=LATER)
    """L1 of depth as a share of the true one, which is what is measured in the end."""
    depth_gradient: float = 1.0
    sky: float = 0.1
    """Of the depth loss where there is sky."""
    normals: float = 1.5

    def weighed(self, factors: "FastLosses") -> "Losses":
        """With each task's losses times its factor."""
        changed = {loss: getattr(self, loss) * getattr(factors, task) for task, own in _TASK_LOSSES.items() for loss in own}
        return dataclasses.replace(self, **changed)

    def teach(self, tasks: tuple[str, ...]) -> bool:
        """Whether any loss of these tasks has weight."""
        return any(getattr(self, loss) for task in tasks for loss in _TASK_LOSSES[task])


_TASK_LOSSES = {"segmentation": ("segmentation", "jaccard"), "depth": ("depth", "depth_relative", "depth_gradient"), "normals": ("normals",)}


@dataclass(frozen=True)
class Training:
    """The schedule of one network: AdamW, linear warm-up, cosine to nothing, averaged weights."""

    samples: int = 200_000
    minutes: float = 0.0
    """If not 0: the schedule also runs out with time, whichever is first. Time spent before an interruption counts."""
    batch: int = 32
    rate: float = 2e-3
    weight_decay: float = 0.02
    warm_up: float = 0.03
    """Share of the schedule."""
    average: float = 0.999
    """Decay of the averaged weights, a step."""
    clip: float = 5.0
    """Largest norm of the gradient."""
    workers: int = 0
    """Processes on a CPU, one thread each; 0: one a core."""
    seed: int = 1
    validate_every: int = 500
    """Steps."""
    start: str = ""
    """Path of another training's checkpoint.pt: what of its weights fits by name and shape is where this training starts, and its samples count."""
    cut: bool = False
    """With `start`: of weights that are larger there the leading channels are taken, so that a narrower network begins as a part of a wider one."""


@dataclass(frozen=True)
class Sizes:
    """Channels and blocks of the slow network. The first layers, down to stride 4, run in the fast network too."""

    stem: int = 16
    channels: tuple[int, int, int] = (32, 128, 176)
    """At strides 4, 8, 16."""
    blocks: tuple[int, int, int] = (2, 10, 3)
    dilations: tuple[int, ...] = (1, 2, 2)
    """Of the blocks at stride 16, over again when there are more blocks."""
    decoder: int = 2
    """3×3 convolutions at stride 8 before the last one."""
    feature: int = 64
    """Channels of the stride-8 feature: what a keyframe leaves behind."""
    trunk: int = 32
    """Channels before the predictions, at stride 4."""


@dataclass(frozen=True)
class Slow:
    sizes: Sizes = field(default_factory=Sizes)
    training: Training = field(default_factory=Training)
    transport: float = field(default=0.0, metadata=LATER)
    """Share of a batch whose stride-8 feature is that of the picture moved by some pixels, moved back: as attention will use it."""


@dataclass(frozen=True)
class FastSizes:
    """The fast network behind the first layers, and how it comes by the keyframe's feature."""

    propagation: str = "ila"
    """`ila`, or a rival: `flow`, `concatenate` (unaligned), `none` (the fast network alone)."""
    attention: str = field(default="shared", metadata=LATER)
    """`shared` by the tasks, or `task`: each has its own, on features that squeeze and excitation made its own."""
    channels: tuple[int, int] = (48, 64)
    """At strides 8 and 16."""
    blocks: tuple[int, int] = (1, 0)
    """At strides 8 and 16."""
    query: int = 32
    """Channels of queries and keys."""
    hidden: int = 48
    """Channels of the correction."""
    radius: int = 5
    keyframes: int = 1
    keys: str = "fast"
    """Which network gives the keys, `fast` or `slow`."""
    bias: bool = True
    """A learned preference for offsets."""
    null: bool = True
    """A null key: what attention gives to it is lack of confidence."""
    motion: bool = True
    age: bool = True


@dataclass(frozen=True)
class FastLosses:
    """Weights of the losses beside the tasks' own (0: none), and factors of those."""

    feature: float = 0.0
    """Smooth L1 between the fused feature and the slow network's, same frame. Takes a full run of the slow network on every frame."""
    key_dropout: float = 0.1
    """Share of samples without a keyframe, so that the fast network's own answer stays valid."""
    segmentation: float = field(default=1.0, metadata=LATER)
    """Factor of this task's losses while the fast network learns."""
    depth: float = field(default=1.0, metadata=LATER)
    normals: float = field(default=1.0, metadata=LATER)


@dataclass(frozen=True)
class Ages:
    """Keyframe ages in training, in frames: `near_share` of them even over 1 … `near`, the rest even over 1 … `far`."""

    near: int = 8
    far: int = 20
    near_share: float = 0.6
    frames_per_keyframe: int = 4
    """Current frames that share a keyframe (and the slow network's work) in a batch."""


@dataclass(frozen=True)
class Adversary:
    """Adversarial alignment: a discriminator that tells slow features from fast ones, and is to be deceived."""

    weight: float = 0.0
    """Of the fast network's part of the game; 0: no adversary."""
    on: str = "fused"
    """What is to look alike: `fused`, z against the slow feature; or `projected`, queries against keys (`keys = "slow"`)."""
    rate: float = 2e-4
    """The discriminator's."""
    channels: int = 64
    spectral: bool = True
    """Spectral normalisation."""
    start: float = field(default=0.3, metadata=LATER)
    """Share of the schedule after which it begins."""


@dataclass(frozen=True)
class Fast:
    sizes: FastSizes = field(default_factory=FastSizes)
    losses: FastLosses = field(default_factory=FastLosses)
    ages: Ages = field(default_factory=Ages)
    adversary: Adversary = field(default_factory=Adversary)
    training: Training = field(default_factory=Training)
    heads_rate: float = 0.2
    """Of the rate, for the heads, which start as the slow network's."""
    early_rate: float = field(default=0.0, metadata=LATER)
    """The same for the first layers."""
    values: str = "float"
    """The slow features it learns from: `float`, or `int8`, those of the quantised file."""


@dataclass(frozen=True)
class Config:
    """All of a configuration file."""

    name: str = "street"
    world: str = "street"
    width: int = 256
    height: int = 128
    interval: int = 5
    """Frames from keyframe to keyframe that the bundle states."""
    calibration: int = 96
    """Frames that quantisation sees."""
    evaluate_clips: int = 8
    """Tuning clips that stage evaluate runs."""
    predict: tuple[str, ...] = field(default=TASKS, metadata=LATER)
    """The tasks: without those that a data set has no truth for."""
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    losses: Losses = field(default_factory=Losses)
    slow: Slow = field(default_factory=Slow)
    fast: Fast = field(default_factory=Fast)

    @property
    def tasks(self) -> dict[str, int]:
        """Output channels by task."""
        channels = {"segmentation": len(CLASSES[self.world]), "depth": 1, "normals": 3}
        return {name: channels[name] for name in TASKS if name in self.predict}

    def digest(self, *parts: str) -> str:
        """Of what a stage's result depends on: names such as `slow.sizes`. How long it trains, and on how many cores, is left out."""
        whole = [f.name for f in dataclasses.fields(self) if f.metadata and not _unset(self, f)]
        chosen = {part: _plain(_get(self, part)) for part in ("world", "width", "height", *whole, *parts)}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


_NOT_IN_DIGEST = {
    "Training": {"samples", "minutes", "workers", "validate_every", "start", "cut"},
    "Data": {"train", "tune", "at_least"},
}
"""Fields by dataclass. The adversary's `start`, a share of the schedule, is no such thing."""


def load(path: Path, changes: list[str] = ()) -> Config:
    """The configuration in `path`, with `changes` such as `slow.training.samples=1000` made to it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: expected a configuration file, found none; models/recipe/street.toml is one to start from") from None
    except OSError as error:
        raise RecipeError(f"{path}: expected a configuration file, found {error.strerror}; models/recipe/street.toml is one to start from") from None
    except ValueError as error:
        raise RecipeError(f"{path}: expected TOML in UTF-8, found {error}; put that right") from None
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(f"--set {change}: expected key=value, found no '='; write for example --set slow.training.samples=1000")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            value = text
        *parents, last = key.split(".")
        place = table
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise RecipeError(f"--set {change}: expected {parent} to be a table, found {place!r}; set {parent} itself")
        place[last] = value
    config = _build(Config, table, str(path), "")
    for key, expected, advice, wrong in RULES:
        if found := wrong(config):
            raise RecipeError(f"{path}: {key}: expected {expected}, found {found}; {advice}")
    return config


def _build(kind, table, path, prefix):
    """A dataclass of a table, checked key by key."""
    if not isinstance(table, dict):
        raise RecipeError(f"{path}: {prefix.rstrip('.')}: expected a table, found {table!r}; write [{prefix.rstrip('.')}]")
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in table.items():
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            advice = f"did you mean {prefix}{near[0]}?" if near else f"remove it; known are {', '.join(hints)}"
            raise RecipeError(f"{path}: expected a known key, found {prefix}{key}; {advice}")
        values[key] = _value(hints[key], LIMITS[kind.__name__].get(key), value, path, f"{prefix}{key}")
    return kind(**values)


def _value(kind, limits, value, path, key):
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, path, f"{key}.")
    if typing.get_origin(kind) is tuple:
        item, *others = typing.get_args(kind)
        many = others == [Ellipsis]
        if isinstance(value, list) and (value if many else len(value) == 1 + len(others)):
            return tuple(_value(item, limits, each, path, key) for each in value)
        name = f"a list of {'at least 1' if many else 1 + len(others)} {item.__name__}"
    elif type(value) is kind or kind is float and type(value) is int:
        if limits is None or value in limits:
            return kind(value)
        raise RecipeError(f"{path}: {key}: expected {limits}, found {value!r}; put such a value there")
    else:
        name = kind.__name__
    raise RecipeError(f"{path}: {key}: expected {name}, found {value!r}; put a value of that kind there")


def _get(config, part):
    for name in part.split("."):
        config = getattr(config, name)
    return config


def _plain(value):
    """For the digest: nested dicts without what does not change a result's meaning."""
    if dataclasses.is_dataclass(value):
        left_out = _NOT_IN_DIGEST.get(type(value).__name__, ())
        kept = [f for f in dataclasses.fields(value) if f.name not in left_out and not _unset(value, f)]
        return {f.name: _plain(getattr(value, f.name)) for f in kept}
    return value


def _unset(value, setting) -> bool:
    """Whether a setting that came later has its default."""
    return bool(setting.metadata) and getattr(value, setting.name) == setting.default
