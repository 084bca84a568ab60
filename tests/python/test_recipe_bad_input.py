"""What a user gets wrong, through the command line: one sentence that says what was expected, what was found, what to do; nothing half-written left."""

import dataclasses
import sys
import typing

import numpy as np
import pytest
from PIL import Image

from conftest import BUNDLES
from milad_recipe import bundle, checkpoint, config, limits, stage_export, stage_fast, stage_quantise_slow, stage_slow
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
    made_of = {}
    for name, stage in (("slow", stage_slow), ("fast", stage_fast)):
        weights = stage.network(chosen).state_dict()
        state = {"stage": name, "step": 0, "samples": 0, "before": 0, "elapsed": 0.0, "done": True, "network": weights, "average": weights} | made_of
        checkpoint.save(stage.folder(tmp_path) / "checkpoint.pt", chosen.digest(*stage.PARTS), state)
        made_of[name] = checkpoint.fingerprint(state)
        checkpoint.sign(stage.folder(tmp_path), **made_of)
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
    before = {path: path.read_bytes() for path in stage_slow.folder(work).iterdir()}
    monkeypatch.setattr(stage_quantise_slow.quantise, "quantise", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        stage_quantise_slow.run(chosen, work)
    assert {path: path.read_bytes() for path in stage_slow.folder(work).iterdir()} == before


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


@pytest.mark.parametrize("change", """
    world=street-shifted  world=room-shifted  name=  name=a/b  name=ä  predict=[]
    width=0  width=72  height=16  height=8208  interval=0  interval=1001  calibration=0  evaluate_clips=0
    data.train=[0,1000001]  data.train=[-1,5]  data.train=[5,5]  data.train=[6,5]  data.train=[1,2,3]
    data.tune=[999999,1000001]  data.tune=[1000000,2000001]  data.tune=[1000000,1000000]  data.tune=[0,6]
    data.frames=1  data.at_least=0  data.near=0  data.near=-1.0  data.near=80  data.far=inf  data.far=nan  data.far=0.1
    augment.gain=-0.1  augment.noise=nan  augment.flip=1  losses.depth=-1  losses.rare=inf  losses.sky=nan
    slow.training.samples=0  slow.training.minutes=-1  slow.training.minutes=inf  slow.training.batch=0  slow.training.rate=-1e-3
    slow.training.rate=nan
    slow.training.weight_decay=-0.1  slow.training.warm_up=1.0  slow.training.warm_up=-0.1  fast.training.average=1  fast.training.average=-1
    fast.training.clip=0  fast.training.workers=-1  fast.training.seed=-1  fast.training.seed=9223372036854775808  fast.training.validate_every=0
    slow.transport=1.1  slow.sizes.stem=0  slow.sizes.stem=100000  slow.sizes.channels=[16,32]
    slow.sizes.channels=[16,32,0]  slow.sizes.channels=[]
    slow.sizes.blocks=[1,1]  slow.sizes.blocks=[1,0,1]  slow.sizes.blocks=[1,1,-1]
    slow.sizes.dilations=[]  slow.sizes.dilations=[0]  slow.sizes.decoder=-1  slow.sizes.feature=0
    slow.sizes.trunk=0  fast.sizes.channels=[16,32,48]  fast.sizes.channels=[-16,32]  fast.sizes.blocks=[1]  fast.sizes.blocks=[1,0.5]
    fast.sizes.query=0  fast.sizes.hidden=0  fast.sizes.radius=-1  fast.sizes.radius=65  fast.sizes.keyframes=0
    fast.sizes.propagation=warp  fast.sizes.keys=both  fast.values=int4  fast.adversary.on=keys  fast.adversary.channels=0
    fast.adversary.start=1.5  fast.adversary.weight=-1  fast.adversary.rate=inf  fast.losses.key_dropout=-0.1  fast.losses.feature=nan
    fast.ages.near=0  fast.ages.near=9  fast.ages.near_share=2  fast.ages.frames_per_keyframe=0  fast.heads_rate=-1  fast.early_rate=nan
""".split())  # fmt: skip
def test_a_value_out_of_its_limits(tmp_path, said, change):
    text = said("train", "--config", RECIPE / "smoke.toml", "--work", tmp_path / "work", "--set", change)
    key = change.partition("=")[0]
    assert text.startswith(f"milad_recipe: {RECIPE / 'smoke.toml'}: {'data.near' if change == 'data.far=0.1' else key}: expected "), text
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("losses", ['predict=["segmentation"]', "losses.segmentation=0", "losses.jaccard=0"]),
        ("fast.losses", ['predict=["segmentation"]', "fast.losses.segmentation=0"]),
        ("fast.sizes.keys", ["fast.sizes.propagation=flow", "fast.sizes.keys=slow"]),
        ("fast.adversary.on", ["fast.adversary.on=projected"]),
        ("fast.adversary.on", ["fast.adversary.on=projected", "fast.sizes.keys=slow", "fast.sizes.propagation=none"]),
    ],
)
def test_values_that_do_not_go_together(tmp_path, said, key, changes):
    text = said(*SMOKE, "--work", tmp_path / "work", *(part for change in changes for part in ("--set", change)))
    assert f"smoke.toml: {key}: expected" in text


def test_every_number_and_word_has_limits_and_their_ends_are_accepted():
    for kind, allowed in limits.LIMITS.items():
        hints = typing.get_type_hints(getattr(config, kind))
        plain = {name for name, hint in hints.items() if (typing.get_args(hint) or (hint,))[0] in (int, float, str)}
        assert plain - allowed.keys() <= {"world", "predict", "train", "tune"} and allowed.keys() <= plain, kind
    fields = [field for kind in limits.LIMITS for field in dataclasses.fields(getattr(config, kind))]
    tables = {field.default_factory.__name__ for field in fields if dataclasses.is_dataclass(field.default_factory)}
    assert tables | {"Config"} == {*limits.LIMITS}
    config.load(
        RECIPE / "smoke.toml",
        [
            "data.train=[0,1000000]", "data.tune=[1000000,2000000]", "slow.training.rate=0.0", "slow.training.rate=0", "slow.training.warm_up=0",
            "fast.training.average=0.9999", "fast.sizes.radius=0", "fast.sizes.blocks=[0,0]", "slow.sizes.blocks=[0,1,1]", "width=32", "height=8192",
            "interval=1000", "fast.ages.near=8",
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name.x=1", "--set name.x=1: expected name to be a table, found 'smoke'"),
        ("slow.training.batch.x=1", "expected batch to be a table, found 16"),
        ("name={x=1}", "name: expected str, found {'x': 1}"),
        ("slow=1", "slow: expected a table, found 1"),
    ],
)
def test_a_table_where_a_value_is(tmp_path, said, change, message):
    assert message in said(*SMOKE, "--work", tmp_path, "--set", change)


def test_a_configuration_that_is_no_text_and_a_work_folder_that_is_none(tmp_path, said):
    assert f"{tmp_path}: expected a configuration file, found Is a directory" in said("train", "--config", tmp_path, "--work", tmp_path)
    (tmp_path / "file").write_bytes(b'name = "\xff"')
    assert "file: expected TOML in UTF-8" in said("train", "--config", tmp_path / "file", "--work", tmp_path)
    assert "street.toml is one to start from" in said("train", "--config", tmp_path / "file" / "x", "--work", tmp_path)
    for work in (tmp_path / "file", tmp_path / "file" / "x"):
        commands = (SMOKE, ["adopt", "--config", RECIPE / "smoke.toml", "--bundle", BUNDLES / "plain"], ["evaluate", "--bundle", BUNDLES / "plain"])
        for command in commands:
            assert f"--work {work}: expected a folder, found that {tmp_path / 'file'} is none" in said(*command, "--work", work)
