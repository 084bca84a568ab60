"""A plain folder of labelled clips, laid out as `milad scene` writes one: `000012.rgb.png`, `000012.class.png`, `000012.depth.npy`,
`000012.normals.npy`, `000012.flow.npy`, `camera.json`. The folder is one clip, or holds a folder a clip.

Every frame has a picture; a frame without any of the others is one without truth, so a clip may be labelled at some frames only.
There are as many as camera.json says, if it does.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .clip import Clip, LayoutError, Truth, colours, labels, npy, picture_size
from .packed import camera

HINT = "lay it out as `milad scene --world street --seed 1 --frames 24 --out FOLDER` writes it"
LABELS = {"class": ".class.png", "depth": ".depth.npy", "normals": ".normals.npy", "flow": ".flow.npy"}


class FolderClip(Clip):
    """One folder."""

    def __init__(self, folder: Path, name: str):
        self.name, self.folder = name, folder
        self.pictures = sorted(folder.glob("*.rgb.png"))
        self.stems = [picture.name.removesuffix(".rgb.png") for picture in self.pictures]
        strays = sorted({path.name.split(".")[0] for ending in LABELS.values() for path in folder.glob(f"*{ending}")} - set(self.stems))
        if strays:
            raise LayoutError(f"{folder}: expected a picture {strays[0]}.rgb.png beside the labels of frame {strays[0]}, found none; {HINT}")
        if not self.pictures:
            raise LayoutError(f"{folder}: expected pictures named 000000.rgb.png, found none; {HINT}")
        if all(map(str.isdecimal, self.stems)) and len(set(map(len, self.stems))) > 1:
            raise LayoutError(f"{folder}: expected numbers of as many digits in all names, found {self.stems[0]} and {max(self.stems, key=len)}; pad them with zeros")
        self.size = picture_size(self.pictures[0], HINT)
        self.intrinsics, self.classes = camera(folder, len(self.pictures))

    def __len__(self) -> int:
        return len(self.pictures)

    def rgb(self, frame: int) -> NDArray:
        return colours(self.pictures[frame], self.size, HINT)

    def truth(self, frame: int) -> Truth | None:
        found = {name: self._label(frame, name) for name in LABELS}
        if all(found[name] is None for name in ("class", "depth", "normals")):
            return None
        return Truth(found["class"], found["depth"], found["normals"], found["flow"])

    def labelled(self) -> list[int]:
        endings = [ending for name, ending in LABELS.items() if name != "flow"]
        return [i for i, stem in enumerate(self.stems) if any((self.folder / f"{stem}{ending}").is_file() for ending in endings)]

    def _label(self, frame: int, name: str) -> NDArray | None:
        file = self.folder / f"{self.stems[frame]}{LABELS[name]}"
        if not file.is_file():
            return None
        if name == "class":
            return labels(file, self.size, np.uint8, HINT)
        shape = {"normals": (3, *self.size), "flow": (2, *self.size)}.get(name, self.size)
        return npy(file, (np.floating,), HINT, shape).astype(np.float32)


class FolderClips:
    """One clip, or one a subfolder, in order of name."""

    def __init__(self, root: Path):
        if any(root.glob("*.rgb.png")):
            self.folders = [root]
        else:
            self.folders = sorted({path.parent for path in root.glob("[!.]*/*.rgb.png")})
        if not self.folders:
            raise LayoutError(f"{root}: expected pictures named 000000.rgb.png, or folders of them, found none; {HINT}")

    def __iter__(self) -> Iterator[Clip]:
        return (FolderClip(folder, folder.name) for folder in self.folders)
