"""Training: the stages on tiny networks and fabricated clips, what they refuse, and that they go on where they were stopped."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from conftest import ROOT
from milad_recipe import (
    blocks, checkpoint, config, data, export, losses, macs, stage_data, stage_export, stage_fast, stage_quantise_fast, stage_quantise_slow,
    stage_slow, train,
)  # fmt: skip
from milad_recipe.config import RecipeError
from milad_recipe.fast import FastNetwork
from milad_recipe.ila.dense import dense_attention
from milad_recipe.ila.torch import inter_frame_local_attention
from milad_recipe.slow import SlowNetwork, coordinates

RECIPE = ROOT / "models" / "recipe"
ONE = ["slow.training.workers=1", "fast.training.workers=1", "slow.training.samples=16", "fast.training.samples=16", "calibration=4"]
STREET = {"segmentation": 8, "depth": 1, "normals": 3}


def fabricate(folder, seeds, height=64, width=128, frames=6):
    """Packed clips of coloured rectangles whose class is their colour."""
    for seed in seeds:
        random = np.random.default_rng(seed)
        category = random.integers(0, 8, (frames, height // 16, width // 16)).repeat(16, 1).repeat(16, 2).astype(np.uint8)
        depth = (3 + 4 * category).astype(np.float16)
        depth[category == 7] = np.inf
        normals = np.zeros((frames, 3, height, width), np.int8)
        normals[:, 0] = np.where(category == 7, 0, 127)
        place = folder / f"{seed:07}"
        place.mkdir(parents=True)
        rgb = np.stack([category * 30, 255 - category * 30, category * 10], 3)
        for name, array in {"rgb": rgb, "class": category, "depth": depth, "normals": normals}.items():
            np.save(place / f"{name}.npy", array)
        (place / "camera.json").write_text(json.dumps({"intrinsics": [100.0, 100.0, 64.0, 32.0]}))


@pytest.fixture
def smoke(tmp_path):
    """The smoke configuration, with clips, and the folder they are in."""
    fabricate(tmp_path / "data" / "street", [*range(6), 1_000_000, 1_000_001])
    return config.load(RECIPE / "smoke.toml", ONE), tmp_path


def test_the_shipped_design_keeps_slow_at_least_twelve_times_fast():
    for name in ("street", "room"):
        chosen = config.load(RECIPE / f"{name}.toml")
        slow = blocks.fold(SlowNetwork(chosen.slow.sizes, chosen.tasks, 128, 256).eval())
        fast = blocks.fold(FastNetwork(chosen.fast.sizes, chosen.slow.sizes, chosen.tasks, 128, 256).eval())
        image = {"image": torch.zeros(1, 3, 128, 256)}
        slow_macs = macs.count(export.export(slow, image, "slow"))
        fast_macs = macs.count(export.export(fast, image | fast.memory_inputs(), "fast"))
        assert 1.0e9 <= slow_macs <= 2.0e9
        assert slow_macs >= 12 * fast_macs, f"{slow_macs} : {fast_macs}"
        assert sum(p.numel() for p in (*slow.parameters(), *fast.parameters())) < 5.5e6, "both in int8 must stay below 6 MB"


def test_every_way_of_propagation_exports_what_pytorch_computes():
    from oracle import session

    torch.manual_seed(3)
    for changes in ({}, {"propagation": "flow"}, {"propagation": "concatenate"}, {"propagation": "none"}, {"keys": "slow"}, {"keyframes": 2}, {"attention": "task"}):
        sizes = config.FastSizes(**{"radius": 2, "channels": (16, 32), "hidden": 16, "query": 8} | changes)
        fast = FastNetwork(sizes, config.Sizes(channels=(16, 32, 32), blocks=(1, 1, 1), feature=16, trunk=16), STREET, 64, 128).eval()
        for _, way in fast.by_name():
            torch.nn.init.normal_(way.fusion.last.weight, std=0.3)
        blocks.fold(fast)
        inputs = {"image": torch.randn(1, 3, 64, 128)} | {name: torch.rand_like(t) for name, t in fast.memory_inputs().items()}
        for name in inputs:
            if name.startswith("value."):
                inputs[name][:, -2:] = coordinates(*fast.map)
        if fast.remembers:
            inputs["valid"] = torch.ones_like(inputs["valid"])
        with torch.no_grad():
            expected = fast(inputs)
        run = session(export.export(fast, inputs, "fast"))
        found = run.run(list(expected), {name: tensor.numpy() for name, tensor in inputs.items()})
        for name, array in zip(expected, found):
            np.testing.assert_allclose(array, expected[name].numpy(), atol=1e-4 * max(1.0, np.ptp(array)), err_msg=f"{changes} {name}")


@pytest.mark.parametrize("keyframes", [1, 3])
@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize(("height", "width", "radius"), [(5, 9, 2), (16, 24, 5)])
def test_dense_attention_is_the_attention(keyframes, null, height, width, radius):
    torch.manual_seed(1)
    batch, heads = 2, 2
    q, k, v = torch.randn(batch, 8, height, width), torch.randn(batch, keyframes, 8, height, width), torch.randn(batch, keyframes, 6, height, width)
    bias = torch.randn(heads, (2 * radius + 1) ** 2)
    learned = [tensor.requires_grad_() for tensor in (q, k, v, bias)]
    logit = torch.randn(heads) if null else None
    valid = torch.ones(batch, keyframes)
    valid[0, -1] = 0
    y, confidence, _ = inter_frame_local_attention(q, k, v, bias, logit, valid, radius=radius, heads=heads)
    dense_y, dense_confidence, offset = dense_attention(q, k, v, bias, logit, valid, radius, heads, None)
    torch.testing.assert_close(dense_y, y)
    torch.testing.assert_close(dense_confidence, confidence)
    towards = torch.randn_like(y)
    for found, expected in zip(*(torch.autograd.grad((answer * towards).sum(), learned) for answer in (dense_y, y))):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    # The expected offset, from coordinates as values.
    places = torch.stack(torch.meshgrid(torch.arange(width).float(), torch.arange(height).float(), indexing="xy"))
    y, confidence, _ = inter_frame_local_attention(q, k, places.repeat(heads, 1, 1).expand(batch, keyframes, -1, -1, -1), bias, logit, valid, radius=radius, heads=heads)
    if not null:
        confidence = confidence * (valid.sum(1) > 0).view(-1, 1, 1, 1)
    expected = (y.unflatten(1, (heads, 2)) - confidence[:, :, None] * places).mean(1)
    torch.testing.assert_close(offset, expected, atol=1e-4, rtol=1e-4)


def test_losses_on_a_quarter_see_the_same_numbers():
    truth = data.Truth(torch.randint(8, (1, 64, 128)), torch.randn(1, 64, 128), torch.zeros(1, 64, 128, dtype=torch.bool), torch.randn(1, 3, 64, 128))
    small = torch.randn(1, 5, 16, 32)
    for _ in range(4):
        part = losses.Quarter(truth)
        y, x = part.phase
        torch.testing.assert_close(part.upsampled(small), losses.upsampled(small, (64, 128))[..., y::2, x::2])
        assert torch.equal(part.truth.normals, truth.normals[..., y::2, x::2])


def test_a_mirrored_sample_mirrors_its_truth(smoke):
    chosen, work = smoke
    clip = next(iter(stage_data.opened(chosen, work, chosen.data.train).values()))
    reader = data.Reader(chosen, [1], None)
    (plain,) = reader.looks(1)
    mirrored = (True, plain[1])
    images, truths = (make([(clip, 2)] * 2, [plain, mirrored]) for make in (reader.images, reader.truth))
    torch.testing.assert_close(images[1], images[0].flip(-1))
    assert torch.equal(truths.category[1], truths.category[0].flip(-1))
    assert torch.equal(truths.normals[1, 0], -truths.normals[0, 0].flip(-1)) and truths.normals.abs().max() == 1


def test_ages_and_keyframes_belong_together(smoke):
    chosen, work = smoke
    clips = list(stage_data.opened(chosen, work, chosen.data.train).values())
    reader = data.Reader(chosen, [1], None)
    batch = data.pairs(reader, clips, 8, chosen.fast.ages, 2)
    assert batch.keyframes.shape[0] == 16 and batch.frames.shape[0] == 8 * 4 == len(batch.age)
    newest, older = batch.age.unbind(1)
    assert newest.min() >= 1 and newest.max() <= 5
    assert all(o == -1 or o >= n + 3 for n, o in zip(newest, older))


def test_stages_leave_a_bundle(smoke, monkeypatch):
    """One after the other, on one worker, with an adversary; the bundle then runs under onnxruntime."""
    from milad_recipe.sequence import Networks, answers

    chosen, work = smoke
    for stage in (stage_slow, stage_quantise_slow, stage_fast, stage_quantise_fast, stage_export):
        stage.run(chosen, work)
    assert (work / "slow" / "curves.png").is_file() and (work / "fast" / "log.jsonl").is_file()
    networks = Networks(work / "bundle")
    images = [np.random.default_rng(i).standard_normal((1, 3, 64, 128), np.float32) for i in range(4)]
    for answer in answers(networks, images, "mila", 2, 1):
        assert all(np.isfinite(array).all() for array in answer.outputs.values())
    slow, fast = (macs.count((work / "bundle" / f"{name}.onnx").read_bytes()) for name in ("slow", "fast"))
    assert slow > fast > 0
    # The fast network's first layers and heads are the slow one's, still.
    slow, fast = blocks.fold(stage_slow.trained(chosen, work)), stage_fast.trained(chosen, work)
    for part in ("early", "heads"):
        ours, theirs = getattr(fast, part).state_dict(), getattr(slow, part).state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours), part


def test_the_fast_network_may_learn_first_layers_and_heads_of_its_own(smoke):
    chosen, work = smoke
    for stage in (stage_slow, stage_quantise_slow):
        stage.run(chosen, work)
    slow = blocks.fold(stage_slow.trained(chosen, work))
    for rates in ({"early": 0.2, "heads": 0.0}, {"early": 0.0, "heads": 0.2}):
        own = config.load(RECIPE / "smoke.toml", [*ONE, *(f"fast.{part}_rate={rate}" for part, rate in rates.items())])
        (stage_fast.folder(work) / "checkpoint.pt").unlink(missing_ok=True)
        stage_fast.run(own, work)
        fast = stage_fast.trained(own, work)
        for part, rate in rates.items():
            ours, theirs = getattr(fast, part).state_dict(), getattr(slow, part).state_dict()
            moved = [name for name in ours if not torch.equal(ours[name], theirs[name])]
            assert bool(moved) == (rate > 0), (part, moved)


def test_the_fast_stage_may_weigh_the_tasks_otherwise():
    chosen = config.load(RECIPE / "smoke.toml", ["fast.losses.normals=2.0", "fast.losses.segmentation=0.5", "losses.depth_relative=1.5"])
    weighed = chosen.losses.weighed(chosen.fast.losses)
    truth = data.Truth(torch.randint(8, (1, 32, 64)), torch.randn(1, 32, 64), torch.zeros(1, 32, 64, dtype=torch.bool), torch.randn(1, 3, 32, 64))
    outputs = {f"task.{name}": torch.randn(1, channels, 8, 16) for name, channels in STREET.items()}
    found = []
    for weights in (chosen.losses, weighed):
        torch.manual_seed(4)
        found.append(losses.task_losses(outputs, truth, weights, torch.ones(8)))
    factors = {name: float(found[1][name] / found[0][name]) for name in found[0]}
    wanted = {"segmentation": 0.5, "jaccard": 0.5, "depth": 1.0, "depth_relative": 1.0, "depth_gradient": 1.0, "normals": 2.0}
    assert factors == pytest.approx(wanted)


def test_training_goes_on_where_it_was_stopped(smoke, monkeypatch):
    chosen, work = smoke
    stage_slow.run(chosen, work)
    path = stage_slow.folder(work) / "checkpoint.pt"
    first = torch.load(path, weights_only=True)
    assert first["samples"] == 16 and first["done"]
    longer = config.load(RECIPE / "smoke.toml", [*ONE, "slow.training.samples=48"])
    stage_slow.run(longer, work)
    second = torch.load(path, weights_only=True)
    assert second["samples"] == 48
    assert int(second["network"]["decoder.0.1.num_batches_tracked"]) == 3, "the first 16 samples were not seen anew"


def test_training_starts_from_weights_of_another_configuration(smoke, tmp_path):
    chosen, work = smoke
    stage_slow.run(chosen, work)
    path = stage_slow.folder(work) / "checkpoint.pt"
    wider = tmp_path / "wider"
    shutil.copytree(work / "data", wider / "data")
    changes = [*ONE, "slow.sizes.trunk=24", f"slow.training.start={path}", "slow.training.rate=0.0", "slow.training.weight_decay=0.0"]
    stage_slow.run(config.load(RECIPE / "smoke.toml", changes), wider)
    first, second = (torch.load(file, weights_only=True) for file in (path, wider / "slow" / "checkpoint.pt"))
    assert second["samples"] == 32, "the samples of the weights it started from count"
    same = {name for name, value in second["network"].items() if value.shape == first["average"][name].shape and torch.equal(value, first["average"][name])}
    assert "stage_8.0.first.0.weight" in same and "heads.trunk.0.weight" not in same
    logged = json.loads((wider / "slow" / "log.jsonl").read_text().splitlines()[0])
    assert logged["samples"] == 16 and "heads.trunk.0.weight" in logged["new"] and logged["taken"] + len(logged["new"]) == len(second["network"])


def test_a_start_that_is_no_checkpoint_is_refused(smoke, tmp_path):
    chosen, work = smoke
    other = tmp_path / "other.pt"
    torch.save({"digest": "", "samples": 1, "average": {"else": torch.zeros(1)}}, other)
    torn = tmp_path / "torn.pt"
    torn.write_bytes(b"torn")
    for path, words in ((tmp_path / "none.pt", "found no file"), (torn, "found something else"), (other, "none whose name and shape fit")):
        with pytest.raises(RecipeError, match=words):
            stage_slow.run(config.load(RECIPE / "smoke.toml", [*ONE, f"slow.training.start={path}"]), work)


def test_a_stage_that_is_told_to_end_saves_and_goes_on_later(smoke):
    chosen, work = smoke
    command = [sys.executable, "-m", "milad_recipe", "train", "--config", RECIPE / "smoke.toml", "--work", work, "--stage", "slow"]
    command += [part for change in (*ONE, "slow.training.workers=2", "slow.training.samples=10_000_000") for part in ("--set", change)]
    process = subprocess.Popen([str(part) for part in command], cwd=RECIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:  # the first line of progress: training is under way
            if line.startswith("slow ["):
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(60) == 143 and "stopped, saved" in rest
    finally:
        process.kill()
    path = stage_slow.folder(work) / "checkpoint.pt"
    stopped = torch.load(path, weights_only=True)
    assert stopped["samples"] > 0 and not stopped["done"]
    stage_slow.run(config.load(RECIPE / "smoke.toml", [*ONE, f"slow.training.samples={stopped['samples'] + 16}"]), work)
    assert torch.load(path, weights_only=True)["samples"] == stopped["samples"] + 16


def test_a_checkpoint_of_another_configuration_is_refused(smoke):
    chosen, work = smoke
    stage_slow.run(chosen, work)
    other = config.load(RECIPE / "smoke.toml", [*ONE, "losses.depth=7"])
    with pytest.raises(RecipeError, match="expected a checkpoint of this configuration .* found one of another"):
        stage_slow.run(other, work)
    path = stage_slow.folder(work) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RecipeError, match="cannot be read"):
        stage_slow.run(chosen, work)


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("whole")

    def torn(partial):
        partial.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError):
        checkpoint.write(path, torn)
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_stages_that_are_missing_are_named(smoke):
    chosen, work = smoke
    with pytest.raises(RecipeError, match="run --stage slow first"):
        stage_fast.run(chosen, work)
    with pytest.raises(RecipeError, match="run --stage quantise-slow first"):
        stage_export.run(chosen, work)


def test_clips_of_another_layout_are_refused(smoke):
    chosen, work = smoke
    place = work / "data" / "street" / "0000003"
    np.save(place / "depth.npy", np.zeros((6, 64, 64), np.float16))
    with pytest.raises(RecipeError, match=r"depth.npy: expected float16 of 64×128 pixels, found float16 \(6, 64, 64\)"):
        stage_data.opened(chosen, work, chosen.data.train)
    (place / "depth.npy").unlink()
    with pytest.raises(RecipeError, match="depth.npy: expected an array"):
        stage_data.opened(chosen, work, chosen.data.train)
    with pytest.raises(RecipeError, match="expected at least 1 clips with seeds in 700..800, found 0"):
        stage_data.opened(chosen, work, (700, 800))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("losses.dept=1", "found losses.dept; did you mean losses.depth?"),
        ("slow.training.batch=many", "slow.training.batch: expected int, found 'many'"),
        ("world=moon", "expected one of street"),
        ("name", "expected key=value"),
    ],
)
def test_mistakes_in_a_configuration_are_told_in_one_sentence(change, message):
    with pytest.raises(RecipeError) as raised:
        config.load(RECIPE / "smoke.toml", [change])
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_the_digest_ignores_how_long_and_on_how_many_cores():
    def digest(*changes):
        return config.load(RECIPE / "smoke.toml", list(changes)).digest(*stage_slow.PARTS)

    assert digest() == digest("slow.training.samples=7", "slow.training.workers=3", "slow.training.minutes=1")
    assert digest() != digest("slow.sizes.stem=8") and digest() != digest("slow.training.rate=0.1")


def test_two_workers_train_one_network(smoke):
    """Gradients are averaged: both see the same network, and the sample count is the team's."""
    chosen, work = smoke
    two = config.load(RECIPE / "smoke.toml", [*ONE, "slow.training.workers=2"])
    stage_slow.run(two, work)
    state = torch.load(stage_slow.folder(work) / "checkpoint.pt", weights_only=True)
    assert state["samples"] == 16 and state["done"] and chosen.digest("slow") == two.digest("slow")


def test_the_command_line_reports_errors_without_a_trace(capsys, tmp_path, monkeypatch):
    from milad_recipe.__main__ import main

    arguments = ["milad_recipe", "train", "--config", str(RECIPE / "smoke.toml"), "--work", str(tmp_path), "--stage", "slow"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert main() == 1
    assert "run --stage data" in capsys.readouterr().err
    assert train.STAGES[0] == "data"


def test_a_map_moved_by_whole_cells_is_shifted_and_between_cells_averaged():
    from milad_recipe.slow import moved

    torch.manual_seed(1)
    map = torch.randn(2, 3, 6, 8)
    shifted = moved(map, torch.tensor([[2.0, -1.0], [0.0, 0.0]]))
    torch.testing.assert_close(shifted[0, :, :5, 2:], map[0, :, 1:, :6])
    torch.testing.assert_close(shifted[1], map[1])
    torch.testing.assert_close(shifted[0, :, :5, 0], map[0, :, 1:, 0], msg="the edge is repeated")
    half = moved(map, torch.tensor([[0.5, 0.0], [0.0, 0.5]]))
    torch.testing.assert_close(half[0, :, :, 1:], (map[0, :, :, 1:] + map[0, :, :, :-1]) / 2)
    torch.testing.assert_close(half[1, :, 1:], (map[1, :, 1:] + map[1, :, :-1]) / 2)


def test_transported_predictions_rest_on_the_frame_now_and_the_feature_from_elsewhere(smoke):
    from milad_recipe.slow import STRIDE, draw_moves, moved

    torch.manual_seed(2)
    network = stage_slow.network(smoke[0]).eval()
    image = torch.randn(4, 3, smoke[0].height, smoke[0].width)
    plain = network({"image": image})
    for moves in (torch.zeros(0, 2), torch.zeros(3, 2)):
        for name, prediction in network.transported(image, moves).items():
            torch.testing.assert_close(prediction, plain[name])
    moves = torch.tensor([[float(STRIDE), 0.0], [0.0, 5.0]])
    feature = moved(network.features(moved(image[:2], moves))[0], -moves / STRIDE)
    by_hand, ours = network.heads(feature, network.early(image[:2])), network.transported(image, moves)
    for name, prediction in ours.items():
        torch.testing.assert_close(prediction[:2], by_hand[name])
        torch.testing.assert_close(prediction[2:], plain[name][2:])
    drawn = draw_moves(np.random.default_rng(3), 500)
    assert drawn.abs().max() == 12 and bool((drawn == drawn.round()).all()) and abs(float(drawn.mean())) < 1


def test_networks_of_other_weights_are_not_exported(smoke):
    """When the slow network learns more, its files, the fast network and that one's files are of another slow network."""
    chosen, work = smoke
    for stage in (stage_slow, stage_quantise_slow, stage_fast, stage_quantise_fast, stage_export):
        stage.run(chosen, work)
    longer = config.load(RECIPE / "smoke.toml", [*ONE, "slow.training.samples=48"])
    stage_slow.run(longer, work)
    for stage in (stage_fast, stage_export):
        with pytest.raises(RecipeError, match="made of other weights; run --stage quantise-slow"):
            stage.run(longer, work)
    stage_quantise_slow.run(longer, work)
    stage_fast.run(longer, work)  # its schedule is at its end: nothing new is learned
    with pytest.raises(RecipeError, match="expected a network that learned from the slow one .* move it away and run --stage fast"):
        stage_quantise_fast.run(longer, work)
    with pytest.raises(RecipeError, match="made of other weights; run --stage quantise-fast"):
        stage_export.run(longer, work)
    (stage_fast.folder(work) / "checkpoint.pt").unlink()
    for stage in (stage_fast, stage_quantise_fast, stage_export):
        stage.run(longer, work)


def test_clips_of_another_length_are_not_taken_for_rendered_ones(tmp_path):
    fabricate(tmp_path / "data" / "street", [0])
    chosen = config.load(RECIPE / "smoke.toml", ONE)
    with pytest.raises(RecipeError, match="expected 12 frames, as data.frames says, found 6; remove"):
        stage_data.run(chosen, tmp_path)
