"""The tiny bundles: small, well-formed, what the recipe makes, and with outputs that show mistakes."""

import hashlib
import re
import tomllib

import numpy as np
import onnx
import pytest

from conftest import BUNDLES
from milad_recipe import macs
from milad_recipe.__main__ import check
from milad_recipe.pictures import pictures
from oracle import Oracle

NAMES = sorted(path.name for path in BUNDLES.iterdir() if path.is_dir())


def test_the_recipe_makes_these_very_bytes(capfd):
    assert check(BUNDLES) == 0, capfd.readouterr().err


def test_all_of_them_are_there():
    assert NAMES == ["fast-keys", "fast-keys-qdq", "multi-frame", "plain", "plain-qdq", "task-specific"]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_tiny(name):
    files = list((BUNDLES / name).iterdir())
    assert sum(path.stat().st_size for path in files) <= 200_000
    assert sum(macs.count(path.read_bytes()) for path in files if path.suffix == ".onnx") <= 2_000_000


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("network", ["slow", "fast"])
def test_the_checker_accepts_them_and_they_tell_nothing_of_the_machine(name, network):
    data = (BUNDLES / name / f"{network}.onnx").read_bytes()
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert not re.search(rb"/(root|home|usr|tmp|work)/|\.py\b|site-packages", data)
    assert {node.domain for node in model.graph.node} <= {"", "ai.milad"}
    assert [function.name for function in model.functions] == ["InterFrameLocalAttention"] * (network == "fast")
    quantised = {node.op_type for node in model.graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    assert quantised == name.endswith("-qdq")


@pytest.mark.parametrize("name", NAMES)
def test_the_description_fits_the_files(name):
    toml = tomllib.loads((BUNDLES / name / "bundle.toml").read_text())
    assert toml["name"] == name
    for network, entry in toml["files"].items():
        assert entry["sha256"] == hashlib.sha256((BUNDLES / name / f"{network}.onnx").read_bytes()).hexdigest()
    oracle = Oracle(BUNDLES / name)
    tasks = {f"task.{task['name']}" for task in toml["task"]}
    assert {output for output in oracle.slow_outputs if output.startswith("task.")} == tasks
    assert {output for output in oracle.fast_outputs if output.startswith("task.")} == tasks


@pytest.mark.parametrize("name", NAMES)
def test_outputs_follow_the_picture_and_the_memory(name):
    oracle = Oracle(BUNDLES / name)
    size = oracle.toml["input"]["height"], oracle.toml["input"]["width"]
    images = [oracle.image(picture) for picture in pictures(*size, 9, seed=5)]
    results = dict(oracle.run(images, interval=3, latency=0))
    assert all(np.isfinite(array).all() for array in results.values())
    for output in oracle.fast_outputs:
        now = results[f"000008.fast.{output}.npy"]
        assert now.std() > 0.02, output
        alone = oracle.run_fast(images[8], [], 8)[output]
        if not output.startswith("next."):
            assert np.abs(now - alone).max() > 0.1 * now.std(), output
        before = results[f"000005.fast.{output}.npy"]
        assert np.abs(now - before).max() > 0.1 * now.std(), output


def test_every_kind_and_option_is_covered():
    kinds, encodings, options = set(), set(), set()
    for name in NAMES:
        for task in tomllib.loads((BUNDLES / name / "bundle.toml").read_text())["task"]:
            kinds.add(task["kind"])
            encodings.add(task.get("encoding"))
        for node in onnx.load(BUNDLES / name / "fast.onnx").graph.node:
            if node.op_type == "InterFrameLocalAttention":
                options |= {option for option, value in zip(("bias", "null", "valid"), node.input[3:]) if value}
                options |= {attribute.name for attribute in node.attribute if attribute.name == "heads" and attribute.i > 1}
                options |= {"shares"} if node.output[1] else set()
    assert kinds == {"segmentation", "depth", "normals", "raw"}
    assert encodings >= {"log", "inverse"}
    assert options == {"bias", "null", "valid", "heads", "shares"}
