"""InterFrameLocalAttention in PyTorch: differentiable, a batch at a time, and one ONNX node in an export.

Keys and values are shifted, not unfolded: what autograd keeps is the attention itself and views of the padded keys and values, so that
memory grows with (2r+1)²·H·W a head, not with that times the channels.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import DOMAIN, OP_TYPE, VERSION


def inter_frame_local_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    null: Tensor | None = None,
    valid: Tensor | None = None,
    *,
    radius: int,
    heads: int = 1,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention of q [B, Cq, H, W] on k [B, T, Cq, H, W] and v [B, T, Cv, H, W]; without a batch, k and v may be [T, C, H, W].

    bias [g, (2r+1)²], null [g], valid [B, T] or [T]. Returns y [B, Cv, H, W], confidence [B, g, H, W] and border [B, g, H, W].
    """
    if k.dim() == 4:
        k, v = k.unsqueeze(0), v.unsqueeze(0)
    batch, query_channels, height, width = q.shape
    keyframes, value_channels = k.shape[1], v.shape[2]
    side = 2 * radius + 1
    _check(q, k, v, bias, null, heads, side)
    scale = 1.0 / math.sqrt(query_channels // heads) if scale is None else scale

    # [B, T, g, channels of a head, H, W]; keys and values padded, their shifts are views.
    queries = (q * scale).view(batch, 1, heads, -1, height, width)
    keys = F.pad(k.flatten(1, 2), [radius] * 4).unflatten(1, (keyframes, heads, -1))
    values = F.pad(v.flatten(1, 2), [radius] * 4).unflatten(1, (keyframes, heads, -1))
    inside = F.pad(q.new_ones(height, width), [radius] * 4) > 0
    exists = None if valid is None else (valid != 0).view(-1, keyframes, 1, 1, 1)

    offsets = [(dy, dx) for dy in range(side) for dx in range(side)]
    logits = []
    for place, (dy, dx) in enumerate(offsets):
        window = (..., slice(dy, dy + height), slice(dx, dx + width))
        logit = (queries * keys[window]).sum(3)
        if bias is not None:
            logit = logit + bias[:, place].view(heads, 1, 1)
        usable = inside[window] if exists is None else inside[window] & exists
        logits.append(logit.masked_fill(~usable, -math.inf))
    logits = torch.stack(logits)  # [(2r+1)², B, T, g, H, W]

    # The softmax by hand: where nothing is valid and there is no null, every weight is 0.
    top = logits.detach().amax((0, 2))  # [B, g, H, W]
    if null is not None:
        top = torch.maximum(top, null.detach().view(heads, 1, 1))
    top = top.masked_fill(top == -math.inf, 0.0)
    weights = torch.exp(logits - top.unsqueeze(1))
    total = weights.sum((0, 2))
    if null is not None:
        nothing = torch.exp(null.view(heads, 1, 1) - top)
        total = total + nothing
    weights = weights / total.masked_fill(total == 0, 1.0).unsqueeze(1)

    y = q.new_zeros(batch, heads, value_channels // heads, height, width)
    border = q.new_zeros(batch, heads, height, width)
    for (dy, dx), weight in zip(offsets, weights):
        y = y + (weight.unsqueeze(3) * values[..., dy : dy + height, dx : dx + width]).sum(1)
        if dy in (0, side - 1) or dx in (0, side - 1):
            border = border + weight.sum(1)
    confidence = torch.ones_like(border) if null is None else 1.0 - nothing / total
    return y.flatten(1, 2), confidence, border


def _check(q, k, v, bias, null, heads, side):
    if q.shape[1] % heads or v.shape[2] % heads:
        raise ValueError(f"query channels {q.shape[1]} and value channels {v.shape[2]} must be multiples of heads = {heads}")
    if (k.shape[0], *k.shape[2:]) != tuple(q.shape) or v.shape[:2] != k.shape[:2] or v.shape[3:] != k.shape[3:]:
        raise ValueError(f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} do not belong together")
    if bias is not None and tuple(bias.shape) != (heads, side * side):
        raise ValueError(f"bias is {tuple(bias.shape)}, expected {(heads, side * side)}")
    if null is not None and tuple(null.shape) != (heads,):
        raise ValueError(f"null is {tuple(null.shape)}, expected {(heads,)}")


class InterFrameLocalAttention(nn.Module):
    """The attention with its own learned position bias and null logit, where wanted; one ONNX node when exported."""

    def __init__(self, radius: int, heads: int = 1, scale: float | None = None, bias: bool = False, null: bool = False):
        super().__init__()
        self.radius, self.heads, self.scale = radius, heads, scale
        self.bias = nn.Parameter(torch.zeros(heads, (2 * radius + 1) ** 2)) if bias else None
        self.null = nn.Parameter(torch.zeros(heads)) if null else None

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None = None, *, outputs: int = 3
    ) -> tuple[Tensor, ...]:
        """(y, confidence, border), or the first `outputs` of them: an exported node has exactly those."""
        if torch.onnx.is_in_onnx_export():
            return self._node(q, k, v, valid, outputs)
        result = inter_frame_local_attention(
            q, k, v, self.bias, self.null, valid, radius=self.radius, heads=self.heads, scale=self.scale
        )
        return result[:outputs]

    def _node(self, q, k, v, valid, outputs):
        inputs = [q, k, v, self.bias, self.null, valid]
        while inputs[-1] is None:
            inputs.pop()
        attributes = {"radius": self.radius, "heads": self.heads}
        if self.scale is not None:
            attributes["scale"] = float(self.scale)
        height, width = q.shape[2:]
        weights = (1, self.heads, height, width)
        return tuple(
            torch.onnx.ops.symbolic_multi_out(
                f"{DOMAIN}::{OP_TYPE}",
                inputs,
                attributes,
                dtypes=[torch.float32] * outputs,
                shapes=[(1, v.shape[1], height, width), weights, weights][:outputs],
                version=VERSION,
            )
        )
