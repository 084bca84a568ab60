"""Labelled clips, wherever they come from, behind one interface: `clip.Clip`. `open_clips` opens any of them by a short name."""

from pathlib import Path

from .clip import Clip, LayoutError, Truth
from .cityscapes import Cityscapes
from .folder import FolderClips
from .nyu import NYUv2
from .packed import PackedClips

KINDS = {"packed": PackedClips, "folder": FolderClips, "cityscapes": Cityscapes, "nyuv2": NYUv2}

__all__ = ["Clip", "LayoutError", "Truth", "KINDS", "open_clips"]


def open_clips(spec: str) -> list[Clip]:
    """`KIND:PATH` or `KIND:PATH:SPLIT`, KIND one of `KINDS`: `packed:work/street`, `cityscapes:data/cityscapes:val`."""
    kind, _, rest = spec.partition(":")
    if kind not in KINDS or not rest:
        raise LayoutError(f"expected a data set as KIND:PATH or KIND:PATH:SPLIT, found {spec!r}; KIND is one of {', '.join(KINDS)}")
    path, _, split = rest.rpartition(":")
    if not path or not hasattr(KINDS[kind], "SPLITS"):
        path, split = rest, ""
    return list(KINDS[kind](Path(path), split) if split else KINDS[kind](Path(path)))
