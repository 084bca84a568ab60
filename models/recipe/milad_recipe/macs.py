"""Multiply-accumulates of an ONNX network: Conv, MatMul, Gemm, and the attention at H·W·T·(2r+1)²·(Cq+Cv). Nothing else counts."""

import math

import onnx
from onnx import helper

from .ila import OP_TYPE


def count(model: bytes) -> int:
    """Of one run. Shapes must be static, as `export` makes them."""
    return sum(split(model, frozenset()))


def split(model: bytes, memory: frozenset[str]) -> tuple[int, int]:
    """(on every frame, once with each keyframe): what depends on no other inputs than those in `memory` need not run again."""
    graph = _inferred(onnx.load_from_string(model)).graph
    shapes = _shapes(graph)
    kept, every, once = set(memory), 0, 0
    constants = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:
        cost = _of_node(node, shapes)
        if set(node.input) <= kept | constants and memory:
            kept |= set(node.output)
            once += cost
        else:
            every += cost
    return every, once


def _shapes(graph) -> dict[str, list[int]]:
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return shapes


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """With all shapes. Those of the attention do not follow from its function body: they are q's and v's."""
    known = _shapes(onnx.shape_inference.infer_shapes(model, strict_mode=True).graph)
    for node in model.graph.node:
        if node.op_type == OP_TYPE:
            (_, _, height, width), (_, value_channels, *_) = known[node.input[0]], known[node.input[2]]
            given = {value.name for value in model.graph.output}
            if node.output[0] not in given:
                shape = [1, value_channels, height, width]
                model.graph.value_info.append(helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, shape))
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _of_node(node, shapes) -> int:
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    match node.op_type:
        case "Conv":
            return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        case "MatMul":
            return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        case "Gemm":
            inner = shapes[node.input[0]][0 if attributes.get("transA") else 1]
            return math.prod(shapes[node.output[0]]) * inner
        case kind if kind == OP_TYPE:
            (_, query_channels, height, width), (keyframes, value_channels, *_) = shapes[node.input[0]], shapes[node.input[2]]
            window = (2 * attributes["radius"] + 1) ** 2
            return height * width * keyframes * window * (query_channels + value_channels)
    return 0
