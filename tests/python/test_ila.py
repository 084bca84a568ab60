"""Inter-frame local attention: the numpy reference against PyTorch, the ONNX function body in onnxruntime, and the program's kernel."""

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import one_node
from milad_recipe.ila.reference import inter_frame_local_attention as reference
from milad_recipe.ila.torch import InterFrameLocalAttention
from milad_recipe.ila.torch import inter_frame_local_attention as in_torch
from oracle import Oracle, session

# (H, W, heads, T, radius, channels of a head in q and k, in v), bias, null, valid, scale
CASES = [
    ((1, 1, 1, 1, 1, 1, 1), False, False, None, None),
    ((1, 9, 1, 1, 0, 3, 2), False, True, None, None),
    ((2, 3, 1, 1, 6, 4, 5), True, False, None, None),
    ((5, 7, 1, 1, 2, 4, 4), False, False, None, 0.3),
    ((5, 7, 3, 2, 2, 2, 3), False, False, None, None),
    ((5, 17, 3, 2, 3, 5, 1), True, True, [1, 1], None),
    ((7, 16, 2, 3, 1, 4, 7), True, True, [1, 0, 1], None),
    ((6, 33, 1, 2, 4, 8, 9), False, True, [0, 1], 1.0),
    ((9, 5, 2, 2, 5, 3, 3), True, False, [1, 0], None),
    ((4, 6, 2, 2, 1, 3, 3), False, True, [0, 0], None),
    ((4, 6, 2, 2, 1, 3, 3), True, False, [0, 0], None),
]
cases = pytest.mark.parametrize("shape, bias, null, valid, scale", CASES)


def _inputs(shape, bias, null, valid):
    return one_node.random_inputs(shape, np.random.default_rng(list(shape)), bias=bias, null=null, valid=valid)


@pytest.mark.parametrize("null", [False, True])
def test_the_reference_on_a_case_done_by_hand(null):
    # One row of two positions, radius 1, T = 2; logits: 0 with itself, ln 3 with the other; the second keyframe does not exist.
    q = np.ones((1, 1, 1, 2))
    k = np.array([[[[0.0, np.log(3.0)]]], [[[50.0, 50.0]]]])
    v = np.array([[[[4.0, 8.0]]], [[[1e9, 1e9]]]])
    y, confidence, border = reference(q, k, v, null=[np.log(4.0)] if null else None, valid=[1, 0], radius=1, scale=1.0)
    total = 8.0 if null else 4.0  # weights 1 and 3, and 4 for nothing
    np.testing.assert_allclose(y[0, 0, 0], [28 / total, 28 / total])
    np.testing.assert_allclose(confidence[0, 0, 0], [4 / total, 4 / total])
    np.testing.assert_allclose(border[0, 0, 0], [3 / total, 1 / total])  # the other lies on the rim; dy is 0 throughout


@cases
def test_pytorch_is_the_reference(shape, bias, null, valid, scale):
    inputs = _inputs(shape, bias, null, valid)
    options = {"radius": shape[4], "heads": shape[2], "scale": scale}
    expected = reference(**inputs, **options)
    found = in_torch(**{name: torch.from_numpy(array).double() for name, array in inputs.items()}, **options)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.numpy(), b, atol=1e-12)


@cases
def test_the_function_body_is_the_reference(shape, bias, null, valid, scale):
    inputs = _inputs(shape, bias, null, valid)
    expected = reference(**inputs, radius=shape[4], heads=shape[2], scale=scale)
    for count in (1, 2, 3):
        names = list(one_node.OUTPUTS[:count])
        # heads = 1 is the default: left out, it must mean the same
        node = one_node.node({n: n for n in inputs}, names, radius=shape[4], heads=shape[2] if shape[2] > 1 else None, scale=scale)
        model = one_node.model([node], {n: a.shape for n, a in inputs.items()}, {n: [1, None, None, None] for n in names}, {})
        found = session(model).run(None, inputs)
        for a, b in zip(found, expected):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_a_batch_is_its_pictures_one_by_one():
    rng = np.random.default_rng(3)
    q, k, v = (torch.from_numpy(rng.standard_normal(size)) for size in ((2, 6, 4, 5), (2, 3, 6, 4, 5), (2, 3, 4, 4, 5)))
    valid = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    batch = in_torch(q, k, v, valid=valid, radius=1, heads=2)
    for i in range(2):
        for whole, single in zip(batch, in_torch(q[i : i + 1], k[i], v[i], valid=valid[i], radius=1, heads=2)):
            torch.testing.assert_close(whole[i : i + 1], single)


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("valid", [None, [1.0, 0.0], [0.0, 0.0]])
def test_gradients_are_right_and_finite(null, valid):
    torch.manual_seed(0)
    module = InterFrameLocalAttention(radius=1, heads=2, bias=True, null=null).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    q = torch.randn(1, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    k = torch.randn(2, 4, 3, 2, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    valid = None if valid is None else torch.tensor(valid, dtype=torch.float64)
    parameters = tuple(module.parameters())
    assert torch.autograd.gradcheck(lambda q, k, v, *_: module(q, k, v, valid), (q, k, v, *parameters))
    sum(output.sum() for output in module(q, k, v, valid)).backward()
    for tensor in (q, k, v, *parameters):
        assert tensor.grad is None or torch.isfinite(tensor.grad).all()


def test_wrong_shapes_are_refused():
    q, k, v = torch.zeros(1, 4, 3, 3), torch.zeros(1, 4, 3, 3), torch.zeros(1, 6, 3, 3)
    with pytest.raises(ValueError, match="multiples of heads = 4"):
        in_torch(q, k, v, radius=1, heads=4)
    with pytest.raises(ValueError, match="belong together"):
        in_torch(q, k[..., :2], v, radius=1)
    with pytest.raises(ValueError, match="bias is"):
        in_torch(q, k, v, torch.zeros(1, 8), radius=1)


def _kernels() -> list[str]:
    """What this CPU can run, by the names of MILAD_KERNELS."""
    if platform.machine() == "aarch64":
        return ["portable", "neon"]
    flags = Path("/proc/cpuinfo").read_text().split() if platform.machine() == "x86_64" else []
    wanted = {"portable": [], "avx2": ["avx2", "fma"], "avx512": ["avx512f", "avx512bw", "avx512dq", "avx512vl"]}
    return [name for name, needed in wanted.items() if set(needed) <= set(flags)]


@cases
@pytest.mark.parametrize("kernel", _kernels())
def test_the_program_is_the_reference(infer, tmp_path, kernel, shape, bias, null, valid, scale):
    """Its kernel, through a bundle of one node; which keyframes exist is the program's own affair, so `valid` is an input or not."""
    height, width, heads, keyframes, radius, dq, dv = shape
    rng = np.random.default_rng(list(shape))
    constants = one_node.write_bundle(tmp_path / "bundle", shape, rng, bias=bias, null=null, valid=valid, scale=scale)
    clip = rng.integers(0, 256, (keyframes + 2, height, width, 3), np.uint8)
    (tmp_path / "clip").mkdir()
    for number, picture in enumerate(clip):
        Image.fromarray(picture).save(tmp_path / "clip" / f"{number:03}.png")
    out = infer(tmp_path / "bundle", tmp_path / "clip", tmp_path / "out", 1, 1, MILAD_KERNELS=kernel)

    image = Oracle(tmp_path / "bundle").image

    def project(picture, name):
        return np.einsum("oi,ihw->ohw", constants[name][:, :, 0, 0], image(picture)[0]) + constants[f"{name}_bias"][:, None, None]

    for number in range(len(clip)):
        past = clip[:number][::-1][:keyframes]  # interval 1, latency 1: all frames before this one, the newest first
        k, v = np.zeros((keyframes, heads * dq, height, width)), np.zeros((keyframes, heads * dv, height, width))
        exists = np.zeros(keyframes)
        for t, picture in enumerate(past):
            k[t], v[t], exists[t] = project(picture, "key"), project(picture, "value"), 1
        options = {name: constants.get(name) for name in ("bias", "null")} | {"valid": exists if valid else None}
        expected = reference(project(clip[number], "query")[None], k, v, **options, radius=radius, heads=heads, scale=scale)
        for name, array in zip(("task.y", "confidence", "border"), expected):
            found = np.load(out / f"{number:06}.fast.{name}.npy")
            assert found.shape == array.shape and found.dtype == np.float32
            np.testing.assert_allclose(found, array, atol=1e-4 * max(1.0, np.ptp(array)), err_msg=f"frame {number}, {name}")
