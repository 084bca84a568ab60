"""Loaders of data sets, on tiny files fabricated in each layout: what was put in comes out, and a wrong layout is one sentence."""

import json

import numpy as np
import pytest
from PIL import Image

import conftest  # noqa: F401  (puts the recipe on the path)
from milad_recipe.datasets import LayoutError, open_clips
from milad_recipe.datasets.cityscapes import CLASSES
from milad_recipe.datasets.clip import Truth, resized
from milad_recipe.metrics import UNLABELLED

HEIGHT, WIDTH, FRAMES = 6, 8, 3


def _random(seed=0):
    return np.random.default_rng(seed)


def _unit(random, shape):
    normals = random.normal(size=shape)
    return normals / np.linalg.norm(normals, axis=-3, keepdims=True)


def _refused(spec, *words):
    """The error of opening and reading everything: one line that holds all words."""
    with pytest.raises(LayoutError) as error:
        for clip in open_clips(spec):
            for frame in range(len(clip)):
                clip.rgb(frame)
                clip.truth(frame)
    text = str(error.value)
    assert "\n" not in text and "expected" in text and "found" in text and ";" in text, text
    for word in words:
        assert str(word) in text, text


CAMERA = {"intrinsics": [5.0, 6.0, 4.0, 3.0], "classes": [{"name": "road", "color": "#804080"}, {"name": "sky", "color": "#4682b4"}]}


@pytest.fixture
def packed(tmp_path):
    random = _random()
    for seed in (3, 12):
        folder = tmp_path / "packed" / f"{seed:07}"
        folder.mkdir(parents=True)
        np.save(folder / "rgb.npy", random.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3)).astype(np.uint8))
        np.save(folder / "class.npy", random.integers(0, 2, (FRAMES, HEIGHT, WIDTH)).astype(np.uint8))
        depth = random.uniform(1, 90, (FRAMES, HEIGHT, WIDTH)).astype(np.float16)
        depth[:, 0] = np.inf
        np.save(folder / "depth.npy", depth)
        normals = np.rint(_unit(random, (FRAMES, 3, HEIGHT, WIDTH)) * 127).astype(np.int8)
        normals[:, :, 0] = 0
        np.save(folder / "normals.npy", normals)
        np.save(folder / "flow.npy", random.normal(size=(FRAMES, 2, HEIGHT, WIDTH)).astype(np.float16))
        (folder / "camera.json").write_text(json.dumps(CAMERA))
    (tmp_path / "packed" / ".0000099.part-1").mkdir()
    np.save(tmp_path / "packed" / ".0000099.part-1" / "rgb.npy", np.zeros(1))
    return tmp_path / "packed"


def test_packed_scenes(packed):
    clips = open_clips(f"packed:{packed}")
    assert [clip.name for clip in clips] == ["0000003", "0000012"]
    clip, folder = clips[1], packed / "0000012"
    assert (len(clip), clip.size, clip.intrinsics, clip.classes) == (FRAMES, (HEIGHT, WIDTH), (5.0, 6.0, 4.0, 3.0), ("road", "sky"))
    assert clip.labelled() == [0, 1, 2]
    truth = clip.truth(2)
    assert np.array_equal(clip.rgb(2), np.load(folder / "rgb.npy")[2])
    assert np.array_equal(truth.segmentation, np.load(folder / "class.npy")[2])
    assert np.array_equal(truth.depth, np.load(folder / "depth.npy")[2].astype(np.float32))
    assert np.allclose(truth.normals * 127, np.load(folder / "normals.npy")[2], atol=1e-4)
    assert np.array_equal(truth.flow, np.load(folder / "flow.npy")[2].astype(np.float32))
    masks = truth.supervised()
    assert masks["segmentation"].all()
    assert np.array_equal(masks["depth"], np.isfinite(truth.depth) & (truth.depth <= 80))
    assert not masks["normals"][0].any() and masks["normals"][1:].all()


def test_packed_scenes_in_another_layout_are_refused(packed, tmp_path):
    _refused(f"packed:{tmp_path / 'nothing'}", "rgb.npy", "milad scene")
    np.save(packed / "0000012" / "depth.npy", np.zeros((FRAMES, HEIGHT, WIDTH + 1), np.float16))
    _refused(f"packed:{packed}", "depth.npy", (FRAMES, HEIGHT, WIDTH), (FRAMES, HEIGHT, WIDTH + 1))
    (packed / "0000012" / "depth.npy").unlink()
    _refused(f"packed:{packed}", "0000012/depth.npy", "No such file")


@pytest.mark.parametrize(
    "name, array, words",
    [
        ("class", np.zeros((FRAMES, HEIGHT), np.uint8), ["uint8", "(N, H, W)", (FRAMES, HEIGHT)]),
        ("class", np.zeros((FRAMES, HEIGHT, WIDTH)), ["uint8", "float64"]),
        ("class", np.zeros((FRAMES, 0, 0), np.uint8), ["(N, H, W)", (FRAMES, 0, 0)]),
        ("class", np.zeros((0, HEIGHT, WIDTH), np.uint8), [(0, HEIGHT, WIDTH)]),
        ("rgb", np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.float32), ["uint8", "float32"]),
        ("rgb", np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8), [(FRAMES, HEIGHT, WIDTH, 3)]),
        ("depth", np.zeros((FRAMES, HEIGHT, WIDTH), np.complex64), ["float16", "complex64"]),
        ("normals", np.zeros((FRAMES, 3, HEIGHT, WIDTH), np.float16), ["int8", "float16"]),
        ("flow", np.array("text"), ["float16", "<U4"]),
    ],
)
def test_packed_arrays_of_another_kind_are_refused(packed, name, array, words):
    np.save(packed / "0000012" / f"{name}.npy", array)
    _refused(f"packed:{packed}", f"0000012/{name}.npy", *words)


@pytest.mark.parametrize("name", ["rgb", "class", "depth"])
@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04", None])
def test_packed_arrays_that_cannot_be_read_are_refused(packed, name, content):
    file = packed / "0000012" / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-7] if content is None else content)
    _refused(f"packed:{packed}", file, "npy array", "cannot be read")


def test_a_camera_that_tells_of_other_frames_is_refused(packed, folder):
    for kind, place in (("packed", packed / "0000012"), ("folder", folder / "b")):
        for change, words in (({"frames": 6}, ["as many `frames`", "3", "found 6"]), ({"classes": [str(i) for i in range(256)]}, ["at most 255"])):
            (place / "camera.json").write_text(json.dumps(CAMERA | change))
            _refused(f"{kind}:{place.parent}", place / "camera.json", *words)
        (place / "camera.json").write_text(json.dumps(CAMERA | {"frames": FRAMES}))
        assert len(open_clips(f"{kind}:{place.parent}")) == 2


@pytest.fixture
def folder(tmp_path):
    """Two clips; frame 1 of both has no truth, frame 2 classes alone."""
    random = _random(1)
    for name in ("a", "b"):
        place = tmp_path / "clips" / name
        place.mkdir(parents=True)
        for frame in range(FRAMES):
            Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(place / f"{frame:06}.rgb.png")
        for frame in (0, 2):
            Image.fromarray(random.integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)).save(place / f"{frame:06}.class.png")
        np.save(place / "000000.depth.npy", random.uniform(1, 90, (HEIGHT, WIDTH)).astype(np.float16))
        np.save(place / "000000.normals.npy", _unit(random, (3, HEIGHT, WIDTH)).astype(np.float16))
        np.save(place / "000000.flow.npy", random.normal(size=(2, HEIGHT, WIDTH)).astype(np.float16))
        (place / "camera.json").write_text(json.dumps(CAMERA))
    return tmp_path / "clips"


def test_a_plain_folder_of_labelled_clips(folder):
    clips = open_clips(f"folder:{folder}")
    assert [clip.name for clip in clips] == ["a", "b"]
    clip, place = clips[0], folder / "a"
    assert (len(clip), clip.size, clip.intrinsics, clip.classes) == (FRAMES, (HEIGHT, WIDTH), (5.0, 6.0, 4.0, 3.0), ("road", "sky"))
    assert clip.labelled() == [0, 2]
    assert np.array_equal(clip.rgb(1), np.asarray(Image.open(place / "000001.rgb.png")))
    truth = clip.truth(0)
    assert np.array_equal(truth.segmentation, np.asarray(Image.open(place / "000000.class.png")))
    for name in ("depth", "normals", "flow"):
        assert np.array_equal(getattr(truth, name), np.load(place / f"000000.{name}.npy").astype(np.float32))
    assert clip.truth(1) is None
    assert set(clip.truth(2).by_kind()) == {"segmentation"}
    assert [len(clip) for clip in open_clips(f"folder:{place}")] == [FRAMES]


def test_a_folder_in_another_layout_is_refused(folder, tmp_path):
    _refused(f"folder:{tmp_path}", "000000.rgb.png", "milad scene")
    np.save(folder / "b" / "000000.normals.npy", np.zeros((HEIGHT, WIDTH, 3), np.float16))
    _refused(f"folder:{folder}", "b/000000.normals.npy", (3, HEIGHT, WIDTH), (HEIGHT, WIDTH, 3))
    np.save(folder / "a" / "000007.depth.npy", np.zeros((HEIGHT, WIDTH)))
    _refused(f"folder:{folder}", "000007.rgb.png")


def _spoil(file, how):
    """A picture in `file` that none can read, or that is not of its clip's size."""
    if how == "size":
        return Image.fromarray(np.zeros((HEIGHT, WIDTH + 1, 3) if ".rgb" in file.name or "leftImg" in file.name else (HEIGHT, WIDTH + 1), np.uint8)).save(file)
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "other": b"no picture at all", "truncated": whole[:45], "broken": whole[:45] + b"\xff" * 20 + whole[65:]}[how])


@pytest.mark.parametrize("how", ["empty", "other", "truncated", "broken", "size"])
@pytest.mark.parametrize("name", ["000000.rgb.png", "000001.rgb.png", "000002.class.png"])
def test_a_folder_with_a_spoilt_picture_is_refused(folder, name, how):
    _spoil(folder / "b" / name, how)
    words = [f"({HEIGHT}, {WIDTH + 1}", f"({HEIGHT}, {WIDTH}"] if how == "size" else []
    _refused(f"folder:{folder}", "" if name.startswith("000000") and how == "size" else f"b/{name}", *words)


def test_a_folder_with_labels_of_another_kind_is_refused(folder):
    for array in (np.zeros((HEIGHT, WIDTH), np.complex64), np.zeros((HEIGHT, WIDTH), np.uint16), np.array("text")):
        np.save(folder / "b" / "000000.depth.npy", array)
        _refused(f"folder:{folder}", "b/000000.depth.npy", "expected float", array.dtype)
    (folder / "b" / "000000.depth.npy").write_bytes(b"PK\x03\x04")
    _refused(f"folder:{folder}", "b/000000.depth.npy", "cannot be read")
    Image.fromarray(np.full((HEIGHT, WIDTH), 256, np.uint16)).save(folder / "a" / "000002.class.png")
    _refused(f"folder:{folder}", "a/000002.class.png", "0…255", "256")


def test_a_clip_with_a_hole_is_refused(folder):
    """By what camera.json says; where it does not tell, names may be any that sort as the frames do."""
    for file in (folder / "b").glob("000001.*"):
        file.unlink()
    assert [len(clip) for clip in open_clips(f"folder:{folder}")] == [FRAMES, FRAMES - 1]
    (folder / "b" / "camera.json").write_text(json.dumps(CAMERA | {"frames": FRAMES}))
    _refused(f"folder:{folder}", "b/camera.json", f"expected as many `frames` as lie beside it, {FRAMES - 1}, found {FRAMES}")
    (folder / "b" / "camera.json").unlink()
    for file in (folder / "b").glob("000002.*"):
        file.rename(file.with_name(file.name.replace("000002", "2")))
    _refused(f"folder:{folder}", "as many digits in all names", "000000 and", "pad them with zeros")


def test_clips_of_milad_scene_are_read(milad, tmp_path):
    """Both layouts of the same seed hold the same truth."""
    import subprocess

    if "--packed" not in subprocess.run([milad, "scene", "--help"], capture_output=True, text=True).stdout:
        pytest.skip("this build of milad has no `scene` command yet")
    size = ["--width", "64", "--height", "32", "--frames", "2", "--world", "street"]
    subprocess.run([milad, "scene", *size, "--seed", "5", "--out", tmp_path / "plain"], check=True)
    subprocess.run([milad, "scene", *size, "--seeds", "5..6", "--packed", "--flow", "--out", tmp_path / "packed"], check=True)
    (plain,), (packed,) = open_clips(f"folder:{tmp_path / 'plain'}"), open_clips(f"packed:{tmp_path / 'packed'}")
    assert (len(plain), plain.size, plain.intrinsics, plain.classes) == (len(packed), packed.size, packed.intrinsics, packed.classes)
    assert "road" in plain.classes
    for frame in range(2):
        a, b = plain.truth(frame), packed.truth(frame)
        assert np.array_equal(plain.rgb(frame), packed.rgb(frame))
        assert np.array_equal(a.segmentation, b.segmentation) and np.array_equal(a.depth, b.depth)
        assert np.abs(a.normals - b.normals).max() < 0.005
        assert np.array_equal(a.flow, b.flow)


@pytest.fixture
def cityscapes(tmp_path):
    root, name = tmp_path / "cityscapes", "frankfurt_000001_000294"
    camera = {"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 2000.0, "fy": 2100.0, "u0": 4.0, "v0": 3.0}}
    random = _random(2)
    for part in ("leftImg8bit_sequence", "gtFine", "disparity", "camera"):
        (root / part / "val" / "frankfurt").mkdir(parents=True)
    for number in range(294 - 19, 294 + 11):
        picture = np.full((HEIGHT, WIDTH, 3), number % 256, np.uint8)
        Image.fromarray(picture).save(root / "leftImg8bit_sequence/val/frankfurt" / f"frankfurt_000001_{number:06}_leftImg8bit.png")
    ids = random.choice([0, 3, 7, 8, 21, 23, 26, 33], (HEIGHT, WIDTH)).astype(np.uint8)
    ids[0] = 23
    ids[1, :3] = (7, 33, 4)
    Image.fromarray(ids).save(root / f"gtFine/val/frankfurt/{name}_gtFine_labelIds.png")
    disparity = random.integers(2, 40_000, (HEIGHT, WIDTH)).astype(np.uint16)
    disparity[2, :3] = (0, 1, 257)
    Image.fromarray(disparity).save(root / f"disparity/val/frankfurt/{name}_disparity.png")
    (root / f"camera/val/frankfurt/{name}_camera.json").write_text(json.dumps(camera))
    return root, ids, disparity


def test_cityscapes(cityscapes):
    root, ids, disparity = cityscapes
    (clip,) = open_clips(f"cityscapes:{root}:val")
    assert (len(clip), clip.size, clip.intrinsics) == (30, (HEIGHT, WIDTH), (2000.0, 2100.0, 4.0, 3.0))
    assert clip.labelled() == [19] and clip.truth(18) is None
    assert [clip.rgb(frame)[0, 0, 0] for frame in (0, 19, 29)] == [275 % 256, 294 % 256, 304 % 256]
    truth = clip.truth(19)
    assert truth.segmentation[1, :3].tolist() == [0, 18, UNLABELLED]
    order = list(CLASSES.values())
    for value in np.unique(ids):
        expected = order.index(value) if value in order else UNLABELLED
        assert (truth.segmentation[ids == value] == expected).all()
    assert len(clip.classes) == 19 and clip.classes[13] == "car"
    assert np.isnan(truth.depth[2, :2]).all() or ids[2, 0] == 23 or ids[2, 1] == 23
    measured = (ids != 23) & (disparity > 1)
    assert np.allclose(truth.depth[measured], 0.2 * 2000.0 / ((disparity[measured] - 1.0) / 256.0))
    assert np.isinf(truth.depth[ids == 23]).all()
    assert truth.normals is None


def test_cityscapes_in_another_layout_is_refused(cityscapes, tmp_path):
    root = cityscapes[0]
    _refused(f"cityscapes:{tmp_path}:val", "leftImg8bit_sequence/val", "cityscapes")
    _refused(f"cityscapes:{root}:train", "leftImg8bit_sequence/train")
    camera = root / "camera/val/frankfurt/frankfurt_000001_000294_camera.json"
    camera.write_text("{}")
    _refused(f"cityscapes:{root}:val", "camera.json", "intrinsic")
    (root / "leftImg8bit_sequence/val/frankfurt/frankfurt_000001_000280_leftImg8bit.png").unlink()
    _refused(f"cityscapes:{root}:val", "30 frames", "found 29", "leftImg8bit_sequence_trainvaltest.zip")


@pytest.mark.parametrize("how", ["empty", "other", "truncated", "broken", "size"])
@pytest.mark.parametrize("part, frame, ending", [
    ("leftImg8bit_sequence", 294, "leftImg8bit.png"), ("leftImg8bit_sequence", 280, "leftImg8bit.png"),
    ("gtFine", 294, "gtFine_labelIds.png"), ("disparity", 294, "disparity.png"),
])  # fmt: skip
def test_cityscapes_with_a_spoilt_picture_is_refused(cityscapes, part, frame, ending, how):
    file = cityscapes[0] / part / "val/frankfurt" / f"frankfurt_000001_{frame:06}_{ending}"
    _spoil(file, how)
    _refused(f"cityscapes:{cityscapes[0]}:val", ending, *([f"({HEIGHT}, {WIDTH + 1}"] if how == "size" else [file.name, f"unpack {part}_trainvaltest.zip again"]))


NAMES = ["wall", "floor", "chair", "apple", "bookshelf", "person"]


@pytest.fixture
def nyu_mat(tmp_path):
    h5py = pytest.importorskip("h5py")
    random, file = _random(3), tmp_path / "nyu.mat"
    arrays = {
        "images": random.integers(0, 256, (2, 3, WIDTH, HEIGHT)).astype(np.uint8),
        "depths": random.uniform(1, 9, (2, WIDTH, HEIGHT)).astype(np.float32),
        "labels": random.integers(0, 7, (2, WIDTH, HEIGHT)).astype(np.uint16),
    }
    arrays["depths"][0, 0, 0] = 0
    with h5py.File(file, "w") as mat:
        for name, array in arrays.items():
            mat[name] = array
        references = mat.create_dataset("names", (1, len(NAMES)), dtype=h5py.ref_dtype)
        for i, name in enumerate(NAMES):
            references[0, i] = mat.create_dataset(f"#refs#/{i}", data=np.array([[ord(c)] for c in name], np.uint16)).ref
    return file, arrays


def test_nyuv2_as_distributed(nyu_mat):
    file, arrays = nyu_mat
    clips = open_clips(f"nyuv2:{file}")
    assert len(clips) == 2 and len(clips[0]) == 1 and clips[0].size == (HEIGHT, WIDTH)
    clip, truth = clips[0], clips[0].truth(0)
    assert clip.classes == ("floor", "wall", "ceiling", "seat", "table", "storage", "object", "person")
    assert np.array_equal(clip.rgb(0), arrays["images"][0].transpose(2, 1, 0))
    expected = np.array([UNLABELLED, 1, 0, 3, 6, 5, 7], np.uint8)[arrays["labels"][0].T]
    assert np.array_equal(truth.segmentation, expected)
    assert np.isnan(truth.depth[0, 0]) and np.array_equal(truth.depth[0, 1:], arrays["depths"][0].T[0, 1:])
    assert truth.normals is None
    assert clip.intrinsics == pytest.approx((518.857901 * 8 / 640, 519.469611 * 6 / 480, 325.582245 * 8 / 640, 253.736166 * 6 / 480))


def test_nyuv2_without_its_variables_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.mat", "w") as mat:
        mat["images"] = np.zeros((1, 3, 4, 4), np.uint8)
    _refused(f"nyuv2:{tmp_path / 'other.mat'}", "`depths`", "images")
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    _refused(f"nyuv2:{tmp_path / 'old.mat'}", "MATLAB 7.3")


@pytest.mark.parametrize(
    "name, array, words",
    [
        ("labels", np.zeros((2, WIDTH), np.uint16), ["`labels`", "integer", (2, WIDTH)]),
        ("labels", np.zeros((2, WIDTH, HEIGHT)), ["`labels`", "integer", "float64"]),
        ("labels", np.full((2, WIDTH, HEIGHT), -1, np.int16), ["labels of frame 0", "0…6", "-1…-1"]),
        ("labels", np.zeros((0, WIDTH, HEIGHT), np.uint16), ["`labels`", (0, WIDTH, HEIGHT)]),
        ("images", np.zeros((2, 3, WIDTH, HEIGHT)), ["`images`", "uint8", "float64"]),
        ("depths", np.zeros((2, WIDTH, HEIGHT), np.complex64), ["`depths`", "float", "complex64"]),
        ("names", np.zeros((1, 4)), ["`names`", "references"]),
    ],
)
def test_nyuv2_with_variables_of_another_kind_is_refused(nyu_mat, name, array, words):
    import h5py

    with h5py.File(nyu_mat[0], "a") as mat:
        del mat[name]
        mat[name] = array
    _refused(f"nyuv2:{nyu_mat[0]}", nyu_mat[0], *words)


@pytest.fixture
def nyu_folder(tmp_path):
    random, root = _random(4), tmp_path / "nyu"
    normals = _unit(random, (3, HEIGHT, WIDTH)) * np.array([0.3, 0.3, 1])[:, None, None]
    normals[2] = np.abs(normals[2]) + 1.5  # towards the camera in their axes
    normals /= np.linalg.norm(normals, axis=0)
    normals[:, 0, 0] = 0
    arrays = {
        "image": random.random((HEIGHT, WIDTH, 3)),
        "label": random.integers(-1, 13, (HEIGHT, WIDTH)).astype(np.float64),
        "depth": random.uniform(1, 9, (HEIGHT, WIDTH, 1)),
        "normal": normals.transpose(1, 2, 0),
    }
    for part, array in arrays.items():
        (root / "val" / part).mkdir(parents=True)
        for number in (0, 10, 2):
            np.save(root / "val" / part / f"{number}.npy", array)
    return root, arrays


def test_nyuv2_as_folders_of_arrays(nyu_folder):
    root, arrays = nyu_folder
    clips = open_clips(f"nyuv2:{root}:val")
    assert [clip.name for clip in clips] == ["000000", "000002", "000010"]
    truth = clips[2].truth(0)
    assert np.array_equal(clips[2].rgb(0), np.rint(arrays["image"] * 255).astype(np.uint8))
    assert np.array_equal(truth.segmentation, np.where(arrays["label"] < 0, UNLABELLED, arrays["label"]))
    assert np.allclose(truth.depth, arrays["depth"][..., 0])
    assert np.allclose(truth.normals, arrays["normal"].transpose(2, 0, 1) * np.array([1, -1, -1])[:, None, None], atol=1e-6)
    assert not truth.supervised()["normals"][0, 0]
    assert len(clips[0].classes) == 13


def test_nyuv2_folders_in_another_layout_are_refused(nyu_folder, tmp_path):
    root, arrays = nyu_folder
    _refused(f"nyuv2:{tmp_path}:val", "image, label, depth and normal", "nyu")
    np.save(root / "val" / "depth" / "2.npy", np.zeros((3, 3)))
    _refused(f"nyuv2:{root}:val", "depth/2.npy", "(3, 3)")
    np.save(root / "val" / "normal" / "0.npy", -arrays["normal"])
    _refused(f"nyuv2:{root}:val", "z towards the camera")


@pytest.mark.parametrize(
    "part, array, words",
    [
        ("image", np.array(0.5), ["uint8 or float", "()"]),
        ("image", np.zeros((0, 0, 3)), [(0, 0, 3)]),
        ("image", np.full((HEIGHT, WIDTH, 3), 255.0), ["0…1", "255…255", "divide by 255"]),
        ("image", np.full((HEIGHT, WIDTH, 3), np.nan), ["0…1", "nan"]),
        ("image", np.zeros((HEIGHT, WIDTH, 3), np.int64), ["uint8 or float", "int64"]),
        ("label", np.full((HEIGHT, WIDTH), "bed"), ["integer or float", "<U3"]),
        ("depth", np.zeros((HEIGHT, WIDTH), np.complex128), ["float", "complex128"]),
        ("normal", np.zeros((HEIGHT, WIDTH)), [(HEIGHT, WIDTH, 3), (HEIGHT, WIDTH)]),
    ],
)
@pytest.mark.parametrize("number", [0, 10])
def test_nyuv2_arrays_of_another_kind_are_refused(nyu_folder, number, part, array, words):
    file = nyu_folder[0] / "val" / part / f"{number}.npy"
    np.save(file, array)
    _refused(f"nyuv2:{nyu_folder[0]}:val", file, *words)
    file.write_bytes(file.read_bytes()[:90])
    _refused(f"nyuv2:{nyu_folder[0]}:val", file, "cannot be read")


def test_a_data_set_is_named_by_kind_and_path():
    _refused("somewhere", "KIND:PATH", "packed")
    _refused("kitti:/data", "cityscapes")


def test_truth_at_another_size_takes_the_nearest_pixel():
    truth = Truth(
        segmentation=np.arange(24, dtype=np.uint8).reshape(4, 6),
        depth=np.arange(24, dtype=np.float32).reshape(4, 6),
        flow=np.ones((2, 4, 6), np.float32),
    )
    half, twice = resized(truth, 2, 3), resized(truth, 8, 12)
    assert half.segmentation.tolist() == [[7, 9, 11], [19, 21, 23]] and half.depth.tolist() == half.segmentation.tolist()
    assert np.array_equal(twice.segmentation, truth.segmentation.repeat(2, 0).repeat(2, 1))
    assert (half.flow == 0.5).all() and (twice.flow == 2).all() and half.normals is None
