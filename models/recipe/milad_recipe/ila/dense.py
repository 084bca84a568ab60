"""The attention for training on small maps: all positions against all by matrix products, the window as a mask.

(H·W)² logits instead of H·W·(2r+1)²: more arithmetic, yet several times faster on small maps (512 positions), in the type of its
inputs (bfloat16 a fifth of float32's time), with the results of `inter_frame_local_attention`.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

FAR = -1e9
"""Instead of −∞: the softmax gives 0 all the same."""


@functools.cache
def _window(height: int, width: int, radius: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For every pair of positions [P, P]: the place of their offset in the window, whether it lies inside, and dx and dy [2, P, P]."""
    rows = torch.arange(height * width, device=device) // width
    columns = torch.arange(height * width, device=device) % width
    dy, dx = rows[None] - rows[:, None], columns[None] - columns[:, None]
    inside = (dy.abs() <= radius) & (dx.abs() <= radius)
    place = (dy + radius) * (2 * radius + 1) + dx + radius
    return place.masked_fill(~inside, 0), inside, torch.stack([dx, dy]).masked_fill(~inside, 0)


def dense_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, null: Tensor | None, valid: Tensor | None, radius: int, heads: int, scale: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, Cq, H, W], k [B, T, Cq, H, W], v [B, T, Cv, H, W], valid [B, T].

    Gives y [B, Cv, H, W], confidence [B, g, H, W], and the expected offset in cells, dx and dy, mean over the heads, [B, 2, H, W]."""
    batch, query_channels, height, width = q.shape
    keyframes, positions, kind = k.shape[1], height * width, q.dtype
    scale = 1.0 / math.sqrt(query_channels // heads) if scale is None else scale
    place, inside, offsets = _window(height, width, radius, q.device)
    with torch.autocast(q.device.type, enabled=False):
        queries = (q * scale).reshape(batch, heads, -1, positions).transpose(2, 3)
        keys = k.to(kind).reshape(batch, keyframes, heads, -1, positions).permute(0, 2, 3, 1, 4).flatten(3)
        values = v.to(kind).reshape(batch, keyframes, heads, -1, positions).permute(0, 2, 1, 4, 3).flatten(2, 3)
        # A last key for null: its query product is 0, its logit stands in the mask, its value is 0. A last value of 1 sums the weights.
        keys, values = F.pad(keys, [0, 1]), F.pad(F.pad(values, [0, 1], value=1.0), [0, 0, 0, 1])
        mask = torch.zeros(heads, positions, positions, device=q.device)
        if bias is not None:
            mask = mask + bias[:, place.flatten()].unflatten(1, (positions, positions))
        mask = mask.masked_fill(~inside, FAR).repeat(1, 1, keyframes)
        nothing = q.new_full((heads,), FAR / 2, dtype=torch.float32) if null is None else null
        mask = torch.cat([mask, nothing.view(heads, 1, 1).expand(-1, positions, -1)], 2).to(kind)
        if valid is not None and keyframes > 1:
            missing = F.pad((valid == 0).repeat_interleave(positions, 1), [0, 1])
            mask = mask.masked_fill(missing.view(batch, 1, 1, -1), FAR)
        weights = torch.softmax(queries @ keys + mask, 3)
        y = (weights @ values).transpose(2, 3).float()
        shifts = F.pad(offsets.to(kind).repeat(1, 1, keyframes), [0, 1])
        offset = torch.stack([(weights * shift).sum(3, dtype=torch.float32).mean(1) for shift in shifts], 1)
        y, confidence = y[:, :, :-1].reshape(batch, -1, height, width), y[:, :, -1].reshape(batch, heads, height, width)
        offset = offset.reshape(batch, 2, height, width)
        if valid is not None and keyframes == 1:
            there = (valid != 0).view(batch, 1, 1, 1)
            y, confidence, offset = y * there, confidence * there, offset * there
    return y, confidence if null is not None else torch.ones_like(confidence), offset
