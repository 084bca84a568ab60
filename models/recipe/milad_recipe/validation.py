"""Quick figures on tuning clips while training runs. What is reported comes from `evaluate`, on other seeds."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .data import Clip, Reader, Truth
from .losses import upsampled

BATCH = 8


class Scores:
    """Sums over frames; `figures` makes of them mIoU in percent, AbsRel where there is depth, mean normal error in degrees, each where there is truth."""

    def __init__(self, tasks: dict[str, int]):
        self.tasks, classes = tasks, tasks.get("segmentation", 1)
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self.depth, self.normals = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)

    def add(self, outputs: dict[str, Tensor], truth: Truth) -> None:
        """Outputs at any size, truth at its own."""
        size = tuple(truth.category.shape[1:])
        if "segmentation" in self.tasks:
            classes = len(self.confusion)
            answer = upsampled(outputs["task.segmentation"], size).argmax(1)
            pairs = (truth.category * classes + answer)[truth.category < classes]
            self.confusion += torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()
        if "depth" in self.tasks:
            error = (upsampled(outputs["task.depth"], size)[:, 0] - truth.log_depth).exp().sub(1).abs()
            near = ~truth.sky & ~truth.log_depth.isnan()
            self.depth += torch.stack([error[near].sum(), near.sum()]).double().cpu()
        if "normals" in self.tasks:
            there = truth.normals.square().sum(1) > 0.25
            cosine = F.cosine_similarity(upsampled(outputs["task.normals"], size), truth.normals, dim=1, eps=1e-4)
            angle = torch.rad2deg(torch.acos(cosine.clamp(-1, 1)))
            self.normals += torch.stack([(angle * there).sum(), there.sum()]).double().cpu()

    def figures(self) -> dict[str, float]:
        """Rounded."""
        hits = self.confusion.diagonal().double()
        union = self.confusion.sum(0) + self.confusion.sum(1) - self.confusion.diagonal()
        each = hits[union > 0] / union[union > 0]
        found = {"miou": round(100 * float(each.mean()), 2)} if len(each) else {}
        for name, (total, count), digits in (("absrel", self.depth, 4), ("normals", self.normals, 2)):
            if count:
                found[name] = round(float(total / count), digits)
        return found


def judged(clip: Clip, every: int = 6) -> list[int]:
    """Every so-manieth frame that has truth."""
    return clip.labelled[min(every // 2, len(clip.labelled) - 1) :: every]


@torch.no_grad()
def of_single_frames(network: nn.Module, clips: list[Clip], config: Config, every: int = 6) -> dict[str, float]:
    """A network that sees one frame at a time, on every so-manieth frame of the clips."""
    reader = Reader(config, [0], None)
    device = next(network.parameters()).device
    frames = [(clip, number) for clip in clips for number in judged(clip, every)]
    scores = Scores(config.tasks)
    for start in range(0, len(frames), BATCH):
        some = frames[start : start + BATCH]
        looks = reader.looks(len(some))
        image = reader.images(some, looks).to(device)
        scores.add(network({"image": image}), reader.truth(some, looks).to(device))
    return scores.figures()


INTERVALS = {"5, latency 2": (2, 4, 6), "10, latency 4": (4, 7, 10, 13)}
"""Ages that stand for an interval and a latency."""


@torch.no_grad()
def of_pairs(network, teacher, clips: list[Clip], config: Config) -> dict[str, float]:
    """The fast network at some ages for two ways to run it, without a keyframe, and the slow network on the same frames."""
    reader, device = Reader(config, [0], None), next(network.parameters()).device
    figures = {}
    for name, ages in {**INTERVALS, "alone": (-1,)}.items():
        fast, slow = Scores(config.tasks), Scores(config.tasks)
        jobs = [(clip, key, age) for clip in clips for age in ages for key in _keyframes(clip, max(age, 3))]
        for start in range(0, len(jobs), BATCH):
            some = jobs[start : start + BATCH]
            frames = [(clip, key + max(age, 3)) for clip, key, age in some]
            looks = reader.looks(len(some))
            now, then = (reader.images(which, looks).to(device) for which in (frames, [(clip, key) for clip, key, _ in some]))
            truth = reader.truth(frames, looks).to(device)
            fast.add(_answer(network, teacher, now, then, torch.tensor([float(age) for *_, age in some], device=device)), truth)
            if name in INTERVALS:
                slow.add(teacher.slow({"image": now}), truth)
        figures |= {f"{key} {name}": value for key, value in fast.figures().items()}
        if name in INTERVALS:
            figures |= {f"{key} {name}, slow": value for key, value in slow.figures().items()}
    return figures


def _keyframes(clip: Clip, age: int) -> list[int]:
    """Three of them that are so much older than a frame with truth."""
    wanted = [0, 4, 9] if len(clip.labelled) == len(clip) else [number - age for number in clip.labelled[:: max(len(clip.labelled) // 3, 1)][:3]]
    return [key for key in wanted if 0 <= key and key + age < len(clip)]


def _answer(network, teacher, now: Tensor, then: Tensor, age: Tensor) -> dict[str, Tensor]:
    """With one keyframe; further ones that a network could take are missing."""
    own, fine = network.look(now)
    if not network.remembers:
        return network.answer(own, fine, {})[0]
    t = network.sizes.keyframes
    memory = network.remember(network.look(then)[0] if network.sizes.keys == "fast" else None, teacher.value(then))
    memory = {name: x.unsqueeze(1).expand(-1, t, -1, -1, -1) for name, x in memory.items()}
    ages = torch.cat([age[:, None], age.new_full((len(age), t - 1), -1.0)], 1)
    return network.answer(own, fine, memory | {"age": ages, "valid": (ages >= 0).float()})[0]
