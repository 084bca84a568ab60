"""What both networks are built from: convolution, batch normalisation and ReLU, residual blocks, the heads.

Only operators that run in 8-bit integers: dense convolutions, additions, bilinear resizing and global average pooling.
Batch normalisation is folded into the convolution before export: a network that still holds one must not be exported.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvBn(nn.Sequential):
    """Convolution and batch normalisation, with a ReLU unless `relu` is false. Strided ones halve even sizes."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, relu: bool = True):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), *([nn.ReLU(inplace=True)] if relu else []))

    def fold(self) -> None:
        """Makes one convolution of the two: for evaluation and export only."""
        if isinstance(self[1], nn.BatchNorm2d):
            self[0] = fuse_conv_bn_eval(self[0].eval(), self[1].eval())
            self[1] = nn.Identity()


def fold(network: nn.Module) -> nn.Module:
    """Folds every batch normalisation of `network`, in place."""
    for module in network.modules():
        if isinstance(module, ConvBn):
            module.fold()
    return network


class Block(nn.Module):
    """Two 3×3 convolutions with a residual connection; the first may stride, and then the connection is a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.first = ConvBn(inputs, outputs, 3, stride, dilation)
        self.second = ConvBn(outputs, outputs, 3, 1, dilation, relu=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else ConvBn(inputs, outputs, 1, stride, relu=False)
        nn.init.zeros_(self.second[1].weight)  # a block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.second(self.first(x)))


def double(x: Tensor) -> Tensor:
    """Twice the size, bilinearly, half-pixel centres."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Context(nn.Module):
    """Adds to every position what the whole picture says: global average, 1×1, ReLU, 1×1."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 2, 1)
        self.expand = nn.Conv2d(channels // 2, channels, 1)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))


class Gate(nn.Module):
    """Squeeze and excitation: weighs the channels by what the whole picture says. Twice a sigmoid, so that it starts as nothing."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x * (2 * torch.sigmoid(self.expand(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))))


class Heads(nn.Module):
    """From the stride-8 feature and what is seen at stride 4 to `task.*` at stride 4; the same in both networks, so that fast starts from slow's.

    `outputs`: channels by task. The tasks share everything but their last 1×1 convolution. While they learn, they meet what 8 bits will do to
    them: depth is a small difference of large numbers otherwise, and loses half its worth when the network becomes integers.
    """

    def __init__(self, feature: int, fine: int, trunk: int, outputs: dict[str, int]):
        super().__init__()
        self.feature = nn.Conv2d(feature, fine, 1)
        self.trunk = ConvBn(fine, trunk)
        self.task = nn.ModuleDict({name: nn.Conv2d(trunk, channels, 1) for name, channels in outputs.items()})

    def forward(self, feature: Tensor, fine: Tensor, only: str | None = None) -> dict[str, Tensor]:
        """Of every task, or of one."""
        tasks = [(name, head) for name, head in self.task.items() if only in (None, name)]
        if not self.training:
            h = self.trunk(F.relu(double(self.feature(feature)) + fine))
            return {f"task.{name}": head(h) for name, head in tasks}
        conv, *after = self.trunk
        h = stepped(F.relu(stepped(double(with_steps(self.feature, feature))) + stepped(fine)))
        h = with_steps(conv, h)
        for layer in after:
            h = layer(h)
        h = stepped(h)
        return {f"task.{name}": with_steps(head, h) for name, head in tasks}


WIDER = 1.25
"""A range found on many pictures against that of one batch."""


def stepped(x: Tensor) -> Tensor:
    """As 256 steps over its range would have it; gradients pass as if nothing had happened."""
    with torch.no_grad():
        low, high = torch.aminmax(x)
        step = ((high.clamp(min=0) - low.clamp(max=0)) * (WIDER / 255)).clamp(min=1e-12)
        error = torch.round(x / step).mul_(step).sub_(x)
    return x + error


def with_steps(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution with its weights in 8 bits."""
    return F.conv2d(x, stepped_rows(conv.weight), conv.bias, conv.stride, conv.padding, conv.dilation)


def stepped_rows(weight: Tensor) -> Tensor:
    """The same for a convolution's weights: each output's within ±127 steps of its own."""
    with torch.no_grad():
        step = (weight.abs().amax((1, 2, 3), keepdim=True) / 127).clamp(min=1e-12)
        error = torch.round(weight / step).mul_(step).sub_(weight)
    return weight + error


def initialise(network: nn.Module) -> nn.Module:
    """He's initialisation for convolutions before a ReLU; what is zero on purpose stays."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and bool(torch.any(module.weight != 0)):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
