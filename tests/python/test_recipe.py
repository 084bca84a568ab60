"""The recipe's own tools: what the exporter refuses, what the quantiser leaves alone, what the counter counts, what training keeps in memory."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from conftest import BUNDLES
from milad_recipe import bundle, export, macs, tiny
from milad_recipe.bundle import Description, Task
from milad_recipe.ila.torch import inter_frame_local_attention

PLAIN = tiny.DESIGNS[0]


class _Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return {"task.a": self.function(inputs["image"])}


def test_outputs_that_are_not_float_are_refused():
    with pytest.raises(ValueError, match="task.a must be float32"):
        export.export(_Returns(lambda image: image.argmax(1)), {"image": torch.zeros(1, 3, 4, 4)}, "fast")


def test_foreign_operators_are_refused():
    node = onnx.helper.make_node("Gelu", ["image"], ["task.a"], domain="com.microsoft")
    values = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 4, 4]) for name in ("image", "task.a")]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("com.microsoft", 1)]
    with pytest.raises(ValueError, match="com.microsoft"):
        export.finish(onnx.helper.make_model(graph, opset_imports=imports), "fast")


def test_texts_that_would_break_the_toml_are_refused():
    task = Task("a", "raw", 4, 4, channels=1)
    with pytest.raises(ValueError, match="plain text"):
        bundle.to_toml(Description('a"b', "x", 0.04, 5, 4, 4, (task,)), {"slow": "", "fast": ""})


def test_the_quantiser_leaves_memory_and_attention_in_float():
    graph = onnx.load(BUNDLES / "fast-keys-qdq" / "fast.onnx").graph
    producers = {value: node for node in graph.node for value in node.output}
    attention = [node for node in graph.node if node.op_type == "InterFrameLocalAttention"]
    assert len(attention) == 3
    for node in attention:
        assert node.input[1].startswith("key.") and node.input[2].startswith("value."), "memory goes straight in"
        assert producers[node.input[0]].op_type == "DequantizeLinear"
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith("weight_quantized")}
    scales = {tensor.name: tensor for tensor in graph.initializer if tensor.name.endswith("weight_scale")}
    assert weights and all(tensor.data_type == onnx.TensorProto.INT8 for tensor in weights.values())
    assert all(list(scales[name.replace("quantized", "scale")].dims) == [tensor.dims[0]] for name, tensor in weights.items())
    activations = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {kinds[node.input[2]] for node in activations} == {onnx.TensorProto.UINT8}


def test_macs_of_a_network_counted_by_hand():
    design = PLAIN
    stem = 16 * 32 * 8 * 3 * 9 + 8 * 16 * 16 * 8 * 9
    block = 2 * 8 * 16 * 16 * 16 * 9
    heads = 8 * 16 * ((16 * 16) + (16 * 8) + 16 * (4 + 1 + 3))
    assert macs.count((BUNDLES / design.name / "slow.onnx").read_bytes()) == stem + block + heads
    attention = 8 * 16 * 49 * (8 + 16)
    model = onnx.load(BUNDLES / design.name / "fast.onnx")
    with_window = macs.count(model.SerializeToString())
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "radius":
                attribute.i = 0
    assert with_window - macs.count(model.SerializeToString()) == attention * 48 // 49


def test_pytorch_and_the_exported_file_agree():
    from oracle import session

    for design in tiny.DESIGNS:
        _, fast = tiny.networks(design)
        torch.manual_seed(1)
        inputs = {name: torch.randn_like(example) for name, example in tiny.fast_inputs(design).items()}
        with torch.no_grad():
            expected = fast(inputs)
        run = session(BUNDLES / design.name / "fast.onnx")
        found = run.run(list(expected), {name: tensor.numpy() for name, tensor in inputs.items()})
        for name, array in zip(expected, found):
            np.testing.assert_allclose(array, expected[name].numpy(), atol=1e-5 * max(1.0, np.ptp(array)), err_msg=name)


def test_training_keeps_the_attention_not_the_windows():
    """What autograd saves, storages counted once: (2r+1)²·H·W a few times, never (2r+1)²·H·W·C."""
    channels, height, width, radius = 32, 24, 40, 3
    q, k, v = (torch.randn(1, channels, height, width, requires_grad=True) for _ in range(3))
    storages = {}

    def note(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y, *_ = inter_frame_local_attention(q, k, v, radius=radius)
    window = (2 * radius + 1) ** 2 * height * width * 4
    assert sum(storages.values()) < 8 * window + 8 * q.numel() * 4
    y.sum().backward()
