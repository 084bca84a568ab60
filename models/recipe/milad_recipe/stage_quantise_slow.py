"""Stage quantise-slow: the trained slow network as an ONNX file, and in int8; how much that costs on tuning clips."""

import json
from pathlib import Path

import numpy as np
import onnx
import torch

from . import checkpoint, export, quantise, stage_data, stage_slow
from .blocks import fold
from .config import Config
from .data import Clip, Reader
from .progress import Bar
from .validation import Scores, judged as frames_of


def run(config: Config, work: Path) -> None:
    """Writes slow-float.onnx, slow-int8.onnx, quantised.json and weights.json."""
    write(config, work, fold(stage_slow.trained(config, work)), stage_slow.folder(work))
    checkpoint.sign(stage_slow.folder(work), slow=stage_slow.fingerprint(config, work))


def write(config: Config, work: Path, network: torch.nn.Module, folder: Path) -> None:
    """The files of a slow network, folded."""
    bar = Bar("quantise-slow")
    network = network.to(memory_format=torch.contiguous_format)
    files = {"slow-float": export.export(network, {"image": torch.zeros(1, 3, config.height, config.width)}, "slow")}
    bar.show(0.2, "calibrating")
    train = list(stage_data.opened(config, work, config.data.train).values())
    drawn = list(samples(config, train))
    files["slow-int8"] = quantise.quantise(files["slow-float"], drawn, "slow", float_parts(files["slow-float"]), open_outputs(config))
    for name, data in files.items():
        checkpoint.write(folder / f"{name}.onnx", lambda partial, data=data: partial.write_bytes(data))
    bar.show(0.6, "judging")
    tune = list(stage_data.opened(config, work, config.data.tune).values())
    found = {name: judged(data, tune, config) for name, data in files.items()}
    checkpoint.write(folder / "quantised.json", lambda partial: partial.write_text(json.dumps(found, indent=1) + "\n"))
    bar.show(1.0, ", ".join(f"{name} {figures.get('miou')} mIoU" for name, figures in found.items()), last=True)


def float_parts(model: bytes) -> tuple[str, ...]:
    """Values: the coordinates beside the feature need more than the feature's scale."""
    return tuple(output.name for output in onnx.load_from_string(model).graph.output if output.name.startswith("value."))


def open_outputs(config: Config) -> tuple[str, ...]:
    """The predictions: nothing comes after them that would need them in 8 bits."""
    return tuple(f"task.{name}" for name in config.tasks)


def chosen(config: Config, clips: list[Clip]) -> list[tuple[Clip, int]]:
    """Frames for calibration, always the same."""
    random = np.random.Generator(np.random.PCG64(7))
    return [(clip := clips[random.integers(len(clips))], int(random.integers(len(clip)))) for _ in range(config.calibration)]


def samples(config: Config, clips: list[Clip]):
    """Training pictures, changed as in training: a camera's pictures vary more than the renderer's."""
    reader = Reader(config, [8], config.augment)
    for frame in chosen(config, clips):
        yield {"image": np.ascontiguousarray(reader.images([frame], reader.looks(1)).numpy())}


def judged(model: bytes, clips: list[Clip], config: Config) -> dict[str, float]:
    """By onnxruntime, on every sixth frame."""
    from .sequence import session

    run, reader = session(model), Reader(config, [0], None)
    tasks = [f"task.{name}" for name in config.tasks]
    scores = Scores(config.tasks)
    for clip in clips:
        for number in frames_of(clip):
            looks = reader.looks(1)
            image = np.ascontiguousarray(reader.images([(clip, number)], looks).numpy())
            outputs = dict(zip(tasks, map(torch.from_numpy, run.run(tasks, {"image": image}))))
            scores.add(outputs, reader.truth([(clip, number)], looks))
    return scores.figures()
