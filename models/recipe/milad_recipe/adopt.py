"""`adopt`: the networks of a finished bundle, put where the stages slow and fast would have left them. So a shipped network can be trained on, moved
to other data, or given another fast network, though nobody kept its checkpoints. Of a plain network there is one file, which is a slow network's.

What 8 bits took from the weights is not given back. Batch normalisation was folded into the convolutions; it is put in again as what changes
nothing: its statistics are those of some training pictures, its scale and shift undo them (`settle`).
"""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from . import checkpoint, export, stage_data, stage_fast, stage_slow
from .blocks import ConvBn, fold
from .config import Config, RecipeError
from .data import Reader, pairs, single_frames
from .progress import Log

PICTURES = 64
"""That batch normalisation's statistics are of."""


def adopt(config: Config, bundle: Path, work: Path, samples: tuple[int, int] = (0, 0)) -> None:
    """Writes the stages' checkpoints and the slow network's files: the given one, and one in float of the same weights. The fast network's
    checkpoint is one to start from (`fast.training.start`). `bundle` may also be the file of a slow network: then there is no fast one."""
    alone = bundle.suffix == ".onnx"
    slow_file = bundle if alone else bundle / "slow.onnx"
    for stage in (stage_slow, stage_fast):
        if (stage.folder(work) / "checkpoint.pt").exists():
            raise RecipeError(f"{stage.folder(work)}: expected no training there yet, found a checkpoint; choose another --work")
    clips = list(stage_data.opened(config, work, config.data.train).values())
    reader = Reader(config, [11], config.augment)

    slow = filled(stage_slow.network(config), slow_file)
    images, _ = single_frames(reader, clips, PICTURES)
    settle(*slow, lambda: slow[0].heads(*slow[0].features(images)))
    teacher = stage_fast.Teacher(fold(copy.deepcopy(slow[0]).eval()), None, torch.device("cpu"))
    if not alone:
        fast = filled(stage_fast.network(config), bundle / "fast.onnx")
        batch = pairs(reader, clips, PICTURES // config.fast.ages.frames_per_keyframe, config.fast.ages, config.fast.sizes.keyframes)
        nothing = torch.zeros(len(batch.age), dtype=torch.bool)
        settle(*fast, lambda: stage_fast.forward(config, fast[0], teacher, batch, nothing, None, 0.0, torch.device("cpu")))

    given = slow_file.read_bytes()
    made = export.export(teacher.slow.to(memory_format=torch.contiguous_format), {"image": torch.zeros(1, 3, config.height, config.width)}, "slow")
    for kind, file in (("float", made), ("int8", given if b"DequantizeLinear" in given else None)):
        path = stage_slow.folder(work) / f"slow-{kind}.onnx"
        if file is None:
            path.unlink(missing_ok=True)
        else:
            checkpoint.write(path, lambda partial, file=file: partial.write_bytes(file))
    # The slow network's last: with it, stage slow counts as done.
    of = checkpoint.fingerprint({"average": slow[0].state_dict()})
    checkpoint.sign(stage_slow.folder(work), slow=of)
    if not alone:
        _save(work, config, "fast", stage_fast, fast[0], samples[1], slow=of)
    _save(work, config, "slow", stage_slow, slow[0], samples[0])


def _save(work: Path, config: Config, name: str, stage, network: nn.Module, samples: int, **facts: str) -> None:
    training = getattr(config, name).training
    step = -(-training.samples // training.batch)  # all of the schedule lies behind
    state = {"stage": name, "step": step, "samples": samples, "before": samples - step * training.batch, "elapsed": 0.0, "done": True, "adopted": True, **facts}
    state |= {"network": network.state_dict(), "average": network.state_dict()}  # no optimizer: who trains on starts with a fresh one
    checkpoint.save(stage.folder(work) / "checkpoint.pt", config.digest(*stage.PARTS), state)
    Log(stage.folder(work) / "log.jsonl").write(adopted=True, samples=samples)


def filled(network: nn.Module, file: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """`network` with the file's weights, and by name of each batch normalisation the bias that was folded out of it."""
    found = weights(file)
    shifts, missing = {}, []

    def take(name: str, tensor: Tensor) -> Tensor | None:
        value = found.get(name)
        if value is None or value.size != tensor.numel():
            missing.append(f"{name} {list(tensor.shape)}")
            return None
        return torch.from_numpy(value.reshape(tuple(tensor.shape)).astype(np.float32))

    normalised = {f"{name}.{i}" for name, module in network.named_modules() if isinstance(module, ConvBn) and isinstance(module[1], nn.BatchNorm2d) for i in (0, 1)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            place, _, kind = name.rpartition(".")
            if place in normalised and place.endswith(".1"):
                if kind == "bias":
                    shifts[place] = take(f"{place[:-1]}0.bias", parameter)
            elif (value := take(name, parameter)) is not None:
                parameter.copy_(value)
    if missing:
        raise RecipeError(f"{file}: expected the weights of this configuration's network, found none of that name and size for {', '.join(missing[:3])}; give the configuration that it was trained by")
    return network, shifts


def weights(file: Path) -> dict[str, np.ndarray]:
    """By parameter's name, as float32. A convolution's are named after its weight: equal biases share one tensor in the file."""
    try:
        graph = onnx.load(file).graph
    except Exception as error:  # onnx raises whatever the file's bytes lead it to
        raise RecipeError(f"{file}: expected an ONNX file of a bundle, found something else ({type(error).__name__}); give a bundle's folder") from None
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    sources = {name: (name, array) for name, array in tensors.items()}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            codes, scale = tensors[node.input[0]], tensors[node.input[1]]
            wide = scale.reshape(-1, *[1] * (codes.ndim - 1)) if codes.ndim else scale
            sources[node.output[0]] = (node.input[0].removesuffix("_quantized"), (codes.astype(np.float64) * wide).astype(np.float32))
    found = {name: array for name, array in sources.values() if array.dtype == np.float32}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in sources:
            name, weight = sources[node.input[1]]
            without = np.zeros(len(weight), np.float32)  # the exporter leaves a bias of zeros out
            found[f"{name.removesuffix('.weight')}.bias"] = sources[node.input[2]][1] if len(node.input) > 2 else without
    return found


def settle(network: nn.Module, shifts: dict[str, Tensor], forward: Callable[[], object]) -> None:
    """Sets each batch normalisation that `shifts` names, as `forward` comes by, so that it adds its shift and nothing else."""
    waiting = {name: network.get_submodule(name) for name in shifts}

    def hook(name: str):
        def before(module: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
            if waiting.pop(name, None) is None:
                return
            variance, mean = torch.var_mean(inputs[0].float(), (0, 2, 3))
            module.running_mean.copy_(mean)
            module.running_var.copy_(variance)
            module.weight.copy_((variance + module.eps).sqrt())
            module.bias.copy_(mean + shifts[name])

        return before

    hooks = [module.register_forward_pre_hook(hook(name)) for name, module in waiting.items()]
    was = network.training
    network.train()
    with torch.no_grad():
        forward()
    network.train(was)
    for held in hooks:
        held.remove()
    if waiting:
        raise RecipeError(f"expected every batch normalisation to be used, found {', '.join(waiting)} idle; the configuration is not this network's")
