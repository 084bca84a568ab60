"""What `milad infer` must write, computed by onnxruntime: docs/BUNDLE.md, "When a keyframe comes into force", word for word."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime

Arrays = dict[str, np.ndarray]


def session(model: Path | bytes, exact: bool = False) -> onnxruntime.InferenceSession:
    """On one thread. `exact` leaves QDQ networks as they are written, without integer kernels."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if exact:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options)


class Oracle:
    """A bundle, run synchronously."""

    def __init__(self, folder: Path, exact: bool = False):
        self.toml = tomllib.loads((folder / "bundle.toml").read_text())
        self.slow, self.fast = (session(folder / f"{name}.onnx", exact) for name in ("slow", "fast"))
        self.slow_outputs = [output.name for output in self.slow.get_outputs()]
        self.fast_outputs = [output.name for output in self.fast.get_outputs()]
        self.inputs = {value.name: value.shape for value in self.fast.get_inputs()}
        self.memory = [name for name in self.inputs if name not in ("image", "valid", "age")]

    def image(self, picture: np.ndarray) -> np.ndarray:
        """`image` of an RGB picture [H, W, 3] (any real type, 0…255) of the network's size."""
        normal = (picture.astype(np.float64) / 255 - self.toml["input"]["mean"]) / self.toml["input"]["std"]
        return np.ascontiguousarray(normal.transpose(2, 0, 1)[None].astype(np.float32))

    def run_slow(self, image: np.ndarray) -> Arrays:
        return dict(zip(self.slow_outputs, self.slow.run(None, {"image": image})))

    def run_fast(self, image: np.ndarray, keyframes: list[tuple[int, Arrays]], now: int) -> Arrays:
        """`keyframes`: frame number and memory of those in force, the newest first."""
        feeds = {"image": image}
        for name, shape in self.inputs.items():
            if name == "image":
                continue
            feeds[name] = np.full(shape, -1.0 if name == "age" else 0.0, np.float32)
            for t, (number, memory) in enumerate(keyframes[: shape[0]]):
                match name:
                    case "age":
                        feeds[name][t] = now - number
                    case "valid":
                        feeds[name][t] = 1.0
                    case _:
                        feeds[name][t] = memory[name][0]
        return dict(zip(self.fast_outputs, self.fast.run(None, feeds)))

    def run(
        self,
        images: list[np.ndarray],
        interval: int,
        latency: int,
        replace: Callable[[str, np.ndarray], np.ndarray] = lambda file, array: array,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """File name and content of every result. Memory is passed through `replace` with the name of the file it would be written to."""
        period = max(interval, latency, 1)
        coming: list[tuple[int, Arrays]] = []
        in_force: list[tuple[int, Arrays]] = []
        for number, image in enumerate(images):
            if number % period == 0:
                slow = self.run_slow(image)
                yield from ((f"{number:06}.slow.{name}.npy", array) for name, array in slow.items())
                own = self.run_fast(image, [], number)
                memory = {}
                for name in self.memory:
                    assert (name in slow) != (f"next.{name}" in own), name
                    kind, output, array = ("slow", name, slow[name]) if name in slow else ("fast", f"next.{name}", own[f"next.{name}"])
                    memory[name] = replace(f"{number:06}.{kind}.{output}.npy", array)
                coming.append((number, memory))
            while coming and coming[0][0] + latency <= number:
                in_force.insert(0, coming.pop(0))
            fast = self.run_fast(image, in_force, number)
            yield from ((f"{number:06}.fast.{name}.npy", array) for name, array in fast.items())


def resized(picture: np.ndarray, height: int, width: int, resize: str, fill: list[float]) -> np.ndarray:
    """An RGB picture [h, w, 3] brought to size as docs/BUNDLE.md says under "Pictures", in float64, 0…255; `fill` in 0…1."""
    source = np.array(picture.shape[:2], np.float64)
    target = np.array([height, width])
    seen, made = source, target
    if resize == "crop":
        seen = target / (target / source).max()
    if resize == "letterbox":
        made = np.floor(source * (target / source).min() + 0.5).astype(int)
    rows, columns = (_weights(int(n), (n - s) / 2, s, m) for n, s, m in zip(source, seen, made))
    whole = np.broadcast_to(255 * np.array(fill), (height, width, 3)).copy()
    top, left = (target - made) // 2
    whole[top : top + made[0], left : left + made[1]] = np.einsum("yh,hwc,xw->yxc", rows, picture.astype(np.float64), columns)
    return whole


def _weights(source: int, start: float, length: float, target: int) -> np.ndarray:
    """[target, source], rows sum to 1: `target` pixels that cover `length` pixels of the source from `start` on."""
    ratio = length / target
    centres = start + (np.arange(target) + 0.5) * ratio
    distance = np.abs(np.arange(source)[None] + 0.5 - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / max(ratio, 1.0))
    return weights / weights.sum(1, keepdims=True)
