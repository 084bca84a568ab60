"""What a user gets wrong, through the command line: one sentence that says what was expected, what was found, what to do; nothing half-written left."""

import sys

import numpy as np
import pytest
from PIL import Image

from conftest import BUNDLES
from milad_recipe import bundle, checkpoint, config, stage_export, stage_fast, stage_quantise_slow, stage_slow
from milad_recipe.__main__ import main
from test_recipe_train import ONE, RECIPE, fabricate

SMOKE = ["train", "--config", str(RECIPE / "smoke.toml")]


@pytest.fixture
def said(monkeypatch, capsys):
    """Runs a command that is to fail, and returns its sentence."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["milad_recipe", *map(str, arguments)])
        assert main() == 1
        captured = capsys.readouterr()
        text = captured.err.splitlines()[-1]
        assert text.startswith("milad_recipe: ") and "expected" in text and "found" in text and ";" in text, text
        assert "Traceback" not in captured.err and captured.err.count("expected") == 1, captured.err
        return text

    return run


def changes(*values):
    return [part for value in (*ONE, *values) for part in ("--set", value)]


@pytest.fixture
def untrained(tmp_path):
    """A work folder as the stages leave it, of networks that have learned nothing, and its configuration."""
    fabricate(tmp_path / "data" / "street", [*range(6), 1_000_000, 1_000_001])
    chosen = config.load(RECIPE / "smoke.toml", ONE)
    for stage in (stage_slow, stage_fast):
        network = stage.network(chosen)
        state = {"stage": "x", "step": 0, "samples": 0, "elapsed": 0.0, "done": True, "network": network.state_dict(), "average": network.state_dict()}
        checkpoint.save(stage.folder(tmp_path) / "checkpoint.pt", chosen.digest(*stage.PARTS), state)
    for stage, names in ((stage_slow, ("slow-int8", "slow-float")), (stage_fast, ("fast-int8", "fast-float"))):
        for name in names:
            (stage.folder(tmp_path) / f"{name}.onnx").write_bytes((BUNDLES / "plain" / f"{name.partition('-')[0]}.onnx").read_bytes())
    return chosen, tmp_path


def test_a_checkpoint_of_another_configuration(untrained, said):
    _, work = untrained
    for stage, change in (("slow", "losses.depth=7"), ("fast", "fast.sizes.hidden=12"), ("quantise-slow", "slow.sizes.stem=8"), ("export", "losses.depth=7")):
        text = said(*SMOKE, "--work", work, "--stage", stage, *changes(change))
        assert "checkpoint of this configuration" in text and "of another" in text and "choose another --work" in text, stage
    path = stage_fast.folder(work) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:500])
    assert "cannot be read" in said(*SMOKE, "--work", work, "--stage", "fast", *changes())


def test_an_interrupted_export_leaves_the_old_bundle_and_goes_on(untrained, monkeypatch, said, milad):
    import subprocess

    chosen, work = untrained
    (work / "bundle").mkdir()
    (work / "bundle" / "bundle.toml").write_text("old")
    write = bundle.write

    def torn(folder, description, files):
        write(folder, description, files)
        (folder / "fast.onnx").unlink()
        (folder / "bundle.toml").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "write", torn)
    with pytest.raises(KeyboardInterrupt):
        stage_export.run(chosen, work)
    assert [path.name for path in (work / "bundle").iterdir()] == ["bundle.toml"] and (work / "bundle" / "bundle.toml").read_text() == "old"
    (left,) = work.glob(".bundle*")
    done = subprocess.run([milad, "check", "--bundle", left], capture_output=True, text=True)
    assert done.returncode == 78 and "bundle.toml" in done.stderr, "what is left does not look whole"
    assert "run --stage export first" in said(*SMOKE, "--work", work / "elsewhere", "--stage", "evaluate", *changes())
    monkeypatch.setattr(bundle, "write", write)
    stage_export.run(chosen, work)
    assert not list(work.glob(".bundle*")) and (work / "bundle" / "fast.onnx").is_file() and (work / "bundle" / "bundle.toml").read_text() != "old"


def test_an_interrupted_quantisation_leaves_no_file(untrained, monkeypatch):
    chosen, work = untrained
    path = stage_slow.folder(work) / "slow-int8.onnx"
    before = path.read_bytes()
    monkeypatch.setattr(stage_quantise_slow.quantise, "quantise", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stage_quantise_slow.run(chosen, work)
    assert path.read_bytes() == before and {file.suffix for file in path.parent.iterdir()} <= {".onnx", ".pt"}


def pictures(folder, truth=False):
    folder.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((64, 128, 3), 40 * number, np.uint8)).save(folder / f"{number:06}.rgb.png")
    if truth:
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(folder / "000001.class.png")
    return folder


def test_a_clip_without_truth(tmp_path, said):
    clip = pictures(tmp_path / "clip")
    assert "truth" in said("evaluate", "--bundle", BUNDLES / "plain", "--clips", f"folder:{clip}")
    found = changes(f"data.train_from=folder:{clip}", f"data.tune_from=folder:{clip}")
    assert "expected clips with truth, found none" in said(*SMOKE, "--work", tmp_path / "work", "--stage", "data", *found)
    assert not list((tmp_path / "work").rglob("*.npy"))


def test_a_data_set_in_the_wrong_layout(tmp_path, said):
    clip = pictures(tmp_path / "clip", truth=True)
    found = changes(f"data.train_from=folder:{clip}", f"data.tune_from=folder:{clip}")
    text = said(*SMOKE, "--work", tmp_path / "work", "--stage", "data", *found)
    assert "000001.class.png" in text and "(64, 128)" in text and "(64, 64)" in text
    assert not list((tmp_path / "work").rglob("*.npy")), "nothing half-packed is left"
    assert "leftImg8bit_sequence/val" in said("evaluate", "--bundle", BUNDLES / "plain", "--clips", f"cityscapes:{tmp_path}")
    assert "KIND:PATH" in said("evaluate", "--bundle", BUNDLES / "plain", "--clips", str(clip))
    fabricate(tmp_path / "work" / "data" / "street", [0], height=32)
    text = said(*SMOKE, "--work", tmp_path / "work", "--stage", "slow", *changes())
    assert "64×128 pixels" in text and "(6, 32, 128, 3)" in text
    (tmp_path / "work" / "data" / "street" / "0000000" / "camera.json").write_text("{")
    fabricate(tmp_path / "other" / "data" / "street", [0])
    (tmp_path / "other" / "data" / "street" / "0000000" / "camera.json").write_text("{")
    assert "camera.json: expected JSON" in said(*SMOKE, "--work", tmp_path / "other", "--stage", "slow", *changes())


def test_no_configuration_no_plan_no_program(tmp_path, said, monkeypatch):
    assert "street.toml is one to start from" in said("train", "--config", tmp_path / "none.toml", "--work", tmp_path)
    assert "results.toml is one to start from" in said("results", "--plan", tmp_path / "none.toml", "--work", tmp_path, "--out", tmp_path)
    monkeypatch.setenv("MILAD_BIN", str(tmp_path / "none"))
    assert "set MILAD_BIN" in said(*SMOKE, "--work", tmp_path, "--stage", "data", *changes())
