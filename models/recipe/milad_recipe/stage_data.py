"""Stage data: renders the clips that are not there yet, or packs those of a data set. Nothing is kept that cannot be made again."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch

from . import packing, team
from .config import Config, RecipeError
from .data import Clip, clips
from .progress import Bar

AT_ONCE = 8
"""Clips a call: the bar moves after each call."""


def folder(config: Config, work: Path) -> Path:
    """Of the packed clips; another data set has another."""
    named = (config.data.train_from, config.data.tune_from)
    if not any(named):
        return work / "data" / config.world
    return work / "data" / f"{config.world}-{named[0].partition(':')[0]}-{hashlib.sha256('|'.join(named).encode()).hexdigest()[:8]}"


def run(config: Config, work: Path) -> None:
    """Renders with `milad scene --packed`: the program that MILAD_BIN names, or else `milad` on the PATH. A data set is packed instead."""
    out = folder(config, work)
    bar = Bar("data")
    if config.data.train_from or config.data.tune_from:
        return packing.run(config, out, bar)
    wanted = (config.data.tune, config.data.train)
    total, done = sum(high - low for low, high in wanted), 0
    for low, high in wanted:
        there = clips(out, (low, high), config)
        other = next((clip for clip in there.values() if len(clip) != config.data.frames), None)
        if other is not None:
            raise RecipeError(f"{other.folder}: expected {config.data.frames} frames, as data.frames says, found {len(other)}; remove {out} and run --stage data again")
        seed = low
        while seed < high:
            end = min(seed + AT_ONCE, high)
            missing = [s for s in range(seed, end) if s not in there]
            if missing:
                _render(config, out, missing[0], missing[-1] + 1)
                absent = [s for s in missing if not (out / f"{s:07}").is_dir()]
                if absent:
                    raise RecipeError(f"{out}: expected clips of seeds {absent} after rendering, found none; run the renderer by hand to see why")
            done += end - seed
            seed = end
            bar.show(done / total, f"{done} of {total} clips", last=done == total)


def _render(config: Config, out: Path, low: int, high: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    program = os.environ.get("MILAD_BIN") or shutil.which("milad")
    if program is None:
        raise RecipeError("expected the program milad in MILAD_BIN or on the PATH, found neither; build it with cargo build --release and set MILAD_BIN")
    command = [program, "scene", "--world", config.world, "--seeds", f"{low}..{high}", "--frames", str(config.data.frames)]
    command += ["--width", str(config.width), "--height", str(config.height), "--packed", "--out", str(out), "--jobs", str(team.cores())]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise RecipeError(f"{program}: expected the program milad, found {error}; set MILAD_BIN to it") from None
    if done.returncode != 0:
        raise RecipeError(f"{' '.join(command)}: expected it to render clips, found exit status {done.returncode}: {done.stderr.strip()[-500:]}")


def opened(config: Config, work: Path, seeds: tuple[int, int], known: dict[int, Clip] | None = None) -> dict[int, Clip]:
    """The clips of a range that are there, at least as many as the configuration wants."""
    out = folder(config, work)
    found = clips(out, seeds, config, known)
    wanted = min(config.data.at_least, seeds[1] - seeds[0])
    if len(found) < wanted:
        raise RecipeError(f"{out}: expected at least {wanted} clips with seeds in {seeds[0]}..{seeds[1]}, found {len(found)}; run --stage data")
    return found


def class_weights(config: Config, available: list[Clip]) -> torch.Tensor:
    """Of the segmentation loss: shares of pixels in up to 64 clips to the power of −`rare`, 1 on average over pixels."""
    classes = config.tasks.get("segmentation", 1)
    counts = np.zeros(classes)
    for clip in available[:64]:
        for number in clip.labelled[::8]:
            counts += np.bincount(clip.category(number).ravel(), minlength=classes)[:classes]
    share = np.maximum(counts / max(counts.sum(), 1), 1e-3)
    weights = share**-config.losses.rare
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)
