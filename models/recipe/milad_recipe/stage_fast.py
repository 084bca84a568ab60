"""Stage fast: trains the fast network on frames and earlier keyframes, of which the slow network, frozen, gives the features."""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from . import checkpoint, stage_data, stage_slow, team, validation
from .adversary import Game
from .blocks import fold
from .config import Config, RecipeError
from .data import Pairs, Reader, pairs
from .fast import FastNetwork
from .losses import task_losses
from .loop import Loop
from .slow import SlowNetwork

PARTS = (*stage_slow.PARTS, "fast")
"""Of the configuration, that the fast network depends on."""


def folder(work: Path) -> Path:
    return work / "fast"


def network(config: Config) -> FastNetwork:
    """Untrained."""
    return FastNetwork(config.fast.sizes, config.slow.sizes, config.tasks, config.height, config.width)


def trained(config: Config, work: Path) -> FastNetwork:
    """With the averaged weights of the stage, ready for use."""
    path = folder(work) / "checkpoint.pt"
    state = checkpoint.need(path, config.digest(*PARTS), "fast")
    if state.get("slow") != stage_slow.fingerprint(config, work):
        other = "one that learned from another" if "slow" in state else "one that does not say from which it learned"
        advice = "move it away and run --stage fast again (fast.training.start takes its weights)"
        raise RecipeError(f"{path}: expected a network that learned from the slow one in {stage_slow.folder(work)}, found {other}; {advice}")
    made = network(config)
    made.load_state_dict(state["average"])
    return made.eval().requires_grad_(False)


class Teacher:
    """The slow network, frozen and folded: values for the memory."""

    def __init__(self, slow: SlowNetwork, quantised: Path | None, device: torch.device):
        self.slow = slow.to(device, memory_format=torch.channels_last)
        self.session = None
        if quantised is not None:
            from .sequence import session

            if not quantised.is_file():
                raise RecipeError(f"{quantised}: expected the quantised slow network for fast.values = \"int8\", found none; run --stage quantise-slow")
            self.session = session(quantised)

    @torch.no_grad()
    def value(self, images: Tensor) -> Tensor:
        """[N, C_v + 2, H, W]."""
        if self.session is None:
            return self.slow.with_places(self.slow.features(images)[0])
        arrays = [self.session.run(["value.shared"], {"image": image[None].contiguous().numpy()})[0] for image in images.cpu()]
        return torch.from_numpy(np.concatenate(arrays)).to(images.device)


def fingerprint(config: Config, work: Path) -> str:
    """Fingerprint of what the stage left."""
    return checkpoint.fingerprint(checkpoint.need(folder(work) / "checkpoint.pt", config.digest(*PARTS), "fast"))


def run(config: Config, work: Path) -> None:
    """Trains, or goes on training."""
    slow = stage_slow.fingerprint(config, work)
    if config.fast.values == "int8":
        checkpoint.signed(stage_slow.folder(work), "quantise-slow", slow=slow)
    checkpoint.load(folder(work) / "checkpoint.pt", config.digest(*PARTS), "fast")
    team.run(_train, (config, work), config.fast.training.workers)


def _train(crew: team.Team, config: Config, work: Path) -> None:
    settings = config.fast
    torch.manual_seed(settings.training.seed)
    where, in_bfloat16 = team.device(), team.bfloat16()
    known = stage_data.opened(config, work, config.data.train)
    tune = list(stage_data.opened(config, work, config.data.tune).values())
    weights = stage_data.class_weights(config, tune).to(where)
    slow = fold(stage_slow.trained(config, work))
    untrained = network(config)
    rates = {"heads": settings.heads_rate, "early": settings.early_rate}
    for part, rate in rates.items():
        taken = getattr(untrained, part)
        taken.load_state_dict(getattr(slow, part).state_dict())
        taken.requires_grad_(rate > 0)
    untrained = untrained.to(where, memory_format=torch.channels_last)
    teacher = Teacher(slow, stage_slow.folder(work) / "slow-int8.onnx" if settings.values == "int8" else None, where)
    learning = [(name, p) for name, p in untrained.named_parameters() if p.requires_grad]
    groups = {part: [p for name, p in learning if name.split(".")[0] == part] for part in rates}
    groups["rest"] = [p for name, p in learning if name.split(".")[0] not in rates]
    game = None
    if settings.adversary.weight:
        game = Game(settings.sizes.query if settings.adversary.on == "projected" else config.slow.sizes.feature, settings.adversary, crew, where)
    companions = game.companions() if game else None
    factors = [(parameters, rates.get(part, 1.0)) for part, parameters in groups.items() if parameters]
    loop = Loop("fast", folder(work), config.digest(*PARTS), settings.training, untrained, crew, factors, companions, settings.ages.frames_per_keyframe, {"slow": stage_slow.fingerprint(config, work)})
    for held in (loop.network, loop.averaged):  # also after an interruption: the slow network may have learned more since
        for part, rate in rates.items():
            if not rate:
                getattr(held, part).load_state_dict(getattr(slow, part).state_dict())
    reader = Reader(config, [settings.training.seed, crew.rank, loop.step, 1], config.augment)
    weighed = config.losses.weighed(settings.losses)
    state = {"clips": list(known.values()), "known": known, "looked": time.monotonic()}

    def losses(items):
        if time.monotonic() - state["looked"] > stage_slow.LOOK_SECONDS:
            state["known"] = stage_data.opened(config, work, config.data.train, state["known"])
            state.update(clips=list(state["known"].values()), looked=time.monotonic())
        batch = pairs(reader, state["clips"], items // settings.ages.frames_per_keyframe, settings.ages, settings.sizes.keyframes)
        dropped = torch.from_numpy(reader.random.random(len(batch.age)) < settings.losses.key_dropout)
        with torch.autocast(where.type, torch.bfloat16, enabled=in_bfloat16):
            outputs, imitation = forward(config, loop.network, teacher, batch, dropped, game, loop.agreed, where)
        return task_losses(outputs, batch.truth.to(where), weighed, weights) | imitation

    loop.run(losses, lambda averaged: validation.of_pairs(averaged, teacher, tune, config))


def forward(config: Config, net: FastNetwork, teacher: Teacher, batch: Pairs, dropped: Tensor, game: Game | None, share: float, where):
    """Outputs for the batch's frames, and the losses beside the tasks' own by name."""
    settings, each = config.fast, config.fast.ages.frames_per_keyframe
    keyframes, frames = batch.keyframes.to(where), batch.frames.to(where)
    t, now = settings.sizes.keyframes, len(frames)
    own, fine = net.look(torch.cat([frames, keyframes]) if settings.sizes.keys == "fast" else frames)
    memory = {}
    if net.remembers:
        memory = net.remember(own[now:], teacher.value(keyframes))
        memory = {name: x.unflatten(0, (-1, t)).repeat_interleave(each, 0) for name, x in memory.items()}
        age = batch.age.masked_fill(dropped[:, None], -1.0).to(where)
        memory |= {"age": age, "valid": (age >= 0).float()}
    outputs, fused = net.answer(own[:now], fine[:now], memory)
    losses = {}
    if settings.losses.feature or game is not None and settings.adversary.on == "fused":
        target = teacher.value(frames)[:, :-2].float().repeat(len(fused) // now, 1, 1, 1)
        if settings.losses.feature:
            losses["feature"] = settings.losses.feature * F.smooth_l1_loss(fused.float(), target)
        if game is not None and settings.adversary.on == "fused":
            losses["adversary"] = game.loss(target, fused, share)
    if game is not None and settings.adversary.on == "projected":
        keys = torch.cat([x for name, x in memory.items() if name.startswith("key.")])
        losses["adversary"] = game.loss(keys.flatten(0, 1), net.queries(own[:now]), share)
    return outputs, losses
