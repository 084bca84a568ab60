"""Packed clips, a folder each, as `milad scene --packed` writes them: read in place, never copied whole.

A clip: rgb.npy u8 [N,H,W,3], class.npy u8 [N,H,W], depth.npy f16 [N,H,W] in metres (infinite: sky), normals.npy i8 [N,3,H,W] in 1/127
(0: sky), flow.npy f16 [N,2,H,W] (optional), camera.json. The folder's name is the seed. Clips that `packing` made of a data set may lack
truth: class 255, depth NaN, normals 0; and camera.json then names the frames that have any under `labelled`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .config import Ages, Augment, Config, RecipeError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ARRAYS = {"rgb": ("uint8", 4), "class": ("uint8", 3), "depth": ("float16", 3), "normals": ("int8", 4)}


class Clip:
    """One packed clip, its arrays mapped into memory."""

    def __init__(self, folder: Path, height: int, width: int):
        self.seed = int(folder.name)
        self.folder = folder
        for name, (kind, axes) in _ARRAYS.items():
            path = folder / f"{name}.npy"
            try:
                array = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise RecipeError(f"{path}: expected an array of a packed clip, found {error}; remove {folder} and run the data stage again") from None
            size = array.shape[2:4] if name == "normals" else array.shape[1:3]
            if array.dtype != kind or array.ndim != axes or size != (height, width):
                raise RecipeError(
                    f"{path}: expected {kind} of {height}×{width} pixels, found {array.dtype} {array.shape}; render the clip at that size"
                )
            setattr(self, name, array)
        if len({len(getattr(self, name)) for name in _ARRAYS}) != 1:
            raise RecipeError(f"{folder}: expected as much truth as pictures, found arrays of different lengths; remove it and run the data stage again")

        self.labelled = labelled(folder, len(self))
        """Frames that have truth, in order."""

    def __len__(self) -> int:
        return len(self.rgb)

    def category(self, number: int) -> np.ndarray:
        """Class indices of one frame, u8 [H, W]."""
        return getattr(self, "class")[number]


def labelled(folder: Path, frames: int) -> list[int]:
    """What camera.json says, or every frame."""
    path = folder / "camera.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("labelled") if path.is_file() else None
    except (OSError, ValueError, AttributeError) as error:
        raise RecipeError(f"{path}: expected JSON of a packed clip, found {error}; remove {folder} and run the data stage again") from None
    return list(range(frames)) if found is None else [int(number) for number in found if 0 <= int(number) < frames]


def clips(folder: Path, seeds: tuple[int, int], config: Config, known: dict[int, Clip] | None = None) -> dict[int, Clip]:
    """The whole clips in `folder` whose seeds lie in the range, by seed; those in `known` are not opened again."""
    found = dict(known or {})
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            if entry.name.isdecimal() and seeds[0] <= int(entry.name) < seeds[1] and int(entry.name) not in found:
                found[int(entry.name)] = Clip(entry, config.height, config.width)
    return found


@dataclass
class Truth:
    """Of a batch: class int64 [B,H,W], 255 where unknown; log depth [B,H,W], NaN where unknown; sky bool [B,H,W] (there, or beyond `far`);
    normals [B,3,H,W], zero where there is none."""

    category: Tensor
    log_depth: Tensor
    sky: Tensor
    normals: Tensor

    def to(self, device) -> "Truth":
        return Truth(*(getattr(self, name).to(device, non_blocking=True) for name in ("category", "log_depth", "sky", "normals")))


class Reader:
    """Makes batches of frames, changed at random as `augment` says: every frame of one item in the same way, noise apart."""

    def __init__(self, config: Config, seed: list[int], augment: Augment | None):
        self.config, self.augment = config, augment
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.noise = self.random.standard_normal(4 * config.height * config.width * 3, np.float32)

    def looks(self, count: int) -> list[tuple[bool, np.ndarray]]:
        """For each of `count` items: mirrored or not, and the table from a byte to a normalised value, [3, 256]."""
        steps = np.arange(256, dtype=np.float32) / 255
        mean, std = np.float32(MEAN)[:, None], np.float32(STD)[:, None]
        made = []
        for _ in range(count):
            table = np.broadcast_to(steps, (3, 256))
            mirrored = False
            if (a := self.augment) is not None:
                mirrored = a.flip and self.random.random() < 0.5
                gamma = np.exp(self.random.uniform(-a.gamma, a.gamma))
                gain = 1 + self.random.uniform(-a.gain, a.gain) + self.random.uniform(-a.colour, a.colour, (3, 1))
                table = np.clip(gain * steps**gamma, 0, 1)
            made.append((mirrored, ((table - mean) / std).astype(np.float32)))
        return made

    def images(self, frames: list[tuple[Clip, int]], looks: list[tuple[bool, np.ndarray]]) -> Tensor:
        """`image` [B, 3, H, W], channels last."""
        height, width = self.config.height, self.config.width
        batch = np.empty((len(frames), height, width, 3), np.float32)
        for image, (clip, number), (mirrored, table) in zip(batch, frames, looks, strict=True):
            rgb = clip.rgb[number]
            rgb = rgb[:, ::-1] if mirrored else rgb
            for channel in range(3):
                np.take(table[channel], rgb[..., channel], out=image[..., channel])
            if self.augment is not None and self.augment.noise > 0:
                start = self.random.integers(len(self.noise) - image.size)
                strength = self.random.uniform(0, self.augment.noise / 0.225)
                image += strength * self.noise[start : start + image.size].reshape(image.shape)
        return torch.from_numpy(batch).permute(0, 3, 1, 2)

    def truth(self, frames: list[tuple[Clip, int]], looks: list[tuple[bool, np.ndarray]]) -> Truth:
        """What is true of those frames."""
        data = self.config.data
        mirrored = torch.tensor([m for m, _ in looks])

        def gather(name: str) -> Tensor:
            batch = torch.from_numpy(np.stack([getattr(clip, name)[number] for clip, number in frames]))
            batch[mirrored] = batch[mirrored].flip(-1)
            return batch

        depth = gather("depth").float()
        normals = gather("normals").float().div_(127)
        normals[mirrored, 0] *= -1
        return Truth(gather("class").long(), depth.clamp(data.near, data.far).log_(), depth > data.far, normals)


def single_frames(reader: Reader, available: list[Clip], count: int) -> tuple[Tensor, Truth]:
    """A batch for a network that sees one frame at a time."""
    chosen = [available[i] for i in reader.random.integers(len(available), size=count)]
    frames = [(clip, clip.labelled[reader.random.integers(len(clip.labelled))]) for clip in chosen]
    looks = reader.looks(count)
    return reader.images(frames, looks), reader.truth(frames, looks)


@dataclass
class Pairs:
    """Items of one clip each: T keyframes, the newest first, and `frames_per_keyframe` = C later frames that rest on them."""

    keyframes: Tensor
    """[K·T, 3, H, W]."""
    frames: Tensor
    """[K·C, 3, H, W]."""
    truth: Truth
    """Of the frames."""
    age: Tensor
    """[K·C, T], in frames; −1: no such keyframe."""


def draw_age(random: np.random.Generator, ages: Ages, longest: int) -> int:
    """1 … `longest` at most."""
    top = ages.near if random.random() < ages.near_share else ages.far
    return int(random.integers(1, min(top, longest) + 1))


def _newest(random: np.random.Generator, clip: Clip, ages: Ages) -> tuple[int, list[int]]:
    """The newest keyframe, and the ages that the frames resting on it see. Where few frames have truth, the same one comes more than once."""
    if len(clip.labelled) == len(clip) > 1:
        drawn = [draw_age(random, ages, len(clip) - 1) for _ in range(ages.frames_per_keyframe)]
        return int(random.integers(len(clip) - max(drawn))), drawn
    usable = [number for number in clip.labelled if number > 0]
    if not usable:
        raise RecipeError(
            f"{clip.folder}: expected a frame with truth that is not the clip's first, found none; stage fast needs video: leave this data set to stage slow"
        )
    anchor = usable[random.integers(len(usable))]
    newest = anchor - draw_age(random, ages, anchor)
    within = [number - newest for number in clip.labelled if 0 < number - newest <= ages.far]
    return newest, [anchor - newest] + [int(random.choice(within)) for _ in range(ages.frames_per_keyframe - 1)]


def pairs(reader: Reader, available: list[Clip], count: int, ages: Ages, keyframes: int) -> Pairs:
    """A batch for a network that sees a frame and keyframes: `count` items."""
    random, keys, frames, age = reader.random, [], [], []
    for _ in range(count):
        clip = available[random.integers(len(available))]
        newest, drawn = _newest(random, clip, ages)
        numbers = [newest]
        while len(numbers) < keyframes:
            numbers.append(numbers[-1] - int(random.integers(3, 11)) if numbers[-1] >= 0 else -1)
        keys += [(clip, max(number, 0)) for number in numbers]
        frames += [(clip, newest + a) for a in drawn]
        age += [[newest + a - number if number >= 0 else -1 for number in numbers] for a in drawn]
    looks = reader.looks(count)
    of_keys = [look for look in looks for _ in range(keyframes)]
    of_frames = [look for look in looks for _ in range(ages.frames_per_keyframe)]
    return Pairs(reader.images(keys, of_keys), reader.images(frames, of_frames), reader.truth(frames, of_frames), torch.tensor(age, dtype=torch.float32))
