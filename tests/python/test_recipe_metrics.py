"""The recipe's metrics against naive code: loops over pixels, sorted angles, clips drawn one by one."""

import math

import numpy as np
import pytest
import torch

import conftest  # noqa: F401  (puts the recipe on the path)
from milad_recipe import bootstrap, temporal
from milad_recipe.data import Truth
from milad_recipe.metrics import DEPTH_CAP, UNLABELLED, Depth, Normals, Quality, Segmentation, delta_mtl
from milad_recipe.validation import Scores

KINDS = {"segmentation": "segmentation", "depth": "depth", "normals": "normals", "features": "raw"}


def _random(seed=0):
    return np.random.default_rng(seed)


def test_miou_is_the_mean_over_classes_of_intersection_over_union_of_all_pixels():
    random, task = _random(), Segmentation(5)
    truths, answers = [], []
    for _ in range(3):
        truth = random.integers(0, 4, (6, 7)).astype(np.uint8)
        answer = np.where(random.random((6, 7)) < 0.6, truth, random.integers(0, 4, (6, 7))).astype(np.uint8)
        truth[0, :3] = UNLABELLED
        task.add(answer, truth)
        truths.append(truth.ravel())
        answers.append(answer.ravel())
    truth, answer = np.concatenate(truths), np.concatenate(answers)
    answer, truth = answer[truth != UNLABELLED], truth[truth != UNLABELLED]
    each = [((truth == c) & (answer == c)).sum() / ((truth == c) | (answer == c)).sum() * 100 for c in range(4)]
    assert task.per_class()[:4] == pytest.approx(each)
    assert math.isnan(task.per_class()[4])
    assert task.figures()["miou"] == pytest.approx(np.mean(each))


def test_depth_is_judged_where_truth_is_finite_and_near_enough():
    task = Depth()
    truth = np.array([10.0, 40.0, np.inf, np.nan, 80.0, 80.1, 0.0, 2.0], np.float32)
    found = np.array([11.0, 30.0, 1.0, 1.0, 500.0, 1.0, 1.0, np.nan], np.float32)
    task.add(found, truth)
    pairs = [(11.0, 10.0), (30.0, 40.0), (80.0, 80.0), (DEPTH_CAP, 2.0)]
    expected = {
        "abs_rel": np.mean([abs(d - t) / t for d, t in pairs]),
        "rmse": math.sqrt(np.mean([(d - t) ** 2 for d, t in pairs])),
        "delta": 100 * np.mean([max(d / t, t / d) < 1.25 for d, t in pairs]),
    }
    assert task.figures() == pytest.approx(expected)


def test_normals_are_judged_by_their_angles():
    random, task = _random(1), Normals()
    truth = random.normal(size=(3, 500))
    truth /= np.linalg.norm(truth, axis=0)
    truth[:, :20] = 0
    found = truth + random.normal(size=(3, 500)) * 0.4
    found[:, 20:23] = 0
    task.add((3 * found).reshape(3, 20, 25), truth.reshape(3, 20, 25).astype(np.float32))
    angles = []
    for i in range(20, 500):
        length = np.linalg.norm(found[:, i])
        angles.append(90.0 if length == 0 else math.degrees(math.acos(np.clip(found[:, i] @ truth[:, i] / length, -1, 1))))
    figures = task.figures()
    assert figures["mean"] == pytest.approx(np.mean(angles), abs=1e-5)
    assert figures["median"] == pytest.approx(np.median(angles), abs=0.5)
    ordered = sorted(angles)
    assert ordered[238] - 0.011 <= figures["median"] <= ordered[241] + 0.011
    for limit in (11.25, 22.5, 30.0):
        assert figures[f"within_{limit:g}"] == pytest.approx(np.mean(np.array(angles) < limit) * 100)


def test_figures_during_training_have_the_known_angle_and_share():
    """Normals 10° off on the left, 50° on the right, of any length; none on the first row. Depth a tenth too far; sky is left out."""
    truth = Truth(torch.zeros(2, 6, 8, dtype=torch.int64), torch.ones(2, 6, 8), torch.zeros(2, 6, 8, dtype=torch.bool), torch.zeros(2, 3, 6, 8))
    truth.normals[:, 2, 1:], truth.sky[:, :, 3] = -1, True
    angle = torch.deg2rad(torch.where(torch.arange(8) < 4, 10.0, 50.0)).expand(2, 6, 8)
    normals = 3 * torch.stack([angle.sin(), torch.zeros_like(angle), -angle.cos()], 1)
    depth = torch.where(truth.sky, 9.0, 1 + math.log(1.1))[:, None]
    scores = Scores({"depth": 1, "normals": 3})
    scores.add({"task.depth": depth, "task.normals": normals}, truth)
    assert scores.figures() == {"absrel": 0.1, "normals": 30.0}


def _frame(random, height=8, width=10):
    truth = {
        "segmentation": random.integers(0, 3, (height, width)).astype(np.uint8),
        "depth": random.uniform(1, 100, (height, width)).astype(np.float32),
        "normals": random.normal(size=(3, height, width)).astype(np.float32),
    }
    truth["normals"] /= np.linalg.norm(truth["normals"], axis=0)
    answer = {
        "segmentation": np.where(random.random((height, width)) < 0.7, truth["segmentation"], 0).astype(np.uint8),
        "depth": truth["depth"] * random.uniform(0.7, 1.4, (height, width)).astype(np.float32),
        "normals": truth["normals"] + random.normal(size=(3, height, width)).astype(np.float32) * 0.3,
    }
    return answer, truth


def test_parts_add_up_to_the_whole():
    random, whole = _random(2), Quality(KINDS, 3)
    parts = [whole.empty() for _ in range(3)]
    for number in range(9):
        answer, truth = _frame(random)
        whole.add(answer, truth)
        parts[number % 3].add(answer, truth)
    merged = parts[0] + parts[1] + parts[2]
    for task, figures in whole.figures().items():
        assert merged.figures()[task] == pytest.approx(figures)
    assert "features" not in whole.figures()
    again = whole.empty()
    again.load(whole.state())
    assert again.figures() == whole.figures()


def test_without_a_pixel_there_is_no_figure():
    assert all(math.isnan(value) for figures in Quality(KINDS, 3).figures().values() for value in figures.values())


def test_delta_mtl_is_the_mean_relative_change_for_the_better():
    base, found = {"segmentation": 80.0, "depth": 0.10, "normals": 20.0}, {"segmentation": 76.0, "depth": 0.11, "normals": 19.0}
    assert delta_mtl(found, base, KINDS) == pytest.approx((-5.0 - 10.0 + 5.0) / 3)
    assert delta_mtl(base, base, KINDS) == 0


def _drawn_naively(like, a, b, draws, seed):
    random = np.random.Generator(np.random.PCG64(seed))
    times = random.multinomial(len(a), [1 / len(a)] * len(a), size=draws)
    found = []
    for row in times:
        mains = []
        for states in (a, b):
            total = like.empty()
            total.load(sum(states[clip] * count for clip, count in enumerate(row)))
            mains.append(list(total.main().values()))
        found.append(np.subtract(mains[1], mains[0]))
    return np.array(found)


def test_bootstrap_draws_clips_in_pairs():
    random, like = _random(3), Quality(KINDS, 3)
    a, b = [], []
    for _ in range(6):
        one, other = like.empty(), like.empty()
        answer, truth = _frame(random)
        one.add(answer, truth)
        other.add(answer | {"segmentation": truth["segmentation"], "depth": answer["depth"] * np.float32(1.0001)}, truth)
        a.append(one.state())
        b.append(other.state())
    found = bootstrap.paired(like, np.stack(a), np.stack(b), draws=120, seed=5)
    drawn = _drawn_naively(like, a, b, 120, 5)
    for i, difference in enumerate(found.values()):
        assert (difference.low, difference.high) == pytest.approx(tuple(np.quantile(drawn[:, i], [0.025, 0.975])), abs=1e-9)
    assert found["segmentation"].significant() and found["segmentation"].p == pytest.approx(1 / 120)
    assert found["normals"].mean == 0 and found["normals"].p == 1 and not found["normals"].significant()


def test_bootstrap_wants_the_same_clips():
    with pytest.raises(ValueError, match="same"):
        bootstrap.paired(Quality(KINDS, 3), np.zeros((3, 4)), np.zeros((2, 4)))


def _pairs_naively(now, then, flow):
    height, width = flow.shape[1:]
    best = {}
    for y in range(height):
        for x in range(width):
            column, row = (math.floor(abs(v) + 0.5) * (1 if v >= 0 else -1) for v in (x + flow[0, y, x], y + flow[1, y, x]))
            if not (0 <= column < width and 0 <= row < height):
                continue
            a, b = now["depth"][y, x], then["depth"][row, column]
            if now["segmentation"][y, x] != then["segmentation"][row, column] or np.isinf(a) != np.isinf(b):
                continue
            if not np.isinf(a) and max(a / b, b / a) > 1.25:
                continue
            if (row, column) not in best or a < best[row, column][0]:
                best[row, column] = (a, (y, x))
    return {(y * width + x, row * width + column) for (row, column), (_, (y, x)) in best.items()}


def test_pixels_are_followed_by_true_flow_to_what_is_still_seen():
    random = _random(4)
    flow = random.normal(size=(2, 9, 12)).astype(np.float32) * 2
    now, then = (
        {
            "segmentation": random.integers(0, 2, (9, 12)).astype(np.uint8),
            "depth": np.where(random.random((9, 12)) < 0.2, np.inf, random.uniform(4, 6, (9, 12))).astype(np.float32),
        }
        for _ in range(2)
    )
    origin, target = temporal.pairs(now, then, flow)
    found = set(zip(origin.tolist(), target.tolist()))
    assert len(found) == len(origin) > 10
    assert found == _pairs_naively(now, then, flow)


def test_a_prediction_that_moves_with_the_scene_is_consistent_whatever_it_says():
    flow = np.zeros((2, 4, 8), np.float32)
    flow[0] = 2
    truth = {"segmentation": np.ones((4, 8), np.uint8), "depth": np.full((4, 8), 5, np.float32)}
    now = np.tile(np.array([0, 0, 1, 1, 2, 2, 0, 0], np.uint8), (4, 1))
    consistency = temporal.Consistency(3)
    consistency.add(now, np.roll(now, 2, axis=1), truth, truth, flow)
    assert consistency.miou() == 100
    consistency.add(now, now, truth, truth, flow)
    assert consistency.miou() < 60
