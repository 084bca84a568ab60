"""The attention for training on small maps: tiles of queries against all keys that any of them may see, by matrix products, the window as a mask.

More arithmetic than (2r+1)² a position, yet several times faster on small maps, in the type of its inputs (bfloat16 a fifth of float32's
time), with the results of `inter_frame_local_attention`.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

FAR = -1e9
"""Instead of −∞: the softmax gives 0 all the same."""
TILE = 8
"""The longest side of a tile. 8×8 queries and a window of 11×11 see 13×18 keys of a map of 16×32: half the map's, by products of good size."""


class _Tiles:
    """How a map is cut: starts of the tiles' keys, and for every pair of query and key the place of its offset in the window."""

    def __init__(self, height: int, width: int, radius: int, device: torch.device):
        self.high, self.wide = (max(n for n in range(1, TILE + 1) if side % n == 0) for side in (height, width))
        self.rows, self.columns = (
            max(min(start + own + radius, side) - max(start - radius, 0) for start in range(0, side, own))
            for side, own in ((height, self.high), (width, self.wide))
        )
        self.tops = [min(max(y - radius, 0), height - self.rows) for y in range(0, height, self.high)]
        self.lefts = [min(max(x - radius, 0), width - self.columns) for x in range(0, width, self.wide)]

        def offsets(starts, own, seen):  # [tiles of the axis, queries of a tile, keys]
            return torch.stack([start + torch.arange(seen) - (i * own + torch.arange(own))[:, None] for i, start in enumerate(starts)])

        y, x = offsets(self.tops, self.high, self.rows), offsets(self.lefts, self.wide, self.columns)
        # [tiles, queries, keys], both row by row
        dy, dx = y[:, None, :, None, :, None], x[None, :, None, :, None, :]
        inside = (dy.abs() <= radius) & (dx.abs() <= radius)
        place = ((dy + radius) * (2 * radius + 1) + dx + radius).masked_fill(~inside, 0)
        shape = (len(self.tops) * len(self.lefts), self.high * self.wide, self.rows * self.columns)
        self.place, self.inside = place.reshape(shape).to(device), inside.reshape(shape).to(device)
        tiles, queries, _ = shape
        self.down = y[:, None, :, None].expand(-1, len(self.lefts), -1, self.wide, -1).reshape(tiles, 1, queries, -1).float().to(device)
        self.right = x[None, :, None].expand(len(self.tops), -1, self.high, -1, -1).reshape(tiles, 1, queries, -1).float().to(device)
        # Values that sum the weights by row, by column, and all of them: from those, where attention looked.
        row, column = torch.arange(self.rows).repeat_interleave(self.columns), torch.arange(self.columns).repeat(self.rows)
        ones = torch.ones(len(row), 1)
        self.sums = torch.cat([F.one_hot(row, self.rows), F.one_hot(column, self.columns), ones], 1).to(device)

    def queries(self, map: Tensor, heads: int) -> Tensor:
        """[B, C, H, W] → [B, tiles, g, queries, C / g]."""
        parts = map.unflatten(1, (heads, -1)).unflatten(4, (-1, self.wide)).unflatten(3, (-1, self.high))  # B g c ty h tx w
        return parts.permute(0, 3, 5, 1, 4, 6, 2).flatten(4, 5).flatten(1, 2)

    def keys(self, maps: Tensor, heads: int) -> Tensor:
        """[B, T, C, H, W] → [B, tiles, g, T·keys, C / g]."""
        strips = torch.stack([maps[:, :, :, top : top + self.rows] for top in self.tops], 1)
        tiles = torch.stack([strips[..., left : left + self.columns] for left in self.lefts], 2).unflatten(4, (heads, -1))  # B ty tx T g c kh kw
        return tiles.permute(0, 1, 2, 4, 3, 6, 7, 5).flatten(4, 6).flatten(1, 2)

    def map(self, parts: Tensor, height: int, width: int) -> Tensor:
        """[B, tiles, g, queries, C] → [B, g·C, H, W], channels last in memory."""
        parts = parts.unflatten(3, (self.high, self.wide)).unflatten(1, (len(self.tops), len(self.lefts)))  # B ty tx g h w c
        return parts.permute(0, 1, 4, 2, 5, 3, 6).reshape(len(parts), height, width, -1).permute(0, 3, 1, 2)


@functools.cache
def _tiles(height: int, width: int, radius: int, device: torch.device) -> _Tiles:
    return _Tiles(height, width, radius, device)


def dense_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, null: Tensor | None, valid: Tensor | None, radius: int, heads: int, scale: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """q [B, Cq, H, W], k [B, T, Cq, H, W], v [B, T, Cv, H, W], valid [B, T].

    Gives y [B, Cv, H, W], confidence [B, g, H, W], and the expected offset in cells, dx and dy, mean over the heads, [B, 2, H, W]."""
    batch, query_channels, height, width = q.shape
    keyframes, kind = k.shape[1], q.dtype
    scale = 1.0 / math.sqrt(query_channels // heads) if scale is None else scale
    tiles = _tiles(height, width, radius, q.device)
    count, own, seen = tiles.place.shape
    # Behind the keys comes one for null: its query product is 0, its logit stands in the mask, its value is 0. The rest fills up.
    filled = -(-(keyframes * seen + 1) // 16) * 16
    rest = [0, 0, 0, filled - keyframes * seen]
    with torch.autocast(q.device.type, enabled=False):
        queries, keys = tiles.queries(q * scale, heads), F.pad(tiles.keys(k.to(kind), heads), rest)
        sums = tiles.sums.to(kind).repeat(keyframes, 1).expand(batch, count, heads, -1, -1)
        values = F.pad(torch.cat([tiles.keys(v.to(kind), heads), sums], 4), rest)
        mask = torch.zeros(count, heads, own, seen, device=q.device)
        if bias is not None:
            mask = mask + bias[:, tiles.place.flatten()].unflatten(1, (count, own, seen)).transpose(0, 1)
        mask = mask.masked_fill(~tiles.inside[:, None], FAR).repeat(1, 1, 1, keyframes)
        nothing = q.new_full((heads,), FAR / 2, dtype=torch.float32) if null is None else null
        mask = torch.cat([mask, nothing.view(heads, 1, 1).expand(count, -1, own, 1)], 3)
        mask = F.pad(mask, [0, filled - mask.shape[3]], value=2 * FAR).to(kind)
        if valid is not None and keyframes > 1:
            missing = F.pad((valid == 0).repeat_interleave(seen, 1), [0, filled - keyframes * seen])
            mask = mask.masked_fill(missing.view(batch, 1, 1, 1, -1), FAR)
        weights = torch.softmax(queries @ keys.transpose(3, 4) + mask, 4)
        found, by_row, by_column, total = (weights @ values).float().split([v.shape[2] // heads, tiles.rows, tiles.columns, 1], 4)
        offset = torch.cat([(by_column * tiles.right).sum(4, keepdim=True), (by_row * tiles.down).sum(4, keepdim=True)], 4).mean(2, keepdim=True)
        y, confidence, offset = (tiles.map(part, height, width) for part in (found, total, offset))
        if valid is not None and keyframes == 1:
            there = (valid != 0).view(batch, 1, 1, 1)
            y, confidence, offset = y * there, confidence * there, offset * there
    return y, confidence if null is not None else torch.ones_like(confidence), offset
