"""`milad eval` against numpy: the same clip from `milad scene`, every prediction from `milad infer`, every number by its definition."""

import json
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from milad_recipe import macs, temporal, tiny, worlds
from milad_recipe.pictures import pictures
from milad_recipe.tiny import Design

FRAMES, INTERVAL, SEED = 14, 4, 2_000_001
DESIGNS = {
    "fast keys": Design("fast-keys", split=True, keys="fast", null=True, shares=True, seed=4),
    "slow keys, two keyframes": Design("two", keyframes=2, radius=2, valid=True, age=True, seed=5),
}


def _milad(milad, *command):
    done = subprocess.run([str(part) for part in (milad, *command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def _made_up(folder):
    """Truth that is no world's: every class, sky, what is too far, pixels without a normal, flow that leaves the picture."""
    random = np.random.default_rng(7)
    folder.mkdir()
    classes = [{"name": name, "color": color} for name, color in worlds.STREET]
    (folder / "camera.json").write_text(json.dumps({"classes": classes}))
    for n, picture in enumerate(pictures(32, 64, FRAMES, seed=9)):
        coarse = random.integers(0, 8, (8, 16))
        category = np.kron(coarse, np.ones((4, 4))).astype(np.uint8)
        depth = (2 + 12 * category + random.random((32, 64))).astype(np.float16)
        depth[category == 7] = np.inf
        normals = random.normal(size=(3, 32, 64))
        normals = (normals / np.linalg.norm(normals, axis=0) * (category != 7)).astype(np.float16)
        flow = random.normal(scale=3, size=(2, 32, 64)).astype(np.float16)
        Image.fromarray(picture).save(folder / f"{n:06}.rgb.png")
        Image.fromarray(category).save(folder / f"{n:06}.class.png")
        for kind, array in (("depth", depth), ("normals", normals), ("flow", flow)):
            np.save(folder / f"{n:06}.{kind}.npy", array)


@pytest.fixture(scope="module", params=["rendered", "made up"])
def clip(request, milad, tmp_path_factory):
    """A labelled clip, its truth frame by frame."""
    folder = tmp_path_factory.mktemp("scene") / "clip"
    if request.param == "made up":
        _made_up(folder)
    else:
        size = ("--width", 64, "--height", 32)
        _milad(milad, "scene", "--world", "street", "--seed", SEED, "--frames", FRAMES, *size, "--out", folder)
    truth = [
        {
            "segmentation": np.array(Image.open(folder / f"{n:06}.class.png")),
            "depth": np.load(folder / f"{n:06}.depth.npy").astype(np.float64),
            "normals": np.load(folder / f"{n:06}.normals.npy").astype(np.float64),
            "flow": np.load(folder / f"{n:06}.flow.npy").astype(np.float32),
        }
        for n in range(FRAMES)
    ]
    return folder, truth


@pytest.fixture(scope="module", params=DESIGNS, ids=str)
def bundle(request, tmp_path_factory):
    """A tiny bundle with the street's classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "_CLASSES", worlds.STREET)
        folder = tmp_path_factory.mktemp("bundle") / "tiny"
        tiny.generate(DESIGNS[request.param], folder)
    return folder


def _published(kind, output):
    """The map that the daemon would publish of a prediction [1, C, h, w]."""
    dense = torch.nn.functional.interpolate(torch.from_numpy(output.astype(np.float64)), (32, 64), mode="bilinear", align_corners=False)[0].numpy()
    match kind:
        case "segmentation":
            return dense.argmax(0)
        case "depth":
            return np.exp(dense[0])
        case "normals":
            return np.round(127 * dense / np.linalg.norm(dense, axis=0))


def _answers(infer, bundle, folder, out, mode, latency):
    """Maps by task for every frame, None where there is no answer."""
    period = max(INTERVAL, latency, 1)

    def outputs(name, interval, delay):
        where = infer(bundle, folder, out / name, interval, delay)
        kinds = ("segmentation", "depth", "normals")
        load = lambda network, n: {kind: _published(kind, np.load(where / f"{n:06}.{network}.task.{kind}.npy")) for kind in kinds}  # noqa: E731
        return load

    if mode == "slow":
        slow = outputs("slow", 1, 0)
        return [slow("slow", n) for n in range(FRAMES)]
    if mode == "fast":
        fast = outputs("fast", 1, 1000)  # no memory ever comes into force
        return [fast("fast", n) for n in range(FRAMES)]
    mila = outputs("mila", INTERVAL, latency)
    key = lambda n: None if n < latency else (n - latency) // period * period  # noqa: E731
    if mode == "copy":
        return [None if key(n) is None else mila("slow", key(n)) for n in range(FRAMES)]
    return [mila("slow" if key(n) == n else "fast", n) for n in range(FRAMES)]


def _scores(pairs):
    """Metrics of (maps, truth) pairs, as they are defined."""
    stacked = lambda which, kind: np.stack([pair[which][kind] for pair in pairs])  # noqa: E731
    p, t = stacked(0, "segmentation"), stacked(1, "segmentation")
    ious = [((p == c) & (t == c)).sum() / ((p == c) | (t == c)).sum() for c in range(8) if ((p == c) | (t == c)).any()]
    p, t = stacked(0, "depth"), stacked(1, "depth")
    supervised = t <= 80
    p, t = np.clip(p[supervised], 1e-3, 80), t[supervised]
    depth = {"abs_rel": np.mean(np.abs(p - t) / t), "rmse_m": np.sqrt(np.mean((p - t) ** 2)), "within_1_25": np.mean(np.maximum(p / t, t / p) < 1.25)}
    p, t = stacked(0, "normals"), stacked(1, "normals")
    lengths = np.linalg.norm(p, axis=1) * np.linalg.norm(t, axis=1)
    there = np.linalg.norm(t, axis=1) > 0
    angles = np.degrees(np.arccos(np.clip((p * t).sum(1)[there] / lengths[there], -1, 1)))
    normals = {"mean_deg": angles.mean(), "median_deg": np.median(angles)}
    normals |= {f"within_{name}_deg": np.mean(angles < limit) for name, limit in (("11_25", 11.25), ("22_5", 22.5), ("30", 30))}
    return {"segmentation": {"miou": np.mean(ious)}, "depth": depth, "normals": normals}


def _check(found, pairs):
    assert found["frames"] == len(pairs)
    expected = _scores(pairs)
    for task in found["tasks"]:
        assert task["pixels"] > 1000, task["name"]
        for key, value in expected[task["name"]].items():
            # Angles are binned to 0.01° for the median; float32 may round a published normal the other way.
            tolerance = {"median_deg": 0.02}.get(key, 1e-3)
            assert abs(task[key] - value) <= tolerance, (task["name"], key, task[key], value)


@pytest.mark.parametrize("latency", [0, 2, 5])
@pytest.mark.parametrize("mode", ["mila", "slow", "fast", "copy"])
def test_every_number_is_what_its_definition_says(milad, infer, clip, bundle, tmp_path, mode, latency):
    folder, truth = clip
    flags = ("--bundle", bundle, "--mode", mode, "--interval", INTERVAL, "--latency", latency, "--json")
    found = json.loads(_milad(milad, "eval", "--clips", folder, *flags))
    answers = _answers(infer, bundle, folder, tmp_path, mode, latency)
    period, busy = max(INTERVAL, latency, 1), max(latency, 1)
    scored = range(latency, FRAMES)

    _check(found["all"], [(answers[n], truth[n]) for n in scored])
    _check(found["non_key"], [(answers[n], truth[n]) for n in scored if n % period])
    age = lambda n: (n - latency) % period + latency  # noqa: E731
    assert [entry["age"] for entry in found["by_age"]] == sorted({age(n) for n in scored})
    for entry in found["by_age"]:
        _check(entry, [(answers[n], truth[n]) for n in scored if age(n) == entry["age"]])

    there = {"mila": lambda n: n - 1, "fast": lambda n: n - 1, "slow": lambda n: (n - busy) // busy * busy, "copy": lambda n: n - (latency == 0)}
    assert found["first_streaming"] == latency + busy
    _check(found["streaming"], [(answers[there[mode](n)], truth[n]) for n in range(latency + busy, FRAMES)])

    consistency = temporal.Consistency(8)
    for n in scored[:-1]:
        now, then = (answers[i]["segmentation"].astype(np.uint8) for i in (n, n + 1))
        consistency.add(now, then, truth[n], truth[n + 1], truth[n]["flow"])
    [own] = found["consistency"]
    assert own["pixels"] == consistency.between.confusion.sum()
    assert abs(100 * own["miou"] - consistency.miou()) <= 0.1


@pytest.mark.parametrize("latency", [0, 2])
def test_a_seed_scores_like_the_clip_that_is_written_of_it(milad, bundle, tmp_path, latency):
    seed = ("--world", "street", "--frames", FRAMES)
    _milad(milad, "scene", *seed, "--seeds", f"{SEED}..{SEED + 3}", "--width", 64, "--height", 32, "--out", tmp_path)
    flags = ("--bundle", bundle, "--interval", INTERVAL, "--latency", latency, "--json")
    written = json.loads(_milad(milad, "eval", "--clips", tmp_path, *flags))
    rendered = json.loads(_milad(milad, "eval", *seed, "--seeds", f"{SEED}..{SEED + 3}", "--jobs", 2, *flags))
    for report in (written, rendered):
        del report["source"], report["cost"]["wall_ms_per_frame"], report["cost"]["cpu_ms_per_frame"]
    assert written == rendered


def test_macs_are_those_of_what_ran(milad, clip, bundle):
    folder, _ = clip
    slow, fast = (macs.count((bundle / f"{name}.onnx").read_bytes()) for name in ("slow", "fast"))
    keyframes = -(-FRAMES // INTERVAL)
    for mode, expected in {
        "slow": FRAMES * slow,
        "copy": keyframes * slow,
        "mila": FRAMES * fast + keyframes * slow,
        "fast": FRAMES * fast,
    }.items():
        flags = ("--mode", mode, "--interval", INTERVAL, "--latency", 1, "--json")
        cost = json.loads(_milad(milad, "eval", "--clips", folder, "--bundle", bundle, *flags))["cost"]
        # What the fast network makes of memory alone runs once a keyframe, not on every frame.
        runs = {"mila": FRAMES - keyframes, "fast": FRAMES}.get(mode, 0)
        assert round(cost["macs_per_frame"] * FRAMES) == expected - runs * cost["prelude_macs"], mode
        assert cost["ratio"] == pytest.approx(cost["macs_per_frame"] / slow)
