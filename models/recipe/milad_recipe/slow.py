"""The slow network: a residual network down to stride 16, a decoder back to stride 8, the heads. It runs on keyframes only.

Its first layers are cheap on purpose: the fast network has the same ones, which begin as these, so that its heads see at stride 4 what these heads see.

It gives the predictions and, for the fast network, its stride-8 feature as `value.shared` with two coordinate channels after it,
so that attention brings along where it looked. Sizes: see `config.Sizes`; a plain network on every frame is the same, smaller.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import Block, Context, ConvBn, Heads, double, initialise
from .config import Sizes

STRIDE = 8
"""Of the feature that attention carries."""


CELLS = 4
"""Of the stride-8 map, that one unit of `coordinates` stands for."""


def coordinates(height: int, width: int) -> Tensor:
    """[1, 2, H, W]: column, then row, from the middle of the map: within ±4 for 16×32."""
    columns = (torch.arange(width) - (width - 1) / 2) / CELLS
    rows = (torch.arange(height) - (height - 1) / 2) / CELLS
    return torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])[None]


FARTHEST = 12
"""Pixels that `draw_moves` moves by at most."""


def draw_moves(random, count: int) -> Tensor:
    """[count, 2]: right and down, in whole pixels."""
    return torch.from_numpy(random.integers(-FARTHEST, FARTHEST + 1, (count, 2))).float()


def moved(map: Tensor, by: Tensor) -> Tensor:
    """`map` [B, C, H, W], what lay at p now at p + by, in its own cells; bilinear, the edge repeated."""
    height, width = map.shape[2:]
    rows = (torch.arange(height, device=map.device) + 0.5 - by[:, 1:]) * (2 / height) - 1
    columns = (torch.arange(width, device=map.device) + 0.5 - by[:, :1]) * (2 / width) - 1
    grid = torch.stack([columns[:, None].expand(-1, height, -1), rows[:, :, None].expand(-1, -1, width)], 3)
    return F.grid_sample(map.float(), grid, mode="bilinear", padding_mode="border", align_corners=False).to(map.dtype)


class Early(nn.Module):
    """`image` → what is seen at stride 4: the ground of either network, and the fine half of what the heads see."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        at_4 = sizes.channels[0]
        self.stem = nn.Sequential(ConvBn(3, sizes.stem, stride=2), ConvBn(sizes.stem, at_4, stride=2))
        self.stage_4 = nn.Sequential(*[Block(at_4, at_4) for _ in range(sizes.blocks[0])])
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.stage_4(self.stem(image))


class SlowNetwork(nn.Module):
    """`image` → `task.*`, `value.shared`. `tasks`: channels by task."""

    def __init__(self, sizes: Sizes, tasks: dict[str, int], height: int, width: int, memory: bool = True):
        super().__init__()
        at_4, at_8, at_16 = sizes.channels
        self.early = Early(sizes)
        self.stage_8 = nn.Sequential(*[Block(at_8 if i else at_4, at_8, 1 if i else 2) for i in range(sizes.blocks[1])])
        rates = [sizes.dilations[i % len(sizes.dilations)] for i in range(sizes.blocks[2])]
        self.stage_16 = nn.Sequential(
            *[Block(at_16 if i else at_8, at_16, 1 if i else 2, rate) for i, rate in enumerate(rates)], Context(at_16)
        )
        self.top = nn.Conv2d(at_16, at_8, 1)
        self.lateral = ConvBn(at_8, at_8, 1)
        self.decoder = nn.Sequential(*[ConvBn(at_8, at_8) for _ in range(sizes.decoder)], ConvBn(at_8, sizes.feature))
        self.heads = Heads(sizes.feature, at_4, sizes.trunk, tasks)
        self.memory = memory
        self.register_buffer("coordinates", coordinates(height // STRIDE, width // STRIDE), persistent=False)
        initialise(self)

    def with_places(self, feature: Tensor) -> Tensor:
        """The value that a keyframe leaves behind."""
        return torch.cat([feature, self.coordinates.to(feature.dtype).expand(len(feature), -1, -1, -1)], 1)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The stride-8 feature and what is seen at stride 4."""
        at_4 = self.early(image)
        at_8 = self.stage_8(at_4)
        up = double(self.top(self.stage_16(at_8)))
        return self.decoder(self.lateral(at_8) + up), at_4

    def transported(self, image: Tensor, moves: Tensor) -> dict[str, Tensor]:
        """Predictions for training. The first len(moves) pictures' feature is that of the picture moved by so many pixels, moved back between
        cells: what attention will bring from a keyframe. The heads so learn to take what is fine from the current frame."""
        count = len(moves)
        if not count:
            return self.heads(*self.features(image))
        feature, fine = self.features(torch.cat([moved(image[:count], moves), image[count:]]))
        feature = torch.cat([moved(feature[:count], -moves / STRIDE), feature[count:]])
        return self.heads(feature, torch.cat([self.early(image[:count]), fine[count:]]))

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        feature, fine = self.features(inputs["image"])
        outputs = self.heads(feature, fine)
        if self.memory:
            outputs["value.shared"] = self.with_places(feature)
        return outputs
