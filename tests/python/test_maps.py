"""Published maps against PyTorch's bilinear upsampling followed by the plain operation."""

import numpy as np
import pytest
import torch

from pixel_filter import floats, run

SHAPES = [((16, 32), (128, 256)), ((17, 23), (96, 100)), ((1, 1), (5, 7)), ((9, 31), (13, 33)), ((20, 40), (7, 9))]


def upsample(values: np.ndarray, out) -> np.ndarray:
    tensor = torch.from_numpy(values.astype(np.float64))[None]
    return torch.nn.functional.interpolate(tensor, out, mode="bilinear", align_corners=False)[0].numpy()


def call(kind: str, values: np.ndarray, out) -> bytes:
    return run(values.astype("<f4").tobytes(), "map", kind, *values.shape, *out)


def values(channels: int, shape, seed=1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape, out", SHAPES)
@pytest.mark.parametrize("classes", [1, 2, 8, 19])
def test_segmentation_is_the_argmax_of_upsampled_logits(shape, out, classes):
    logits = values(classes, shape)
    found = np.frombuffer(call("segmentation", logits, out), np.uint8).reshape(out)
    dense = upsample(logits, out)
    # Another rounding may decide between two classes that are as good as equal, and nothing else.
    chosen = np.take_along_axis(dense, found[None].astype(int), 0)[0]
    assert (dense.max(0) - chosen).max() < 1e-5
    assert (found == dense.argmax(0)).mean() > 0.999


@pytest.mark.parametrize("shape, out", SHAPES)
@pytest.mark.parametrize("kind, decode", [("metres", lambda v: v), ("log", np.exp), ("inverse", lambda v: 1 / v)])
def test_depth_is_decoded_after_upsampling(shape, out, kind, decode):
    encoded = np.abs(values(1, shape)) + 0.1
    expected = decode(upsample(encoded, out)[0])
    assert np.abs(floats(call(kind, encoded, out), out) / expected - 1).max() < 1e-5


@pytest.mark.parametrize("shape, out", SHAPES)
def test_normals_have_unit_length_times_127(shape, out):
    found = np.frombuffer(call("normals", values(3, shape), out), np.int8).reshape(3, *out)
    dense = upsample(values(3, shape), out)
    expected = dense / np.linalg.norm(dense, axis=0) * 127
    assert np.abs(found - expected).max() <= 0.51


@pytest.mark.parametrize("shape, out", SHAPES)
def test_raw_maps_are_upsampled_only(shape, out):
    raw = values(5, shape)
    assert np.abs(floats(call("raw", raw, out), (5, *out)) - upsample(raw, out)).max() < 1e-5
