"""The networks that ship: onnxruntime runs every file, the program and onnxruntime agree, sizes and words are as promised.

A bundle that has not been shipped yet is skipped, and said so.
"""

import hashlib
import json
import subprocess
import tomllib

import numpy as np
import onnx
import pytest
from PIL import Image

from conftest import ROOT
from milad_recipe import macs
from milad_recipe.datasets import open_clips
from milad_recipe.evaluate import evaluate
from milad_recipe.published import published
from milad_recipe.results import engine
from milad_recipe.scenes import folder
from milad_recipe.sequence import Networks, answers
from oracle import Oracle

SEEDS, FRAMES, INTERVAL, LATENCY = [2_000_000, 2_000_002], 14, 5, 2
NAMES = ("street", "room")


@pytest.fixture(params=NAMES)
def shipped(request):
    """The folder of a shipped bundle."""
    place = ROOT / "models" / request.param
    if not (place / "bundle.toml").is_file():
        pytest.skip(f"models/{request.param} is not shipped yet")
    return place


@pytest.fixture(scope="session")
def clips(milad, tmp_path_factory):
    """Folder of clips of a world, rendered once."""
    import os

    made, work = {}, tmp_path_factory.mktemp("scenes")

    def rendered(world):
        os.environ.setdefault("MILAD_BIN", str(milad))
        if world not in made:
            made[world] = folder(world, SEEDS, FRAMES, work)
        return made[world], work

    return rendered


def test_sizes_digests_and_words(shipped):
    toml = tomllib.loads((shipped / "bundle.toml").read_text())
    assert toml["name"] == shipped.name and "rendered scenes" in toml["trained_on"]
    assert sum(file.stat().st_size for file in shipped.iterdir()) <= 6_000_000
    for name in ("slow", "fast"):
        assert hashlib.sha256((shipped / f"{name}.onnx").read_bytes()).hexdigest() == toml["files"][name]["sha256"]
    assert (toml["input"]["width"], toml["input"]["height"]) == (256, 128)
    assert [task["kind"] for task in toml["task"]] == ["segmentation", "depth", "normals"]
    card = (shipped / "CARD.md").read_text()
    assert "rendered scenes" in card and "Not for real" in card


def test_the_slow_network_is_worth_its_keyframes(shipped):
    slow, fast = (macs.count((shipped / f"{name}.onnx").read_bytes()) for name in ("slow", "fast"))
    assert 1e9 <= slow <= 2e9
    assert slow >= 12 * fast


def test_int8_is_int8(shipped):
    """Both files are quantised: nearly all weights lie there as bytes."""
    for name in ("slow", "fast"):
        weights = {kind: 0 for kind in (onnx.TensorProto.INT8, onnx.TensorProto.FLOAT)}
        for tensor in onnx.load(shipped / f"{name}.onnx").graph.initializer:
            if tensor.data_type in weights:
                weights[tensor.data_type] += int(np.prod(tensor.dims))
        assert weights[onnx.TensorProto.INT8] >= 10 * weights[onnx.TensorProto.FLOAT], name


def test_convolutions_run_in_integers_and_loading_leaves_no_memory_behind(milad, shipped):
    """No convolution runs in float: the files quantise each, and the program leaves none in float that they quantise. Weights, maps and program together
    stay small."""
    for name in ("slow", "fast"):
        graph = onnx.load(shipped / f"{name}.onnx").graph
        dequantised = {value for node in graph.node if node.op_type == "DequantizeLinear" for value in node.output}
        assert not [node.name for node in graph.node if node.op_type == "Conv" and not {*node.input} <= dequantised], name
    assert not [node.name for node in graph.node if node.op_type == "Concat" and {*node.input} & dequantised], "offsets come to the moments as they are"
    command = [milad, "bench", "--json", "--frames", "1", "--bundle", shipped]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert not [node for node in report["float_though_quantised"] if "(Conv)" in node]
    assert report["resident_bytes"] <= 48 << 20


def test_onnxruntime_runs_every_file(shipped, clips):
    place, _ = clips(shipped.name)
    networks = Networks(shipped)
    (clip, *_) = open_clips(f"folder:{place}")
    images = [Oracle(shipped).image(clip.rgb(i)) for i in range(4)]
    for mode in ("slow", "fast", "copy", "mila"):
        for answer in answers(networks, images, mode, 2, 0):
            for task in networks.tasks:
                output = answer.outputs[f"task.{task['name']}"]
                assert np.isfinite(output).all() and np.ptp(output) > 0, (mode, task["name"])
    assert list(clip.classes) == [entry["name"] for entry in networks.tasks[0]["classes"]]


def last_scale(file, output) -> float:
    """The scale of the last bytes on an output's way."""
    graph = onnx.load(file).graph
    makers = {name: node for node in graph.node for name in node.output}
    node = makers[output]
    while node.op_type != "DequantizeLinear":
        node = makers[node.input[0]]
    return float(next(onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == node.input[1]))


def agree(infer, bundle, clip, tmp_path):
    """That they do: on the class of 99.5 % of pixels, over all that is published, and on numbers to half a step of the last scale in the median: slow network on
    keyframes, fast network on every frame, its memory its own."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(FRAMES):
        Image.fromarray(clip.rgb(i)).save(pictures / f"{i:06}.png")
    out = infer(bundle, pictures, tmp_path / "out", INTERVAL, LATENCY)
    oracle = Oracle(bundle)
    task = next(task for task in oracle.toml["task"] if task["kind"] == "segmentation")
    same, steps = {"slow": [], "fast": []}, {}
    for file, array in oracle.run([oracle.image(clip.rgb(i)) for i in range(FRAMES)], INTERVAL, LATENCY):
        _, network, output = file.removesuffix(".npy").split(".", 2)
        if not output.startswith("task."):
            continue
        ours = np.load(out / file)
        steps.setdefault((network, output), []).append(np.abs(ours - array) / last_scale(bundle / f"{network}.onnx", output))
        if output == f"task.{task['name']}":
            same[network].append(published(task, ours) == published(task, array))
    for network, maps in same.items():
        assert np.mean(maps) >= 0.995, network
    assert len(steps) == 2 * len(oracle.toml["task"])
    for output, differences in steps.items():
        assert np.median(differences) <= 0.5, output


def test_the_program_and_onnxruntime_agree(infer, shipped, clips, tmp_path):
    place, _ = clips(shipped.name)
    (clip, *_) = open_clips(f"folder:{place}")
    agree(infer, shipped, clip, tmp_path)


def test_they_agree_on_a_convolution_that_was_left_in_float(milad, infer, clips, tmp_path):
    """Of a few planes, which the program mixes while it quantises: what motion was before its convolution was quantised, too."""
    rival = ROOT / "models" / "rivals" / "room-adversary-none-1" / "bundle"
    command = [milad, "bench", "--json", "--frames", "1", "--bundle", rival]
    assert '"operator":"mix"' in subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace(" ", "")
    place, _ = clips("room")
    (clip, *_) = open_clips(f"folder:{place}")
    agree(infer, rival, clip, tmp_path)


@pytest.mark.parametrize("mode", ["slow", "mila"])
def test_the_programs_evaluation_and_the_recipes_agree(shipped, clips, mode):
    """To a tenth of a point of mIoU."""
    _, work = clips(shipped.name)
    config = {"world": shipped.name, "seeds": SEEDS, "frames": FRAMES, "mode": mode, "interval": INTERVAL, "latency": LATENCY}
    theirs, ours = engine.evaluate(shipped, config, work), evaluate(shipped, config, work)
    assert ours["macs"] == pytest.approx(theirs["macs"])
    for part in ("tasks", "other_frames"):
        for task, figures in ours[part].items():
            for name, value in figures.items():
                tolerance = {"abs_rel": 0.001, "rmse": 0.02}.get(name, 0.1 if name in ("miou", "mean", "median") else 0.3)
                assert abs(value - theirs[part][task][name]) <= tolerance, (part, task, name)
