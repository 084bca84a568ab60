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
from .datasets.clip import words
from .datasets.folder import FolderClip

SIZE = (128, 256)
"""Height and width of clips that do not say another."""


def program() -> str:
    """`milad`: what MILAD_BIN names, or the one on the path."""
    named = os.environ.get("MILAD_BIN") or "milad"
    found = shutil.which(named)
    if not found:
        raise RecipeError(f"expected the program `milad` on the path or named by MILAD_BIN, found no {named}; run `cargo build --release`, set MILAD_BIN")
    return found


def place(world: str, seeds: Sequence[int], frames: int, work: Path, size: tuple[int, int] = SIZE) -> Path:
    """Where these clips are kept, no others beside them. Remove it when the renderer has changed."""
    height, width = size
    return work / "scenes" / (f"{world}-{seeds[0]}-{seeds[1]}-{frames}" + ("" if size == SIZE else f"-{width}x{height}"))


def folder(world: str, seeds: Sequence[int], frames: int, work: Path, jobs: int = 1, size: tuple[int, int] = SIZE) -> Path:
    """That place, with the clips rendered as far as they were not there."""
    first, end = seeds
    if not 0 <= first < end:
        raise RecipeError(f"seeds: expected A..B, from A up to but not including B, found {first}..{end}; name at least one")
    out = place(world, seeds, frames, work, size)
    if not all((out / f"{seed:07}").is_dir() for seed in range(first, end)):
        command = [program(), "scene", "--world", world, "--seeds", f"{first}..{end}", "--frames", str(frames), "--out", str(out)]
        command += ["--height", str(size[0]), "--width", str(size[1]), "--jobs", str(jobs)]
        try:
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
        except OSError as error:
            raise RecipeError(f"{command[0]}: expected the program `milad`, found {words(error)}; set MILAD_BIN to it") from None
        if done.returncode:
            found = " ".join(done.stderr.split())[-500:]
            raise RecipeError(f"{' '.join(command)}: expected it to render clips, found status {done.returncode}: {found}; run it by hand")
    return out


def rendered(world: str, seeds: Sequence[int], frames: int, work: Path, size: tuple[int, int] = SIZE) -> list[Clip]:
    """Clips of the seeds first ≤ s < end, in order."""
    out = folder(world, seeds, frames, work, size=size)
    return [FolderClip(out / f"{seed:07}", f"{seed:07}") for seed in range(*seeds)]
