"""Tiny untrained networks: a slow and a fast one that use every part of the contract, for tests and for a first try.

Weights come from a fixed seed by exact arithmetic only, so that every machine makes the same bytes. They are scaled so that outputs
follow the input and attention has a clear preference: a mistake shows.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import bundle, export, quantise
from .bundle import Description, Task
from .ila.torch import InterFrameLocalAttention
from .pictures import normalised, pictures

STRIDE = 4
_CLASSES = (("ground", "#804080"), ("wall", "#464646"), ("person", "#dc143c"), ("sky", "#4682b4"))


@dataclass(frozen=True)
class Design:
    """What a tiny bundle is made of."""

    name: str = "generated"
    map_height: int = 8
    map_width: int = 16
    tasks: tuple[str, ...] = ("segmentation", "depth", "normals")
    keyframes: int = 1
    radius: int = 3
    heads: int = 1
    split: bool = False
    """A node (and a memory) for each task, instead of one for all."""
    keys: str = "slow"
    """Which network gives the keys: `slow` or `fast`."""
    bias: bool = False
    null: bool = False
    valid: bool = False
    age: bool = False
    shares: bool = False
    """Outputs `confidence` and `border`."""
    scale: float | None = None
    query_channels: int = 4
    """Of a head."""
    value_channels: int = 8
    """Of a head."""
    seed: int = 1
    kinds: dict = field(default_factory=lambda: {"inverse_depth": "depth", "features": "raw"}, hash=False)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the attention nodes: `key.<group>` and `value.<group>` are its memory."""
        return self.tasks if self.split else ("shared",)

    def description(self) -> Description:
        """bundle.toml."""
        width, height = self.map_width * STRIDE, self.map_height * STRIDE
        return Description(
            name=self.name,
            trained_on="nothing: untrained weights",
            frame_interval_s=0.04,
            keyframe_interval=5,
            width=width,
            height=height,
            tasks=tuple(self._task(name, width, height) for name in self.tasks),
            intrinsics=(0.75 * width, 0.75 * width, 0.5 * width, 0.5 * height),
            card="Untrained: its weights are random numbers. For tests of the machinery around a model; its answers mean nothing.",
        )

    def _task(self, name: str, width: int, height: int) -> Task:
        match self.kinds.get(name, name):
            case "segmentation":
                return Task(name, "segmentation", width, height, classes=_CLASSES)
            case "depth":
                return Task(name, "depth", width, height, encoding="inverse" if "inverse" in name else "log")
            case "normals":
                return Task(name, "normals", width, height)
            case _:
                return Task(name, "raw", self.map_width, self.map_height, channels=2)


class _Heads(nn.Module):
    """`task.<name>` from each task's own channels (split, or as many heads as tasks), or from all."""

    def __init__(self, design: Design):
        super().__init__()
        self.own = not design.split and design.heads == len(design.tasks) > 1
        channels = design.value_channels * (1 if self.own else design.heads)
        tasks = design.description().tasks
        self.task = nn.ModuleDict({task.name: nn.Conv2d(channels, task.output_channels(), 1) for task in tasks})
        self.positive = {task.name for task in tasks if task.encoding == "inverse"}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = {}
        for number, (name, head) in enumerate(self.task.items()):
            z = features[name] if name in features else features["shared"]
            if self.own:
                z = z.chunk(len(self.task), 1)[number]
            logits = head(z)
            outputs[f"task.{name}"] = torch.sigmoid(logits) if name in self.positive else logits
        return outputs


class Slow(nn.Module):
    """A residual network at stride 4, its value (and key) projections, its own predictions."""

    channels = 16

    def __init__(self, design: Design):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1))
        dq, dv = design.query_channels * design.heads, design.value_channels * design.heads
        self.value = nn.ModuleDict({group: nn.Conv2d(16, dv, 1) for group in design.groups})
        self.key = nn.ModuleDict({group: nn.Conv2d(16, dq, 1) for group in design.groups if design.keys == "slow"})
        self.heads = _Heads(design)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.stem(inputs["image"])
        x = F.relu(x + self.block(x))
        values = {group: project(x) for group, project in self.value.items()}
        keys = {f"key.{group}": project(x) for group, project in self.key.items()}
        return self.heads(values) | keys | {f"value.{group}": value for group, value in values.items()}


class Fast(nn.Module):
    """A depthwise network at stride 4 with some context and squeeze-and-excitation, attention, residual fusion, heads."""

    def __init__(self, design: Design):
        super().__init__()
        self.design = design
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.Conv2d(8, 16, 1), nn.Hardswish())
        self.context = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1, groups=16), nn.Conv2d(16, 16, 1), nn.ReLU6())
        self.squeeze = nn.Sequential(nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1), nn.Sigmoid())
        dq, dv = design.query_channels * design.heads, design.value_channels * design.heads
        self.query = nn.ModuleDict({group: nn.Conv2d(16, dq, 1) for group in design.groups})
        self.key = nn.ModuleDict({group: nn.Conv2d(16, dq, 1) for group in design.groups if design.keys == "fast"})
        self.attention = nn.ModuleDict(
            {
                group: InterFrameLocalAttention(design.radius, design.heads, design.scale, design.bias, design.null)
                for group in design.groups
            }
        )
        self.fusion = nn.ModuleDict({group: nn.Conv2d(16 + dv, dv, 1) for group in design.groups})
        self.age = nn.Linear(design.keyframes, 16) if design.age else None
        self.heads = _Heads(design)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        x = self.down(self.stem(inputs["image"]))
        x = x + F.interpolate(self.context(x), size=x.shape[2:], mode="bilinear", align_corners=False)
        x = x * self.squeeze(x.mean((2, 3), keepdim=True))
        keys = {f"next.key.{group}": project(x) for group, project in self.key.items()}
        present = x
        if self.age is not None:
            present = x + torch.tanh(self.age(inputs["age"].unsqueeze(0))).view(1, 16, 1, 1)
        fused, shares = {}, {}
        for group in self.design.groups:
            q = self.query[group](x)
            k, v = inputs[f"key.{group}"], inputs[f"value.{group}"]
            y, *rest = self.attention[group](q, k, v, inputs.get("valid"), outputs=3 if self.design.shares else 1)
            fused[group] = y + F.relu(self.fusion[group](torch.cat([present, y], 1)))
            ending = f".{group}" if self.design.split else ""
            shares |= {f"{name}{ending}": share for name, share in zip(("confidence", "border"), rest)}
        return self.heads(fused) | keys | shares


def networks(design: Design) -> tuple[Slow, Fast]:
    """Both networks with their untrained weights."""
    slow, fast = Slow(design), Fast(design)
    for number, network in enumerate((slow, fast)):
        _fill(network, np.random.Generator(np.random.PCG64([design.seed, number])))
    return slow, fast


def _fill(network: nn.Module, random: np.random.Generator) -> None:
    """Uniform weights of variance 2 / fan-in. All numbers are multiples of 1/4096: no machine rounds them its own way."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith("attention"):
                bound = 1.5
            elif parameter.dim() == 1:
                bound = 0.25
            else:
                gain = 0.6 if name.startswith(("query", "key")) else 1.0
                bound = gain * (6.0 / parameter[0].numel()) ** 0.5
            steps = int(bound * 4096)
            numbers = random.integers(-steps, steps + 1, size=tuple(parameter.shape))
            shift = 3.0 if name.endswith("null") else 0.0  # against a window of keys, so that it takes its part
            parameter.copy_(torch.from_numpy(numbers.astype(np.float32) / 4096 + np.float32(shift)))


def fast_inputs(design: Design) -> dict[str, Tensor]:
    """Examples of the fast network's inputs, in their order."""
    t, h, w = design.keyframes, design.map_height, design.map_width
    inputs = {"image": torch.zeros(1, 3, h * STRIDE, w * STRIDE)}
    for group in design.groups:
        inputs[f"key.{group}"] = torch.zeros(t, design.query_channels * design.heads, h, w)
        inputs[f"value.{group}"] = torch.zeros(t, design.value_channels * design.heads, h, w)
    inputs |= {name: torch.ones(t) for name in ("valid", "age") if getattr(design, name)}
    return inputs


def generate(design: Design, folder: Path, quantised: bool = False) -> None:
    """Writes the design's bundle into `folder`: in float, or in QDQ form."""
    slow, fast = networks(design)
    inputs = fast_inputs(design)
    files = {
        "slow": export.export(slow, {"image": inputs["image"]}, "slow"),
        "fast": export.export(fast, inputs, "fast"),
    }
    if quantised:
        slow_samples, fast_samples = _calibration(design, slow, fast)
        files = {
            "slow": quantise.quantise(files["slow"], slow_samples, "slow"),
            "fast": quantise.quantise(files["fast"], fast_samples, "fast"),
        }
    bundle.write(folder, design.description(), files)


def _calibration(design: Design, slow: Slow, fast: Fast) -> tuple[list, list]:
    """Inputs of both networks over a short clip, each frame with the first and with the latest keyframe's memory."""
    description = design.description()
    clip = pictures(description.height, description.width, 8, design.seed)
    images = [{"image": torch.from_numpy(normalised(picture, description))} for picture in clip]
    nothing = {name: torch.zeros_like(example) for name, example in fast_inputs(design).items()}
    memory, samples = nothing, []
    with torch.no_grad():
        for number, image in enumerate(images):
            if number % 4 == 0:
                outputs = slow(image) | fast(nothing | image)
                new = {name: outputs.get(f"next.{name}", outputs.get(name)) for name in memory}
                memory = memory | {name: torch.cat([value, memory[name]])[: len(memory[name])] for name, value in new.items() if value is not None}
                memory |= {"valid": torch.ones(design.keyframes)} if design.valid else {}
            samples.append(memory | image)
    return tuple([{name: tensor.numpy() for name, tensor in sample.items()} for sample in sequence] for sequence in (images, samples))


DESIGNS = (
    Design("plain", query_channels=8, value_channels=16),
    Design("task-specific", tasks=("segmentation", "inverse_depth", "features"), heads=3, radius=2, bias=True, seed=2),
    Design("multi-frame", keyframes=2, radius=2, query_channels=8, value_channels=16, null=True, valid=True, age=True, shares=True, seed=3),
    Design("fast-keys", split=True, keys="fast", null=True, shares=True, seed=4),
)


QUANTISED = ("plain", "fast-keys")


def write_all(out: Path) -> None:
    """Writes all bundles of `tests/bundles` into `out`."""
    for design in DESIGNS:
        generate(design, out / design.name)
        if design.name in QUANTISED:
            name = f"{design.name}-qdq"
            generate(replace(design, name=name), out / name, quantised=True)
