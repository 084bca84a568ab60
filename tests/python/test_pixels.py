"""Preparation against numpy: every format, both ranges, all matrices; and the resize against Pillow and PyTorch.

One reference makes a full-resolution RGB picture first (each chroma plane resized to what the output needs is the same
as that, the conversion being affine), resizes with dense weight matrices in double precision and clamps: prepared bytes are within
a rounding of it. The other does the same whole numbers as the program, a sample at a time: prepared bytes equal it.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from pixel_filter import run

# What letterboxed pictures are filled with, in the example program.
FILL = np.array([124, 116, 104])[:, None, None] / 255
# Half a byte for the last rounding; weights that are whole numbers cost noise, the worst picture, a little more.
ROUNDING = 0.75 / 255
KR_KB = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}
# Horizontal and vertical subsampling of chroma.
CHROMA = {"yuyv": (2, 1), "uyvy": (2, 1), "yu16": (2, 1), "nv12": (2, 2), "yu12": (2, 2), "yu24": (1, 1), "ycc": (1, 1)}
FORMATS = [*CHROMA, "rgb24", "grey"]


def components(kind: str, width: int, height: int, rng) -> list[np.ndarray]:
    """Random codes: Y, Cb, Cr planes at their own sizes; or R, G, B; or grey."""
    plane = lambda w, h: rng.integers(0, 256, (h, w), dtype=np.uint8)
    if kind == "grey":
        return [plane(width, height)]
    if kind == "rgb24":
        return [plane(width, height) for _ in range(3)]
    across, down = CHROMA[kind]
    half = -(-width // across), -(-height // down)
    return [plane(width, height), plane(*half), plane(*half)]


def pack(kind: str, parts: list[np.ndarray]) -> bytes:
    """Lays the planes out as V4L2 describes the format."""
    if kind in ("rgb24", "ycc"):
        return np.stack(parts, -1).tobytes()
    if kind == "nv12":
        return parts[0].tobytes() + np.stack(parts[1:], -1).tobytes()
    if kind in ("yuyv", "uyvy"):
        y, cb, cr = parts
        y = np.pad(y, ((0, 0), (0, y.shape[1] % 2)))
        order = [y[:, 0::2], cb, y[:, 1::2], cr] if kind == "yuyv" else [cb, y[:, 0::2], cr, y[:, 1::2]]
        return np.stack(order, -1).tobytes()
    return b"".join(part.tobytes() for part in parts)


def to_rgb(kind: str, parts: list[np.ndarray], matrix: str, span: str) -> np.ndarray:
    """Codes (any real numbers) to RGB, unclamped: ITU-T H.273."""
    limited = span == "limited"
    light = lambda code: (code - 16) / 219 if limited else code / 255
    if kind == "grey":
        return np.stack([light(parts[0])] * 3)
    if kind == "rgb24":
        return np.stack([light(part) for part in parts])
    kr, kb = KR_KB[matrix]
    y, cb, cr = light(parts[0]), (parts[1] - 128) / (224 if limited else 255), (parts[2] - 128) / (224 if limited else 255)
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue])


def triangle(first: int, end: int, origin: float, span: float, count: int) -> np.ndarray:
    """[count, end]: the triangle filter's weights, widened where the picture shrinks."""
    scale = span / count
    centre = origin + (np.arange(count) + 0.5) * scale
    weights = 1 - np.abs(np.arange(end) + 0.5 - centre[:, None]) / max(scale, 1)
    weights[:, :first] = 0
    weights = weights.clip(0)
    return weights / weights.sum(1, keepdims=True)


def reference(kind, parts, matrix, span, size, out, resize="stretch", crop=None, rotate=0, flips="-"):
    (width, height), (out_width, out_height) = size, out
    left, top, crop_width, crop_height = crop or (0, 0, width, height)
    if rotate % 2:
        out_width, out_height = out_height, out_width
    seen, made = [left, top, crop_width, crop_height], [out_width, out_height]
    if resize == "crop":
        scale = max(out_width / crop_width, out_height / crop_height)
        w, h = out_width / scale, out_height / scale
        seen = [left + (crop_width - w) / 2, top + (crop_height - h) / 2, w, h]
    if resize == "letterbox":
        scale = min(out_width / crop_width, out_height / crop_height)
        made = [max(1, round(crop_width * scale)), max(1, round(crop_height * scale))]
    resized = []
    for index, part in enumerate(parts):
        across, down = CHROMA.get(kind, (1, 1)) if index else (1, 1)
        x = triangle(left // across, -(-(left + crop_width) // across), seen[0] / across, seen[2] / across, made[0])
        y = triangle(top // down, -(-(top + crop_height) // down), seen[1] / down, seen[3] / down, made[1])
        resized.append(y @ part[: y.shape[1], : x.shape[1]].astype(float) @ x.T)
    rgb = to_rgb(kind, resized, matrix, span).clip(0, 1)
    rgb = np.rot90(rgb, -rotate, (1, 2))
    rgb = rgb[:, :, ::-1] if "h" in flips else rgb
    rgb = rgb[:, ::-1] if "v" in flips else rgb
    full = np.tile(FILL, (1, out[1], out[0]))
    y, x = (out[1] - rgb.shape[1]) // 2, (out[0] - rgb.shape[2]) // 2
    full[:, y : y + rgb.shape[1], x : x + rgb.shape[2]] = rgb
    return full


def prepare(kind, parts, matrix, span, size, out, resize="stretch", crop=None, rotate=0, flips="-") -> np.ndarray:
    crop = ",".join(map(str, crop)) if crop else "-"
    data = run(pack(kind, parts), "prepare", kind, matrix, span, *size, *out, resize, crop, rotate, flips)
    pixels = np.frombuffer(data, np.uint8).reshape(out[1], out[0], 4)
    assert not pixels[..., 3].any()
    return pixels[..., :3].transpose(2, 0, 1) / 255


def parts_of(whole: int, weights: list[float]) -> list[int]:
    """Parts of `whole` that add up to it: rounded down, what is missing to those that lost most, the first of equals."""
    exact = [weight * whole for weight in weights]
    parts = [math.floor(number) for number in exact]
    order = sorted(range(len(parts)), key=lambda i: -(exact[i] - parts[i]))
    for i in order[: whole - sum(parts)]:
        parts[i] += 1
    return parts


def taps(origin: float, span: float, count: int, end: int) -> list[tuple[int, list[float]]]:
    """By output sample its first source sample and the weights from there on, each sum taken from left to right."""
    scale = span / count
    support = max(scale, 1.0)
    found = []
    for i in range(count):
        centre = origin + (i + 0.5) * scale
        low = min(max(math.ceil(centre - support - 0.5), 0), end - 1)
        high = max(min(math.floor(centre + support - 0.5), end - 1), low)
        weights = [max(1 - abs((x + 0.5 - centre) / support), 0.0) for x in range(low, high + 1)]
        total = 0.0
        for weight in weights:
            total += weight
        weights = [weight / total for weight in weights] if total > 1e-9 else [1.0]
        found.append((low, weights))
    return found


def whole_numbers(kind, parts, matrix, span, size, out) -> np.ndarray:
    """Stretched, as the program says that it computes: vertical weights in 256·2^f parts, samples in 128ths, horizontal ones in 2¹⁴ parts."""
    samples = []
    for index, part in enumerate(parts):
        across, down = CHROMA.get(kind, (1, 1)) if index else (1, 1)
        vertical = taps(0.0, size[1] / down, out[1], part.shape[0])
        horizontal = taps(0.0, size[0] / across, out[0], part.shape[1])
        longest = max(sum(w > 0 for w in weights) for _, weights in vertical)
        fine = next((f for f in range(4, 0, -1) if longest * (2**f - 1) <= 257), 0)
        rows = []
        for low, weights in vertical:
            whole = parts_of(256 << fine, weights)
            coarse = sum((w >> fine) * part[low + k].astype(int) for k, w in enumerate(whole))
            rest = sum((w & (2**fine - 1)) * part[low + k].astype(int) for k, w in enumerate(whole))
            total = coarse + ((rest + ((1 << fine) >> 1)) >> fine)
            assert total.max() < 1 << 16 and rest.max() < 1 << 16
            rows.append((total + 1) >> 1)
        columns = [(low, parts_of(1 << 14, weights)) for low, weights in horizontal]
        blended = np.stack(rows)
        pixels = [sum(w * blended[:, low + k] for k, w in enumerate(weights)) for low, weights in columns]
        samples.append((np.stack(pixels, 1) + (1 << 13)) >> 14)
    # The map from codes to light is affine: its offset and its columns, from where codes are 0 and 1.
    unit = lambda index: [np.full((1, 1), float(i == index)) for i in range(len(parts))]
    offset = to_rgb(kind, unit(-1), matrix, span).reshape(3) * 255
    columns = [to_rgb(kind, unit(index), matrix, span).reshape(3) * 255 - offset for index in range(len(parts))]
    rounded = lambda number, bits: math.floor(Fraction(number) * 2**bits + Fraction(1, 2))
    rgb = []
    for colour in range(3):
        total = sum(rounded(column[colour], 13) * plane for column, plane in zip(columns, samples))
        rgb.append(((total + rounded(offset[colour], 20) + (1 << 19)) >> 20).clip(0, 255))
    return np.stack(rgb)


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_are_those_of_the_same_whole_numbers(kind):
    rng = np.random.default_rng(4)
    for matrix, span in [("601", "limited"), ("709", "full"), ("2020", "limited")]:
        for size, out in [((640, 480), (256, 128)), ((64, 48), (24, 16)), ((37, 23), (16, 9)), ((13, 9), (40, 30)), ((90, 200), (7, 3))]:
            parts = components(kind, *size, rng)
            found = np.rint(prepare(kind, parts, matrix, span, size, out) * 255).astype(int)
            expected = whole_numbers(kind, parts, matrix, span, size, out)
            assert np.array_equal(found, expected), (matrix, span, size, out, np.abs(found - expected).max())


def test_rgb_of_the_networks_size_stays_as_it_is():
    parts = components("rgb24", 33, 20, np.random.default_rng(5))
    found = prepare("rgb24", parts, "601", "full", (33, 20), (33, 20)) * 255
    assert np.array_equal(np.rint(found), np.stack(parts))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("span", ["limited", "full"])
def test_every_format_range_and_matrix(kind, span):
    rng = np.random.default_rng(1)
    for matrix in KR_KB:
        for size, out in [((64, 48), (24, 16)), ((37, 23), (16, 9)), ((13, 9), (40, 30)), ((1, 1), (3, 2))]:
            parts = components(kind, *size, rng)
            expected = reference(kind, parts, matrix, span, size, out)
            assert np.abs(prepare(kind, parts, matrix, span, size, out) - expected).max() < ROUNDING


# RGB of the full range has a way of its own.
@pytest.mark.parametrize("kind, span", [*((kind, "limited") for kind in ["yuyv", "nv12", "yu12", "rgb24", "grey"]), ("rgb24", "full")])
@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_crops_turns_flips_and_ways_to_fit(kind, span, resize):
    rng = np.random.default_rng(2)
    size, out = (61, 40), (32, 24)
    for rotate in range(4):
        for flips in ("-", "h", "v", "hv"):
            for crop in (None, (7, 5, 33, 30)):
                parts = components(kind, *size, rng)
                how = dict(resize=resize, crop=crop, rotate=rotate, flips=flips)
                expected = reference(kind, parts, "601", span, size, out, **how)
                found = prepare(kind, parts, "601", span, size, out, **how)
                assert np.abs(found - expected).max() < ROUNDING, (rotate, flips, crop)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_bytes_in_two_ranges_differ_as_the_quantisation_says(kind):
    """Known colours: code 16 is black in one range and grey in the other, 235 is white, 126 is another grey."""
    for code in (16, 126, 235):
        neutral = [np.full_like(p, code if i == 0 or kind == "rgb24" else 128)
                   for i, p in enumerate(components(kind, 8, 6, np.random.default_rng(0)))]
        rgb = {span: prepare(kind, neutral, "601", span, (8, 6), (4, 3)) for span in ("limited", "full")}
        assert np.abs(rgb["limited"] - (code - 16) / 219).max() <= 0.5 / 255 + 1e-9
        assert np.abs(rgb["full"] - code / 255).max() < 1e-6


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "grey"])
@pytest.mark.parametrize("span", ["limited", "full"])
def test_known_colours(kind, span):
    black, luma, swing = (16, 219, 224) if span == "limited" else (0, 255, 255)
    for matrix, (kr, kb) in KR_KB.items():
        for rgb in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0.2, 0.4, 0.6), (1, 1, 1), (0, 0, 0)]:
            y = np.dot(rgb, (kr, 1 - kr - kb, kb))
            codes = [black + luma * y, 128 + swing * (rgb[2] - y) / (2 - 2 * kb), 128 + swing * (rgb[0] - y) / (2 - 2 * kr)]
            codes = [black + luma * v for v in rgb] if kind == "rgb24" else codes
            parts = components(kind, 10, 6, np.random.default_rng(0))
            parts = [np.full_like(part, np.clip(round(code), 0, 255)) for part, code in zip(parts, codes)]
            found = prepare(kind, parts, matrix, span, (10, 6), (4, 3))
            assert np.abs(found - np.array(rgb)[:, None, None]).max() < 0.010, (matrix, rgb)


@pytest.mark.parametrize("out", [(20, 11), (37, 23), (100, 64)])
def test_the_resize_is_pillows_and_pytorchs(out):
    grey = np.random.default_rng(3).integers(0, 256, (23, 37), dtype=np.uint8)
    found = prepare("grey", [grey], "601", "full", (37, 23), out)[0]
    pillow = np.asarray(Image.fromarray(grey.astype(np.float32)).resize(out, Image.BILINEAR)) / 255
    assert np.abs(found - pillow).max() < ROUNDING
    tensor = torch.from_numpy(grey.astype(np.float64) / 255)[None, None]
    pytorch = torch.nn.functional.interpolate(tensor, out[::-1], mode="bilinear", antialias=True, align_corners=False)
    assert np.abs(found - pytorch[0, 0].numpy()).max() < ROUNDING
