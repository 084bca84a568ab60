"""The Python client: what it gives is what the daemon computed, it copies nothing, and it keeps old results away."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import milad_client
from conftest import BUNDLES, ROOT
from test_maps import upsample

CLIENT = ROOT / "clients" / "python"


def start(milad, path, *arguments):
    command = [milad, "run", "--bundle", BUNDLES / "plain", "--socket", path, "--metrics", "off", *arguments]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.socket(socket.AF_UNIX).connect(str(path))
            return process
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def daemon(milad, tmp_path):
    process = start(milad, tmp_path / "s", "--source", "card:")
    yield tmp_path / "s"
    process.kill()
    process.wait()


def clip(folder: Path, frames: int) -> Path:
    """Pictures of the size that the networks want, so that nothing is lost on the way in."""
    folder.mkdir()
    noise = np.random.default_rng(7).integers(0, 256, (frames, 8, 16, 3), np.uint8)
    for number, picture in enumerate(noise):
        Image.fromarray(picture).resize((64, 32), Image.Resampling.BILINEAR).save(folder / f"{number:06}.png")
    return folder


def hold_against_infer(arrays: Path, sequence: int, network: str, found: dict):
    """Published maps against the arrays that `milad infer` wrote for the same frame."""
    raw = {t: np.load(arrays / f"{sequence:06}.{network}.task.{t}.npy")[0] for t in ("segmentation", "depth", "normals")}
    logits = upsample(raw["segmentation"], (32, 64))
    chosen = np.take_along_axis(logits, found["segmentation"][None].astype(int), 0)[0]
    assert (logits.max(0) - chosen).max() < 1e-5
    np.testing.assert_allclose(found["depth"], np.exp(upsample(raw["depth"], (32, 64))[0]), rtol=2e-5)
    dense = upsample(raw["normals"], (32, 64))
    assert np.abs(found["normals"] - dense / np.linalg.norm(dense, axis=0) * 127).max() <= 0.51


def hold_against_clip(pictures: Path, sequence: int, image: np.ndarray):
    with Image.open(pictures / f"{sequence:06}.png") as picture:
        np.testing.assert_array_equal(image, np.asarray(picture))


@pytest.mark.parametrize(("maps", "lines"), [("shared", "socket"), ("shared", "shared"), ("inline", "socket")])
def test_maps_are_what_infer_computes(milad, infer, tmp_path, maps, lines):
    pictures = clip(tmp_path / "clip", 75)
    arrays = infer(BUNDLES / "plain", pictures, tmp_path / "arrays", interval=5, latency=0)
    process = start(milad, tmp_path / "s", "--source", f"clip:{pictures}", "--interval", "5", "--sync")
    compared = keyframes = 0
    arguments = {"image": True, "reconnect": False, "newest": False, "max_age": None}
    with milad_client.connect(tmp_path / "s", maps=maps, lines=lines, **arguments) as results:
        try:
            for result in results:
                network = "slow" if result.keyframe["age_frames"] == 0 else "fast"
                keyframes += network == "slow"
                try:
                    found = {name: view.copy() for name, view in result.maps.items()}
                except milad_client.Overtaken:
                    # This machine was busy; the daemon waits for nobody.
                    continue
                hold_against_infer(arrays, result.sequence, network, found)
                hold_against_clip(pictures, result.sequence, found["image"])
                compared += 1
        except milad_client.Closed:
            pass
    process.wait(timeout=60)
    assert compared > 20 and keyframes > 2


def test_the_rust_clients_maps_are_what_infer_computes(milad, infer, tmp_path):
    """Read in shared memory by the crate's own example, with no other client between."""
    program = milad.parent / "examples" / "save_maps"
    assert program.is_file(), f"{program} is not there: run `cargo build --release -p milad-client --examples`"
    pictures = clip(tmp_path / "clip", 75)
    arrays = infer(BUNDLES / "plain", pictures, tmp_path / "arrays", interval=5, latency=0)
    process = start(milad, tmp_path / "s", "--source", f"clip:{pictures}", "--interval", "5", "--sync")
    subprocess.run([program, tmp_path / "maps", tmp_path / "s"], check=True, timeout=60)
    process.wait(timeout=60)
    compared, keyframes = 0, 0
    for image in sorted((tmp_path / "maps").glob("*.image.npy")):
        sequence, network = image.name.split(".")[:2]
        found = {name: image.with_name(f"{sequence}.{network}.{name}.npy") for name in ("segmentation", "depth", "normals", "image")}
        if all(path.is_file() for path in found.values()):
            found = {name: np.load(path) for name, path in found.items()}
            hold_against_infer(arrays, int(sequence), network, found)
            hold_against_clip(pictures, int(sequence), found["image"])
            compared, keyframes = compared + 1, keyframes + (network == "slow")
    assert compared > 20 and keyframes > 2


def test_views_are_the_daemons_own_memory_and_tell_when_it_moved_on(daemon):
    with milad_client.connect(daemon, maps="shared", image=True) as results:
        result = results.next()
        regions = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:milad-" in line]
        for name, view in result.maps.items():
            address = view.array.__array_interface__["data"][0]
            inside = [r for r in regions if f"milad-{name}" in r[5]]
            spans = [tuple(int(end, 16) for end in r[0].split("-")) for r in inside]
            assert any(low <= address < high for low, high in spans), name
            assert all(r[1] == "r--s" for r in inside), "mapped for reading only"
            assert not view.array.flags.writeable and not view.array.flags.owndata
        view = result.maps["depth"]
        assert view.valid() and np.array_equal(view.copy(), view.array)
        # Eight results later; which those are is the machine's business.
        deadline = time.monotonic() + 60
        while view.valid():
            assert results.next().sequence > result.sequence and time.monotonic() < deadline
        with pytest.raises(milad_client.Overtaken):
            view.copy()


def test_a_slow_program_gets_the_newest_result(daemon):
    with milad_client.connect(daemon, maps="shared", tasks=["depth"]) as results:
        results.next()
        time.sleep(1.5)
        late = results.next()
        assert late.age < 1.0 and late.maps["depth"].valid()


def test_lines_in_shared_memory_are_those_of_the_socket(daemon):
    """Each once, in order, and where one was overlooked it says so; whatever is not a result still comes by the socket."""
    with (
        milad_client.connect(daemon, maps="shared", lines="shared", newest=False, max_age=None) as results,
        milad_client.connect(daemon, maps="shared", newest=False, max_age=None) as by_socket,
    ):
        found, expected, dropped = {}, {}, 0
        while len(found) < 40:
            result = results.next()
            assert results._connection.lines is not None and set(result.maps) == {"segmentation", "depth", "normals"}
            if found:
                dropped += result.message["dropped"]
                assert result.sequence > max(found)
            found[result.sequence] = {**result.message, "dropped": 0}
        while not expected or max(expected) < max(found):
            result = by_socket.next()
            expected[result.sequence] = {**result.message, "dropped": 0}
        there = [sequence for sequence in expected if min(found) <= sequence <= max(found)]
        assert all(found[sequence] == expected[sequence] for sequence in there if sequence in found)
        assert sum(sequence in found for sequence in there) > 10
        if len(there) == max(found) - min(found) + 1:
            assert len(found) + dropped == len(there)


def test_a_program_that_waits_in_shared_memory_learns_that_the_daemon_was_killed(milad, tmp_path):
    process = start(milad, tmp_path / "s", "--source", "card:")
    with milad_client.connect(tmp_path / "s", maps="shared", lines="shared", reconnect=False, timeout=60) as results:
        assert results.next().maps["depth"].array.size
        process.kill()
        process.wait()
        with pytest.raises(milad_client.Closed):
            while True:
                results.next()


@pytest.mark.parametrize(
    ("machine", "pointer", "number"),
    [
        ("x86_64", 8, 202),
        ("aarch64", 8, 98),
        # Programs of 32 bits, on kernels of 64 too.
        ("x86_64", 4, 240),
        ("aarch64", 4, 240),
        ("armv7l", 4, 240),
        ("i686", 4, 240),
        ("riscv64", 8, None),
        ("riscv32", 4, None),
    ],
)
def test_the_futex_call_is_that_of_the_program_and_not_of_the_kernel(machine, pointer, number):
    assert milad_client._futex_number(machine, pointer) == number


def test_a_futex_call_that_fails_makes_nobody_spin(daemon, monkeypatch):
    calls = []

    def sleep(lines, seen, most, real=milad_client._Lines.sleep):
        calls.append(real(lines, seen, most))
        return calls[-1]

    with milad_client.connect(daemon, maps="shared", lines="shared", newest=False, max_age=None) as results:
        results.next()
        results.next()
        # No kernel has that many calls.
        monkeypatch.setattr(milad_client, "SYS_FUTEX", 1 << 20)
        monkeypatch.setattr(milad_client._Lines, "sleep", sleep)
        begun = time.monotonic()
        sequences = [results.next().sequence for _ in range(10)]
        most = (time.monotonic() - begun) / milad_client.DOZE
    assert sequences == sorted(set(sequences)) and not any(calls)
    # A poll of the socket ends sooner only where the daemon says something there.
    assert 0 < len(calls) <= most + 10


def test_lines_go_by_the_socket_where_there_is_no_futex(daemon, monkeypatch):
    monkeypatch.setattr(milad_client, "SYS_FUTEX", None)
    with milad_client.connect(daemon, maps="shared", lines="shared", max_age=None) as results:
        assert results.next().maps["depth"].array.size and results._connection.lines is None


@pytest.mark.parametrize(("written", "given"), [
    # Slots in which generations lie, and which are given in which order; at first the newest alone.
    ([5, 6, 3, 4], [6]),
    ([0, 0, 0, 0], []),
    ([2, 2**32 - 2, 2**32 - 1, 1], [2]),
])
def test_the_newest_line_is_the_first(written, given):
    lines = milad_client._Lines.__new__(milad_client._Lines)
    text = np.frombuffer(b'{"type":"result"}\n', "u1")
    lines.views = [milad_client.View(text, np.array([number], "<u4"), 0) for number in written]
    lines.last = None
    found = []
    while lines.take() is not None:
        found.append(lines.last)
    assert found == given


def test_lines_are_taken_by_generation_also_past_the_last_number():
    lines = milad_client._Lines.__new__(milad_client._Lines)
    text = np.frombuffer(b'{"type":"result","dropped":1}\n', "u1")
    lines.views = [milad_client.View(text, np.array([number], "<u4"), 0) for number in (1, 2, 2**32 - 2, 2**32 - 1)]
    lines.last = 2**32 - 4
    found = [(lines.take()["dropped"], lines.last) for _ in range(4)]
    assert found == [(2, 2**32 - 2), (1, 2**32 - 1), (1, 1), (1, 2)] and lines.take() is None
    assert lines.saw(2**32 - 1) == 0 and lines.last == 2
    # One whose line came by the socket is not missed; those before it are.
    assert lines.saw(3) == 0 and lines.saw(6) == 2 and lines.last == 6


@pytest.mark.parametrize("goodbye", [b"", b'{"type":"bye","reason":"enough"}\n'])
def test_lines_that_lie_there_are_given_before_the_end(tmp_path, goodbye):
    listener = socket.create_server(str(tmp_path / "s"), family=socket.AF_UNIX)
    connection = milad_client._Connection(str(tmp_path / "s"))
    peer, _ = listener.accept()
    lines = connection.lines = milad_client._Lines.__new__(milad_client._Lines)
    text = np.frombuffer(b'{"type":"result"}\n', "u1")
    lines.views = [milad_client.View(text, np.array([number], "<u4"), 0) for number in (5, 6, 3, 4)]
    lines.last, lines.bell = 4, np.zeros(1, "<u4")
    peer.sendall(goodbye)
    peer.close()
    found = []
    with pytest.raises(ConnectionError):
        while connection.ready(60):
            found.append(connection.receive()[0]["type"])
    assert found == ["result", "result"] + ["bye"] * bool(goodbye)
    connection.close()
    listener.close()


def test_what_the_daemon_refuses_is_an_error_with_its_words(daemon):
    with pytest.raises(milad_client.Refused, match='no task "colour"'):
        milad_client.connect(daemon, tasks=["colour"]).next()
    with pytest.raises(OSError):
        milad_client.connect(str(daemon) + "-nobody")


def serve(path, sessions):
    """A daemon made by hand: for each connection its lines, then the end."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run():
        for lines in sessions:
            peer, _ = listener.accept()
            try:
                for line in lines:
                    peer.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
            except BrokenPipeError:
                # A client that has seen enough.
                pass
            peer.close()

    threading.Thread(target=run, daemon=True).start()


HELLO = {"type": "hello", "protocol": 1, "tasks": []}
OK = {"type": "ok"}


def result(sequence, age):
    captured = time.monotonic_ns() - int(age * 1e9)
    return {"type": "result", "sequence": sequence, "captured_ns": captured, "epoch": 1, "keyframe": None, "tasks": {}}


def test_old_results_are_refused_unless_the_program_says_otherwise(tmp_path):
    lines = [HELLO, OK, result(1, 3600), result(2, 2), result(3, 0)]
    serve(tmp_path / "s", [lines, lines])
    with milad_client.connect(tmp_path / "s") as results:
        assert results.next().sequence == 3 and results.refused == 2
    with milad_client.connect(tmp_path / "s", max_age=None, newest=False) as results:
        assert results.next().sequence == 1


def test_it_connects_again_and_gives_up_in_time(tmp_path):
    serve(tmp_path / "s", [[HELLO, OK, result(1, 0)], [HELLO, OK, result(2, 0)], []])
    with milad_client.connect(tmp_path / "s", timeout=5) as results:
        assert [results.next().sequence, results.next().sequence] == [1, 2]
    with milad_client.connect(tmp_path / "s", timeout=0.3) as results, pytest.raises(milad_client.NothingFresh):
        results.next()


@pytest.mark.parametrize(
    "line",
    [
        b"no json\n",
        b"[1]\n",
        b'{"type":"result","payload_bytes":999999999999}\n',
        b'{"type":"maps","epoch":1,"slots":8,"planes":[{"task":"depth"}]}\n',
    ],
)
def test_what_is_no_message_of_milad_is_an_error(tmp_path, line):
    serve(tmp_path / "s", [[HELLO, OK, line, b"x" * 10]])
    with milad_client.connect(tmp_path / "s", timeout=5) as results, pytest.raises(milad_client.Error):
        results.next()


def test_memory_that_could_shrink_is_not_mapped(tmp_path):
    fd = os.memfd_create("loose", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    info = {"task": "depth", "dtype": "u8", "shape": [1, 8], "slot_bytes": 128, "data_offset": 64, "bytes": 8}
    with pytest.raises(milad_client.Error, match="could shrink"):
        milad_client._Plane(info, 8, fd)
    import fcntl

    fcntl.fcntl(fd, 1033, 2)
    assert milad_client._Plane(info, 8, fd).view(1, 5).valid() is False
    for wrong in [{"slot_bytes": 8192}, {"data_offset": 0}, {"bytes": 128}, {"shape": [2, 8]}]:
        with pytest.raises(milad_client.Error):
            milad_client._Plane(info | wrong, 8, fd)


@pytest.mark.parametrize("name, arguments, word", [
    ("follow_class.py", ["person"], b": person "), ("nearest.py", [], b" m at column "), ("strip.py", ["strip.ppm"], b"8 pictures"),
])
def test_the_examples_work(daemon, tmp_path, name, arguments, word):
    command = [sys.executable, CLIENT / "examples" / name, *arguments, daemon]
    environment = os.environ | {"PYTHONPATH": str(CLIENT)}
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, cwd=tmp_path, env=environment) as reader:
        try:
            assert word in reader.stdout.readline()
        finally:
            reader.kill()
    if name == "strip.py":
        with Image.open(tmp_path / "strip.ppm") as strip:
            assert strip.size == (8 * 64, 32)


def test_the_package_is_of_this_version():
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    assert project["version"] == milad_client.__version__ == workspace["version"]


def test_the_readme_shows_the_examples_as_they_are():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for example in sorted((CLIENT / "examples").glob("*.py")):
        assert example.read_text(encoding="utf-8").split('"""\n', 1)[1].strip() in text, example.name
    for name in ("nearest", "follow_class", "strip"):
        example = ROOT / "crates/client/examples" / f"{name}.rs"
        assert example.read_text(encoding="utf-8").strip() in text, example.name
