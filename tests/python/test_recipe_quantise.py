"""How the recipe's networks become 8-bit: equal channels, open predictions, rounding that cancels. Judged by onnxruntime and numpy."""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from milad_recipe import blocks, export, quantise
from milad_recipe.equalise import equalise
from milad_recipe.rounding import best

OUTPUTS = ("task.depth", "task.segmentation")


class _Unequal(nn.Module):
    """A trunk whose channels differ in size a thousandfold, and heads that need the small ones as much as the large."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Conv2d(3, 16, 3, padding=1)
        self.depth, self.segmentation = nn.Conv2d(16, 1, 1), nn.Conv2d(16, 5, 1)
        size = 10 ** torch.linspace(-2, 1, 16)
        with torch.no_grad():
            self.trunk.weight *= size[:, None, None, None]
            self.trunk.bias *= size
            for head in (self.depth, self.segmentation):
                head.weight /= size[None, :, None, None]

    def forward(self, inputs):
        h = torch.relu(self.trunk(inputs["image"]))
        return {"task.depth": self.depth(h), "task.segmentation": self.segmentation(h)}


def _network():
    random = np.random.default_rng(4)
    samples = [{"image": random.standard_normal((1, 3, 16, 24), np.float32)} for _ in range(8)]
    return export.export(_Unequal(), {"image": torch.zeros(1, 3, 16, 24)}, "slow"), samples


def _answers(model, samples):
    from oracle import session

    run = session(model)
    return [np.concatenate([run.run([name], inputs)[0].ravel() for inputs in samples]) for name in OUTPUTS]


def _trunk(model, samples):
    """The largest activation of each channel behind the ReLU."""
    from oracle import session

    probe = onnx.load_from_string(model)
    relu = next(node.output[0] for node in probe.graph.node if node.op_type == "Relu")
    probe.graph.output.append(onnx.helper.make_tensor_value_info(relu, onnx.TensorProto.FLOAT, None))
    run = session(probe.SerializeToString())
    return np.max([run.run([relu], inputs)[0].max((0, 2, 3)) for inputs in samples], 0)


def test_equal_channels_change_no_bit_of_the_float_network():
    model, samples = _network()
    equal = equalise(model, samples)
    for before, after in zip(_answers(model, samples), _answers(equal, samples)):
        np.testing.assert_array_equal(before, after)
    before, after = _trunk(model, samples), _trunk(equal, samples)
    assert before.max() / before.min() > 100
    assert after.max() / after.min() < 2.01 and after.max() == before.max(), "within a factor of two of the largest, which stays"


def test_values_that_others_read_too_are_not_scaled():
    class Residual(_Unequal):
        def forward(self, inputs):
            h = torch.relu(self.trunk(inputs["image"]))
            return {"task.depth": self.depth(h), "task.segmentation": self.segmentation(h + 1)}

    _, samples = _network()
    model = export.export(Residual(), {"image": torch.zeros(1, 3, 16, 24)}, "slow")
    np.testing.assert_array_equal(_trunk(equalise(model, samples), samples), _trunk(model, samples))


def test_equal_channels_and_open_predictions_keep_what_8_bits_would_lose():
    model, samples = _network()
    wanted = _answers(model, samples)
    plain = _answers(quantise.quantise(model, samples, "slow"), samples)
    ours = _answers(quantise.quantise(equalise(model, samples), samples, "slow", (), OUTPUTS), samples)
    for name, right, before, after in zip(OUTPUTS, wanted, plain, ours):
        spread = right.std()
        assert np.abs(after - right).mean() < 0.02 * spread, name
        assert np.abs(after - right).mean() < 0.3 * np.abs(before - right).mean(), name
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
