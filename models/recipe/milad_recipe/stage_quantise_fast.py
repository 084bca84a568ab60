"""Stage quantise-fast: the trained fast network as an ONNX file, and in int8. Attention, and what is made of its offsets and of ages, stay float.

Where the slow network gives the keys, or values of each task's own, its files are written anew with what the fast stage learned for them.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import checkpoint, export, quantise, stage_data, stage_fast, stage_quantise_slow, stage_slow
from .blocks import fold
from .config import Config
from .data import Clip, Reader
from .fast import FastNetwork
from .progress import Bar


class SlowWithMemory(nn.Module):
    """The slow network with what the fast stage learned behind it: key projections, gates that make values a task's own."""

    def __init__(self, slow: nn.Module, fast: FastNetwork):
        super().__init__()
        self.slow, self.fast = slow, fast

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = self.slow(inputs)
        return outputs | self.fast.remember(None, outputs.pop("value.shared"))


def own_slow(config: Config) -> bool:
    """Whether the fast stage learned something that runs in the slow network."""
    sizes = config.fast.sizes
    return sizes.propagation != "none" and (sizes.attention == "task" or sizes.keys == "slow")


def float_parts(network: FastNetwork) -> tuple[str, ...]:
    """Moments of where things moved, and ages: a few numbers for a whole picture."""
    return _fusion(network, "moments", "age")


def float_inputs(network: FastNetwork) -> tuple[str, ...]:
    """Where things moved: the convolution of the offsets reads them in 8 bits, the moments as they are."""
    return _fusion(network, "motion")


def _fusion(network: FastNetwork, *parts: str) -> tuple[str, ...]:
    """Names of weights."""
    ways = [f"ways.{name}." if way is not network else "" for name, way in network.by_name()]
    return tuple(f"{way}fusion.{part}.weight" for way in ways for part in parts)


def run(config: Config, work: Path) -> None:
    """Writes fast-float.onnx, fast-int8.onnx and weights.json, and the slow network's files where they gain a key."""
    bar = Bar("quantise-fast")
    network = fold(stage_fast.trained(config, work))
    folder = stage_fast.folder(work)
    if not own_slow(config):
        checkpoint.signed(stage_slow.folder(work), "quantise-slow", slow=stage_slow.fingerprint(config, work))
    else:
        stage_quantise_slow.write(config, work, SlowWithMemory(fold(stage_slow.trained(config, work)), network), folder)
    image = {"image": torch.zeros(1, 3, config.height, config.width)}
    files = {"fast-float": export.export(network, image | network.memory_inputs(), "fast")}
    bar.show(0.3, "calibrating")
    clips = list(stage_data.opened(config, work, config.data.train).values())
    drawn, outputs = list(samples(config, work, network, clips)), stage_quantise_slow.open_outputs(config)
    files["fast-int8"] = quantise.quantise(files["fast-float"], drawn, "fast", float_parts(network), outputs, float_inputs(network))
    for name, data in files.items():
        checkpoint.write(folder / f"{name}.onnx", lambda partial, data=data: partial.write_bytes(data))
    checkpoint.sign(folder, slow=stage_slow.fingerprint(config, work), fast=stage_fast.fingerprint(config, work))
    bar.show(1.0, ", ".join(f"{name} {len(data) / 1e6:.2f} MB" for name, data in files.items()), last=True)


def slow_file(config: Config, work: Path, kind: str) -> Path:
    """The slow network's file that goes with the fast one; `kind` is `float` or `int8`."""
    own = stage_fast.folder(work) / f"slow-{kind}.onnx"
    return own if own_slow(config) and own.is_file() else stage_slow.folder(work) / f"slow-{kind}.onnx"


@torch.no_grad()
def samples(config: Config, work: Path, network: FastNetwork, clips: list[Clip]):
    """Inputs of the fast network: frames with a keyframe's memory, as old as in training, an eighth of them without."""
    from .sequence import session

    slow = session(slow_file(config, work, "int8"))
    reader, random = Reader(config, [9], config.augment), np.random.Generator(np.random.PCG64(10))
    empty = {name: torch.zeros_like(example).numpy() for name, example in network.memory_inputs().items()}
    for count in range(config.calibration):
        clip = clips[random.integers(len(clips))]
        age = int(random.integers(1, min(config.fast.ages.far, len(clip) - 1) + 1))
        key = int(random.integers(len(clip) - age))
        looks = reader.looks(1)
        now, then = (np.ascontiguousarray(reader.images([(clip, number)], looks).numpy()) for number in (key + age, key))
        memory = dict(empty)
        if "age" in memory:
            memory["age"] = np.full_like(memory["age"], -1)
        if count % 8 and empty:
            left = _left(network, slow, then)
            for name, found in left.items():
                memory[name] = memory[name].copy()
                memory[name][0] = found
            memory["valid"] = np.eye(1, len(memory["valid"]), dtype=np.float32)[0]
            if "age" in memory:
                memory["age"][0] = age
        yield {"image": now} | memory


def _left(network: FastNetwork, slow, image: np.ndarray) -> dict[str, np.ndarray]:
    """What a keyframe leaves behind, by name."""
    names = [output.name for output in slow.get_outputs() if not output.name.startswith("task.")]
    found = dict(zip(names, (array[0] for array in slow.run(names, {"image": image}))))
    if network.sizes.keys == "fast":
        found |= {name: key[0].numpy() for name, key in network.keys(network.look(torch.from_numpy(image))[0]).items()}
    return found
