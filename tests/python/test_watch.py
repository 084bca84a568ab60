"""`milad watch`: recordings that replay to the same bytes, files that other programs read, a screen that tells what is."""

import json
import subprocess

import numpy as np
from PIL import Image

from conftest import BUNDLES
from test_client import clip, start

PICTURE = 64 * 32 * 3


def messages(path):
    """What a recording holds: messages with their payloads, and the bytes of both as they stand in it."""
    found = []
    with path.open("rb") as file:
        while line := file.readline():
            message = json.loads(line)
            payload = file.read(message.get("payload_bytes", 0))
            found.append((message, payload, line + payload))
    return found


def watch(milad, process, socket, *arguments):
    command = [milad, "watch", "--socket", socket, *arguments]
    try:
        done = subprocess.run([str(part) for part in command], timeout=120, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done
    finally:
        process.kill()
        process.wait()


def record(milad, folder, name, source, frames):
    """A recording of so many results, with keyframes every five frames and none dropped on the way in."""
    path = folder / f"{name}.rec"
    for _ in range(5):
        process = start(milad, folder / name, "--source", source, "--interval", "5", "--sync")
        told = watch(milad, process, folder / name, "--record", path, "--frames", frames).stderr
        assert f"{frames} results kept, " in told, told
        if " 0 lost" in told:
            return path
        # A machine that is too busy to read thirty small results a second.
        path.unlink()
    raise AssertionError(told)


def results(path):
    return [(message, payload) for message, payload, _ in messages(path) if message.get("maps")]


def aligned(whole, path, frames):
    """A recording that begins with a keyframe: what a replay does depends on where its keyframes are."""
    kept = []
    for message, _, raw in messages(whole):
        if message["type"] == "hello":
            kept.append(raw)
        elif message.get("maps") and (len(kept) > 1 or message["keyframe"]["age_frames"] == 0):
            kept.append(raw)
    assert len(kept) > frames
    path.write_bytes(b"".join(kept[: frames + 1]))
    return path


def test_a_recording_replays_to_identical_bytes(milad, tmp_path):
    pictures = clip(tmp_path / "clip", 75)
    whole = record(milad, tmp_path, "first", f"clip:{pictures}?loop=1", 40)
    original = results(aligned(whole, tmp_path / "aligned.rec", 30))
    ages = {message["keyframe"]["age_frames"] for message, _ in original}
    assert ages == {0, 1, 2, 3, 4}, "both networks have their part"
    # Every map and the picture, of every frame, wherever in its round the replay is.
    replayed = results(record(milad, tmp_path, "again", f"clip:{tmp_path / 'aligned.rec'}?loop=1", 45))
    for message, payload in replayed:
        before, expected = original[message["sequence"] % 30]
        assert message["keyframe"]["age_frames"] == before["keyframe"]["age_frames"]
        assert [entry["task"] for entry in message["maps"]] == ["segmentation", "depth", "normals", "image"]
        assert payload == expected, message["sequence"]
        assert message["tasks"] == before["tasks"]


def test_a_recording_keeps_its_own_time(milad, tmp_path):
    pictures = clip(tmp_path / "clip", 30)
    whole = record(milad, tmp_path, "whole", f"clip:{pictures}?loop=1", 12)
    # Four frames were not answered.
    kept = [raw for message, _, raw in messages(whole) if message["type"] == "hello" or message.get("maps")]
    (tmp_path / "gap.rec").write_bytes(b"".join(kept[:4] + kept[8:]))
    told = results(record(milad, tmp_path, "again", f"clip:{tmp_path / 'gap.rec'}?loop=1", 16))
    steps = {b["captured_ns"] - a["captured_ns"] for (a, _), (b, _) in zip(told, told[1:])}
    interval = 33_333_333
    assert steps == {interval, 5 * interval}, steps


def play(milad, folder, path):
    command = [milad, "run", "--bundle", BUNDLES / "plain", "--source", f"clip:{path}?rate=max"]
    command += ["--socket", folder / "s", "--metrics", "off"]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)


def test_a_recording_that_was_cut_off_plays_to_its_last_whole_frame(milad, tmp_path):
    pictures = clip(tmp_path / "clip", 30)
    whole = record(milad, tmp_path, "whole", f"clip:{pictures}?loop=1", 5).read_bytes()
    for cut, published in [(100, 4), (len(results(tmp_path / "whole.rec")[-1][1]) + 20, 4), (0, 5)]:
        (tmp_path / "torn.rec").write_bytes(whole[: len(whole) - cut])
        done = play(milad, tmp_path, tmp_path / "torn.rec")
        assert done.returncode == 0 and f"published={published} " in done.stderr, done.stderr
        assert ("cut off" in done.stderr) == (cut > 0), done.stderr


def test_what_is_no_recording_says_why(milad, tmp_path):
    pictures = clip(tmp_path / "clip", 30)
    kept = messages(record(milad, tmp_path, "whole", f"clip:{pictures}?loop=1", 2))
    hello = kept[0][2]
    message, payload, raw = next(entry for entry in kept if entry[0].get("maps"))

    def changed(**fields):
        return json.dumps(message | fields).encode() + b"\n" + payload

    image = message["maps"][-1]
    for content, reason in [
        (hello, "without a whole picture"),
        (hello + b"rubbish\n", "not a recording"),
        (hello + b'{"type":"' + b"x" * (1 << 20) + b'"}\n', "a line of a MiB"),
        (hello + changed(payload_bytes=1 << 40), "bytes of maps"),
        (hello + changed(maps=[image | {"shape": [1 << 31, 1 << 31, 3]}]), "can't be"),
        (hello + changed(maps=[image | {"shape": [0, 64, 3]}]), "can't be"),
        (hello + changed(maps=[image | {"offset": (1 << 63) - 1}]), "out of bounds"),
        (hello + raw + changed(maps=[image | {"shape": [16, 64, 3]}]), "but the first is 64×32"),
    ]:
        (tmp_path / "bad.rec").write_bytes(content)
        done = play(milad, tmp_path, tmp_path / "bad.rec")
        assert done.returncode != 0 and reason in done.stderr, (reason, done.stderr)


def test_a_recording_is_never_written_over(milad, tmp_path):
    (tmp_path / "kept.rec").write_bytes(b"precious")
    process = start(milad, tmp_path / "s", "--source", "card:")
    command = [milad, "watch", "--socket", tmp_path / "s", "--record", tmp_path / "kept.rec"]
    try:
        done = subprocess.run([str(part) for part in command], timeout=60, capture_output=True, text=True)
    finally:
        process.kill()
        process.wait()
    assert done.returncode == 1 and "never written over" in done.stderr
    assert (tmp_path / "kept.rec").read_bytes() == b"precious"


def test_saved_maps_are_files_that_others_read(milad, tmp_path):
    process = start(milad, tmp_path / "s", "--source", "card:")
    watch(milad, process, tmp_path / "s", "--save", tmp_path / "out", "--record", tmp_path / "rec", "--frames", 3)
    names = sorted(path.name.split(".", 1)[1] for path in (tmp_path / "out").iterdir())
    assert names == sorted(3 * ["depth.npy", "image.png", "normals.npy", "segmentation.npy", "segmentation.png"])
    for message, payload in results(tmp_path / "rec"):
        stem = tmp_path / "out" / f"{message['sequence']:06}"
        for entry in message["maps"]:
            raw = payload[entry["offset"] : entry["offset"] + entry["bytes"]]
            if entry["task"] != "image":
                array = np.load(f"{stem}.{entry['task']}.npy")
                assert (array.tobytes(), list(array.shape)) == (raw, entry["shape"])
                assert array.dtype == {"u8": np.uint8, "i8": np.int8, "f32": np.float32}[entry["dtype"]]
            if entry["task"] in ("image", "segmentation"):
                with Image.open(f"{stem}.{entry['task']}.png") as picture:
                    assert np.asarray(picture).tobytes() == raw
                    assert picture.mode == ("RGB" if entry["task"] == "image" else "P")
                    assert entry["task"] == "image" or picture.getpalette()[:3] == [0x80, 0x40, 0x80]
