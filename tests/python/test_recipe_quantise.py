"""How the recipe's networks become 8-bit: usual ranges, open predictions, rounding that cancels. Judged by onnxruntime and numpy."""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from milad_recipe import blocks, export, quantise
from milad_recipe.rounding import best

OUTPUTS = ("task.depth", "task.segmentation")


class _Small(nn.Module):
    """A trunk and heads, as the shipped networks end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Conv2d(3, 16, 3, padding=1)
        self.depth, self.segmentation = nn.Conv2d(16, 1, 1), nn.Conv2d(16, 5, 1)

    def forward(self, inputs):
        h = torch.relu(self.trunk(inputs["image"]))
        return {"task.depth": self.depth(h), "task.segmentation": self.segmentation(h)}


def _network():
    random = np.random.default_rng(4)
    samples = [{"image": random.standard_normal((1, 3, 16, 24), np.float32)} for _ in range(16)]
    return export.export(_Small(), {"image": torch.zeros(1, 3, 16, 24)}, "slow"), samples


def _answers(model, samples):
    from oracle import session

    run = session(model)
    return [np.concatenate([run.run([name], inputs)[0].ravel() for inputs in samples]) for name in OUTPUTS]


def test_ranges_hold_nearly_all_numbers_and_those_before_the_predictions_the_usual_ones():
    """Not the largest, which are rare, and would widen everybody's step."""
    from oracle import session

    model, samples = _network()
    probe = onnx.load_from_string(model)
    relu = next(node.output[0] for node in probe.graph.node if node.op_type == "Relu")
    probe.graph.output.append(onnx.helper.make_tensor_value_info(relu, onnx.TensorProto.FLOAT, None))
    run = session(probe.SerializeToString())
    seen = np.concatenate([run.run([relu], inputs)[0].ravel() for inputs in samples])
    for outputs in ((), OUTPUTS):
        graph = onnx.load_from_string(quantise.quantise(model, samples, "slow", (), outputs)).graph
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        producers = {value: node for node in graph.node for value in node.output}
        head = [node for node in graph.node if node.op_type == "Conv"][-1]
        scale = tensors[producers[head.input[0]].input[1]]
        if outputs:
            assert np.quantile(seen, 0.997) < scale * 255 < np.quantile(seen, 0.9999)
        else:
            assert np.quantile(seen, 0.9997) < scale * 255 < seen.max()


def test_pictures_keep_their_whole_range():
    model, samples = _network()
    samples[5]["image"][0, 1, 3, 4] = 40.0
    graph = onnx.load_from_string(quantise.quantise(model, samples, "slow")).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "image")
    assert tensors[first.input[1]] * (255 - int(tensors[first.input[2]])) >= 40.0


def test_open_predictions_keep_what_8_bits_would_lose():
    model, samples = _network()
    for name, right, after in zip(OUTPUTS, _answers(model, samples), _answers(quantise.quantise(model, samples, "slow", (), OUTPUTS), samples)):
        spread = right.std()
        assert np.abs(after - right).mean() < 0.02 * spread, name
        assert abs((after - right).mean()) < 0.002 * spread, f"{name}: no bias is left"


def test_open_predictions_come_from_an_integer_convolution():
    model, samples = _network()
    graph = onnx.load_from_string(quantise.quantise(model, samples, "slow", (), OUTPUTS)).graph
    producers = {value: node for node in graph.node for value in node.output}
    kinds = {tensor.name: numpy_helper.to_array(tensor).dtype for tensor in graph.initializer}
    for output in OUTPUTS:
        conv = producers[output]
        assert conv.op_type == "Conv"
        data, weights, bias = (producers[value] for value in conv.input)
        assert producers[data.input[0]].op_type == "QuantizeLinear"
        assert kinds[weights.input[0]] == np.int8 and kinds[bias.input[0]] == np.int32


def test_rounding_cancels_errors_better_than_to_the_nearest():
    random = np.random.default_rng(5)
    mixing = random.standard_normal((24, 24)) * 10 ** random.uniform(-1, 0, 24)
    covariance = mixing @ mixing.T
    for _ in range(20):
        wanted = random.standard_normal(24) * 10 ** random.uniform(-2, 0, 24)
        step = np.abs(wanted).max() / 127
        nearest = np.clip(np.round(wanted / step), -127, 127).astype(np.int64)
        chosen = best(nearest, step, wanted, covariance)
        assert np.abs(chosen).max() <= 127

        def error(codes):
            return (codes * step - wanted) @ covariance @ (codes * step - wanted)

        assert error(chosen) <= error(nearest)
        # No single step of one weight makes it better.
        for i in range(24):
            for move in (-1, 1):
                other = chosen.copy()
                other[i] = np.clip(other[i] + move, -127, 127)
                assert error(other) >= error(chosen) - 1e-9


def test_while_they_learn_the_heads_meet_256_steps():
    torch.manual_seed(6)
    x = (torch.randn(2, 8, 9, 11) * torch.logspace(-2, 1, 8)[:, None, None]).requires_grad_()
    y = blocks.stepped(x)
    step = float((x.max() - x.min()).detach()) / 255 * blocks.WIDER
    assert len(torch.unique(torch.round(y / step))) <= 257
    np.testing.assert_allclose((y / step).detach().numpy(), np.round(x.detach().numpy() / step), atol=1e-3)
    y.sum().backward()
    assert bool((x.grad == 1).all()), "gradients pass"
    weight = torch.randn(4, 8, 1, 1) * torch.tensor([1e-3, 1, 10, 0])[:, None, None, None]
    rows = blocks.stepped_rows(weight)
    largest = weight.abs().amax((1, 2, 3))
    np.testing.assert_allclose(rows.abs().amax((1, 2, 3)), largest, rtol=1e-5, err_msg="each output has its own scale")
    assert bool(((rows - weight).abs().amax((1, 2, 3)) <= largest / 254 + 1e-9).all())


def test_heads_that_answer_are_exact():
    torch.manual_seed(7)
    heads = blocks.Heads(8, 6, 5, {"depth": 1})
    feature, fine = torch.randn(2, 8, 4, 6), torch.randn(2, 6, 8, 12)
    heads.eval()
    exact = heads(feature, fine)["task.depth"]
    by_hand = heads.task["depth"](heads.trunk(torch.relu(blocks.double(heads.feature(feature)) + fine)))
    assert torch.equal(exact, by_hand)
    heads.trunk[1].eval()
    heads.training = True
    stepped = heads(feature, fine)["task.depth"]
    assert 0 < float((stepped - exact).detach().abs().max()) < 0.1 * float(exact.detach().std())
