"""Pictures beside figures: for a few frames, what was seen, what is true, and what the slow network, MILA and copying make of it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..datasets import Clip
from ..published import image, published
from ..sequence import Networks, answers, period
from .plan import OPERATING

COLUMNS = ("picture · keyframe · errors", "truth", "slow", "MILA", "copy")
MARGIN, HEADER = 2, 14
FAR, NEAR = 80.0, 0.5
FRAMES_SHOWN = 2


def strip(bundle: Path, clip: Clip, file: Path) -> None:
    """Writes a picture of `FRAMES_SHOWN` frames: three rows each, by task."""
    networks, (interval, latency) = Networks(bundle), OPERATING[-1]
    n = period(interval, latency)
    # The youngest and the oldest keyframe that occur, in the second period.
    numbers = [number for number in (n + latency, 2 * n + latency - 1) if number < len(clip)][:FRAMES_SHOWN]
    if not numbers:
        return
    pictures = [image(clip.rgb(frame), networks.toml["input"]) for frame in range(numbers[-1] + 1)]
    maps = {mode: _shown(networks, pictures, mode, interval, latency, numbers, clip.size) for mode in ("slow", "mila", "copy")}
    rows = []
    for number in numbers:
        truth, keyframe = clip.truth(number), (number - latency) // n * n
        truths = {task["name"]: truth.by_kind()[task["kind"]] for task in _judged(networks)}
        columns = [truths, *(maps[mode][number] for mode in ("slow", "mila", "copy"))]
        first = [clip.rgb(number), clip.rgb(keyframe), _errors(networks, maps["mila"][number], truths, clip.rgb(number))]
        for task, left in zip(_judged(networks), first):
            rows.append((f"frame {number}, keyframe {keyframe}", [left, *(coloured(task, column[task["name"]]) for column in columns)]))
    _sheet(rows, clip.size).save(file, optimize=True)


def _judged(networks: Networks) -> list[dict]:
    return [task for task in networks.tasks if task["kind"] != "raw"]


def _shown(networks: Networks, pictures: list, mode: str, interval: int, latency: int, numbers: list[int], size: tuple[int, int]) -> dict:
    shown = {}
    for answer in answers(networks, pictures, mode, interval, latency):
        if answer.frame in numbers:
            larger = dict(zip(("height", "width"), size))
            shown[answer.frame] = {task["name"]: published(task | larger, answer.outputs[f"task.{task['name']}"]) for task in _judged(networks)}
    return shown


def coloured(task: dict, values: NDArray) -> NDArray:
    """uint8 [H, W, 3]: class colours, depth from near (bright) to far (dark) by its logarithm, normals as colours."""
    match task["kind"]:
        case "segmentation":
            table = np.zeros((256, 3), np.uint8)
            for number, entry in enumerate(task["classes"]):
                table[number] = tuple(bytes.fromhex(entry["color"].removeprefix("#")))
            return table[values]
        case "depth":
            far = np.nan_to_num(np.clip(values, NEAR, FAR), nan=FAR)
            near = 1 - np.log(far / NEAR) / np.log(FAR / NEAR)
            # Black, violet, orange, yellow: brightness alone tells the order.
            stops = np.array([(0, 0, 10), (90, 20, 110), (220, 90, 50), (250, 240, 160)], float)
            return np.stack([np.interp(near, np.linspace(0, 1, 4), stops[:, c]) for c in range(3)], -1).astype(np.uint8)
    return np.clip((np.asarray(values, np.float32).transpose(1, 2, 0) * [1, -1, -1] + 1) * 127.5, 0, 255).astype(np.uint8)


def _errors(networks: Networks, maps: dict, truths: dict, rgb: NDArray) -> NDArray:
    """Wrong classes in red over the grey picture."""
    grey = np.repeat(rgb.mean(2, keepdims=True), 3, 2).astype(np.uint8) // 2 + 64
    for task in networks.tasks:
        if task["kind"] == "segmentation":
            grey[maps[task["name"]] != truths[task["name"]]] = (220, 20, 30)
    return grey


def _sheet(rows: list[tuple[str, list[NDArray]]], size: tuple[int, int]) -> Image.Image:
    height, width = size
    sheet = Image.new("RGB", (len(COLUMNS) * (width + MARGIN), HEADER + len(rows) * (height + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(COLUMNS):
        draw.text((column * (width + MARGIN) + 2, 1), name, fill="black")
    for i, (words, cells) in enumerate(rows):
        for column, cell in enumerate(cells):
            sheet.paste(Image.fromarray(cell), (column * (width + MARGIN), HEADER + i * (height + MARGIN)))
        if i % 3 == 0:
            draw.text((3, HEADER + i * (height + MARGIN) + 2), words, fill="white", stroke_width=1, stroke_fill="black")
    return sheet
