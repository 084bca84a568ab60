"""Quick figures on tuning clips while training runs. What is reported comes from `evaluate`, on other seeds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .data import Clip, Reader, Truth
from .losses import upsampled

BATCH = 8


class Scores:
    """Sums over frames; `figures` makes of them mIoU in percent, AbsRel where there is depth, mean normal error in degrees."""

    def __init__(self, classes: int):
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self.depth, self.normals = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)

    def add(self, outputs: dict[str, Tensor], truth: Truth) -> None:
        """Outputs at any size, truth at its own."""
        size = tuple(truth.category.shape[1:])
        classes = len(self.confusion)
        answer = upsampled(outputs["task.segmentation"], size).argmax(1)
        self.confusion += torch.bincount((truth.category * classes + answer).flatten(), minlength=classes**2).view(classes, classes).cpu()
        error = (upsampled(outputs["task.depth"], size)[:, 0] - truth.log_depth).exp().sub(1).abs()
        near = ~truth.sky
        self.depth += torch.stack([(error * near).sum(), near.sum()]).double().cpu()
        there = truth.normals.square().sum(1) > 0.25
        cosine = F.cosine_similarity(upsampled(outputs["task.normals"], size), truth.normals, dim=1, eps=1e-4)
        angle = torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
        self.normals += torch.stack([(angle * there).sum(), there.sum()]).double().cpu()

    def figures(self) -> dict[str, float]:
        """Rounded."""
        hits = self.confusion.diagonal().double()
        union = self.confusion.sum(0) + self.confusion.sum(1) - self.confusion.diagonal()
        each = hits[union > 0] / union[union > 0]
        depth, normals = (float(total / count.clamp(min=1)) for total, count in (self.depth, self.normals))
        return {"miou": round(100 * float(each.mean()), 2), "absrel": round(depth, 4), "normals": round(normals, 2)}


@torch.no_grad()
def of_single_frames(network: nn.Module, clips: list[Clip], config: Config, every: int = 6) -> dict[str, float]:
    """A network that sees one frame at a time, on every so-manieth frame of the clips."""
    reader = Reader(config, [0], None)
    device = next(network.parameters()).device
    frames = [(clip, number) for clip in clips for number in range(every // 2, len(clip), every)]
    scores = Scores(config.tasks["segmentation"])
    for start in range(0, len(frames), BATCH):
        some = frames[start : start + BATCH]
        looks = reader.looks(len(some))
        image = reader.images(some, looks).to(device)
        scores.add(network({"image": image}), reader.truth(some, looks).to(device))
    return scores.figures()
