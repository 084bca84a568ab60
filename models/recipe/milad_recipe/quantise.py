"""From a float network to its QDQ form: uint8 activations, int8 weights per channel, by onnxruntime's static quantiser.

The attention stays float: it is no operator that the quantiser knows, so neither its inputs nor its outputs get a scale of their own.
So do the parts that `float_parts` names, and what comes before those that `float_inputs` names: few and cheap, and a code of a sum for the whole
picture changes every place of it.
"""

import logging
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import save_and_reload_model_with_shape_infer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from . import export, rounding
from .ila import OP_TYPE


MOST = 0.9999
"""Share of an activation's numbers that its range must hold. In a network for rooms the largest of a million is ten times as large as the rest: with
all of them in range int8 costs 2.0 mIoU, with so many .1."""
USUAL = 0.999
"""The same for what the last convolutions read."""
LOOKED_AT = 48
"""Samples whose activations are kept to find those shares."""


class _Samples(CalibrationDataReader):
    def __init__(self, samples: Iterable[dict[str, np.ndarray]]):
        self._samples = iter(samples)

    def get_next(self):
        return next(self._samples, None)


def quantise(
    model: bytes,
    samples: Iterable[dict[str, np.ndarray]],
    name: str,
    float_parts: tuple[str, ...] = (),
    open_outputs: tuple[str, ...] = (),
    float_inputs: tuple[str, ...] = (),
) -> bytes:
    """`model` as `export` wrote it; `samples` are its inputs by name, as many as calibration shall see.

    `float_parts`: names of outputs or weights. The node that gives or uses each stays float, with all before it, back to an attention node or to
    a network's convolution.

    `float_inputs`: names of weights. What the node that uses each reads is quantised once, there; all before it stays float, as above.

    `open_outputs`: those that stay as the last convolution's accumulators say, without a scale of 256 steps."""
    samples = list(samples)
    kinds = sorted({*QLinearOpsRegistry, *QDQRegistry})
    inferred = save_and_reload_model_with_shape_infer(onnx.load_from_string(model))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        source.write_bytes(model)
        calibrator = create_calibrator(
            source, kinds, str(Path(folder) / "augmented.onnx"), calibrate_method=CalibrationMethod.MinMax
        )
        calibrator.collect_data(_Samples(samples))
        measured = calibrator.compute_data()
    ranges = {tensor: _rounded(*data.range_value) for tensor, data in measured.items()}
    ranges |= _usual(model, inferred.graph, samples[:LOOKED_AT], open_outputs)
    quantiser = QDQQuantizer(
        inferred,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=_kept_float(inferred.graph, float_parts, float_inputs),
        op_types_to_quantize=kinds,
        extra_options={},
    )
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        quantiser.quantize_model()
    finally:
        logging.getLogger().setLevel(level)
    _open(quantiser.model.model.graph, open_outputs)
    rounding.refine(quantiser.model.model, model, samples, open_outputs)
    return export.finish(quantiser.model.model, name)


def _usual(model: bytes, inferred: onnx.GraphProto, samples: list[dict[str, np.ndarray]], outputs: tuple[str, ...]) -> dict[str, TensorData]:
    """Ranges of activations, a few large numbers left out, which would set the step of all others. Of what the 1×1 convolutions read that give `outputs`
    more are left out: large numbers there (most of them in the sky) make the step more than twice what it can be, and depth is a small difference of
    such numbers."""
    maps = {value.name for value in inferred.value_info if len(value.type.tensor_type.shape.dim) == 4}
    nodes = [node for node in inferred.node if node.op_type in ("Conv", "Relu", "Add", "Concat")]
    shares = {value: MOST for node in nodes for value in (*node.input, *node.output) if value in maps}
    shares |= {node.input[0]: USUAL for node in rounding.heads(onnx.load_from_string(model).graph, outputs)[0]}
    seen = rounding.activations(model, sorted(shares), samples)
    within = {value: (np.quantile(x, 1 - shares[value]), np.quantile(x, shares[value])) for value, x in seen.items() if x.max() > 0}
    return {value: _rounded(low if seen[value].min() < 0 else 0.0, high) for value, (low, high) in within.items()}


def _open(graph: onnx.GraphProto, outputs: tuple[str, ...]) -> None:
    """Cuts QuantizeLinear and DequantizeLinear off before `outputs`."""
    producers = {value: node for node in graph.node for value in node.output}
    for output in outputs:
        back = producers.get(output)
        forth = producers.get(back.input[0]) if back is not None and back.op_type == "DequantizeLinear" else None
        if forth is None or forth.op_type != "QuantizeLinear":
            continue
        source = producers[forth.input[0]]
        source.output[list(source.output).index(forth.input[0])] = output
        graph.node.remove(back)
        graph.node.remove(forth)


def _kept_float(graph: onnx.GraphProto, parts: tuple[str, ...], inputs: tuple[str, ...]) -> list[str]:
    """Names of the nodes that `float_parts` and `float_inputs` mean."""
    producers = {value: node for node in graph.node for value in node.output}

    def before(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        makers = [producers[value] for value in node.input if value in producers]
        return [maker for maker in makers if maker.op_type not in (OP_TYPE, "Conv", "Relu")]

    waiting = [node for node in graph.node if set(parts) & {*node.input, *node.output}]
    waiting += [maker for node in graph.node if set(inputs) & set(node.input) for maker in before(node)]
    kept: list[str] = []
    while waiting:
        node = waiting.pop()
        if node.name not in kept:
            kept.append(node.name)
            waiting += before(node)
    return kept


def _rounded(low, high) -> TensorData:
    """A range, widened to the next 1/64 of its size: another machine measures other last digits, and must write the same file.

    A hair beyond a mark still counts as on it, since natural bounds (6 of ReLU6, −0.375 of hard-swish) are marks.
    """
    low, high = min(float(np.min(low)), 0.0), max(float(np.max(high)), 0.0)
    size = max(-low, high)
    if size == 0:
        return TensorData(lowest=np.float32(0), highest=np.float32(0))
    step, hair = 2.0 ** (math.ceil(math.log2(size)) - 6), 1 / 1024
    lowest, highest = math.floor(low / step + hair) * step, math.ceil(high / step - hair) * step
    return TensorData(lowest=np.float32(lowest), highest=np.float32(highest))
