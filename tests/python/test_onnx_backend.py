"""The ONNX project's own test cases of QuantizeLinear, DequantizeLinear, QLinearConv, ConvInteger and Conv, through `milad infer`.

A case's input tensors come out of the picture: all its pixels are 1, and 1 times a constant is no constant to an engine. Tensors
without four sides are given them. Cases of Conv are in float32 but hold whole numbers: their QDQ form with scales of 1 means the same.
"""

import json
import re
import subprocess
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from milad_recipe import bundle
from milad_recipe.bundle import Description, Task

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.loader import load_model_tests

    NAMED = re.compile(r"test_(quantizelinear|dequantizelinear|qlinearconv|convinteger|basic_conv|conv)_?(?!transpose)")
    CASES = {case.name: case for case in load_model_tests(kind="node") if NAMED.match(case.name) and "transpose" not in case.name}

IN_INTEGERS = [
    "test_basic_conv_with_padding",
    "test_basic_conv_without_padding",
    "test_conv_with_strides_padding",
    "test_conv_with_strides_no_padding",
    "test_conv_with_strides_and_asymmetric_padding",
    "test_conv_with_autopad_same",
    "test_dequantizelinear",
    "test_quantizelinear",
]
IN_THE_ENGINE = {
    "test_qlinearconv": "its one weight is 0 with zero-point 255: the difference does not fit int8",
    "test_convinteger_without_padding": "ConvInteger gives int32, which nothing in a QDQ network reads",
    "test_convinteger_with_padding": "as above",
}
REFUSED = {
    "test_dequantizelinear_axis": "an activation with a scale a channel",
    "test_quantizelinear_axis": "an activation with a scale a channel",
}
BYTES = "only uint8 and int8 are bytes of a QDQ network"
BLOCKS = "scales of blocks are for weights of language models"
NOT_COVERED = {
    f"test_{direction}linear_{kind}": reason
    for direction in ("quantize", "dequantize")
    for reason, kinds in {
        BYTES: ("e4m3fn", "e4m3fn_float16", "e4m3fn_zero_point", "e5m2", "uint16", "int16", "uint4", "int4", "uint2", "int2", "float4e2m1"),
        BLOCKS: ("blocked", "blocked_asymmetric", "blocked_symmetric"),
    }.items()
    for kind in kinds
    if f"test_{direction}linear_{kind}" in CASES
}


def test_every_case_is_run_or_listed_with_its_reason():
    listed = [*IN_INTEGERS, *IN_THE_ENGINE, *REFUSED, *NOT_COVERED]
    assert sorted(listed) == sorted(CASES)


class Graph:
    """A network around a case."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, array) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def node(self, kind, *inputs, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"t{len(self.nodes)}"], name=f"n{len(self.nodes)}", **attributes))
        return self.nodes[-1].output[0]

    def tensor(self, array) -> str:
        """What a case is given, computed from the picture; four sides."""
        corner = [self.constant(np.array(ends, np.int64)) for ends in ([0] * 4, [1] * 4)]
        one = self.node("Slice", "image", *corner)
        numbers = self.node("Mul", one, self.constant(four(array).astype(np.float32)))
        return numbers if array.dtype == np.float32 else self.node("Cast", numbers, to=helper.np_dtype_to_tensor_dtype(array.dtype))

    def numbers(self, codes, *parameters) -> str:
        """Bytes as numbers, through a step that changes none of them: without one there would be no region."""
        same = self.node("MaxPool", self.node("DequantizeLinear", codes, *parameters), kernel_shape=[1, 1])
        return self.node("DequantizeLinear", self.node("QuantizeLinear", same, *parameters), *parameters)

    def infer(self, infer, milad, folder, output, expected):
        """The output's numbers, and what ran in float though it was quantised."""
        (last,) = (node for node in self.nodes if output in node.output)
        last.output[0] = "task.out"
        sides = list(expected.shape)
        graph = helper.make_graph(
            self.nodes,
            "case",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
            [helper.make_tensor_value_info("task.out", TensorProto.FLOAT, sides)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        task = Task("out", "raw", sides[3], sides[2], channels=sides[1])
        description = Description("case", "nothing", 0.04, 1, 8, 8, (task,), mean=(0, 0, 0), std=(1 / 255,) * 3)
        bundle.write(folder / "bundle", description, {"slow": model.SerializeToString(), "fast": model.SerializeToString()})
        (folder / "clip").mkdir()
        Image.fromarray(np.ones((8, 8, 3), np.uint8)).save(folder / "clip" / "0.png")
        out = infer(folder / "bundle", folder / "clip", folder / "out", 1, 0)
        command = [milad, "bench", "--json", "--frames", "1", "--bundle", folder / "bundle"]
        report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return np.load(out / "000000.slow.task.out.npy"), report["float_though_quantised"], report["integer"]["regions"]


def four(array):
    return array.reshape([1] * (4 - array.ndim) + list(array.shape))


def build(name: str) -> tuple[Graph, str, np.ndarray]:
    """A case's network, its output and what that must be."""
    case, graph = CASES[name], Graph()
    (node,) = case.model.graph.node
    (inputs, (expected,)), *_ = case.data_sets
    inputs = [numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value) for value in inputs]
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    match node.op_type:
        case "Conv":
            x, weights = inputs
            one = [graph.constant(np.float32(1)), graph.constant(np.uint8(0))]
            codes = graph.node("QuantizeLinear", graph.tensor(x), *one)
            scales = [graph.constant(np.float32(1)), graph.constant(np.int8(0))]
            bytes_ = graph.node("DequantizeLinear", graph.constant(weights.astype(np.int8)), *scales)
            output = graph.node("Conv", graph.node("DequantizeLinear", codes, *one), bytes_, **attributes)
        case "QuantizeLinear":
            x, *parameters = inputs
            scale, zero = (array.reshape(-1, 1, 1) for array in parameters)
            expected = (four(expected).astype(np.int32) - zero) * scale
            parameters = [graph.constant(array) for array in parameters]
            output = graph.numbers(graph.node("QuantizeLinear", graph.tensor(x), *parameters), *parameters)
        case "DequantizeLinear":
            x, *parameters = inputs
            output = graph.numbers(graph.tensor(x), *[graph.constant(array) for array in parameters])
        case "QLinearConv":
            x, x_scale, x_zero, *rest = inputs
            quantised = [graph.constant(x_scale), graph.constant(x_zero)]
            real = (x.astype(np.int32) - x_zero).astype(np.float32) * x_scale
            codes = graph.node("QuantizeLinear", graph.tensor(real), *quantised)
            rest = [graph.constant(array) for array in rest]
            output = graph.node("DequantizeLinear", graph.node("QLinearConv", codes, *quantised, *rest), *rest[3:5])
            expected = (expected.astype(np.int32) - inputs[7]).astype(np.float32) * inputs[6]
        case "ConvInteger":
            x, *rest = inputs
            sums = graph.node("ConvInteger", graph.tensor(x), *[graph.constant(array) for array in rest], **attributes)
            output = graph.node("Cast", sums, to=TensorProto.FLOAT)
    return graph, output, four(expected).astype(np.float32)


@pytest.mark.parametrize("name", IN_INTEGERS)
def test_cases_in_integers(name, milad, infer, tmp_path):
    graph, output, expected = build(name)
    found, in_float, regions = graph.infer(infer, milad, tmp_path, output, expected)
    np.testing.assert_array_equal(found, expected)
    assert in_float == [] and regions == 2, "one region in each of the two networks"


@pytest.mark.parametrize("name", IN_THE_ENGINE)
def test_cases_in_the_engine(name, milad, infer, tmp_path):
    graph, output, expected = build(name)
    found, in_float, regions = graph.infer(infer, milad, tmp_path, output, expected)
    np.testing.assert_array_equal(found, expected)
    assert regions == 0
    assert len(in_float) == (2 if name == "test_qlinearconv" else 0)


@pytest.mark.parametrize("name", REFUSED)
def test_cases_that_are_refused(name, milad, infer, tmp_path):
    graph, output, expected = build(name)
    with pytest.raises(AssertionError, match="one scale for the whole tensor"):
        graph.infer(infer, milad, tmp_path, output, expected)
