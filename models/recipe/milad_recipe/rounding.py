"""After quantisation: the last 1×1 convolutions' weights rounded so that the errors cancel, not each to its nearest.

Depth is one row of weights with one scale, and small weights stand beside large ones there. What counts is the error of the sum: over the
activations that calibration saw it is d·H·d, d the weights' errors and H the activations' covariance; its mean goes into the bias. Each weight in turn
takes the best step until none helps (after Nagel et al., *Up or Down?*, ICML 2020, with the search that 32 weights allow).
"""

import numpy as np
import onnx
from onnx import numpy_helper

EVERY = 7
"""Pixels looked at: more say the same."""
ROUNDS = 50


def refine(quantised: onnx.ModelProto, model: bytes, samples: list[dict[str, np.ndarray]], outputs: tuple[str, ...]) -> None:
    """Changes weights and biases of the convolutions that give `outputs`. `model` is what was quantised."""
    found, weights = heads(onnx.load_from_string(model).graph, outputs)
    tensors = {tensor.name: tensor for tensor in quantised.graph.initializer}
    seen = activations(model, sorted({node.input[0] for node in found}), samples)
    moments = {name: (x.mean(1), np.atleast_2d(np.cov(x))) for name, x in seen.items()}
    for node in found:
        names = [f"{node.input[1]}_quantized", f"{node.input[1]}_scale", f"{node.input[2]}_quantized", f"{node.input[2]}_quantized_scale"]
        codes, scale, bias, bias_scale = (numpy_helper.to_array(tensors[name]) for name in names)
        mean, covariance = moments[node.input[0]]
        wanted, chosen, corrected = weights[node.input[1]][:, :, 0, 0], codes.astype(np.int64), bias.astype(np.int64)
        for row, step in enumerate(np.broadcast_to(scale.reshape(-1), len(codes)).astype(np.float64)):
            chosen[row, :, 0, 0] = best(chosen[row, :, 0, 0], step, wanted[row].astype(np.float64), covariance)
            error = (chosen[row, :, 0, 0] * step - wanted[row]) @ mean
            corrected[row] -= round(float(error / np.broadcast_to(bias_scale.reshape(-1), len(codes))[row]))
        tensors[names[0]].CopyFrom(numpy_helper.from_array(chosen.astype(codes.dtype), names[0]))
        tensors[names[2]].CopyFrom(numpy_helper.from_array(corrected.astype(bias.dtype), names[2]))


def best(codes: np.ndarray, step: float, wanted: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Whole numbers within ±127, near the given ones, for which `codes × step` answers most like `wanted`."""
    codes = codes.copy()
    diagonal = np.maximum(np.diag(covariance), 1e-12)
    for _ in range(ROUNDS):
        slope, moved = covariance @ (codes * step - wanted), False
        for i in range(len(codes)):
            move = int(np.clip(round(-slope[i] / (diagonal[i] * step)), -127 - codes[i], 127 - codes[i]))
            if move:
                codes[i] += move
                slope += covariance[:, i] * (move * step)
                moved = True
        if not moved:
            break
    return codes


def heads(graph: onnx.GraphProto, outputs: tuple[str, ...]) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """The 1×1 convolutions with a bias that give `outputs`, and all weights by name."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv" and node.output[0] in outputs and len(node.input) == 3]
    return [node for node in convolutions if weights[node.input[1]].shape[2:] == (1, 1)], weights


def activations(model: bytes, values: list[str], samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Each value on every seventh pixel of all samples: [channels, pixels]."""
    from .sequence import session

    probe = onnx.load_from_string(model)
    given = {value.name for value in probe.graph.output}
    probe.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in values if name not in given)
    run = session(probe.SerializeToString())
    found = {name: [] for name in values}
    for inputs in samples if values else []:
        for name, array in zip(values, run.run(values, inputs)):
            found[name].append(array[0].reshape(array.shape[1], -1)[:, ::EVERY])
    return {name: np.concatenate(parts, 1).astype(np.float64) for name, parts in found.items() if parts}
