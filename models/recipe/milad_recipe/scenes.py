"""Rendered clips for judging: made by `milad scene` where they are not there yet, kept, the same files for every system and engine.

Seeds below 1,000,000 are for training, below 2,000,000 for tuning, from 2,000,000 on for reporting only.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .config import RecipeError
from .datasets import Clip
from .datasets.folder import FolderClip

REPORTING = 2_000_000


def program() -> str:
    """`milad`: what MILAD_BIN names, or the one on the path."""
    named = os.environ.get("MILAD_BIN") or "milad"
    found = shutil.which(named)
    if not found:
        raise RecipeError(f"expected the program `milad` on the path or named by MILAD_BIN, found no {named}; run `cargo build --release`, set MILAD_BIN")
    return found


def place(world: str, seeds: Sequence[int], frames: int, work: Path) -> Path:
    """Where these clips are kept, no others beside them. Remove it when the renderer has changed."""
    return work / "scenes" / f"{world}-{seeds[0]}-{seeds[1]}-{frames}"


def folder(world: str, seeds: Sequence[int], frames: int, work: Path, jobs: int = 1) -> Path:
    """That place, with the clips rendered as far as they were not there."""
    first, end = seeds
    if not 0 <= first < end:
        raise RecipeError(f"seeds first < end are expected, found {first}..{end}; name at least one")
    out = place(world, seeds, frames, work)
    if not all((out / f"{seed:07}").is_dir() for seed in range(first, end)):
        command = [program(), "scene", "--world", world, "--seeds", f"{first}..{end}", "--frames", str(frames), "--out", str(out)]
        command += ["--jobs", str(jobs)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RecipeError(f"{' '.join(command)}: expected it to render clips, found status {done.returncode}: {done.stderr.strip()[-500:]}; run it by hand")
    return out


def rendered(world: str, seeds: Sequence[int], frames: int, work: Path) -> list[Clip]:
    """Clips of the seeds first ≤ s < end, in order."""
    out = folder(world, seeds, frames, work)
    return [FolderClip(out / f"{seed:07}", f"{seed:07}") for seed in range(*seeds)]
