"""`milad infer` against onnxruntime on the same files: every output of every frame, and nothing else in the folder."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import one_node
from conftest import BUNDLES
from milad_recipe import bundle, tiny
from milad_recipe.bundle import Description, Task
from milad_recipe.pictures import pictures
from milad_recipe.tiny import Design
from oracle import Oracle, resized

FRAMES, INTERVAL = 9, 3
FLOAT = ("plain", "task-specific", "multi-frame", "fast-keys")
QUANTISED = ("plain-qdq", "fast-keys-qdq")
latencies = pytest.mark.parametrize("latency", [0, 2])

ODD = {"map_height": 17, "map_width": 23}
GENERATED = [
    Design(**ODD, radius=1, heads=3, keyframes=2, bias=True, null=True, valid=True, shares=True, seed=11),
    Design(**ODD, radius=2, heads=3, seed=12),
    Design(**ODD, radius=3, heads=3, keyframes=2, valid=True, keys="fast", shares=True, seed=13),
    Design(**ODD, radius=4, keyframes=2, null=True, age=True, split=True, seed=14),
    Design(**ODD, radius=5, heads=3, keyframes=2, null=True, valid=True, keys="fast", bias=True, scale=0.4, seed=15),
    Design(**ODD, radius=6, heads=3, keyframes=2, seed=16),
    Design(**ODD, radius=6, null=True, shares=True, keys="fast", split=True, seed=17),
]


def _name(design: Design) -> str:
    flags = [flag for flag in ("bias", "null", "valid", "age", "split", "shares") if getattr(design, flag)]
    return "-".join([f"r{design.radius}", f"g{design.heads}", f"t{design.keyframes}", f"{design.keys}keys", *flags])


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """Folder of a design's bundle, written once."""
    made = {}

    def folder(design: Design):
        if design not in made:
            made[design] = tmp_path_factory.mktemp("generated") / _name(design)
            tiny.generate(design, made[design])
        return made[design]

    return folder


def _write_clip(folder, clip):
    folder.mkdir()
    for number, picture in enumerate(clip):
        Image.fromarray(picture).save(folder / f"{number:04}.png")
    return folder


def _run(infer, folder, tmp_path, latency):
    """(the bundle in onnxruntime, its images, milad's results by file name)."""
    oracle = Oracle(folder)
    clip = pictures(oracle.toml["input"]["height"], oracle.toml["input"]["width"], FRAMES, seed=21)
    out = infer(folder, _write_clip(tmp_path / "clip", clip), tmp_path / "out", INTERVAL, latency)
    return [oracle.image(picture) for picture in clip], {path.name: np.load(path) for path in out.iterdir()}


def _check(found, expected):
    """Largest difference as a share of each output's range."""
    assert sorted(found) == sorted(expected)
    for file, array in expected.items():
        assert found[file].shape == array.shape and found[file].dtype == array.dtype == np.float32, file
        scope = np.ptp(array) or 1.0
        assert np.abs(found[file] - array).max() <= 1e-4 * scope, file


def _compare(infer, folder, tmp_path, latency):
    oracle = Oracle(folder)
    images, found = _run(infer, folder, tmp_path, latency)
    _check(found, dict(oracle.run(images, INTERVAL, latency)))
    # Fed with milad's own memory: what differs now is the fast network alone.
    _check(found, dict(oracle.run(images, INTERVAL, latency, replace=lambda file, _: found[file])))


@latencies
@pytest.mark.parametrize("name", FLOAT)
def test_tiny_bundles(infer, tmp_path, name, latency):
    _compare(infer, BUNDLES / name, tmp_path, latency)


@latencies
@pytest.mark.parametrize("design", GENERATED, ids=_name)
def test_odd_maps(infer, generated, tmp_path, design, latency):
    _compare(infer, generated(design), tmp_path, latency)


@pytest.mark.parametrize("interval, latency", [(1, 0), (1, 3), (4, 1), (20, 0)])
def test_other_intervals(infer, tmp_path, interval, latency):
    """Above all a latency longer than the interval, and a clip that ends before the second keyframe."""
    oracle = Oracle(BUNDLES / "multi-frame")
    clip = pictures(32, 64, 10, seed=22)
    out = infer(BUNDLES / "multi-frame", _write_clip(tmp_path / "clip", clip), tmp_path / "out", interval, latency)
    found = {path.name: np.load(path) for path in out.iterdir()}
    _check(found, dict(oracle.run([oracle.image(picture) for picture in clip], interval, latency)))


@pytest.mark.parametrize("name", ["multi-frame", "fast-keys-qdq"])
def test_every_run_gives_the_same_bytes_with_any_number_of_threads(infer, tmp_path, name):
    clip = _write_clip(tmp_path / "clip", pictures(32, 64, FRAMES, seed=21))
    results = []
    for run, threads in enumerate((1, 1, 4)):
        out = infer(BUNDLES / name, clip, tmp_path / f"out{run}", INTERVAL, 2, threads)
        results.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert results[0] == results[1]
    assert results[0] == results[2]


def _last_scales(folder):
    """Step of every output that comes from a DequantizeLinear."""
    scales = {}
    for kind in ("slow", "fast"):
        graph = onnx.load(folder / f"{kind}.onnx").graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        outputs = {output.name for output in graph.output}
        for node in graph.node:
            if node.op_type == "DequantizeLinear" and node.output[0] in outputs:
                scales[kind, node.output[0]] = float(numpy_helper.to_array(constants[node.input[1]]))
    return scales


@latencies
@pytest.mark.parametrize("exact", [True, False], ids=["as-written", "integer-kernels"])
@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_bundles(infer, tmp_path, name, latency, exact):
    """In steps of the output's own scale. A value midway between two codes may fall to either side (Resize makes many), and the
    layers after it see that: so the median is the same code, nearly all are within a step, and none is beyond a few. Onnxruntime's
    two ways of running the file differ from one another in the same way (measured: 97 % within a step, at most 4)."""
    images, found = _run(infer, BUNDLES / name, tmp_path, latency)
    expected = dict(Oracle(BUNDLES / name, exact).run(images, INTERVAL, latency, replace=lambda file, _: found[file]))
    assert sorted(found) == sorted(expected)
    scales, differences = _last_scales(BUNDLES / name), {}
    for file, array in expected.items():
        _, kind, output = file.removesuffix(".npy").split(".", 2)
        step = scales.get((kind, output), 1 / 255)  # confidence and border are float
        differences.setdefault((kind, output), []).append(np.abs(found[file] - array).ravel() / step)
    for output, steps in differences.items():
        steps = np.concatenate(steps)
        assert np.median(steps) < 0.01, output
        assert (steps < 1.01).mean() >= 0.9, output
        assert steps.max() <= 8.01, output


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(50, 101), (97, 64), (13, 29), (32, 40)])
def test_pictures_are_resized_by_the_rule(infer, tmp_path, size, resize):
    """A bundle whose prediction is its input; the picture is shrunk, or enlarged, or both."""
    height, width = 32, 48
    image, ones = {"image": [1, 3, height, width]}, np.eye(3, dtype=np.float32)[:, :, None, None]
    see = onnx.helper.make_node("Conv", ["image", "ones"], ["task.seen"])
    slow = one_node.model(
        [see, onnx.helper.make_node("Conv", ["image", "ones"], ["value.a"])],
        image,
        {"task.seen": [1, 3, height, width], "value.a": [1, 3, height, width]},
        {"ones": ones},
    )
    fast = one_node.model(
        [onnx.helper.make_node("Mul", ["value.a", "zero"], ["nothing"]),
         onnx.helper.make_node("Conv", ["image", "ones"], ["seen"]),
         onnx.helper.make_node("Add", ["seen", "nothing"], ["task.seen"])],
        image | {"value.a": [1, 3, height, width]},
        {"task.seen": [1, 3, height, width]},
        {"ones": ones, "zero": np.zeros((1, 1, 1, 1), np.float32)},
    )  # fmt: skip
    task = Task("seen", "raw", width, height, channels=3)
    description = Description("seen", "nothing", 0.04, 1, width, height, (task,), resize=resize)
    bundle.write(tmp_path / "bundle", description, {"slow": slow, "fast": fast})
    clip = pictures(*size, 2, seed=23)
    out = infer(tmp_path / "bundle", _write_clip(tmp_path / "clip", clip), tmp_path / "out", 1, 0)
    oracle = Oracle(tmp_path / "bundle")
    for number, picture in enumerate(clip):
        expected = oracle.image(resized(picture, height, width, resize, oracle.toml["input"]["mean"]))
        found = np.load(out / f"{number:06}.fast.task.seen.npy")
        # Pictures are rounded to bytes: half of one, and a little for weights that are whole numbers.
        np.testing.assert_allclose(found, expected, atol=0.75 / 255 / min(oracle.toml["input"]["std"]))
