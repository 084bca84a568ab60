"""From a network's predictions to published maps, as the daemon makes them (docs/BUNDLE.md): bilinear upsampling with half-pixel
centres and clamped edges first, then argmax, the depth's decoding, unit length. And a picture's way into a network.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .config import RecipeError


@lru_cache(maxsize=64)
def _bilinear(source: int, target: int) -> NDArray:
    """[target, source] weights of one axis."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(centre).astype(np.int64)
    high, share = np.minimum(low + 1, source - 1), centre - low
    weights = np.zeros((target, source))
    weights[np.arange(target), low] += 1 - share
    weights[np.arange(target), high] += share
    return weights.astype(np.float32)


def upsampled(values: NDArray, height: int, width: int) -> NDArray:
    """[C, h, w] → [C, height, width]."""
    if values.shape[1:] == (height, width):
        return values
    return _bilinear(values.shape[1], height) @ values @ _bilinear(values.shape[2], width).T


def decoded_depth(values: NDArray, encoding: str) -> NDArray:
    """Metres, never negative, NaN where the network has no answer."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        match encoding:
            case "log":
                return np.exp(values)
            case "inverse":
                return np.where(values <= 0, np.float32(np.inf), 1 / values)
            case _:
                return np.where(values < 0, np.float32(0), values)


def published(task: Mapping, prediction: NDArray) -> NDArray:
    """The map of `task.<name>` [1, C, h, w] by the task's table of bundle.toml: uint8 [H, W] classes, float32 [H, W] metres, or
    float32 [C, H, W] normals (of unit length) or raw values."""
    dense = upsampled(prediction[0].astype(np.float32), task["height"], task["width"])
    match task["kind"]:
        case "segmentation":
            return dense.argmax(0).astype(np.uint8)
        case "depth":
            return decoded_depth(dense[0], task["encoding"])
        case "normals":
            length = np.sqrt((dense * dense).sum(0))
            return np.where(length > 0, dense / np.maximum(length, 1e-12), 0).astype(np.float32)
    return dense


def image(picture: NDArray, entry: Mapping) -> NDArray:
    """`image` [1, 3, H, W] of an RGB picture [h, w, 3] of 0…255 by the table `[input]` of bundle.toml."""
    height, width = entry["height"], entry["width"]
    if picture.shape[:2] != (height, width):
        if entry["resize"] != "stretch":
            raise RecipeError(
                f"pictures of {width}×{height} are expected for `resize` = {entry['resize']!r}, found {picture.shape[1]}×{picture.shape[0]}: "
                "truth can be brought to size by `stretch` alone; cut clips and labels to size first"
            )
        rows, columns = _triangle(picture.shape[0], height), _triangle(picture.shape[1], width)
        # The daemon hands bytes to networks; its whole-numbered weights give another byte here and there (docs/adr/0017).
        picture = np.rint(np.einsum("yh,hwc,xw->yxc", rows, picture.astype(np.float64), columns, optimize=True))
    normal = (picture.astype(np.float64) / 255 - entry["mean"]) / entry["std"]
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None].astype(np.float32))


@lru_cache(maxsize=16)
def _triangle(source: int, target: int) -> NDArray:
    """[target, source] weights of the anti-aliased triangle filter, rows sum to 1."""
    ratio = source / target
    centre = (np.arange(target)[:, None] + 0.5) * ratio
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source) + 0.5 - centre) / max(ratio, 1.0))
    return weights / weights.sum(1, keepdims=True)
