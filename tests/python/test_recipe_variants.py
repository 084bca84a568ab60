"""Variants of the attention: trained for a moment, exported, checked and run by the program, and compared with onnxruntime."""

import shutil
import subprocess

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from milad_recipe import config, stage_export, stage_fast, stage_quantise_fast, stage_quantise_slow, stage_slow
from milad_recipe.config import RecipeError
from milad_recipe.fast import FastNetwork
from oracle import Oracle
from test_recipe_train import ONE, RECIPE, STREET, fabricate

TASK, MULTI, SLOW_KEYS = "fast.sizes.attention=task", "fast.sizes.keyframes=2", "fast.sizes.keys=slow"
VARIANTS = {"task-specific": [TASK], "multi-frame": [MULTI], "task-specific on two keyframes, slow keys": [TASK, MULTI, SLOW_KEYS]}


@pytest.fixture(scope="module")
def slow_work(tmp_path_factory):
    """A work folder with clips and the slow network, which every variant shares."""
    work = tmp_path_factory.mktemp("slow")
    fabricate(work / "data" / "street", [*range(6), 1_000_000, 1_000_001], frames=12)
    chosen = config.load(RECIPE / "smoke.toml", ONE)
    stage_slow.run(chosen, work)
    stage_quantise_slow.run(chosen, work)
    return work


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_a_variant_trains_and_runs_as_onnxruntime_runs_it(milad, infer, slow_work, tmp_path, changes):
    work = tmp_path / "work"
    shutil.copytree(slow_work, work)
    chosen = config.load(RECIPE / "smoke.toml", [*ONE, "fast.training.samples=32", "fast.adversary.start=0.0", *changes])
    for stage in (stage_fast, stage_quantise_fast, stage_export):
        stage.run(chosen, work)
    slow, fast = (onnx.load(work / "bundle" / f"{name}.onnx").graph for name in ("slow", "fast"))
    names = tuple(STREET) if TASK in changes else ("shared",)
    inputs = {value.name: value.type.tensor_type.shape.dim[0].dim_value for value in fast.input}
    assert {name for name in inputs if name.startswith(("key.", "value."))} == {f"{kind}.{name}" for kind in ("key", "value") for name in names}
    assert all(inputs[f"value.{name}"] == chosen.fast.sizes.keyframes for name in names)
    keys_of_slow = {output.name for output in slow.output if output.name.startswith("key.")}
    assert keys_of_slow == ({f"key.{name}" for name in names} if SLOW_KEYS in changes else set())
    assert sum(node.op_type == "InterFrameLocalAttention" for node in fast.node) == len(names)
    dequantised = {value: node for node in fast.node if node.op_type == "DequantizeLinear" for value in node.output}
    convolutions = [node for node in fast.node if node.op_type == "Conv"]
    assert all(value in dequantised for node in convolutions for value in node.input), "no convolution in float"
    assert not [node.name for node in fast.node if node.op_type == "Concat" and {*node.input} & {*dequantised}], "offsets come to the moments as they are"
    floats = {tensor.name for tensor in fast.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert {*stage_quantise_fast.float_parts(stage_fast.network(chosen))} <= floats, "moments and ages in float"

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    frames = np.load(work / "data" / "street" / "0000001" / "rgb.npy")
    for number, picture in enumerate(frames):
        Image.fromarray(picture).save(pictures / f"{number:06}.png")
    for bundle, close in (("bundle-float", 1e-3), ("bundle", 0.05)):
        done = subprocess.run([milad, "check", "--bundle", work / bundle, "--source", f"clip:{pictures}"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        out = infer(work / bundle, pictures, tmp_path / f"out-{bundle}", 3, 1)
        oracle = Oracle(work / bundle)
        compared = 0
        for file, expected in oracle.run([oracle.image(frame) for frame in frames], 3, 1):
            found = np.load(out / file)
            assert np.abs(found - expected).mean() <= close * max(float(np.ptp(expected)), 1e-3), f"{bundle} {file}"
            compared += 1
        assert compared >= 12 * 4


def test_task_specific_attention_starts_as_the_shared_one():
    """Gates start as nothing: with the same weights in each way, every task gets the answer of the shared network."""
    torch.manual_seed(4)
    sizes = {"radius": 2, "channels": (16, 32), "hidden": 16, "query": 8}
    slow = config.Sizes(channels=(16, 32, 32), blocks=(1, 1, 1), feature=16, trunk=16)
    shared = FastNetwork(config.FastSizes(**sizes), slow, STREET, 64, 128).eval()
    torch.nn.init.normal_(shared.fusion.last.weight, std=0.3)
    own = FastNetwork(config.FastSizes(**sizes, attention="task"), slow, STREET, 64, 128).eval()
    for name in ("encoder", "early", "heads"):
        getattr(own, name).load_state_dict(getattr(shared, name).state_dict())
    for way in own.ways.values():
        way.propagation.load_state_dict(shared.propagation.state_dict())
        way.fusion.load_state_dict(shared.fusion.state_dict())
    now, then, feature = torch.randn(2, 3, 64, 128), torch.randn(2, 3, 64, 128), torch.randn(2, 18, 8, 16)
    answers = {}
    with torch.no_grad():
        for name, net in (("shared", shared), ("own", own)):
            memory = {key: value.unsqueeze(1) for key, value in net.remember(net.look(then)[0], feature).items()}
            answers[name], fused = net.answer(*net.look(now), memory | {"valid": torch.ones(2, 1), "age": torch.full((2, 1), 3.0)})
            assert len(fused) == (2 if net is shared else 6)
        for task in STREET:
            torch.testing.assert_close(answers["own"][f"task.{task}"], answers["shared"][f"task.{task}"])
            torch.testing.assert_close(answers["own"][f"confidence.{task}"], answers["shared"]["confidence"])
        torch.nn.init.normal_(own.ways["depth"].slow.expand.weight)
        memory = {key: value.unsqueeze(1) for key, value in own.remember(own.look(then)[0], feature).items()}
        changed, _ = own.answer(*own.look(now), memory | {"valid": torch.ones(2, 1), "age": torch.full((2, 1), 3.0)})
    assert not torch.allclose(changed["task.depth"], answers["own"]["task.depth"])
    torch.testing.assert_close(changed["task.normals"], answers["own"]["task.normals"])


def test_an_attention_that_there_is_not_is_refused():
    with pytest.raises(RecipeError, match="fast.sizes.attention: expected shared or task, found 'tasks'"):
        config.load(RECIPE / "smoke.toml", ["fast.sizes.attention=tasks"])
