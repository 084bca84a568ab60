"""A running daemon, read by programs that share no code with it: Python's socket and json modules, numpy."""

import json
import re
import socket
import subprocess
import time

import numpy as np
import pytest

from conftest import BUNDLES, ROOT

DTYPES = {"u8": "u1", "i8": "i1", "f32": "<f4"}


@pytest.fixture
def daemon(milad, tmp_path):
    """A daemon that plays the test card, and its socket."""
    path = tmp_path / "s"
    command = [milad, "run", "--source", "card:", "--bundle", BUNDLES / "plain", "--socket", path, "--metrics", "off"]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not path.exists():
        log.seek(0)
        assert process.poll() is None and time.monotonic() < deadline, log.read()
        time.sleep(0.01)
    yield process, path
    process.kill()
    process.wait()


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    deadline = time.monotonic() + 60
    while True:
        try:
            sock.connect(str(path))
            return sock.makefile("rwb")
        except ConnectionRefusedError:
            # Bound, not listening yet.
            assert time.monotonic() < deadline
            time.sleep(0.01)


def receive(stream):
    message = json.loads(stream.readline())
    return message, stream.read(message.get("payload_bytes", 0))


def results(stream, count):
    found = []
    while len(found) < count:
        message, payload = receive(stream)
        if message["type"] == "result":
            found.append((message, payload))
        else:
            assert message["type"] in {"camera", "ok"}, message
    return found


def test_results_are_in_order_and_their_statistics_are_those_of_their_maps(daemon):
    stream = connect(daemon[1])
    hello, _ = receive(stream)
    assert hello["type"] == "hello" and hello["protocol"] == 1
    stream.write(b'{"subscribe":{"maps":"inline"}}\n')
    stream.flush()
    tasks = {task["name"]: task for task in hello["tasks"]}
    found = [(m, p) for m, p in results(stream, 20) if "maps" in m]
    assert found
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    last = -1
    for message, payload in found:
        assert message["sequence"] > last and message["captured_ns"] <= message["published_ns"] <= now
        last = message["sequence"]
        assert [entry["task"] for entry in message["maps"]] == list(tasks) == list(message["tasks"])
        for entry in message["maps"]:
            task, told = tasks[entry["task"]], message["tasks"][entry["task"]]
            raw = payload[entry["offset"] : entry["offset"] + entry["bytes"]]
            values = np.frombuffer(raw, DTYPES[entry["dtype"]]).reshape(entry["shape"])
            if task["kind"] == "segmentation":
                share = np.bincount(values.ravel(), minlength=len(task["classes"])) / values.size
                assert list(told["share"]) == [c["name"] for c in task["classes"]]
                np.testing.assert_allclose(list(told["share"].values()), share, atol=5.1e-5)
            elif task["kind"] == "depth":
                finite = values[np.isfinite(values)].astype(np.float64)
                for name, q in [("p5", 0.05), ("p50", 0.5), ("p95", 0.95), ("nearest", 0.001)]:
                    assert abs(told[name] - np.quantile(finite, q, method="lower")) <= 5.1e-4, name
            elif task["kind"] == "normals":
                up = np.mean(values[1].astype(np.float64) <= -127 * np.cos(np.radians(30)))
                assert abs(told["up"] - up) <= 5.1e-5
                length = np.linalg.norm(values.astype(np.float64), axis=0)
                assert ((length == 0) | (abs(length - 127) < 1)).all()


def test_the_example_of_the_documentation_works(daemon, tmp_path):
    text = (ROOT / "docs" / "PROTOCOL.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-1]
    assert "/run/milad/results.sock" in code
    script = tmp_path / "example.py"
    script.write_text(code.replace("/run/milad/results.sock", str(daemon[1])), encoding="utf-8")
    with subprocess.Popen(["python3", "-u", script], stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout.readline().startswith("depth [")
        finally:
            reader.kill()


def test_watch_passes_lines_through_and_ends_when_nobody_reads(daemon, milad):
    command = [str(milad), "watch", "--json", "--socket", str(daemon[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        types = [json.loads(watch.stdout.readline())["type"] for _ in range(4)]
        assert types[0] == "hello" and types[-1] == "result"
        watch.stdout.close()
        assert watch.wait(timeout=60) == 0, watch.stderr.read()


def test_watch_tells_of_a_daemon_that_went_and_waits(daemon, milad):
    command = [str(milad), "watch", "--socket", str(daemon[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        line = watch.stdout.readline()
        while not line.startswith("frame "):
            assert line == "no result yet\n"
            line = watch.stdout.readline()
        assert "depth nearest=" in line and "age" in line
        daemon[0].terminate()
        told = watch.stderr.readline()
        assert "the daemon stops" in told and "waiting" in told, told
        watch.kill()


def test_watch_without_a_daemon_says_what_to_do(milad, tmp_path):
    command = [str(milad), "watch", "--socket", str(tmp_path / "nobody")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "can't connect to" in done.stderr and "is milad running" in done.stderr
