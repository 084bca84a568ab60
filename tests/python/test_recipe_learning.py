"""The parts of training, each by itself: gradients averaged over workers, schedule, averaged weights, what a network begins as, adversary, class weights."""

import copy
import math
import multiprocessing
import os
import pathlib
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from conftest import ROOT
from milad_recipe import config, stage_data, stage_fast, team
from milad_recipe.adversary import Game
from milad_recipe.config import RecipeError
from milad_recipe.loop import Loop
from milad_recipe.slow import CELLS

SMOKE = ROOT / "models" / "recipe" / "smoke.toml"


def _parameters(rank):
    """Of one worker: two with gradients, one of them channels last, and one without."""
    torch.manual_seed(rank)
    found = [nn.Parameter(torch.randn(2, 3, 4, 5)), nn.Parameter(torch.randn(7)), nn.Parameter(torch.randn(3))]
    found[0].grad = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    found[1].grad = torch.randn(7)
    return found


def _work(crew, folder):
    """Of a worker: averages, then takes the first one's weights, and writes what it has."""
    parameters = _parameters(crew.rank)
    extra = crew.average(parameters, torch.tensor([float(crew.rank), 5.0]))
    crew.same(parameters)
    torch.save({"values": [p.detach() for p in parameters], "gradients": [p.grad for p in parameters], "extra": extra}, folder / f"{crew.rank}.pt")


def test_two_workers_end_with_the_mean_of_their_gradients(tmp_path, monkeypatch):
    """And with the same weights, the first one's."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    team.run(_work, (tmp_path,), 2)
    first, second = _parameters(0), _parameters(1)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for a, b, value, gradient in zip(first, second, found["values"], found["gradients"], strict=True):
            torch.testing.assert_close(gradient, None if a.grad is None else (a.grad + b.grad) / 2)
            assert torch.equal(value, a)
        assert found["extra"].tolist() == [0.5, 5.0]


STEPS = 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A loop after all its steps, each step's rate by group, and the network's state before each step and after the last."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    training = config.Training(samples=4 * STEPS, batch=4, rate=0.01, warm_up=0.1, average=0.9)
    groups = [(list(part.parameters()), factor) for part, factor in zip(network, (1.0, 0.2))]
    loop = Loop("slow", tmp_path_factory.mktemp("loop"), "", training, network, team.Team(), groups)
    rates, states = [], []

    def losses(items):
        rates.append([group["lr"] for group in loop.optimizer.param_groups])
        states.append(copy.deepcopy(network.state_dict()))
        return {"only": (network(torch.randn(items, 3)) - 3).square().mean()}

    loop.run(losses, lambda averaged: {})
    states.append(copy.deepcopy(network.state_dict()))
    return SimpleNamespace(loop=loop, rates=np.array(rates), states=states)


def test_the_rate_rises_while_warming_up_and_falls_to_nothing_as_a_cosine(trained):
    rates = trained.rates[:, 0]
    rising = [max(step / 10, 0.01) for step in range(10)]
    falling = [0.5 + 0.5 * math.cos(math.pi * (step - 10) / 90) for step in range(10, STEPS)]
    assert rates == pytest.approx(0.01 * np.array(rising + falling), rel=1e-4)
    assert rates.argmax() == 10 and (np.diff(rates[10:]) < 0).all() and rates[-1] < 0.001 * rates.max()
    assert trained.rates[:, 1] == pytest.approx(0.2 * rates), "each group has its factor"


def test_averaged_weights_follow_the_trained_ones(trained):
    """With a decay of 0.9, less in the first steps. The checkpoint keeps them: later stages use them."""
    kept = torch.load(trained.loop.path, weights_only=True)["average"]
    for name, expected in trained.states[0].items():
        if expected.is_floating_point():
            for step, state in enumerate(trained.states[1:]):
                decay = min(0.9, (1 + step) / (10 + step))
                expected = decay * expected + (1 - decay) * state[name]
            torch.testing.assert_close(trained.loop.averaged.state_dict()[name], expected)
            assert torch.equal(kept[name], trained.loop.averaged.state_dict()[name])
            assert not torch.equal(expected, trained.states[0][name]) and not torch.equal(expected, trained.states[-1][name])


def _features(mean):
    return mean + 0.3 * torch.randn(2, 4, 6, 8)


@pytest.fixture
def game():
    torch.manual_seed(1)
    return Game(4, config.Adversary(weight=0.5, rate=0.01, channels=8, start=0.3), team.Team(), torch.device("cpu"))


def test_the_discriminator_learns_to_score_slow_above_fast(game):
    for _ in range(60):
        game.loss(_features(1.0), _features(-1.0), 0.5)
    game.discriminator.eval()
    with torch.no_grad():
        slow, fast = game.discriminator(_features(1.0)), game.discriminator(_features(-1.0))
    assert slow.shape == fast.shape == (2, 1, 6, 8), "a score a place"
    assert slow.min() > 0.5 and fast.max() < -0.5


def test_the_fast_networks_loss_is_the_negative_score_of_its_features(game):
    """Following its gradient raises the discriminator's score of fast features; slow ones get no gradient."""
    game.discriminator.eval()
    slow, fast = _features(1.0).requires_grad_(), _features(-1.0).requires_grad_()
    loss = game.loss(slow, fast, 0.5)
    loss.backward()
    score = game.discriminator(fast).mean()
    torch.testing.assert_close(loss, -0.5 * score)
    torch.testing.assert_close(fast.grad, torch.autograd.grad(-0.5 * score, fast)[0])
    assert slow.grad is None
    with torch.no_grad():
        assert game.discriminator(fast - 10 * fast.grad).mean() > score


def test_before_its_start_the_game_is_not_played(game):
    before = copy.deepcopy(game.discriminator.state_dict())
    fast = _features(-1.0).requires_grad_()
    assert game.loss(_features(1.0), fast, 0.29) == 0
    assert all(torch.equal(value, before[name]) for name, value in game.discriminator.state_dict().items())
    assert game.loss(_features(1.0), fast, 0.3) != 0
    assert not all(torch.equal(value, before[name]) for name, value in game.discriminator.state_dict().items())


def test_rare_classes_weigh_more_and_the_mean_over_pixels_is_one():
    pixels = np.repeat(np.arange(8, dtype=np.uint8), [512, 256, 128, 64, 32, 16, 8, 8])
    frame = np.concatenate([pixels, np.full(64, 255, np.uint8)]).reshape(32, 34)
    clip = SimpleNamespace(labelled=[3], category={3: frame}.get)
    weights = stage_data.class_weights(config.load(SMOKE, ["losses.rare=0.25"]), [clip]).double().numpy()
    assert weights[pixels].mean() == pytest.approx(1)
    assert weights / weights[0] == pytest.approx((512 / np.bincount(pixels)) ** 0.25)
    assert stage_data.class_weights(config.load(SMOKE, ["losses.rare=0"]), [clip]).tolist() == pytest.approx([1] * 8)


def test_a_batch_without_finite_gradients_leaves_no_trace(tmp_path):
    """Neither in weights nor in what batch normalisation knows; training ends in a sentence when nothing else comes."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    loop = Loop("slow", tmp_path, "", config.Training(samples=4 * STEPS, batch=4, rate=0.01), network, team.Team())

    def losses(items, broken=(7, 8)):
        batch = torch.randn(items, 3)
        if loop.step in broken:
            batch[0, 0] = math.nan
        return {"only": (network(batch) - 3).square().mean()}

    loop.run(losses, lambda averaged: {})
    for held in (loop.network, loop.averaged):
        assert all(torch.isfinite(value).all() for value in held.state_dict().values())
    assert loop.samples == 4 * STEPS
    again = Loop("slow", tmp_path / "again", "", config.Training(samples=4 * STEPS, batch=4), network, team.Team())
    with pytest.raises(RecipeError, match="expected finite gradients, found none in 50 steps"):
        again.run(lambda items: {"only": network(torch.full((items, 3), math.nan)).mean()}, lambda averaged: {})


@pytest.mark.parametrize("batch, workers, unit, items", [(32, 2, 4, 16), (32, 3, 1, 10), (32, 3, 4, 8), (8, 4, 4, 4)])
def test_samples_count_what_was_drawn(tmp_path, batch, workers, unit, items):
    """A worker's part of a batch is a multiple of what comes together, and at least one of it."""

    class Alone(team.Team):
        def same(self, tensors):
            pass

        def average(self, parameters, extra):
            return extra

    network, asked = nn.Linear(1, 1), []
    loop = Loop("slow", tmp_path, "", config.Training(samples=100, batch=batch), network, Alone(0, workers), unit=unit)

    def losses(count):
        asked.append(count)
        return {"only": network(torch.ones(count, 1)).mean()}

    loop.run(losses, lambda averaged: {})
    assert set(asked) == {items} and loop.samples == len(asked) * items * workers and loop.samples - items * workers < 100 <= loop.samples
    assert torch.load(loop.path, weights_only=True)["samples"] == loop.samples
    assert Loop("slow", tmp_path, "", config.Training(samples=100, batch=batch), network, Alone(0, workers), unit=unit).samples == loop.samples


def test_flow_warping_begins_as_a_copy():
    """Where nothing is known of motion, what was there is what is there."""
    torch.manual_seed(1)
    chosen = config.load(SMOKE, ['fast.sizes.propagation="flow"'])
    way = stage_fast.network(chosen).eval().propagation
    own, key, value = torch.randn(2, chosen.fast.sizes.channels[0], 8, 16), torch.randn(2, 1, chosen.fast.sizes.query, 8, 16), torch.randn(2, 1, 34, 8, 16)
    brought, offset, _ = way(own, key, value, torch.ones(2, 1))
    assert (offset.abs() * CELLS).max() < 0.2, "in cells"
    torch.testing.assert_close(brought, value[:, 0, :-2], atol=0.5, rtol=0)


def test_a_narrower_network_begins_as_a_part_of_a_wider_one(tmp_path):
    wide = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 1))
    torch.save({"average": wide.state_dict(), "samples": 10}, tmp_path / "wide.pt")
    for cut in (False, True):
        torch.manual_seed(2)
        narrow = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 6, 1))
        before = {name: value.clone() for name, value in narrow.state_dict().items()}
        Loop("slow", tmp_path / str(cut), "", config.Training(start=str(tmp_path / "wide.pt"), cut=cut), narrow, team.Team())
        taken = {name: value[tuple(map(slice, before[name].shape))] for name, value in wide.state_dict().items()}
        for name, value in narrow.state_dict().items():
            fits = value.shape == wide.state_dict()[name].shape
            assert torch.equal(value, taken[name] if cut or fits else before[name]), name


def test_when_the_adversary_starts_is_a_matter_of_the_configuration():
    """It changes what is learned, unlike the path of a checkpoint to start from."""
    digests = {config.load(SMOKE, [f"fast.adversary.start={start}"]).digest("fast") for start in (0.1, 0.9)}
    assert len(digests) == 2
    assert config.load(SMOKE, ["slow.training.start=a", "slow.training.cut=true"]).digest("slow") == config.load(SMOKE).digest("slow")


def _wait_for_ever(crew, folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    parent = multiprocessing.get_context("spawn").Process(target=team.run, args=(_wait_for_ever, (tmp_path,), 2))
    parent.start()
    deadline = time.monotonic() + 300
    while len(workers := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert time.monotonic() < deadline and parent.is_alive()
        time.sleep(0.1)
    parent.kill()
    while running := [pid for pid in workers if pathlib.Path(f"/proc/{pid}/stat").exists() and " Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()]:
        assert time.monotonic() < deadline, running
        time.sleep(0.1)


def test_the_discriminator_learns_nothing_from_features_that_are_not_finite(game):
    before = copy.deepcopy(game.discriminator.state_dict())
    game.loss(_features(1.0), _features(-1.0) * math.nan, 0.5)
    for name, value in game.discriminator.state_dict().items():
        assert torch.isfinite(value).all() and ("original" not in name or torch.equal(value, before[name])), name
