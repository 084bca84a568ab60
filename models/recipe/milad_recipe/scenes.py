"""Rendered clips for judging: made by `milad scene` where they are not there yet, kept as packed arrays, the same for every system.

Seeds below 1,000,000 are for training, below 2,000,000 for tuning, from 2,000,000 on for reporting only.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .datasets import Clip
from .datasets.packed import PackedClip

REPORTING = 2_000_000


def program() -> str:
    """`milad`: what MILAD_BIN names, or the one on the path."""
    found = os.environ.get("MILAD_BIN") or shutil.which("milad")
    if not found or not (Path(found).is_file() or shutil.which(found)):
        raise ValueError(f"expected the program `milad` on the path or named by MILAD_BIN, found {found or 'none'}; run `cargo build --release`")
    return found


def folder(world: str, frames: int, work: Path) -> Path:
    """Where clips of a world and a length are kept."""
    return work / "scenes" / f"{world}-{frames}"


def rendered(world: str, seeds: Sequence[int], frames: int, work: Path) -> list[Clip]:
    """Clips of the seeds first ≤ s < end, of `frames` frames, with flow."""
    first, end = seeds
    if end <= first:
        raise ValueError(f"seeds first < end are expected, found {first}..{end}")
    place = folder(world, frames, work)
    missing = [seed for seed in range(first, end) if not (place / f"{seed:07}").is_dir()]
    for start, stop in _runs(missing):
        command = [program(), "scene", "--world", world, "--seeds", f"{start}..{stop}", "--frames", str(frames)]
        subprocess.run([*command, "--packed", "--flow", "--out", str(place)], check=True)
    return [PackedClip(place / f"{seed:07}") for seed in range(first, end)]


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Runs of consecutive numbers as (first, end)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
