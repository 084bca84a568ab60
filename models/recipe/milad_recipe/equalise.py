"""Before quantisation: channels of one tensor made equally large, so that they share its one scale without loss.

Where a convolution and a ReLU feed nothing but convolutions, a channel may be scaled up there and down behind: the same network in float, bit for bit,
since all factors are powers of two (cross-layer equalisation, Nagel et al., ICCV 2019). In int8 it is what keeps the depth: the few channels
that carry it are small beside those that tell classes apart.
"""

from collections import defaultdict

import numpy as np
import onnx
from onnx import numpy_helper

MOST = 1024.0
"""No channel is scaled by more; one that never answers is left at that."""
HAIR = 1 / 1024
"""Another machine measures other last digits, and must choose the same factors."""


def equalise(model: bytes, samples: list[dict[str, np.ndarray]]) -> bytes:
    """`model` as `export` wrote it; `samples` are its inputs by name, on which the channels' largest values are measured."""
    changed = onnx.load_from_string(model)
    weights = {tensor.name: tensor for tensor in changed.graph.initializer}
    pairs = _pairs(changed.graph, weights)
    for (conv, relu, readers), top in zip(pairs, _largest(model, [relu for _, relu, _ in pairs], samples)):
        if top.max() <= 0:
            continue
        up = 2.0 ** np.floor(np.log2(np.minimum(top.max() / np.maximum(top, top.max() / MOST), MOST)) + HAIR)
        for name in conv.input[1:3]:
            _scale(weights[name], up, 0)
        for reader in readers:
            _scale(weights[reader.input[1]], 1 / up, 1)
    return changed.SerializeToString(deterministic=True)


def _pairs(graph: onnx.GraphProto, weights: dict) -> list[tuple[onnx.NodeProto, str, list[onnx.NodeProto]]]:
    """(convolution, output of its ReLU, the convolutions that alone read it); no weight is used twice."""
    producers = {value: node for node in graph.node for value in node.output if value}
    readers, given = defaultdict(list), {value.name for value in graph.output}
    for node in graph.node:
        for value in node.input:
            readers[value].append(node)
    found = []
    for relu in graph.node:
        if relu.op_type != "Relu" or relu.output[0] in given:
            continue
        conv, after = producers.get(relu.input[0]), readers[relu.output[0]]
        if conv is None or len(readers[relu.input[0]]) != 1 or relu.input[0] in given or not after:
            continue
        convolutions = [conv, *after]
        own = [name for node in convolutions for name in node.input[1:3]]
        if any(node.op_type != "Conv" for node in convolutions) or any(_groups(node) != 1 for node in after):
            continue
        if all(name in weights and len(readers[name]) == 1 for name in own):
            found.append((conv, relu.output[0], after))
    return found


def _groups(conv: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in conv.attribute if attribute.name == "group"), 1)


def _largest(model: bytes, values: list[str], samples: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """Each value's largest number by channel."""
    from .sequence import session

    probe = onnx.load_from_string(model)
    probe.graph.output.extend(onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None) for value in values)
    run, found = session(probe.SerializeToString()), None
    for inputs in samples if values else []:
        now = [array.max((0, 2, 3)) for array in run.run(values, inputs)]
        found = now if found is None else [np.maximum(a, b) for a, b in zip(found, now)]
    return found or []


def _scale(tensor: onnx.TensorProto, factor: np.ndarray, axis: int) -> None:
    array = numpy_helper.to_array(tensor)
    shape = [-1 if i == axis else 1 for i in range(array.ndim)]
    tensor.CopyFrom(numpy_helper.from_array((array * factor.reshape(shape)).astype(np.float32), tensor.name))
