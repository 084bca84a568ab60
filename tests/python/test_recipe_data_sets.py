"""Training on data sets that lack some of the truth: packing them, losses where there is truth alone, and all stages end to end."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from conftest import ROOT
from milad_recipe import config, data, losses, packing, stage_data, stage_evaluate, stage_export, stage_fast, stage_quantise_fast, stage_quantise_slow, stage_slow
from milad_recipe.config import RecipeError
from milad_recipe.validation import Scores

RECIPE = ROOT / "models" / "recipe"
CLASSES = ("road", "car", "sky", "moon")
TASKS = {"segmentation": 8, "depth": 1, "normals": 3}


def clips(root, names, frames=6, labelled=(3, 5), height=96, width=160, depth=True):
    """A plain folder of clips with classes and depth at some frames, never normals; a column of each frame is unlabelled."""
    for number, name in enumerate(names):
        place, random = root / name, np.random.default_rng(number)
        place.mkdir(parents=True)
        for frame in range(frames):
            category = random.integers(0, 4, (height // 32, width // 32)).repeat(32, 0).repeat(32, 1).astype(np.uint8)
            Image.fromarray(np.stack([category * 60] * 3, 2)).save(place / f"{frame:06}.rgb.png")
            if frame in labelled:
                category[:, :8] = 255
                Image.fromarray(category).save(place / f"{frame:06}.class.png")
                if depth:
                    metres = np.where(category == 2, np.inf, 5.0 + category).astype(np.float32)
                    metres[:, -8:] = np.nan
                    np.save(place / f"{frame:06}.depth.npy", metres)
        (place / "camera.json").write_text(json.dumps({"intrinsics": [160.0, 160.0, 80.0, 48.0], "classes": list(CLASSES)}))
    return f"folder:{root}"


def settings(tmp_path, *changes, **kinds):
    train, tune = clips(tmp_path / "train", ("a", "b", "c"), **kinds), clips(tmp_path / "tune", ("d",), **kinds)
    given = [f"data.train_from={train}", f"data.tune_from={tune}", 'predict=["segmentation", "depth"]', "calibration=4"]
    given += [f"{network}.training.{key}" for network in ("slow", "fast") for key in ("workers=1", "samples=16")]
    return config.load(RECIPE / "smoke.toml", given + list(changes))


def test_a_data_set_is_packed_at_the_networks_size(tmp_path):
    chosen = settings(tmp_path)
    stage_data.run(chosen, tmp_path)
    found = stage_data.opened(chosen, tmp_path, chosen.data.train)
    assert sorted(found) == [0, 1, 2] and list(stage_data.opened(chosen, tmp_path, chosen.data.tune)) == [1_000_000]
    clip = found[0]
    assert clip.rgb.shape == (6, 64, 128, 3) and clip.labelled == [3, 5]
    assert (clip.category(0) == 255).all() and np.isnan(clip.depth[0]).all() and not clip.normals.any()
    category = clip.category(3)
    known = np.asarray(Image.open(tmp_path / "train" / "a" / "000003.class.png"))[::3, ::5]
    for theirs, ours in ((0, 0), (1, 6), (2, 7), (3, 255), (255, 255)):  # road, car → vehicle, sky; the moon is unknown in streets
        assert set(np.unique(category[np.repeat(np.repeat(known == theirs, 2, 0), 4, 1)])) <= {ours, *np.unique(category)}
    assert set(np.unique(category)) <= {0, 6, 7, 255} and (category[:, :6] == 255).all()
    assert np.isinf(clip.depth[3][category == 7][:, None]).mean() > 0.8 and np.isnan(clip.depth[3][:, -6:]).all()
    camera = json.loads((clip.folder / "camera.json").read_text())
    assert camera["intrinsics"] == pytest.approx([128.0, 160 * 64 / 96, 64.0, 32.0])
    assert not [path for path in stage_data.folder(chosen, tmp_path).iterdir() if path.name.startswith(".")]


def test_another_data_set_is_packed_apart(tmp_path):
    """What was packed of one is never taken for another."""
    chosen = settings(tmp_path)
    stage_data.run(chosen, tmp_path)
    shutil.copytree(tmp_path / "train", tmp_path / "other")
    for picture in (tmp_path / "other").rglob("*.rgb.png"):
        Image.fromarray(255 - np.asarray(Image.open(picture))).save(picture)
    other = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, train_from=f"folder:{tmp_path / 'other'}"))
    stage_data.run(other, tmp_path)
    ours, theirs = (stage_data.opened(each, tmp_path, each.data.train)[0].rgb.astype(int) for each in (chosen, other))
    assert np.abs(ours - (255 - theirs)).max() <= 1


def test_every_stage_runs_on_a_data_set_with_gaps(tmp_path):
    chosen = settings(tmp_path)
    for stage in (stage_data, stage_slow, stage_quantise_slow, stage_fast, stage_quantise_fast, stage_export, stage_evaluate):
        stage.run(chosen, tmp_path)
    for line in (tmp_path / "slow" / "log.jsonl").read_text().splitlines() + (tmp_path / "fast" / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        assert all(math.isfinite(value) for value in (*entry.get("losses", {}).values(), *entry.get("validation", {}).values()))
        assert not any(name.startswith("normals") for name in entry.get("validation", {}))
    toml, card = ((tmp_path / "bundle" / name).read_text() for name in ("bundle.toml", "CARD.md"))
    assert 'name = "normals"' not in toml and 'name = "depth"' in toml and "data set** (`folder`" in card and "rendered" not in card + toml
    assert str(tmp_path) not in toml + card
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert 0 <= found["bundle"]["mila 5 2"]["tasks"]["segmentation"]["miou"] <= 100


def test_pairs_end_at_frames_with_truth(tmp_path):
    chosen = settings(tmp_path)
    stage_data.run(chosen, tmp_path)
    available = list(stage_data.opened(chosen, tmp_path, chosen.data.train).values())
    batch = data.pairs(data.Reader(chosen, [1], None), available, 12, chosen.fast.ages, 1)
    assert (batch.truth.category < 255).flatten(1).any(1).all(), "every current frame has truth"
    assert batch.age.min() >= 1 and len(set(batch.age.flatten().tolist())) > 2
    _, truth = data.single_frames(data.Reader(chosen, [1], None), available, 12)
    assert (truth.category < 255).flatten(1).any(1).all()


def test_single_pictures_train_the_slow_network_alone(tmp_path):
    chosen = settings(tmp_path, frames=1, labelled=(0,))
    stage_data.run(chosen, tmp_path)
    stage_slow.run(chosen, tmp_path)
    available = list(stage_data.opened(chosen, tmp_path, chosen.data.train).values())
    with pytest.raises(RecipeError, match="stage fast needs video") as raised:
        data.pairs(data.Reader(chosen, [1], None), available, 1, chosen.fast.ages, 1)
    assert "\n" not in str(raised.value)


def random_truth(batch=2, height=32, width=64):
    normals = F.normalize(torch.randn(batch, 3, height, width), dim=1)
    depth = torch.rand(batch, height, width) * 3
    return data.Truth(torch.randint(8, (batch, height, width)), depth, torch.rand(batch, height, width) < 0.2, normals)


def test_losses_on_whole_truth_are_the_textbook_ones():
    torch.manual_seed(1)
    truth, weights = random_truth(), torch.rand(8) + 0.5
    outputs = {f"task.{name}": torch.randn(2, channels, 8, 16) for name, channels in TASKS.items()}
    torch.manual_seed(5)
    found = losses.task_losses(outputs, truth, config.Losses(depth_relative=1.5), weights)
    torch.manual_seed(5)
    part = losses.Quarter(truth)
    large = {name: part.upsampled(output) for name, output in outputs.items()}
    torch.testing.assert_close(found["segmentation"], F.cross_entropy(large["task.segmentation"], part.truth.category, weights))
    share, one_hot = large["task.segmentation"].softmax(1), F.one_hot(part.truth.category, 8).permute(0, 3, 1, 2)
    both = (share * one_hot).sum((0, 2, 3))
    torch.testing.assert_close(found["jaccard"], 0.5 * (1 - (both / (share.sum((0, 2, 3)) + one_hot.sum((0, 2, 3)) - both)).mean()))
    chord = ((F.normalize(large["task.normals"], dim=1) - part.truth.normals).square().sum(1) + 1e-4).sqrt().mean()
    torch.testing.assert_close(found["normals"], 1.5 * chord)
    log_depth, true = large["task.depth"][:, 0].double().numpy(), part.truth.log_depth.double().numpy()
    share = np.abs(np.exp(np.minimum(log_depth, true + 2)) - np.exp(true)) / np.exp(true)
    assert float(found["depth_relative"]) == pytest.approx(1.5 * share[~part.truth.sky.numpy()].mean(), rel=1e-5)


def test_the_sky_counts_less_in_depth_and_not_in_its_gradient():
    """The left half is sky, and 3 too far there; the right half is 1 too far."""
    left = torch.arange(64).expand(2, 32, 64) < 32
    truth = data.Truth(torch.zeros(2, 32, 64, dtype=torch.int64), torch.ones(2, 32, 64), left, torch.zeros(2, 3, 32, 64))
    depth = torch.where(left, 4.0, 2.0)[:, None]
    found = losses.task_losses({"task.depth": depth}, truth, config.Losses(depth=2.0, sky=0.1, depth_gradient=1.0), torch.ones(8))
    assert float(found["depth"]) == pytest.approx(2 * (0.1 * 3 + 1) / (0.1 + 1))
    assert float(found["depth_gradient"]) == 0


def test_the_depth_gradient_is_that_of_the_error():
    """A constant error has none; a flat answer to a slope of 0.1 a pixel along both axes errs by 0.1 from each pixel to the next."""
    slope = 0.1 * (torch.arange(5)[:, None] + torch.arange(7)).expand(2, 5, 7)
    everywhere = torch.ones(2, 5, 7, dtype=torch.bool)
    assert float(losses.gradient_loss(slope + 1.5, slope, everywhere)) == pytest.approx(0, abs=1e-6)
    assert float(losses.gradient_loss(torch.full_like(slope, 1.5), slope, everywhere)) == pytest.approx(0.1)
    assert float(losses.gradient_loss(slope, torch.zeros_like(slope), everywhere)) == pytest.approx(0.1)


@pytest.mark.parametrize("missing", ["some", "all"])
def test_truth_that_is_missing_changes_nothing(missing):
    """Losses are those of the known half alone, gradients elsewhere are zero and everywhere finite; with no truth at all, losses are zero."""
    torch.manual_seed(2)
    truth, weights = random_truth(), torch.ones(8)
    gone = slice(None) if missing == "all" else slice(16, None)
    truth.category[:, gone], truth.log_depth[:, gone], truth.normals[:, :, gone] = 255, float("nan"), 0
    outputs = {f"task.{name}": torch.randn(2, channels, 32, 64, requires_grad=True) for name, channels in TASKS.items()}
    torch.manual_seed(5)
    found = losses.task_losses(outputs, truth, config.Losses(depth_relative=1.5), weights)
    sum(found.values()).backward()
    for name, output in outputs.items():
        assert torch.isfinite(output.grad).all(), name
        assert not output.grad[:, :, 17:].any(), name
    if missing == "all":
        assert all(value == 0 for value in found.values())
        return
    half = data.Truth(*(part[..., :16, :] for part in (truth.category, truth.log_depth, truth.sky, truth.normals)))
    torch.manual_seed(5)
    alone = losses.task_losses({name: output[:, :, :16] for name, output in outputs.items()}, half, config.Losses(depth_relative=1.5), weights)
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_figures_are_given_where_there_is_truth():
    scores, truth = Scores(TASKS), random_truth()
    truth.normals[:] = 0
    truth.log_depth[:] = float("nan")
    truth.category[:, 1:] = 255
    logits = F.one_hot(truth.category.clamp(max=7), 8).permute(0, 3, 1, 2).float()
    scores.add({"task.segmentation": logits, "task.depth": torch.zeros(2, 1, 32, 64), "task.normals": torch.ones(2, 3, 32, 64)}, truth)
    assert scores.figures() == {"miou": 100.0}


def test_settings_that_came_later_leave_the_digest_alone_until_set(tmp_path):
    plain = config.load(RECIPE / "smoke.toml")
    digest = plain.digest(*stage_slow.PARTS)
    for name in ("train_from", "predict"):
        assert name not in json.dumps(config._plain(plain))
    for change in ("data.train_from=folder:a", 'predict=["depth"]'):
        assert config.load(RECIPE / "smoke.toml", [change]).digest(*stage_slow.PARTS) != digest


def test_what_cannot_be_packed_is_told_in_one_sentence(tmp_path):
    chosen = settings(tmp_path)
    wrong = {
        'predict=["depth", "colour"]': "predict: expected some of segmentation, depth, normals, found colour",
        "data.tune_from=": "data.tune_from: expected a data set",
        f"data.train_from=folder:{tmp_path / 'none'}": "expected pictures named",
        f"data.train_from=cityscapes:{tmp_path}:train": "expected the folder leftImg8bit_sequence/train",
        "data.train_from=film:x": "KIND is one of",
    }
    for change, message in wrong.items():
        with pytest.raises(RecipeError) as raised:
            given = config.load(RECIPE / "smoke.toml", [f"data.train_from={chosen.data.train_from}", f"data.tune_from={chosen.data.tune_from}", change])
            stage_data.run(given, tmp_path)
        assert message in str(raised.value) and "\n" not in str(raised.value)
    (clip,) = packing.open_clips(chosen.data.tune_from)
    clip.classes = ("moon", "mars")
    with pytest.raises(RecipeError, match="expected some class of street .* found moon, mars"):
        packing.numbers(clip, "street")
