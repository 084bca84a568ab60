"""The task losses. Predictions are upsampled bilinearly to the truth's size first, as the daemon does before it decides."""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from .config import Losses
from .data import Truth


def upsampled(prediction: Tensor, size: tuple[int, int]) -> Tensor:
    """Half-pixel centres, edges clamped, in float32."""
    return F.interpolate(prediction.float(), size=size, mode="bilinear", align_corners=False)


@functools.cache
def _upsampling(small: int, large: int, phase: int) -> Tensor:
    """Every second row, from `phase` on, of the matrix that upsamples an axis: [large / 2, small]."""
    unit = torch.eye(small)[None]
    return F.interpolate(unit, size=large, mode="linear", align_corners=False)[0].T[phase::2].contiguous()


class Quarter:
    """A quarter of the truth's pixels, every second of every second row, chosen anew for each batch: as good for learning, a third of the time."""

    def __init__(self, truth: Truth):
        self.size = tuple(truth.category.shape[1:])
        self.phase = torch.randint(2, (2,)).tolist()
        y, x = self.phase
        self.truth = Truth(*(part[..., y::2, x::2].contiguous() for part in (truth.category, truth.log_depth, truth.sky, truth.normals)))

    def upsampled(self, prediction: Tensor) -> Tensor:
        """The same numbers as `upsampled` has there."""
        rows, columns = (
            _upsampling(small, large, phase).to(prediction.device)
            for small, large, phase in zip(prediction.shape[2:], self.size, self.phase)
        )
        return rows @ prediction.float() @ columns.T


def task_losses(outputs: dict[str, Tensor], whole: Truth, losses: Losses, class_weights: Tensor) -> dict[str, Tensor]:
    """Each weighted loss by name; their sum is what is trained on."""
    found = {}
    part = Quarter(whole)
    truth = part.truth
    if "task.segmentation" in outputs:
        logits = part.upsampled(outputs["task.segmentation"])
        likely, known = F.log_softmax(logits, 1), truth.category < logits.shape[1]
        category = truth.category.where(known, 0)
        right = likely.gather(1, category[:, None])[:, 0]
        if losses.segmentation:
            weight = class_weights[category] * known
            found["segmentation"] = losses.segmentation * -(right * weight).sum() / weight.sum().clamp(min=1e-6)
        if losses.jaccard:
            found["jaccard"] = losses.jaccard * soft_jaccard(likely.exp(), right.exp(), category, known)
    if "task.depth" in outputs:
        log_depth = part.upsampled(outputs["task.depth"])[:, 0]
        measured = ~truth.log_depth.isnan()
        true_depth = truth.log_depth.where(measured, 0.0)  # a NaN would live on in the gradient, whatever its weight
        weight = torch.where(truth.sky, losses.sky, 1.0) * measured
        found["depth"] = losses.depth * ((log_depth - true_depth).abs() * weight).sum() / weight.sum().clamp(min=1e-6)
        if losses.depth_relative:
            found["depth_relative"] = losses.depth_relative * relative_loss(log_depth, true_depth, measured & ~truth.sky)
        if losses.depth_gradient:
            found["depth_gradient"] = losses.depth_gradient * gradient_loss(log_depth, true_depth, measured & ~truth.sky)
    if "task.normals" in outputs:
        found["normals"] = losses.normals * chord_loss(part.upsampled(outputs["task.normals"]), truth.normals)
    return found


def soft_jaccard(share: Tensor, right: Tensor, category: Tensor, known: Tensor) -> Tensor:
    """1 − mIoU of the batch with probabilities in place of decisions, over the classes that are there. `right`: the true class's share."""
    if not known.all():
        share, right = share * known[:, None], right * known
    classes = share.shape[1]
    both = share.new_zeros(classes).index_add(0, category.flatten(), right.flatten())
    area = torch.bincount(category[known], minlength=classes)
    union = share.sum((0, 2, 3)) + area - both
    there = area > 0
    return 1 - (both[there] / union[there]).mean() if there.any() else share.sum() * 0.0


def relative_loss(log_depth: Tensor, truth: Tensor, usable: Tensor) -> Tensor:
    """Mean error as a share of the true depth (AbsRel) where usable. Where an edge leaves two depths possible it prefers the nearer, as the measure does."""
    share = (log_depth - truth).clamp(max=2.0).expm1().abs()  # e² times too far is as bad as it gets: no gradient without bound
    return (share * usable).sum() / usable.sum().clamp(min=1)


def gradient_loss(log_depth: Tensor, truth: Tensor, usable: Tensor) -> Tensor:
    """L1 of the error's differences between neighbours, where both are usable: sharp edges, flat planes."""
    error = log_depth - truth
    total, count = error.new_zeros(()), error.new_zeros(())
    for axis in (1, 2):
        length = error.shape[axis] - 1
        far, near = (error.narrow(axis, start, length) for start in (1, 0))
        both = usable.narrow(axis, 1, length) & usable.narrow(axis, 0, length)
        total = total + ((far - near).abs() * both).sum()
        count = count + both.sum()
    return total / count.clamp(min=1)


def chord_loss(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean distance of unit normals, about the angle in radians; where the truth is zero there is none."""
    there = truth.square().sum(1) > 0.25
    unit = prediction * prediction.square().sum(1, keepdim=True).clamp_min(1e-8).rsqrt()  # F.normalize, whose norm takes ten times as long
    chord = ((unit - truth).square().sum(1) + 1e-4).sqrt()
    return (chord * there).sum() / there.sum().clamp(min=1)
