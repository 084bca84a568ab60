"""Ways to carry the keyframe's feature to the current frame: attention, and the rivals it is measured against.

Each maps (own feature, key, value, valid) to what it brought [B, C_v, H, W], from where (the expected offset, in units of
`slow.coordinates`, [B, 2, H, W]), and a confidence [B, 1, H, W]. A value's last two channels are those coordinates.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import ConvBn
from .config import FastSizes
from .ila.dense import dense_attention
from .ila.torch import InterFrameLocalAttention
from .slow import CELLS, coordinates


def propagation(sizes: FastSizes, own: int, feature: int, height: int, width: int) -> nn.Module | None:
    """By the configuration's name; None: the fast network alone."""
    match sizes.propagation:
        case "ila":
            return Attention(sizes, own, feature, height, width)
        case "flow":
            return Flow(sizes, own)
        case "concatenate":
            return Unaligned()
    return None


class Attention(nn.Module):
    """Inter-frame local attention; queries from the fast feature now, keys from the fast or the slow feature of the keyframe."""

    has_keys = True

    def __init__(self, sizes: FastSizes, own: int, feature: int, height: int, width: int):
        super().__init__()
        self.query = nn.Conv2d(own, sizes.query, 1)
        self.key = nn.Conv2d(own if sizes.keys == "fast" else feature, sizes.query, 1)
        self.attention = InterFrameLocalAttention(sizes.radius, 1, None, sizes.bias, sizes.null)
        self.register_buffer("places", coordinates(height, width), persistent=False)

    def start(self) -> None:
        """Queries and keys begin alike: a place is most like itself. And attention begins as a copy of where things were, with a preference for what
        is near: from an even look at the whole window it never learns to be sharp."""
        if self.query.weight.shape == self.key.weight.shape:
            self.key.load_state_dict(self.query.state_dict())
        if self.attention.bias is not None:
            side = torch.arange(-self.attention.radius, self.attention.radius + 1)
            distance = torch.hypot(side[:, None].float(), side[None].float()).flatten()
            with torch.no_grad():
                self.attention.bias.copy_((6 - 3 * distance).clamp(min=0).expand_as(self.attention.bias))

    def forward(self, own: Tensor, key: Tensor, value: Tensor, valid: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        query = self.query(own)
        a = self.attention
        if torch.onnx.is_in_onnx_export():
            y, confidence = a(query, key, value, valid, outputs=2)
            return y[:, :-2], y[:, -2:] - confidence * self.places, confidence
        y, confidence, cells = dense_attention(query, key, value[:, :, :-2], a.bias, a.null, valid, a.radius, a.heads, a.scale)
        return y, cells / CELLS, confidence


class Flow(nn.Module):
    """Deep feature flow: a small network looks at both frames' features and says where each place was; the newest value is warped."""

    has_keys = True

    def __init__(self, sizes: FastSizes, own: int):
        super().__init__()
        self.query = nn.Conv2d(own, sizes.query, 1)
        self.key = nn.Conv2d(own, sizes.query, 1)
        self.first = ConvBn(2 * sizes.query, 32)
        self.second = ConvBn(32, 32)
        self.third = ConvBn(32, 32, dilation=2)
        self.last = nn.Conv2d(32, 2, 3, padding=1)

    def start(self) -> None:
        """Flow begins next to nothing: a copy of where things were."""
        nn.init.normal_(self.last.weight, std=1e-3)

    def forward(self, own: Tensor, key: Tensor, value: Tensor, valid: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        newest_key, newest, there = key[:, 0], value[:, 0], valid[:, 0].view(-1, 1, 1, 1)
        flow = self.last(self.third(self.second(self.first(torch.cat([self.query(own), newest_key.to(own.dtype)], 1)))))
        height, width = newest.shape[2:]
        # In cells; grid_sample counts from −1 to 1 over the map's edges.
        at = coordinates(height, width).to(flow.device) * CELLS + flow.float()
        grid = torch.stack([at[:, 0] * (2 / width), at[:, 1] * (2 / height)], 3)
        warped = F.grid_sample(newest.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        return warped[:, :-2] * there, flow.float() / CELLS * there, there.expand(-1, 1, height, width)


class Unaligned(nn.Module):
    """The newest keyframe's value as it is."""

    has_keys = False

    def start(self) -> None:
        """Nothing to learn."""

    def forward(self, own: Tensor, key: Tensor | None, value: Tensor, valid: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        there = valid[:, 0].view(-1, 1, 1, 1)
        return value[:, 0, :-2] * there, None, there.expand(-1, 1, *value.shape[3:])
