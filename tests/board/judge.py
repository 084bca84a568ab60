#!/usr/bin/env python3
"""Judges what the emulated board left behind, by what others say: the kernel's trace of every buffer that the daemon
took, v4l2-ctl, promtool, and the lines that plain nc was sent. Standard library only; never starts the daemon.

    judge.py FOLDER      last line "N passed, N failed"; exit status 1 unless every test that should be there passed
    judge.py --clip      writes the clip that the board is given to play
"""

import array
import ast
import json
import math
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

# A scenario that vanishes must not go unnoticed: how many tests there are, kept by hand.
EXPECTED_TESTS = 100
TICK_NS = 40_000_000
CLIP_FRAMES = 60

tests = []


def test(*scenarios):
    """Registers a check for some scenarios; it fails by raising AssertionError."""

    def register(check):
        tests.extend((name, check) for name in scenarios)
        return check

    return register


class Run:
    """What one scenario left."""

    def __init__(self, folder):
        self.folder = folder
        lines = self.text("results.jsonl").splitlines() if (folder / "results.jsonl").exists() else []
        self.messages = [json.loads(line) for line in lines]
        self.hello = self.messages[0] if self.messages else {}
        self.results = [m for m in self.messages if m["type"] == "result"]

    def text(self, name):
        return (self.folder / name).read_text()

    def of_type(self, kind):
        return [m for m in self.messages if m["type"] == kind]

    def buffers(self):
        """Every buffer that left the driver: (sequence, capture time, whether flagged as bad), in order."""
        buffers = []
        for line in self.text("trace").splitlines():
            if " v4l2_dqbuf: " not in line:
                continue
            flags, time, sequence = re.search(r"flags = (\S+), .*timestamp = (\d+), .*sequence = (\d+)", line).groups()
            buffers.append((int(sequence), int(time), "ERROR" in flags.split("|")))
        return buffers

    def places(self, results):
        """Where the results' buffers stand in the trace, found by the driver's sequence and time."""
        order = {(sequence, time): place for place, (sequence, time, _) in enumerate(self.buffers())}
        if self.folder.name in STAMPED_IN_THE_FUTURE:
            by_sequence = {sequence: place for (sequence, _), place in order.items()}
            return [by_sequence.get(r["driver_sequence"]) for r in results]
        return [order.get((r["driver_sequence"], r["captured_ns"])) for r in results]

    def streams(self):
        """The buffers, parted where the driver's count began again."""
        streams = []
        for buffer in self.buffers():
            if not streams or buffer[0] <= streams[-1][-1][0]:
                streams.append([])
            streams[-1].append(buffer)
        return streams

    def summary(self):
        """The daemon's closing line: {'captured': 31, 'dropped{prepare,replaced}': 2, ...}"""
        lines = re.findall(r"captured=\d+ published=\d+.*", self.text("log"))
        assert lines, "no closing line in the log"
        pairs = re.findall(r"([a-z_]+(?:\{[a-z,]+\})?)=(\d+)", lines[-1])
        return {name: int(count) for name, count in pairs}

    def dropped(self):
        return sum(count for name, count in self.summary().items() if name.startswith("dropped"))

    def metrics(self, name="metrics-last"):
        series = {}
        for line in self.text(name).splitlines():
            if line and not line.startswith("#"):
                key, value = line.rsplit(" ", 1)
                series[key] = float(value)
        return series

    def last_map(self, name):
        """The last depth map that a client was sent which asked for maps; None where it got fewer than five."""
        maps = []
        with open(self.folder / name, "rb") as stream:
            for line in stream:
                # The last line may be cut off where the client ended.
                message = json.loads(line) if line.endswith(b"\n") else {}
                length = message.get("payload_bytes", 0)
                payload = stream.read(length)
                if length and len(payload) == length:
                    maps.append((message["maps"][0]["shape"], payload))
        return maps[-1] if len(maps) >= 5 else None


def equal(found, expected, what):
    assert found == expected, f"{what}: {found}, expected {expected}"


STREAMING = [
    "camera-comes-late",
    "yuyv",
    "nv12",
    "multi-planar",
    "two-memory-planes",
    "three-memory-planes",
    "other-format-and-size",
    "dropped-buffers",
    "error-flag",
    "disconnect",
]
# There vivid says the end of a frame that it gives away before its end; the daemon must not believe it.
STAMPED_IN_THE_FUTURE = ["camera-comes-late"]
GEOMETRY = {
    "yuyv": ("YUYV", 640, 360),
    "nv12": ("NV12", 640, 360),
    "multi-planar": ("NV12", 640, 360),
    "two-memory-planes": ("NM12", 640, 360),
    "three-memory-planes": ("YM12", 640, 360),
    "other-format-and-size": ("RGB3", 320, 180),
}
# Through the multi-planar interface, and in how many pieces of memory.
MULTI_PLANAR = {"multi-planar": 1, "two-memory-planes": 2, "three-memory-planes": 3}


@test(*STREAMING)
def ends_well(run):
    equal(run.text("status").strip(), "0", "exit status")
    equal(run.messages[0]["type"], "hello", "first message")
    equal(run.messages[-1]["type"], "bye", "last message")
    equal(len(run.of_type("hello")), 1, "greetings")
    equal(len(run.of_type("bye")), 1, "goodbyes")
    assert not (run.folder / "scrape-errors").exists(), "a scrape got no answer"


@test(*STREAMING)
def every_frame_is_accounted_for(run):
    said, streams = run.summary(), run.streams()
    captured = sum(len(stream) for stream in streams)
    span = sum(stream[-1][0] - stream[0][0] + 1 for stream in streams)
    equal(said["captured"], captured, "captured frames, by the kernel's trace")
    equal(said["driver_span"], span, "span of the driver's sequence, by the kernel's trace")
    equal(said["captured"] + said["driver_gaps"], span, "captured + driver gaps")
    equal(said["published"] + run.dropped() + said["in_flight"], captured, "published + dropped + in flight")
    equal(said["in_flight"], 0, "frames in flight after the end")


@test(*STREAMING)
def every_result_is_of_a_buffer_of_its_own(run):
    assert len(run.results) >= 20, f"{len(run.results)} results"
    buffers, places = run.buffers(), run.places(run.results)
    for result, place in zip(run.results, places):
        assert place is not None, f"no buffer has the driver sequence and time of {result}"
        assert not buffers[place][2], f"buffer {place} was flagged as bad, and answered"
    equal([p for p, n in Counter(places).items() if n > 1], [], "buffers that were answered twice")
    for before, after in zip(run.results, run.results[1:]):
        assert after["sequence"] > before["sequence"], f"sequence went from {before['sequence']} to {after['sequence']}"
        assert after["epoch"] >= before["epoch"], "epoch went back"
        assert after["published_ns"] >= after["captured_ns"], "published before it was captured"


@test(*STREAMING)
def sequences_count_captured_frames(run):
    """Between two results of an epoch the daemon's count grows by the buffers that the kernel handed out."""
    places = run.places(run.results)
    offset = places[0] - run.results[0]["sequence"]
    for result, place in zip(run.results, places):
        equal(result["sequence"], place - offset, f"sequence of buffer {place}")


@test(*STREAMING)
def keyframes_are_older_than_their_results(run):
    with_one = [r for r in run.results if r["keyframe"]]
    assert with_one, "no result rests on a keyframe"
    sequences = {r["sequence"]: r for r in run.results}
    for result in with_one:
        key = result["keyframe"]
        equal(result["sequence"] - key["sequence"], key["age_frames"], "age in frames")
        assert key["age_frames"] > 0 and key["age_ms"] > 0, f"a keyframe that is not older: {key}"
        if key["sequence"] in sequences:
            age = (result["captured_ns"] - sequences[key["sequence"]]["captured_ns"]) / 1e6
            assert abs(age - key["age_ms"]) < 0.1, f"age {key['age_ms']} ms, by capture times {age} ms"


@test(*STREAMING)
def metrics_say_the_same(run):
    series = run.metrics()
    equal(series["milad_camera_up"], 1, "camera up")
    equal(series["milad_clients"], 2 if (run.folder / "watch.jsonl").exists() else 1, "clients")
    equal(series["milad_keyframe_interval_frames"], 5, "keyframe interval")
    assert series["milad_keyframes_total"] >= 1, "no keyframe"
    for name in ("metrics-first", "metrics-last"):
        told = subprocess.run(["promtool", "check", "metrics"], input=run.text(name), capture_output=True, text=True)
        equal((told.returncode, told.stdout + told.stderr), (0, ""), f"promtool on {name}")
    bare = [{key.split("{")[0] if "info" in key else key for key in run.metrics(n)} for n in ("metrics-first", "metrics-last")]
    equal(sorted(bare[0] ^ bare[1]), [], "series that were not there at the first scrape, or went")


@test(*STREAMING)
def each_scrape_accounts_for_every_frame(run):
    said = run.summary()
    for name in ("metrics-first", "metrics-last"):
        series = run.metrics(name)
        captured, published = series["milad_frames_captured_total"], series["milad_frames_published_total"]
        dropped = [count for key, count in series.items() if key.startswith("milad_frames_dropped_total{")]
        equal(len(dropped), 20, f"series of dropped frames in {name}")
        left = captured - published - sum(dropped)
        equal(left, series["milad_frames_in_flight"], f"captured − published − dropped, against in flight, in {name}")
        # A scrape came before the end, so that it may lack the last frames and never has more.
        gaps = series["milad_driver_gap_frames_total"]
        for what, count in [("captured", captured), ("published", published), ("driver_gaps", gaps)]:
            assert count <= said[what], f"{what} {count} in {name}, in the end {said[what]}"
    # The last one came after 20 results. A result is counted just after it was sent.
    assert published >= 19, f"{published} frames published after 20 results, says the last scrape"


@test(*GEOMETRY)
def the_driver_was_set_as_configured_and_clients_are_told(run):
    fourcc, width, height = GEOMETRY[run.folder.name]
    driver = run.text("driver")
    assert re.search(rf"Width/Height\s*: {width}/{height}\n", driver), driver
    assert re.search(rf"Pixel Format\s*: '{fourcc}'", driver), driver
    # vivid starts at 5 frames a second. v4l2-ctl can't ask a multi-planar device.
    if run.folder.name not in MULTI_PLANAR:
        assert "Frames per second: 25.000 (25/1)" in driver, driver
    buffers = run.buffers()
    interval = (buffers[-1][1] - buffers[0][1]) / (buffers[-1][0] - buffers[0][0])
    assert abs(interval / TICK_NS - 1) < 0.1, f"{interval / 1e6} ms from frame to frame, by the driver's stamps"
    camera = run.hello["camera"] or next(m["camera"] for m in run.of_type("camera") if m["state"] != "lost")
    told = tuple(camera[key] for key in ("format", "width", "height", "interval_ns"))
    equal(told, (fourcc, width, height, TICK_NS), "the camera in hello")


@test(*MULTI_PLANAR)
def the_multi_planar_interface_was_used(run):
    assert "VIDEO_CAPTURE_MPLANE" in run.text("trace")
    planes = re.search(r"Number of planes\s*: (\d+)", run.text("driver"))
    assert planes, run.text("driver")
    equal(int(planes[1]), MULTI_PLANAR[run.folder.name], "memory planes")


@test(*MULTI_PLANAR)
def however_its_planes_lie_a_picture_gives_the_same_map(run):
    """The test picture stands still; what NV12 in a single-planar buffer gives is what all layouts of 4:2:0 must give."""
    single = Run(run.folder.parent / "nv12")
    expected, found = single.last_map("maps"), run.last_map("maps")
    assert expected and found, "no maps"
    assert found == expected, f"depth map {found[0]} differs from the single-planar {expected[0]}"
    assert single.last_map("maps-grey") not in (None, expected), "the map says nothing about colour planes"


@test(*STAMPED_IN_THE_FUTURE)
def an_impossible_stamp_is_not_believed(run):
    assert "lies in the future" in run.text("log"), "no word about it in the log"
    stamps = {sequence: time for sequence, time, _ in run.buffers()}
    early = [r for r in run.results if stamps[r["driver_sequence"]] > r["published_ns"]]
    assert all(r["captured_ns"] < stamps[r["driver_sequence"]] for r in early), "captured after it was published"


@test("camera-comes-late")
def the_daemon_serves_before_there_is_a_camera(run):
    equal(run.hello["camera"], None, "the camera in hello")
    equal(run.metrics("metrics-first")["milad_camera_up"], 0, "camera up, before")
    answers = [run.text(name).split()[1] for name in ("healthz-before", "readyz-before", "healthz-after", "readyz-after")]
    equal(answers, ["200", "503", "200", "200"], "alive and ready before and after the camera came")
    states = [m["state"] for m in run.of_type("camera")]
    assert states and states[-1] != "lost", f"camera messages: {states}"


@test("dropped-buffers")
def half_of_the_buffers_missing_are_gaps(run):
    # 60 results came while vivid dropped every other buffer by chance; their number is exact elsewhere.
    gaps, buffers = run.metrics()["milad_driver_gap_frames_total"], [sequence for sequence, _, _ in run.buffers()]
    assert gaps >= 30, f"{gaps} gaps with half of the buffers dropped"
    assert buffers[-1] - buffers[0] + 1 - len(buffers) >= gaps, "more gaps than the kernel's trace has"


@test("error-flag")
def flagged_buffers_are_bad_frames(run):
    flagged = [sequence for sequence, _, bad in run.buffers() if bad]
    equal(len(flagged), 5, "buffers that the driver flagged")
    equal(run.metrics()["milad_frames_bad_total"], 5, "bad frames")
    equal(run.summary()["dropped{capture,corrupt}"], 5, "frames dropped as corrupt")
    seen = {r["driver_sequence"] for r in run.results}
    assert not seen & set(flagged), "a result from a flagged buffer"


@test("disconnect")
def a_camera_that_goes_comes_back_with_a_new_epoch(run):
    states = [(m["state"] == "lost", m["epoch"]) for m in run.of_type("camera")]
    losses = [epoch for lost, epoch in states if lost]
    equal(len(losses), 2, "times that the camera was told lost")
    assert all(m["reason"] for m in run.of_type("camera") if m["state"] == "lost"), "a loss without a reason"
    epochs = sorted({r["epoch"] for r in run.results})
    equal(len(epochs), 3, "epochs among the results")
    equal(epochs[:2], losses, "the epochs that ended")
    equal(len(run.streams()), 3, "streams, by the kernel's trace")
    equal(run.metrics()["milad_camera_reconnects_total"], 2, "reconnects")
    kinds = [(m["type"], m.get("state"), m.get("epoch")) for m in run.messages]
    for old, new in zip(epochs, epochs[1:]):
        lost = kinds.index(("camera", "lost", old))
        began = kinds.index(("camera", "up", new))
        assert lost < began, f"epoch {new} began before {old} was told lost"
        # What is in flight when the camera goes may still be answered, until the next one is told.
        assert all(kind[2] < new for kind in kinds[:began] if kind[0] == "result"), f"epoch {new} has a result before it was told"
        assert all(kind[2] >= new for kind in kinds[began:] if kind[0] == "result"), f"a result of epoch {old} after epoch {new} was told"


@test("yuyv")
def watch_passes_the_same_lines_on(run):
    plain, watched = (run.text(name).splitlines() for name in ("results.jsonl", "watch.jsonl"))
    equal(json.loads(watched[0])["type"], "hello", "first line")
    watched = [line for line in watched if '"type":"result"' in line]
    assert len(watched) >= 20, f"{len(watched)} results"
    start = plain.index(watched[0])
    equal(plain[start : start + len(watched)], watched, "results of both clients, from where the second came")


@test("colour")
def the_drivers_colour_is_believed(run):
    """v4l2-ctl resolves the kernel's defaults by itself."""
    encodings = {"ITU-R 601": "Bt601", "Rec. 709": "Bt709", "BT.2020": "Bt2020"}
    seen = set()
    for file in sorted(run.folder.glob("*.driver")):
        stated = re.search(r"Encoding: (?:Default \(maps to )?(.*?)\)?\n(?:.*)Quantization *: (?:Default \(maps to )?(\w+)",
                           file.read_text(), re.DOTALL)
        assert stated, f"{file.name}: {file.read_text()}"
        expected = f"{encodings[stated[1]]}, {stated[2]} range"
        told = re.search(r"colour +(.*)", file.with_suffix(".check").read_text())
        assert told, f"no colour in {file.with_suffix('.check').name}: {file.with_suffix('.log').read_text()}"
        equal(told[1], expected, f"colour for {file.stem}")
        seen.add(expected)
    equal(len(seen), 5, "different colours")


@test("devices")
def cameras_are_listed(run):
    equal(run.text("status").strip(), "0", "exit status")
    listed = run.text("stdout")
    for number in range(3):
        assert f"/dev/video{number}" in listed, f"no /dev/video{number} in:\n{listed}"
    for word in ("YUYV", "NV12", "640x360"):
        assert word in listed.replace("×", "x"), f"no {word} in:\n{listed}"


def clip():
    """The clip that the board plays: noise of the networks' own size, 10 frames a second."""
    noise = random.Random(7)
    frames = [b"FRAME\n" + bytes(noise.randrange(16, 240) for _ in range(3 * 64 * 32)) for _ in range(CLIP_FRAMES)]
    return b"YUV4MPEG2 W64 H32 F10:1 Ip C444\n" + b"".join(frames)


def npy(path):
    """An array file's shape, without a leading axis of 1, and its numbers."""
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00", f"{path.name} is no array file"
    start = 10 + int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:start].decode())
    numbers = array.array({"<f4": "f", "|u1": "B", "|i1": "b"}[header["descr"]], data[start:])
    shape = [side for place, side in enumerate(header["shape"]) if place or side > 1]
    equal(len(numbers), math.prod(shape), f"numbers in {path.name}")
    return shape, numbers


def upsampled(shape, numbers, height, width):
    """Channels of bilinearly upsampled values, half-pixel centres."""

    def places(small, large):
        for i in range(large):
            at = min(max((i + 0.5) * small / large - 0.5, 0), small - 1)
            low = min(int(at), max(small - 2, 0))
            yield low, min(low + 1, small - 1), at - low

    channels, h, w = shape
    rows, columns = list(places(h, height)), list(places(w, width))
    for channel in range(channels):
        plane = numbers[channel * h * w : (channel + 1) * h * w]
        mixed = []
        for top, bottom, y in rows:
            row = [a * (1 - y) + b * y for a, b in zip(plane[top * w : (top + 1) * w], plane[bottom * w : (bottom + 1) * w])]
            mixed += [row[left] * (1 - x) + row[right] * x for left, right, x in columns]
        yield mixed


@test("client")
def the_rust_client_reads_what_infer_computes(run):
    """Maps in shared memory against the arrays of the same frames, brought to the maps' size in Python."""
    equal([run.text(name).strip() for name in ("infer.status", "status")], ["0", "0"], run.text("save_maps.log") + run.text("infer.log"))
    networks = Counter()
    for image in sorted((run.folder / "maps").glob("*.image.npy")):
        frame = image.name.removesuffix(".image.npy")
        found = {name: npy(run.folder / "maps" / f"{frame}.{name}.npy") for name in ("segmentation", "depth", "normals")}
        raw = {name: npy(run.folder / "arrays" / f"{frame}.task.{name}.npy") for name in found}
        dense = {name: list(upsampled(*raw[name], *found[name][0][-2:])) for name in found}
        for place, (number, logits) in enumerate(zip(found["segmentation"][1], zip(*dense["segmentation"]))):
            assert max(logits) - logits[number] < 1e-5, f"class {number} in place {place} of {frame}, logits {logits}"
        for metres, log in zip(found["depth"][1], dense["depth"][0]):
            assert abs(metres / math.exp(log) - 1) < 2e-5, f"{metres} m in {frame}, expected {math.exp(log)}"
        normals = found["normals"][1]
        for place, vector in enumerate(zip(*dense["normals"])):
            length = math.hypot(*vector)
            for axis, part in enumerate(vector):
                number = normals[axis * len(dense["depth"][0]) + place]
                assert abs(number - part / length * 127) <= 0.51, f"normal {number} in place {place} of {frame}"
        networks[frame.split(".")[1]] += 1
    assert networks["fast"] >= 20 and networks["slow"] >= 4, f"frames compared: {dict(networks)}"


# Capture alone, as a 32-bit program on the 64-bit kernel.
NARROW = {
    "capture32-yuyv": ("YUYV", 40),
    "capture32-nv12": ("NV12", 20),
    "capture32-two-memory-planes": ("NM12", 20),
    "capture32-disconnect": ("YUYV", 60),
}


def said(run, word):
    """What follows `word` on each line that begins with it."""
    return [line.split()[1:] for line in run.text("said").splitlines() if line.split()[0] == word]


@test(*NARROW)
def a_32_bit_program_negotiates_as_it_is_told(run):
    fourcc, count = NARROW[run.folder.name]
    equal(run.text("status").strip(), "0", f"exit status; it said {run.text('log')}")
    equal(said(run, "bits"), [["32"]], "bits")
    equal(said(run, "up")[0], [fourcc, "640", "360", str(TICK_NS)], "what was granted")
    equal(len(said(run, "frame")), count, "frames")
    equal(len(said(run, "lost")), run.folder.name.count("disconnect"), "losses")
    equal(len(said(run, "up")), 1 + run.folder.name.count("disconnect"), "times that the camera was up")


@test(*NARROW)
def a_32_bit_program_gets_every_buffer_with_its_time(run):
    """By the kernel's trace, which is the same for programs of either width."""
    frames = [(int(sequence), int(time)) for sequence, time, _ in said(run, "frame")]
    buffers = [(sequence, time) for sequence, time, _ in run.buffers()]
    equal(frames, buffers[: len(frames)], "sequences and times")


@test("capture32-two-memory-planes")
def a_32_bit_program_sees_the_same_picture_however_its_planes_lie(run):
    """The test picture stands still."""
    single = Run(run.folder.parent / "capture32-nv12")
    sums = [{sum for _, _, sum in said(which, "frame")} for which in (single, run)]
    equal(sums[1], sums[0], "sums of bytes")
    assert len(sums[0]) == 1 and sums[0] != {"0"}, sums


def main():
    if sys.argv[1:] == ["--clip"]:
        sys.stdout.buffer.write(clip())
        return
    out = Path(sys.argv[1])
    passed = failed = 0
    runs = {}
    for number, (scenario, check) in enumerate(tests, 1):
        title = f"{scenario}: {check.__name__.replace('_', ' ')}"
        try:
            if scenario not in runs:
                runs[scenario] = Run(out / scenario)
            check(runs[scenario])
            passed += 1
            print(f"ok {number} - {title}")
        except Exception as error:  # whatever is missing or odd is a failure of this one test
            failed += 1
            print(f"not ok {number} - {title}\n    {type(error).__name__}: {error}")
    if len(tests) != EXPECTED_TESTS:
        failed += 1
        print(f"not ok - {len(tests)} tests are defined, expected {EXPECTED_TESTS}")
    if not (out / "finished").exists() or (out / "finished").read_text().strip() != "0":
        failed += 1
        print("not ok - the board did not come to the end of its scenarios")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
