"""The fast network: first layers that begin as the slow network's on every frame and a shallow encoder behind them, what the keyframe's slow feature
says by inter-frame local attention, residual fusion, and heads that start as the slow network's own.

What makes it good at a twelfth of the slow network's cost, in order: at stride 4 it sees what the slow network would see there, or better, so
boundaries and thin things are as sharp;
the fused feature is what attention brought plus a correction that starts at zero; the correction is told how things moved (the expected
offset of attention at each place, and its moments over the picture) and how old the keyframe is.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import Block, Context, ConvBn, Gate, Heads, double, fold, initialise
from .config import FastSizes, Sizes
from .propagation import propagation
from .slow import STRIDE, Early, coordinates


class Encoder(nn.Module):
    """What is seen at stride 4 → the stride-8 feature f."""

    def __init__(self, sizes: FastSizes, at_4: int):
        super().__init__()
        at_8, at_16 = sizes.channels
        self.stage_8 = nn.Sequential(ConvBn(at_4, at_8, stride=2), *[Block(at_8, at_8) for _ in range(sizes.blocks[0])])
        self.stage_16 = nn.Sequential(
            ConvBn(at_8, at_16, stride=2), *[Block(at_16, at_16) for _ in range(sizes.blocks[1])], Context(at_16)
        )
        self.top = nn.Conv2d(at_16, at_8, 1)

    def forward(self, at_4: Tensor) -> Tensor:
        at_8 = self.stage_8(at_4)
        return F.relu(at_8 + double(self.top(self.stage_16(at_8))))


class Fusion(nn.Module):
    """z = g + R(g, f, motion, age); R's last layer starts at zero. Sums of convolutions, not concatenations: each keeps its own scale in int8."""

    def __init__(self, feature: int, own: int, hidden: int, keyframes: int, motion: bool, age: bool, height: int, width: int):
        super().__init__()
        self.brought = nn.Conv2d(feature, hidden, 1)
        self.own = nn.Conv2d(own, hidden, 1)
        self.motion = nn.Conv2d(3, hidden, 1, bias=False) if motion else None
        self.moments = nn.Linear(6, hidden, bias=False) if motion else None
        self.age = nn.Linear(keyframes, hidden, bias=False) if age else None
        self.middle = ConvBn(hidden, hidden)
        self.last = nn.Conv2d(hidden, feature, 1)
        self.register_buffer("places", coordinates(height, width), persistent=False)

    def forward(self, brought: Tensor | None, own: Tensor, offset: Tensor | None, confidence: Tensor | None, age: Tensor | None) -> Tensor:
        """`offset` [B, 2, H, W]: expected offset, in units of `coordinates`. `age` [B, T]."""
        h = self.own(own)
        if brought is not None:
            h = h + self.brought(brought)
        whole = None
        if self.motion is not None:
            h = h + self.motion(torch.cat([offset, confidence], 1))
            linear = [(offset * self.places[:, i : i + 1]).mean((2, 3)) for i in range(2)]
            whole = self.moments(torch.cat([offset.mean((2, 3)), *linear], 1))
        if self.age is not None and age is not None:
            aged = self.age(age / 10)
            whole = aged if whole is None else whole + aged
        if whole is not None:
            h = h + whole[:, :, None, None]
        correction = self.last(self.middle(F.relu(h)))
        return correction if brought is None else brought + correction


class Way(nn.Module):
    """What a task has for itself where attention is not shared: gates that make features its own, attention or a rival, and fusion."""

    def __init__(self, sizes: FastSizes, own: int, feature: int, height: int, width: int):
        super().__init__()
        self.own, self.slow = Gate(own), Gate(feature)
        self.propagation = propagation(sizes, own, feature, height, width)
        self.fusion = fusion(sizes, own, feature, height, width)


def fusion(sizes: FastSizes, own: int, feature: int, height: int, width: int) -> Fusion:
    """As the configuration wants it."""
    steered = sizes.motion and sizes.propagation in ("ila", "flow")
    remembers = sizes.age and sizes.propagation != "none"
    return Fusion(feature, own, sizes.hidden, sizes.keyframes, steered, remembers, height, width)


class FastNetwork(nn.Module):
    """`image` and memory → `task.*`, `next.key.*`, `confidence`. `slow`: sizes of the slow network, `tasks`: channels by task.

    Memory is called `key.shared` and `value.shared`, or by task where each has an attention of its own."""

    def __init__(self, sizes: FastSizes, slow: Sizes, tasks: dict[str, int], height: int, width: int):
        super().__init__()
        self.sizes, self.feature = sizes, slow.feature
        self.map = (height // STRIDE, width // STRIDE)
        own = sizes.channels[0]
        self.encoder = Encoder(sizes, slow.channels[0])
        if sizes.attention == "task":
            self.ways = nn.ModuleDict({name: Way(sizes, own, slow.feature, *self.map) for name in tasks})
        else:
            self.propagation = propagation(sizes, own, slow.feature, *self.map)
            self.fusion = fusion(sizes, own, slow.feature, *self.map)
        initialise(self)
        self.early = fold(Early(slow)).requires_grad_(False)  # begin as the slow network's; `fast.early_rate` says whether they learn
        self.heads = fold(Heads(slow.feature, slow.channels[0], slow.trunk, tasks))  # begin as the slow network's
        for _, way in self.by_name():
            nn.init.zeros_(way.fusion.last.weight)
            if way.propagation is not None:
                way.propagation.start()

    def by_name(self) -> list[tuple[str, nn.Module]]:
        """What holds `propagation` and `fusion`: itself as `shared`, or a way for each task."""
        return list(self.ways.items()) if self.sizes.attention == "task" else [("shared", self)]

    @property
    def remembers(self) -> bool:
        """Whether it has memory at all."""
        return self.sizes.propagation != "none"

    @property
    def has_keys(self) -> bool:
        """Whether there are keys in the memory."""
        return any(way.propagation is not None and way.propagation.has_keys for _, way in self.by_name())

    def look(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The fast feature f at stride 8, and what is seen at stride 4."""
        fine = self.early(image)
        return self.encoder(fine), fine

    def keys(self, own: Tensor) -> dict[str, Tensor]:
        """Of the fast features of keyframes, `key.*`."""
        return {f"key.{name}": way.propagation.key(_gated(way, "own", own)) for name, way in self.by_name()} if self.has_keys else {}

    def queries(self, own: Tensor) -> Tensor:
        """One after the other."""
        return torch.cat([way.propagation.query(_gated(way, "own", own)) for _, way in self.by_name()])

    def remember(self, own: Tensor | None, value: Tensor) -> dict[str, Tensor]:
        """What keyframes leave behind: of their fast features and of the slow network's value, [N, C, H, W] each."""
        memory, places = {}, value[:, -2:]
        for name, way in self.by_name():
            feature = _gated(way, "slow", value[:, :-2])
            memory[f"value.{name}"] = value if way is self else torch.cat([feature, places.to(feature.dtype)], 1)
            if self.has_keys and self.sizes.keys == "slow":
                memory[f"key.{name}"] = way.propagation.key(feature)
        return memory | (self.keys(own) if own is not None and self.sizes.keys == "fast" else {})

    def answer(self, own: Tensor, fine: Tensor, memory: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Outputs for frames that `look` saw as `own` and `fine`; `key.*` and `value.*` [B, T, C, H, W], valid and age [B, T].

        Also returns z, the fused feature; of several tasks one after the other."""
        outputs, fused = {}, []
        for name, way in self.by_name():
            mine, brought, offset, confidence = _gated(way, "own", own), None, None, None
            if way.propagation is not None:
                brought, offset, confidence = way.propagation(mine, memory.get(f"key.{name}"), memory[f"value.{name}"], memory["valid"])
            z = way.fusion(brought, mine, offset, confidence, memory.get("age"))
            outputs |= self.heads(z, fine, None if way is self else name)
            if confidence is not None:
                outputs["confidence" if way is self else f"confidence.{name}"] = confidence
            fused.append(z)
        return outputs, fused[0] if len(fused) == 1 else torch.cat(fused)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """By the names of docs/BUNDLE.md: one frame, memory [T, C, H, W]."""
        own, fine = self.look(inputs["image"])
        exported = torch.onnx.is_in_onnx_export() and self.sizes.propagation == "ila"
        memory = {
            name: tensor if exported and name != "age" else tensor.unsqueeze(0)  # the attention's node has no batch: memory goes straight in
            for name, tensor in inputs.items()
            if name != "image"
        }
        outputs, _ = self.answer(own, fine, memory)
        if self.sizes.keys == "fast":
            outputs |= {f"next.{name}": key for name, key in self.keys(own).items()}
        return outputs

    def memory_inputs(self) -> dict[str, Tensor]:
        """Examples of the inputs other than `image`."""
        if not self.remembers:
            return {}
        t, inputs = self.sizes.keyframes, {}
        for name, _ in self.by_name():
            if self.has_keys:
                inputs[f"key.{name}"] = torch.zeros(t, self.sizes.query, *self.map)
            inputs[f"value.{name}"] = torch.zeros(t, self.feature + 2, *self.map)
        return inputs | {"valid": torch.ones(t)} | ({"age": torch.ones(t)} if self.sizes.age else {})


def _gated(way: nn.Module, gate: str, feature: Tensor) -> Tensor:
    """A feature made the task's own; as it is where all tasks share it."""
    return getattr(way, gate)(feature) if isinstance(way, Way) else feature
