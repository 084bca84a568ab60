"""RESULTS.md: what is in it, that it is the same from the same rows, that measuring goes on where it was, and that nothing is made up."""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import BUNDLES, ROOT
from milad_recipe.config import RecipeError
from milad_recipe.metrics import Quality, delta_mtl
from milad_recipe.results import ages, aims, card, command, document, engine, plan as plans, plots, rows
from milad_recipe.results.tables import KINDS, number, ratio_cells

PLAN = """
seeds = [2_000_000, 2_000_004]
frames = 20
engine = "onnxruntime"
latencies = [0, 2]

[street]
bundle = "{bundle}"
shifted = "street-shifted"
float = "whole"
plain = {{ "0.28" = "plain-28", "0.18" = "plain-18" }}
warping = "warping"
longer = "longer.onnx"
trained = "trained"
notes = ["Flow warping saw 2 samples."]
[street.adversary]
"without" = ["a0", "a1"]
"weight 0.005" = ["b0"]
"""


@pytest.fixture
def plan(tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.format(bundle=tmp_path / "shipped"))
    return plans.load(file, tmp_path / "work")


def _figures(miou, abs_rel, mean):
    return {
        "segmentation": {"miou": miou},
        "depth": {"abs_rel": abs_rel, "rmse": 3.0, "delta": 90.0},
        "normals": {"mean": mean, "median": 9.0, "within_11.25": 50.0, "within_22.5": 70.0, "within_30": 80.0},
    }


FIGURES = {"slow": (82.0, 0.1, 14.0), "mila": (80.0, 0.105, 14.35), "copy": (55.0, 0.2, 21.0), "fast": (70.0, 0.18, 18.0)}
FIGURES |= {"check": (80.0, 0.105, 14.35), "plain": (78.0, 0.12, 15.0), "warping": (79.8, 0.108, 14.6), "float": (82.4, 0.1, 14.0), "adversary": (79.0, 0.11, 15.0), "longer": (80.6, 0.1, 14.0)}
MACS = {"slow": 1.8e9, "mila": 0.5e9, "copy": 0.36e9, "fast": 0.14e9, "plain": 0.5e9, "warping": 0.52e9}


def _found(row):
    name = row.key.split("-")[0]
    figures = _figures(*FIGURES[name])
    return {
        "tasks": figures, "other_frames": figures, "streaming": figures, "ages": {str(row.latency): figures, str(row.latency + 1): figures},
        "consistency": 88.0, "classes": {"segmentation": {"road": 95.0, "sky": None}}, "clips": 4, "frames": 72,
        "macs": {"slow": 1.8e9, "fast": 1.4e8, "mean": MACS.get(name, 0.5e9)},
    }  # fmt: skip


def _states(row):
    random = np.random.default_rng(len(str(row.bundle)) + ord(str(row.bundle)[-1]))
    clips = []
    for _ in range(4):
        quality = Quality(KINDS, 2)
        truth = {"segmentation": random.integers(0, 2, (4, 5)).astype(np.uint8), "depth": random.uniform(1, 9, (4, 5)).astype(np.float32)}
        truth["normals"] = np.broadcast_to(np.array([0, 0, -1], np.float32)[:, None, None], (3, 4, 5))
        quality.add({"segmentation": truth["segmentation"], "depth": truth["depth"] * 1.1, "normals": truth["normals"]}, truth)
        clips.append(quality.state())
    return np.stack(clips)


def _text(plan, find, pictures=lambda name: None):
    return document.text(plan, find, _states, pictures)


def test_the_document_says_what_was_measured(plan):
    text = _text(plan, _found, lambda name: f"results/{name}.png")
    assert text == _text(plan, _found, lambda name: f"results/{name}.png")
    assert "4 clips of 20 frames, seeds 2000000 to 2000003" in text
    assert "| **MILA as shipped** | 80.0 | 0.105 | 14.35 | 0.500 | 97.6 | 1.05 | 1.02 | 72.2 | −3.3 |" in text
    assert "### Interval 10, latency 4, shifted: never trained on" in text
    assert "| slow network, mIoU | ≥ 80 | 82.0 | met |" in text
    assert "| interval 5, latency 2: mIoU of the slow network's | ≥ 0.97 × | 0.976 | met |" in text
    assert "| interval 10, latency 4: MACs of the slow network's | ≤ 0.2 × | 0.278 | **not met** |" in text
    assert "| interval 5, latency 2: better than flow warping on every task | 3 of 3 | 2 of 3 (AbsRel, normals; a tie: mIoU) | **not met** |" in text
    assert "better than the plain network of equal mean cost on every task | 3 of 3 | 3 of 3 | met |" in text
    assert "| slow network: mIoU that int8 costs | ≤ 0.5 | 0.40 | met |" in text
    assert "![street: quality against MACs](results/street-macs.png)" in text and "(results/street-strip.png)" in text
    assert "at most 0.5 mIoU, 0.001 AbsRel or 0.1° apart none is called better" in text and "- Flow warping saw 2 samples.\n" in text
    rivals = text.partition("### MILA less its rivals")[2].partition("###")[0]
    assert "| flow warping in ILA's place |" in rivals and rivals.count("| plain network") == 2 and "Δ AbsRel" in rivals
    assert "| weight 0.005, seed 1 |" in text and "[0.00, 0.00]" in text
    for world in plan.worlds:
        assert str(world.bundle.parent) not in text


def test_what_was_not_measured_is_said_to_be_so(plan):
    nothing = _text(plan, lambda row: None)
    assert "| met |" not in nothing and "not met" not in nothing and "not measured" in nothing and ".png" not in nothing
    assert "| **MILA as shipped** (not measured) | – | – | – | – |" in nothing
    without = _text(plan, lambda row: None if row.key.startswith(("plain", "adversary", "float", "check")) else _found(row))
    assert "| plain network on every frame, 0.28 of slow's MACs (not measured) | – |" in without
    assert "better than the plain network of equal mean cost on every task | 3 of 3 | – | not measured |" in without
    dearer = _text(plan, lambda row: _found(row) | ({"macs": {"slow": 1.8e9, "fast": 0.0, "mean": 0.6e9}} if row.key.startswith("plain") else {}))
    assert "better than the plain network of equal mean cost on every task | 3 of 3 | – | not measured |" in dearer, "another cost is no equal one"
    assert "### Adversarial alignment\n\nNot measured." in without and "float, by onnxruntime" not in without


def test_ratios_are_to_the_slow_network_on_the_same_frames(plan):
    world = plan.worlds[0]
    for at in plans.OPERATING:
        table = plans.main_rows(plan, world, "street", *at)
        assert {(row.interval, row.latency) for row in table.values()} == {at}
        assert {row.world for row in table.values()} == {"street"}
    found, base = _found(table["mila"]), _found(table["slow"])
    main = {"segmentation": 80.0, "depth": 0.105, "normals": 14.35}
    delta = delta_mtl(main, {"segmentation": 82.0, "depth": 0.1, "normals": 14.0}, KINDS)
    assert ratio_cells(found, base) == ["97.6", "1.05", "1.02", "72.2", number(delta, 1, sign=True)]
    assert ratio_cells(found, None) == ["–"] * 5


def test_the_setting_without_is_paired_by_seed(plan):
    """Where its first training was not measured the others keep their place, and where none was there is no difference at all."""
    first = _text(plan, lambda row: None if row.key == "adversary-0-0" else _found(row))
    assert "| weight 0.005, seed 1 | 79.0 | 0.110 | 15.00 | – | – | – |" in first and "| without, seed 2 |" in first
    none = _text(plan, lambda row: None if row.key.startswith("adversary-0") else _found(row))
    assert "without, seed" not in none


def test_a_world_alone_keeps_the_others_only_under_the_same_rules(plan):
    text = _text(plan, _found)
    other = text.replace("## street", "## garden")
    assert document.in_place(other, text).count("\n## ") == 2
    with pytest.raises(RecipeError, match="measure garden anew"):
        document.in_place(other.replace("4 clips of 20", "3 clips of 20"), text)


def test_aims_of_an_unknown_world_are_the_ratios_alone(plan):
    other = plans.World("garden", plan.worlds[0].bundle)
    assert "slow network, mIoU" not in "".join(aims.section(plan, other, _found))


@pytest.mark.parametrize("value, digits, text", [(None, 1, "–"), (float("nan"), 1, "–"), (-0.04, 1, "0.0"), (-1.25, 2, "−1.25"), (3.0, 1, "3.0")])
def test_numbers(value, digits, text):
    assert number(value, digits) == text


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("2_000_000,", "1_999_999,", ["reporting seeds", "2000000", "1999999"]),
        ('"onnxruntime"', '"tract"', ["engine", "'tract'"]),
        ("frames = 20\n", "", ["`frames`"]),
        ("warping =", "wraping =", ["street", "wraping", "warping"]),
        ("bundle = ", "bundel = ", ["street", "bundle"]),
        ('"0.18" =', '"a fifth" =', ["street", "plain", "shares", "'a fifth'"]),
        ('notes = ["Flow warping saw 2 samples."]', "notes = 3", ["street", "notes", "sentences", "3"]),
        ('"0.18" =', '"18" =', ["street", "plain", "shares", "'18'"]),
        ('bundle = "x"', "bundle = 3", ["street: bundle", "path", "3"]),
        ('float = "whole"', "float = 3", ["street: float", "path", "3"]),
        ('shifted = "street-shifted"', "shifted = []", ["street: shifted", "[]"]),
        ('plain = { "0.28" = "plain-28", "0.18" = "plain-18" }', "plain = 3", ["street: plain", "table", "3"]),
        ('"0.28" = "plain-28"', '"0.28" = 3', ["street: plain", "paths", "3"]),
        ('"weight 0.005" = ["b0"]', '"weight 0.005" = "b0"', ["street: adversary", "lists", "b0"]),
        ('[street.adversary]\n"without" = ["a0", "a1"]\n"weight 0.005" = ["b0"]\n', 'adversary = "x"', ["street: adversary", "table", "'x'"]),
        ("frames = 20", "frames = 0", ["frames", "found 0"]),
        ("frames = 20", 'frames = "20"', ["frames", "'20'"]),
        ("frames = 20", "frames = 4", ["frames", "latency, 4"]),
        ("latencies = [0, 2]", "latencies = [-1]", ["latencies", "[-1]"]),
        ("[2_000_000, 2_000_004]", "2_000_000", ["seeds", "2000000"]),
        ("[street]", "[street", ["expected TOML"]),
    ],
)
def test_a_wrong_plan_is_one_sentence(tmp_path, old, new, words):
    file = tmp_path / "plan.toml"
    text = PLAN.format(bundle="x")
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(RecipeError) as error:
        plans.load(file, tmp_path)
    assert "expected" in str(error.value) and "found" in str(error.value) and "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value
    with pytest.raises(RecipeError, match="found"):
        plans.load(tmp_path / "nothing.toml", tmp_path)
    file.write_bytes(text.encode() + b"# \xff\n")
    with pytest.raises(RecipeError, match="expected TOML, found .*utf-8"):
        plans.load(file, tmp_path)
    file.write_text(text.partition("[street]")[0])
    with pytest.raises(RecipeError, match="expected a table for each world, found none"):
        plans.load(file, tmp_path)


@pytest.mark.parametrize("missing, cards", [(".", False), ("slow.onnx", False), ("fast.onnx", False), ("bundle.toml", False), ("CARD.md", True)])
@pytest.mark.parametrize("only_write", [True, False])
def test_what_ships_must_be_there_before_anything_is_written(plan, counted, tmp_path, missing, cards, only_write):
    bundle = plan.worlds[0].bundle
    shutil.rmtree(bundle) if missing == "." else (bundle / missing).unlink()
    arguments = argparse.Namespace(plan=tmp_path / "plan.toml", work=tmp_path / "work", out=tmp_path / "out", world=[], jobs=1, only_write=only_write)
    arguments.cards, arguments.no_pictures = cards, True
    with pytest.raises(RecipeError, match=f"expected the bundle that street ships, found no {'bundle.toml' if missing == '.' else missing}; "):
        command.run(arguments)
    assert not counted and not (tmp_path / "work").exists() and not (tmp_path / "out").exists()


@pytest.fixture
def counted(plan, monkeypatch):
    """A plan whose shipped bundle alone is there, and the rows that are measured, by a stand-in."""
    shutil.copytree(BUNDLES / "plain", plan.worlds[0].bundle)
    done = []

    def evaluate(bundle, config, work):
        if "states" in config:
            np.save(config["states"], np.zeros((2, 3)))
        done.append((config["world"], config["mode"], config["interval"], config["latency"]))
        return _found(plans.Row(config["mode"], "", config["world"], bundle, config["mode"], config["interval"], config["latency"]))

    monkeypatch.setattr(rows, "evaluate", evaluate)
    monkeypatch.setattr(engine, "evaluate", evaluate)
    return done


def test_measuring_goes_on_where_it_was(plan, counted, tmp_path):
    work = tmp_path / "work"
    wanted = [row for row in plans.all_rows(plan) if rows.there(row)]
    assert len({(row.world, row.key) for row in wanted}) == len(wanted) > 10
    for row in wanted[:5]:
        rows.measure(plan, row, work)
    assert len(counted) == 5
    unfinished = work / "results" / wanted[5].world / f"{wanted[5].key}.json"
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.write_text('{"tasks": {')
    for row in wanted:
        rows.measure(plan, row, work)
    assert len(counted) == len(wanted)
    assert all(rows.kept(plan, row, work) == rows.measure(plan, row, work) for row in wanted) and len(counted) == len(wanted)
    # Another fast network: everything that it has a part in is measured anew, and nothing else.
    (plan.worlds[0].bundle / "fast.onnx").write_bytes((BUNDLES / "fast-keys" / "fast.onnx").read_bytes())
    assert {row.mode for row in wanted if rows.kept(plan, row, work)} == {"slow", "copy"}
    assert {row.mode for row in wanted if not rows.kept(plan, row, work)} == {"mila", "fast"}


def test_a_plain_network_is_one_file_described_by_the_shipped_bundle(plan, counted, monkeypatch, tmp_path):
    world = plan.worlds[0]
    network = tmp_path / "plain.onnx"
    plain = plans.main_rows(plan, plans.replace(world, plain={"0.3": network}), "street", 5, 2)["plain-0.3"]
    assert not rows.there(plain)
    network.write_bytes((BUNDLES / "fast-keys" / "slow.onnx").read_bytes())
    seen = {}
    at_ten = plans.main_rows(plan, plans.replace(world, plain={"0.3": network}), "street", 10, 4)["plain-0.3"]
    assert (plain.busy, at_ten.busy) == (1, 2)  # 0.6 and 1.2 frames: it is as much quicker as it is smaller

    def evaluated(bundle, config, work):
        seen.update({p.name: p.read_bytes() for p in bundle.iterdir()})
        assert config["busy"] == 1
        return _found(plain)

    monkeypatch.setattr(rows, "evaluate", evaluated)
    assert rows.there(plain) and rows.measure(plan, plain, tmp_path)["tasks"]["segmentation"]["miou"] == 78.0
    assert seen == {"bundle.toml": (world.bundle / "bundle.toml").read_bytes(), "slow.onnx": network.read_bytes()}


def test_a_card_gets_its_figures_and_keeps_its_words(plan, counted):
    world = plan.worlds[0]
    before = (world.bundle / "CARD.md").read_text()
    card.write(plan, world, _found)
    once = (world.bundle / "CARD.md").read_text()
    card.write(plan, world, _found)
    assert (world.bundle / "CARD.md").read_text() == once
    assert once.startswith(before.rstrip()) and once.count(card.TITLE) == 1
    assert "| as shipped, interval 5, latency 2 | 80.0 | 0.105 | 14.35 | 0.500 |" in once and "latency 4, shifted |" in once
    assert "4 rendered clips of 20 frames" in once
    (world.bundle / "CARD.md").unlink()
    with pytest.raises(RecipeError, match="expected the card.*found none"):
        card.write(plan, world, _found)


def test_the_plan_that_is_kept_can_be_read(tmp_path):
    plan = plans.load(ROOT / "models" / "recipe" / "results.toml", tmp_path)
    assert [world.name for world in plan.worlds] == ["street", "room"] and plan.frames % 10 == 0
    assert {row.world for row in plans.all_rows(plan)} == {"street", "street-shifted", "room", "room-shifted"}


def test_kept_rivals_are_found_unless_the_work_folder_has_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    read = lambda: plans.load(Path("models/recipe/results.toml"), tmp_path).worlds[1]  # noqa: E731
    room = read()
    kept = [row for rows_of in plans.adversary_rows(room).values() for row in rows_of]
    assert len(kept) == 13 and all(rows.there(row) for row in kept)
    assert (room.warping / "slow.onnx").read_bytes() == Path("models/room/slow.onnx").read_bytes()
    assert room.longer == tmp_path / "room-longer/slow/slow-int8.onnx", "what is nowhere is looked for in the work folder"
    (tmp_path / "room-warping/bundle").mkdir(parents=True)
    assert read().warping == tmp_path / "room-warping/bundle"


def test_the_command_writes_what_is_there(plan, counted, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    for row in plans.all_rows(plan):
        if rows.there(row):
            rows.measure(plan, row, work)
    command.write(plan, work, out)
    text = (out / "RESULTS.md").read_text()
    assert "| **MILA as shipped** | 80.0 | 0.105 | 14.35 |" in text and "flow warping in ILA's place (not measured)" in text
    assert sorted(path.name for path in out.iterdir()) == ["RESULTS.md"]


def test_one_world_is_written_anew_and_the_others_stay(plan, counted, tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"
    other = dataclasses.replace(plan, worlds=(dataclasses.replace(plan.worlds[0], name="garden"),))
    command.write(dataclasses.replace(plan, worlds=(*plan.worlds, *other.worlds)), work, out)
    before = (out / "RESULTS.md").read_text()
    assert before.count("(not measured)") > 10 and "\n## garden\n" in before
    command.write(other, work, out, keep=True)
    assert (out / "RESULTS.md").read_text() == before, "the same figures, the same bytes"
    for row in plans.all_rows(plan):
        if rows.there(row):
            rows.measure(plan, row, work)
    command.write(plan, work, out, keep=True)
    introduction, street, garden = (out / "RESULTS.md").read_text().split("\n## ")
    assert street.startswith("street\n") and "| **MILA as shipped** | 80.0 | 0.105 | 14.35 |" in street
    assert [introduction, garden] == [before.split("\n## ")[i] for i in (0, 2)]
    arguments = argparse.Namespace(plan=tmp_path / "plan.toml", work=work, out=out, world=["meadow"])
    with pytest.raises(RecipeError, match="--world: expected worlds of .*, found meadow; name some of street"):
        command.run(arguments)


def test_plots_are_the_same_bytes_every_time(plan, tmp_path):
    pytest.importorskip("matplotlib")
    made = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        assert plots.draw(plan, plan.worlds[0], _found, folder) == ["street-age", "street-macs"]
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1] and len(made[0]) == 2
    assert plots.draw(plan, plan.worlds[0], lambda row: None, tmp_path) == []
    points = ages.by_age(plan, plan.worlds[0], _found)["mila"]
    assert [age for age, _ in points] == [0, 1, 2, 3]


def test_an_age_is_taken_from_the_smallest_latency_that_reaches_it(plan):
    def find(row):
        """Each latency reaches the interval's five ages from its own on; mIoU tells the latency."""
        return {"ages": {str(row.latency + later): _figures(row.latency, 0.1, 14.0) for later in range(row.interval)}}

    plan = dataclasses.replace(plan, latencies=(0, 2, 3))
    points = ages.by_age(plan, plan.worlds[0], find)
    for mode in ("mila", "copy"):
        assert [(age, figures["segmentation"]) for age, figures in points[mode]] == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 2), (6, 2), (7, 3)]
    without = ages.by_age(plan, plan.worlds[0], lambda row: None if row.latency == 0 else find(row))["mila"]
    assert [(age, figures["segmentation"]) for age, figures in without] == [(2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (7, 3)]


def test_a_report_of_milad_eval_is_brought_to_the_same_table():
    quality = {
        "frames": 9,
        "tasks": [
            {"name": "segmentation", "kind": "segmentation", "pixels": 5, "miou": 0.5, "classes": [{"name": "road", "iou": 0.25, "predicted": [1]}]},
            {"name": "depth", "kind": "depth", "pixels": 5, "abs_rel": 0.1, "rmse_m": 2.0, "within_1_25": 0.9},
            {"name": "normals", "kind": "normals", "pixels": 0, "mean_deg": None, "median_deg": None, "within_11_25_deg": None,
             "within_22_5_deg": None, "within_30_deg": None},
            {"name": "features", "kind": "raw"},
        ],
    }  # fmt: skip
    report = {"bundle": "street", "mode": "mila", "interval": 5, "latency": 2, "depth_cap_m": 80.0, "clips": 1, "frames": 12, "scored_frames": 9}
    report |= {"all": quality, "non_key": quality, "streaming": quality, "by_age": [quality | {"age": 3}]}
    report |= {"consistency": [{"task": "segmentation", "pixels": 4, "miou": 0.75}]}
    report |= {"cost": {"slow_macs": 10, "fast_macs": 2, "prelude_macs": 0, "macs_per_frame": 4.0, "ratio": 0.4}}
    found = engine.converted(json.loads(json.dumps(report)))
    assert found["tasks"]["segmentation"] == {"miou": 50.0} and found["tasks"]["depth"] == {"abs_rel": 0.1, "rmse": 2.0, "delta": 90.0}
    assert found["ages"]["3"]["normals"]["mean"] is None and "features" not in found["tasks"]
    assert found["classes"] == {"segmentation": {"road": 25.0}} and found["consistency"] == 75.0 and found["frames"] == 9
    assert found["macs"] == {"slow": 10, "fast": 2, "mean": 4.0}


def test_a_strip_shows_truth_and_answers_in_the_bundles_colours(tmp_path):
    from PIL import Image

    from milad_recipe.datasets import open_clips
    from milad_recipe.pictures import pictures
    from milad_recipe.results import strips
    from milad_recipe.sequence import Networks

    frames, (height, width) = 24, (32, 64)
    folder = tmp_path / "clips" / "0000001"
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    arrays = {"rgb": pictures(height, width, frames), "class": random.integers(0, 4, (frames, height, width)).astype(np.uint8)}
    arrays |= {"depth": np.full((frames, height, width), 9, np.float16), "normals": np.zeros((frames, 3, height, width), np.int8)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (clip,) = open_clips(f"packed:{tmp_path / 'clips'}")
    strips.strip(BUNDLES / "plain", clip, tmp_path / "strip.png")
    sheet = np.asarray(Image.open(tmp_path / "strip.png"))
    step, top = width + strips.MARGIN, strips.HEADER
    assert sheet.shape == (top + 6 * (height + strips.MARGIN), 5 * step, 3)
    # Frames 14 and 23; three rows each; the second column is truth, the first of the second row the keyframe's picture.
    classes = Networks(BUNDLES / "plain").tasks[0]["classes"]
    colours = np.array([list(bytes.fromhex(entry["color"][1:])) for entry in classes], np.uint8)
    for i, frame in enumerate((14, 23)):
        row = top + 3 * i * (height + strips.MARGIN)
        # Below the label, which is wider than so small a picture.
        assert np.array_equal(sheet[row + 16 : row + height, step : step + width], colours[arrays["class"][frame]][16:])
        row += height + strips.MARGIN
        assert np.array_equal(sheet[row : row + height, :width], arrays["rgb"][10])


def test_whether_the_slow_network_is_trained_enough(plan):
    world = plan.worlds[0]
    text = _text(plan, _found)
    assert "| samples seen by the slow network | ≥ the fast one's | – | not measured |" in text
    assert "| half as many samples again: mIoU the slow network gains | < 0.5 | −1.40 | met |" in text, "80.6 against 82.0 by the same engine"
    assert "### Is the slow network trained enough?" in text and "| slow network, half as many samples again | 80.6 | 0.100 | 14.00 |" in text
    for stage, samples in (("slow", 100_000), ("fast", 100_032)):
        (world.trained / stage).mkdir(parents=True)
        lines = [json.dumps({"step": 1, "samples": 64}), json.dumps({"step": 2, "samples": samples, "validation": {}}), '{"torn']
        (world.trained / stage / "log.jsonl").write_text("\n".join(lines))
    assert "| samples seen by the slow network | ≥ 100,032 | 100,000 | **not met** |" in _text(plan, _found)
    assert "### Is the slow network" not in _text(plan, lambda row: None if row.key.startswith("longer") else _found(row))


def test_a_float_network_made_of_a_shipped_one_is_called_that(plan):
    world = plan.worlds[0]
    (world.trained / "slow").mkdir(parents=True)
    assert "| slow network: mIoU that int8 costs |" in _text(plan, _found)
    (world.trained / "slow" / "log.jsonl").write_text('{"adopted": true, "samples": 500}\n')
    text = _text(plan, _found)
    assert "| slow network: mIoU that 8-bit activations cost |" in text
    assert "| MILA: mIoU that 8-bit activations and weights of the fast network cost |" in text
    for network in ("slow network", "MILA"):
        assert f"| {network}, float but for the weights of the slow network, by onnxruntime |" in text
    assert ", float, by" not in text
    (world.trained / "fast").mkdir()
    (world.trained / "fast" / "log.jsonl").write_text('{"adopted": true, "samples": 500}\n')
    text = _text(plan, _found)
    assert "| MILA: mIoU that 8-bit activations cost |" in text and "of the fast network cost" not in text
    assert "| slow network, float but for the weights of the slow network, by" in text and "| MILA, float but for the weights of the slow and the fast network, by" in text


def test_the_longer_network_is_compared_by_one_engine(plan):
    """The program and onnxruntime differ by a few tenths: what judges the longer network must judge the shipped one as well."""
    from dataclasses import replace

    text = _text(replace(plan, engine="milad"), _found)
    assert "| half as many samples again: mIoU the slow network gains | < 0.5 | +0.60 | **not met** |" in text, "80.6 against check's 80.0"


def test_quality_by_age_is_a_table(plan):
    text = _text(plan, _found)
    section = text[text.index("### By the keyframe's age") :]
    ages = [line.split("|")[1].strip() for line in section.splitlines()[4:] if line.startswith("| ") and line[2].isdigit()][:4]
    assert ages == ["0", "1", "2", "3"]
    assert "| 0 | 80.0 | 0.105 | 14.35 | 55.0 | 0.200 | 21.00 | – | – | – |" in section
