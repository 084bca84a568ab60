"""Stage slow: trains the slow network on single frames. The plain baselines are trained by it too, with smaller sizes."""

import time
from pathlib import Path

import torch

from . import checkpoint, stage_data, team, validation
from .config import Config
from .data import Reader, single_frames
from .losses import task_losses
from .loop import Loop
from .slow import SlowNetwork, draw_moves

PARTS = ("slow", "losses", "augment", "data")
"""Of the configuration, that the slow network depends on."""
LOOK_SECONDS = 60
"""How often new clips are looked for."""


def folder(work: Path) -> Path:
    return work / "slow"


def network(config: Config) -> SlowNetwork:
    """Untrained."""
    return SlowNetwork(config.slow.sizes, config.tasks, config.height, config.width)


def trained(config: Config, work: Path) -> SlowNetwork:
    """With the averaged weights of the stage, ready for use."""
    state = checkpoint.need(folder(work) / "checkpoint.pt", config.digest(*PARTS), "slow")
    made = network(config)
    made.load_state_dict(state["average"])
    return made.eval().requires_grad_(False)


def fingerprint(config: Config, work: Path) -> str:
    """Fingerprint of what the stage left."""
    return checkpoint.fingerprint(checkpoint.need(folder(work) / "checkpoint.pt", config.digest(*PARTS), "slow"))


def run(config: Config, work: Path) -> None:
    """Trains, or goes on training."""
    stage_data.opened(config, work, config.data.train)
    stage_data.opened(config, work, config.data.tune)
    checkpoint.load(folder(work) / "checkpoint.pt", config.digest(*PARTS), "slow")  # refused here, once, not by every worker
    team.run(_train, (config, work), config.slow.training.workers)


def _train(crew: team.Team, config: Config, work: Path) -> None:
    torch.manual_seed(config.slow.training.seed)
    where, in_bfloat16 = team.device(), team.bfloat16()
    known = stage_data.opened(config, work, config.data.train)
    tune = list(stage_data.opened(config, work, config.data.tune).values())
    weights = stage_data.class_weights(config, tune).to(where)
    untrained = network(config).to(where, memory_format=torch.channels_last)
    loop = Loop("slow", folder(work), config.digest(*PARTS), config.slow.training, untrained, crew)
    reader = Reader(config, [config.slow.training.seed, crew.rank, loop.step], config.augment)
    state = {"clips": list(known.values()), "known": known, "looked": time.monotonic()}

    def losses(items):
        if time.monotonic() - state["looked"] > LOOK_SECONDS:
            state["known"] = stage_data.opened(config, work, config.data.train, state["known"])
            state.update(clips=list(state["known"].values()), looked=time.monotonic())
        image, truth = single_frames(reader, state["clips"], items)
        moves = draw_moves(reader.random, round(items * config.slow.transport)).to(where)
        with torch.autocast(where.type, torch.bfloat16, enabled=in_bfloat16):
            outputs = loop.network.transported(image.to(where, non_blocking=True), moves)
        return task_losses(outputs, truth.to(where), config.losses, weights)

    loop.run(losses, lambda averaged: validation.of_single_frames(averaged, tune, config))
