"""The recipe's evaluation: against the tests' own oracle of the sequence, against numbers computed plainly from what `milad infer`
writes, and against `milad eval`."""

import json
import math
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import one_node
from conftest import BUNDLES
from milad_recipe import macs, scenes, tiny
from milad_recipe.__main__ import main
from milad_recipe.config import RecipeError
from milad_recipe.datasets import open_clips
from milad_recipe.evaluate import evaluate, measure
from milad_recipe.pictures import pictures
from milad_recipe.results import engine
from milad_recipe.sequence import Networks, answers
from milad_recipe.worlds import STREET
from oracle import Oracle

HEIGHT, WIDTH, FRAMES, CLASSES = 32, 64, 11, 4


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two packed clips whose truth follows the picture, so that figures are neither nothing nor all."""
    root, random = tmp_path_factory.mktemp("packed"), np.random.default_rng(1)
    for seed in (1, 2):
        rgb = pictures(HEIGHT, WIDTH, FRAMES, seed)
        light = rgb.astype(np.float32).mean(3)
        folder = root / f"{seed:07}"
        folder.mkdir()
        np.save(folder / "rgb.npy", rgb)
        np.save(folder / "class.npy", np.clip(light // 40, 0, CLASSES - 1).astype(np.uint8))
        depth = np.exp(light / 100).astype(np.float16)
        depth[:, :3] = np.inf
        np.save(folder / "depth.npy", depth)
        normals = random.normal(size=(FRAMES, 3, HEIGHT, WIDTH))
        normals[:, 2] += 3
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        normals[:, :, :3] = 0
        np.save(folder / "normals.npy", np.rint(normals * 127).astype(np.int8))
        np.save(folder / "flow.npy", np.full((FRAMES, 2, HEIGHT, WIDTH), 0.6, np.float16))
    return root


@pytest.mark.parametrize("name", ["plain", "multi-frame", "fast-keys", "task-specific"])
@pytest.mark.parametrize("interval, latency", [(3, 0), (3, 2), (1, 4)])
def test_answers_follow_the_rule_for_keyframes(name, interval, latency):
    oracle, networks = Oracle(BUNDLES / name), Networks(BUNDLES / name)
    images = [oracle.image(picture) for picture in pictures(HEIGHT, WIDTH, 8, 3)]
    expected = dict(oracle.run(images, interval, latency))
    period = max(interval, latency, 1)
    for answer in answers(networks, images, "mila", interval, latency):
        key = max((k for k in range(0, answer.frame + 1, period) if k + latency <= answer.frame), default=None)
        assert answer.age == (None if key is None else answer.frame - key)
        assert answer.keyframe == (answer.frame % period == 0)
        source = "slow" if answer.age == 0 else "fast"
        names = [file for file in expected if file.startswith(f"{answer.frame:06}.{source}.task.")]
        assert sorted(answer.outputs) == sorted(file.removeprefix(f"{answer.frame:06}.{source}.").removesuffix(".npy") for file in names)
        for file in names:
            output = file.removeprefix(f"{answer.frame:06}.{source}.").removesuffix(".npy")
            assert np.array_equal(answer.outputs[output], expected[file]), file


def test_other_modes_answer_with_what_they_say():
    oracle, networks = Oracle(BUNDLES / "multi-frame"), Networks(BUNDLES / "multi-frame")
    images = [oracle.image(picture) for picture in pictures(HEIGHT, WIDTH, 7, 4)]
    slow = [oracle.run_slow(image)["task.depth"] for image in images]
    fast = [oracle.run_fast(image, [], i)["task.depth"] for i, image in enumerate(images)]
    found = {mode: list(answers(networks, images, mode, 3, 1)) for mode in ("slow", "fast", "copy")}
    assert all(np.array_equal(answer.outputs["task.depth"], slow[i]) and answer.age == 0 for i, answer in enumerate(found["slow"]))
    assert all(np.array_equal(answer.outputs["task.depth"], fast[i]) and answer.age is None for i, answer in enumerate(found["fast"]))
    assert found["copy"][0].outputs is None
    for i, answer in enumerate(found["copy"][1:], 1):
        key = (i - 1) // 3 * 3
        assert answer.age == i - key and np.array_equal(answer.outputs["task.depth"], slow[key])


def _upsampled(array):
    return torch.nn.functional.interpolate(torch.from_numpy(array.astype(np.float64)), (HEIGHT, WIDTH), mode="bilinear")[0].numpy()


def _judged(pairs):
    """mIoU, AbsRel, mean angle of (outputs by task, truth) over all frames at once."""
    predicted, truths, relative, angles = [], [], [], []
    for outputs, truth in pairs:
        predicted.append(_upsampled(outputs["segmentation"]).argmax(0).ravel())
        truths.append(truth.segmentation.ravel())
        near = np.isfinite(truth.depth) & (truth.depth <= 80)
        depth = np.clip(np.exp(_upsampled(outputs["depth"])[0]), 1e-3, 80)
        relative.append((np.abs(depth - truth.depth)[near] / truth.depth[near]))
        normals = _upsampled(outputs["normals"])
        cosine = (normals * truth.normals).sum(0) / np.linalg.norm(normals, axis=0) / np.maximum(np.linalg.norm(truth.normals, axis=0), 1e-9)
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1)))[np.linalg.norm(truth.normals, axis=0) > 0.5])
    p, t = np.concatenate(predicted), np.concatenate(truths)
    ious = [((p == c) & (t == c)).sum() / ((p == c) | (t == c)).sum() for c in range(CLASSES) if ((p == c) | (t == c)).any()]
    return 100 * np.mean(ious), np.concatenate(relative).mean(), np.concatenate(angles).mean()


def _agrees(figures, expected):
    found = (figures["segmentation"]["miou"], figures["depth"]["abs_rel"], figures["normals"]["mean"])
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def _inferred(infer, bundle, clips, tmp_path, interval, latency):
    """[(clip, frame, outputs by task of fast, of slow or None)] from the files that `milad infer` writes."""
    rows = []
    for clip in open_clips(f"packed:{clips}"):
        folder = tmp_path / clip.name
        folder.mkdir()
        for frame in range(len(clip)):
            Image.fromarray(clip.rgb(frame)).save(folder / f"{frame:06}.png")
        out = infer(bundle, folder, tmp_path / f"{clip.name}.out", interval, latency)
        for frame in range(len(clip)):
            both = []
            for network in ("fast", "slow"):
                files = {task: out / f"{frame:06}.{network}.task.{task}.npy" for task in ("segmentation", "depth", "normals")}
                both.append({task: np.load(file) for task, file in files.items()} if files["depth"].is_file() else None)
            rows.append((clip, frame, *both))
    return rows


def _in_force(rows, latency):
    return [row for row in rows if row[1] >= latency]


@pytest.mark.parametrize("name", ["plain", "multi-frame"])
def test_figures_are_those_computed_plainly_from_what_infer_writes(infer, clips, tmp_path, name):
    interval, latency = 4, 2
    rows = _inferred(infer, BUNDLES / name, clips, tmp_path, interval, latency)
    mila = evaluate(BUNDLES / name, {"clips": f"packed:{clips}", "interval": interval, "latency": latency}, tmp_path)
    assert (mila["frames"], mila["clips"]) == (2 * (FRAMES - latency), 2)
    _agrees(mila["tasks"], _judged((fast, clip.truth(i)) for clip, i, fast, _ in rows if i >= latency))
    _agrees(mila["other_frames"], _judged((fast, clip.truth(i)) for clip, i, fast, _ in rows if i >= latency and i % interval))
    for age in range(2, 6):
        of_age = [(fast, clip.truth(i)) for clip, i, fast, _ in rows if i >= latency and latency + (i - latency) % interval == age]
        _agrees(mila["ages"][str(age)], _judged(of_age))
    assert set(mila["ages"]) == {"2", "3", "4", "5"}
    # The answer to a frame is there when the next one is captured.
    _agrees(mila["streaming"], _judged((rows[k - 1][2], clip.truth(i)) for k, (clip, i, *_) in enumerate(rows) if i >= 2 * latency))

    copy = evaluate(BUNDLES / name, {"clips": f"packed:{clips}", "mode": "copy", "interval": interval, "latency": latency}, tmp_path)
    copied = [(rows[k - i + (i - 2) // 4 * 4][3], clip.truth(i)) for k, (clip, i, *_) in enumerate(rows) if i >= latency]
    _agrees(copy["tasks"], _judged(copied))
    _agrees(copy["streaming"], _judged((outputs, truth) for (outputs, truth), (_, i, *_) in zip(copied, _in_force(rows, latency)) if i >= 4))


def test_streaming_of_the_slow_network_waits_for_it(clips):
    networks, clip = Networks(BUNDLES / "plain"), open_clips(f"packed:{clips}")[0]
    found = measure(networks, [clip], "slow", 1, 3)
    images = [Oracle(BUNDLES / "plain").image(clip.rgb(i)) for i in range(FRAMES)]
    slow = [{k.removeprefix("task."): v for k, v in networks.run_slow(image).items()} for image in images]
    # Starts on 0, 3, 6 …, done three frames later, shown until the next one is.
    _agrees(found.streaming.figures(), _judged((slow[(i // 3 - 1) * 3], clip.truth(i)) for i in range(6, FRAMES)))
    _agrees(found.all.figures(), _judged((slow[i], clip.truth(i)) for i in range(3, FRAMES)))
    # A smaller one in its place is done sooner; judged on the same moments.
    smaller = measure(networks, [clip], "slow", 1, 3, busy=2)
    _agrees(smaller.streaming.figures(), _judged((slow[(i // 2 - 1) * 2], clip.truth(i)) for i in range(6, FRAMES)))
    # What is out at the first judged moment may be of a frame that is not judged itself.
    early = measure(networks, [clip], "slow", 1, 4, busy=3)
    _agrees(early.streaming.figures(), _judged((slow[(i // 3 - 1) * 3], clip.truth(i)) for i in range(8, FRAMES)))


def test_an_unlabelled_frame_is_run_but_not_judged(clips, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    clip = open_clips(f"packed:{clips}")[0]
    for i in range(FRAMES):
        Image.fromarray(clip.rgb(i)).save(folder / f"{i:06}.rgb.png")
    Image.fromarray(clip.truth(7).segmentation).save(folder / "000007.class.png")
    found = evaluate(BUNDLES / "plain", {"clips": f"folder:{folder}", "interval": 4, "latency": 1}, tmp_path)
    assert found["frames"] == 1 and set(found["ages"]) == {"3"}
    assert found["tasks"]["depth"]["abs_rel"] is None and found["consistency"] is None
    one = list(answers(Networks(BUNDLES / "plain"), [Oracle(BUNDLES / "plain").image(clip.rgb(i)) for i in range(8)], "mila", 4, 1))[7]
    p, t = _upsampled(one.outputs["task.segmentation"]).argmax(0), clip.truth(7).segmentation
    ious = [((p == c) & (t == c)).sum() / ((p == c) | (t == c)).sum() for c in range(4) if ((p == c) | (t == c)).any()]
    assert found["tasks"]["segmentation"]["miou"] == pytest.approx(100 * np.mean(ious), abs=1e-3)


def test_a_slow_network_alone_is_judged_and_macs_are_told(clips, tmp_path):
    bundle = tmp_path / "alone"
    bundle.mkdir()
    for file in ("bundle.toml", "slow.onnx"):
        (bundle / file).write_bytes((BUNDLES / "plain" / file).read_bytes())
    config = {"clips": f"packed:{clips}", "mode": "slow"}
    alone, whole = evaluate(bundle, config, tmp_path), evaluate(BUNDLES / "plain", config, tmp_path)
    assert alone["tasks"] == whole["tasks"] and alone["macs"]["mean"] == whole["macs"]["slow"] > 0
    mila = evaluate(BUNDLES / "plain", config | {"mode": "mila", "interval": 2, "latency": 4}, tmp_path)["macs"]
    # Keyframes 0, 4 and 8 of 11 frames; nothing in `plain` depends on memory alone.
    assert mila["mean"] == pytest.approx(mila["slow"] * 3 / 11 + mila["fast"]) and mila["fast"] > 0
    with pytest.raises(RecipeError, match="expected fast.onnx"):
        evaluate(bundle, config | {"mode": "mila"}, tmp_path)


def test_what_depends_on_memory_alone_is_counted_once_a_keyframe():
    weights = {"w": np.zeros((2, 2, 1, 1), np.float32)}
    nodes = [
        onnx.helper.make_node("Conv", ["value.a", "w"], ["projected"]),
        onnx.helper.make_node("Relu", ["projected"], ["kept"]),
        onnx.helper.make_node("Conv", ["kept", "w"], ["again"]),
        onnx.helper.make_node("Add", ["again", "image"], ["sum"]),
        onnx.helper.make_node("Conv", ["sum", "w"], ["task.a"]),
    ]
    shape = [1, 2, 3, 5]
    model = one_node.model(nodes, {"image": shape, "value.a": shape}, {"task.a": shape}, weights)
    one = 2 * 2 * 3 * 5
    assert macs.split(model, frozenset({"value.a"})) == (one, 2 * one)
    assert macs.count(model) == 3 * one


@pytest.mark.parametrize("name", ["plain", "fast-keys"])
def test_quantising_changes_no_count(name):
    for network in ("slow", "fast"):
        files = [(BUNDLES / f"{name}{ending}" / f"{network}.onnx").read_bytes() for ending in ("", "-qdq")]
        assert macs.count(files[0]) == macs.count(files[1]) > 0


def test_classes_are_matched_by_name(clips, tmp_path):
    root = tmp_path / "other"
    (root / "0000001").mkdir(parents=True)
    for file in (clips / "0000001").iterdir():
        (root / "0000001" / file.name).write_bytes(file.read_bytes())

    def figures(*classes):
        (root / "0000001" / "camera.json").write_text(json.dumps({"classes": classes}))
        return evaluate(BUNDLES / "plain", {"clips": f"packed:{root}", "mode": "slow"}, tmp_path)

    by_number, by_name = figures(), figures("ground", "wall", "person", "sky")
    assert by_number == by_name
    partly, whole = figures("ground", "boat", "person", "sky"), by_name["classes"]["segmentation"]
    each = partly["classes"]["segmentation"]
    assert each["wall"] is None and whole["wall"] is not None
    assert partly["tasks"]["segmentation"]["miou"] == pytest.approx(np.mean([iou for iou in each.values() if iou is not None]))
    assert figures("sky", "person", "wall", "ground")["tasks"] != by_name["tasks"]
    with pytest.raises(RecipeError, match="expected classes.*ground.*found cat"):
        figures("cat", "dog", "tree", "boat")


def test_states_of_the_clips_add_up(clips, tmp_path):
    found = evaluate(BUNDLES / "plain", {"clips": f"packed:{clips}", "states": tmp_path / "states.npy"}, tmp_path)
    networks = Networks(BUNDLES / "plain")
    whole = measure(networks, [], "mila", 5, 0).all
    whole.load(np.load(tmp_path / "states.npy").sum(0))
    assert whole.figures()["depth"]["abs_rel"] == pytest.approx(found["tasks"]["depth"]["abs_rel"])
    assert not math.isnan(whole.figures()["segmentation"]["miou"])


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Bundles of street's classes, in float and in int8, and two short clips."""
    folder, before = tmp_path_factory.mktemp("street"), tiny._CLASSES
    tiny._CLASSES = STREET
    try:
        design = tiny.Design("street", query_channels=8, value_channels=16, null=True, valid=True, age=True, keyframes=2)
        tiny.generate(design, folder / "float")
        tiny.generate(design, folder / "int8", quantised=True)
    finally:
        tiny._CLASSES = before
    return folder


def _distance(ours, theirs):
    """The largest difference between two tables of figures of the same shape, and where it is."""
    if isinstance(ours, dict):
        assert set(ours) == set(theirs)
        return max(((*_distance(ours[key], theirs[key])[:1], key) for key in ours), key=lambda pair: pair[0], default=(0, ""))
    if ours is None or theirs is None:
        assert ours is None and theirs is None
        return 0, ""
    return abs(ours - theirs), ""


@pytest.mark.parametrize("name, tolerance", [("float", 0.1), ("int8", 3.0)])
@pytest.mark.parametrize("mode, interval, latency", [("mila", 4, 0), ("mila", 4, 2), ("mila", 3, 5), ("slow", 4, 2), ("fast", 4, 2), ("copy", 4, 2)])
def test_milad_eval_agrees(milad, street, monkeypatch, name, tolerance, mode, interval, latency):
    """In points of each figure; the program publishes normals as bytes, which shifts those near a limit. An untrained network in int8 has
    many pixels whose best classes are equally good, and which of them is taken is a matter of rounding; trained ones are compared to a
    tenth in test_shipped.py."""
    monkeypatch.setenv("MILAD_BIN", str(milad))
    if subprocess.run([milad, "eval", "--help"], capture_output=True).returncode:
        pytest.skip("this build of milad has no `eval` command yet")
    config = {"world": "street", "seeds": [2_000_000, 2_000_002], "frames": 12, "mode": mode, "interval": interval, "latency": latency}
    theirs = engine.evaluate(street / name, config, street)
    ours = evaluate(street / name, config | {"clips": f"folder:{scenes.place('street', config['seeds'], 12, street)}"}, street)
    assert {key: ours[key] for key in ("frames", "clips", "mode")} == {key: theirs[key] for key in ("frames", "clips", "mode")}
    assert theirs["macs"] == pytest.approx(ours["macs"])
    for part in ("tasks", "other_frames", "streaming", "ages", "classes", "consistency"):
        distance, place = _distance(ours[part], theirs[part])
        assert distance <= tolerance * (3 if part == "ages" else 1), (part, place)  # of few frames each


def test_scenes_are_rendered_at_the_bundles_size_as_milad_eval_does(milad, street, tmp_path, monkeypatch):
    monkeypatch.setenv("MILAD_BIN", str(milad))
    seeds, config = (2_000_000, 2_000_001), {"mode": "mila", "interval": 4, "latency": 2}
    ours = evaluate(street / "float", config | {"world": "street", "seeds": seeds, "frames": 6}, tmp_path)
    assert scenes.place("street", seeds, 6, tmp_path).name == "street-2000000-2000001-6", "those of 256×128 keep the name that they have"
    (folder,) = (tmp_path / "scenes").iterdir()
    assert folder.name == f"street-2000000-2000001-6-{WIDTH}x{HEIGHT}" and open_clips(f"folder:{folder}")[0].size == (HEIGHT, WIDTH)
    command = [milad, "eval", "--bundle", street / "float", "--world", "street", "--seeds", "2000000..2000001", "--frames", "6", "--json"]
    done = subprocess.run([*command, "--interval", "4", "--latency", "2"], capture_output=True, text=True, check=True)
    assert _distance(ours["tasks"], engine.converted(json.loads(done.stdout))["tasks"])[0] <= 0.1


@pytest.fixture
def said(monkeypatch, capsys, tmp_path):
    """Runs `evaluate`, which is to fail, and returns its sentence."""

    def run(*arguments, bundle=BUNDLES / "plain"):
        monkeypatch.setattr(sys, "argv", ["milad_recipe", "evaluate", "--bundle", str(bundle), "--work", str(tmp_path), *map(str, arguments)])
        assert main() == 1
        captured = capsys.readouterr()
        (text,) = [line for line in captured.err.splitlines() if line]
        assert "expected" in text and "found" in text and ";" in text and not captured.out, text
        return text

    return run


@pytest.mark.parametrize("seeds", ["0..", "..3", "..", "3", "a..b", "0..3..5", "-1..3", "1.5..2", "٣..٤", "0.." + "9" * 5000])
def test_seeds_that_are_no_range(said, seeds):
    assert "--seeds: expected A..B" in said("--world", "street", f"--seeds={seeds}")


def test_seeds_without_any(said):
    assert "found 4..4" in said("--world", "street", "--seeds", "4..4") and "found 4..2" in said("--world", "street", "--seeds", "4..2")


@pytest.mark.parametrize("option, value", [("interval", 0), ("interval", -2), ("latency", -1), ("frames", 0)])
def test_frames_below_the_least(said, clips, option, value):
    words = said(*(["--world", "street", "--seeds", "0..1"] if option == "frames" else ["--clips", f"packed:{clips}"]), f"--{option}", value)
    assert f"{option}: expected" in words and f"found {value}" in words


def test_a_latency_that_leaves_nothing_to_judge(said, clips):
    for mode in ("mila", "slow", "copy"):
        assert f"from {FRAMES} on" in said("--clips", f"packed:{clips}", "--latency", FRAMES, "--mode", mode)


def _copied(tmp_path, name="plain"):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in ("bundle.toml", "slow.onnx", "fast.onnx"):
        (bundle / file).write_bytes((BUNDLES / name / file).read_bytes())
    return bundle


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("schema = 1", "schema = ", ["expected TOML"]),
        ("keyframe_interval = 5\n", "", ["keyframe_interval", "found none"]),
        ("keyframe_interval = 5", "keyframe_interval = 0", ["keyframe_interval", "found 0"]),
        ("[input]", "[inputs]", ["input", "found none"]),
        ("mean = [0.485, 0.456, 0.406]", "mean = [0.485]", ["input.mean", "three numbers", "[0.485]"]),
        ("std = [0.229,", "std = [0,", ["input.std", "above 0"]),
        ('resize = "stretch"', 'resize = "squeeze"', ["input.resize", "stretch", "'squeeze'"]),
        ('kind = "depth"', 'kind = "deep"', ["task 2: kind", "'deep'"]),
        ('encoding = "log"\n', "", ["task 2: encoding", "found none"]),
        ('name = "ground", ', "", ["task 1: classes", "`name`"]),
        ('    { name = "sky", color = "#4682b4" },\n', "", ["slow.onnx: task.segmentation", "[1, 3]", "[1, 4,"]),
        ('name = "normals"', 'name = "others"', ["slow.onnx: task.others", "found none"]),
        ("[input]\nwidth = 64", "[input]\nwidth = 32", ["slow.onnx: image", "[1, 3, 32, 32]", "[1, 3, 32, 64]"]),
    ],
)
def test_a_bundle_toml_that_is_none(said, clips, tmp_path, old, new, words):
    bundle = _copied(tmp_path)
    text = (bundle / "bundle.toml").read_text()
    assert old in text
    (bundle / "bundle.toml").write_text(text.replace(old, new))
    found = said("--clips", f"packed:{clips}", bundle=bundle)
    assert all(word in found for word in [str(bundle), *words]), found


def test_a_bundle_toml_that_is_no_text(said, clips, tmp_path):
    bundle = _copied(tmp_path)
    (bundle / "bundle.toml").write_bytes(b"\xff\xfe")
    assert "expected TOML" in said("--clips", f"packed:{clips}", bundle=bundle)


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_a_network_that_is_none(said, clips, tmp_path, name):
    bundle = _copied(tmp_path)
    whole = (bundle / f"{name}.onnx").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-3], b"", b"no network"):
        (bundle / f"{name}.onnx").write_bytes(content)
        assert f"{name}.onnx: expected a network" in said("--clips", f"packed:{clips}", bundle=bundle)


def test_networks_that_do_not_belong_together(said, clips, tmp_path):
    bundle = _copied(tmp_path, "fast-keys")
    (bundle / "slow.onnx").write_bytes((BUNDLES / "plain" / "slow.onnx").read_bytes())
    assert "memory value.segmentation" in said("--clips", f"packed:{clips}", bundle=bundle)
