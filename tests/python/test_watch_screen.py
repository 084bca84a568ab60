"""The screen of `milad watch`, in a terminal of the test's own: its numbers are the daemon's, its pictures the camera's."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import numpy as np
import pytest
from PIL import Image

import milad_client
from test_client import start

SHADES = np.array([[[200, 40, 40], [40, 200, 40]], [[40, 40, 200], [220, 220, 40]]], np.uint8)


@pytest.fixture(scope="module")
def still(milad, tmp_path_factory):
    """A daemon whose camera sees one picture of four colours for ever, so that its numbers stand still."""
    folder = tmp_path_factory.mktemp("still")
    (folder / "clip").mkdir()
    Image.fromarray(SHADES.repeat(16, 0).repeat(32, 1)).save(folder / "clip" / "0.png")
    process = start(milad, folder / "s", "--source", f"clip:{folder / 'clip'}?rate=20&loop=1")
    yield folder / "s"
    process.kill()
    process.wait()


class Terminal:
    """`milad watch` in a pseudo-terminal."""

    def __init__(self, milad, socket, rows, columns, **environment):
        self.main, side = pty.openpty()
        self.resize(rows, columns)
        clean = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm-256color"} | environment
        command = [str(milad), "watch", "--socket", str(socket)]
        self.process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=clean, start_new_session=True)
        os.close(side)
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def screen(self, condition):
        """Reads until a whole screen fulfils a condition, and gives it with its colours."""
        deadline = time.monotonic() + 60
        while True:
            assert select.select([self.main], [], [], max(0, deadline - time.monotonic()))[0], self.seen[-4000:]
            self.seen += os.read(self.main, 65536)
            whole = self.seen.split(b"\x1b[?7h")
            self.seen = whole[-1]
            for screen in whole[:-1]:
                # The terminal has put a return of its own before each newline.
                text = screen.split(b"\x1b[?7l", 1)[1].decode().replace("\r\r\n", "\r\n")
                if condition(plain(text)):
                    return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        # What it still writes is read, or it would wait for ever.
        while self.process.poll() is None:
            if select.select([self.main], [], [], 0.05)[0]:
                try:
                    os.read(self.main, 65536)
                except OSError:
                    break
        assert self.process.wait(timeout=60) == 0
        os.close(self.main)


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")


def complete(text):
    return "captured" in text and "keyframe  " in text and "none yet" not in text and "median" in text


def test_the_numbers_are_the_daemons(milad, still):
    with milad_client.connect(still) as results:
        # Once a keyframe is in force, nothing changes any more.
        while (result := results.next()).sequence < 20 or not result.keyframe:
            pass
        told = result.tasks
    with Terminal(milad, still, 50, 120, COLORTERM="truecolor") as terminal:
        text = plain(terminal.screen(lambda text: complete(text) and "▀" in text))
    assert re.search(r"^camera    clip · 64×32 PNG · 20.0/s$", text, re.M), text
    rate = float(re.search(r"^rate +([0-9.]+)/s", text, re.M)[1])
    assert 5 < rate < 40
    for name, share in told["segmentation"]["share"].items():
        bar = re.search(rf"  {name} +{share * 100:.1f} %(?: (█*))?", text)
        assert bar and len(bar[1] or "") in (int(share * 16), round(share * 16)), (name, share, text)
    depth = told["depth"]
    words = " · ".join(f"{name} {depth[name]:.1f} m" for name in ("nearest", "p5", "p50", "p95"))
    assert f"depth     {words}" in text, (words, text)
    assert f"normals   {told['normals']['up'] * 100:.0f} % up" in text
    for word in ("latency ", "prepare ", "fast ", "publish ", "frames, ", " ms old", "in flight ", "driver gaps "):
        assert word in text, word


def colours(line):
    """The colours of each character of a line: above, below."""
    found, now = [], None
    for sequence, text in re.findall(r"(?:\x1b\[([0-9;]*)m)|(▀+| +)", line):
        if text:
            found += [now] * len(text)
        else:
            numbers = [int(n) for n in sequence.split(";")]
            now = (numbers[2:5], numbers[7:10]) if len(numbers) == 10 else numbers
    return found


def test_the_picture_is_what_the_camera_sees(milad, still):
    with Terminal(milad, still, 50, 120, COLORTERM="truecolor") as terminal:
        text = terminal.screen(lambda text: complete(text) and "▀" in text)
    lines = [line for line in text.split("\r\n") if "▀" in line]
    # Behind the line that tells of the camera.
    captions = [line for line in plain(text).split("\n") if line.startswith("camera ")][1]
    assert captions.split() == ["camera", "segmentation", "depth", "normals"]
    rows = [colours(line) for line in lines]
    width = rows[0].index([0])
    assert width == (120 - 3 * 2) // 4
    # The corners are the four colours, wherever the picture's size puts the edge between them.
    last = len(rows) - 1
    for row, column, half, shade in [(0, 0, 0, SHADES[0, 0]), (0, width - 1, 0, SHADES[0, 1]), (last, 0, 1, SHADES[1, 0]), (last, width - 1, 1, SHADES[1, 1])]:
        assert np.abs(np.array(rows[row][column][half]) - shade).max() <= 1, (row, column)


def test_terminals_that_can_do_less_get_less(milad, still):
    with Terminal(milad, still, 50, 100) as terminal:
        assert "\x1b[38;5;" in terminal.screen(lambda text: complete(text) and "▀" in text)
    for environment in ({"NO_COLOR": "1"}, {"TERM": "vt100"}, {"LANG": "C"}):
        with Terminal(milad, still, 50, 100, **environment) as terminal:
            text = terminal.screen(complete)
            assert "▀" not in text and not re.search(r"\x1b\[[0-9;]*m", text), text
            assert text.isascii() == ("LANG" in environment)


def test_a_narrow_terminal_gets_everything_on_more_lines(milad, still):
    with Terminal(milad, still, 50, 40, NO_COLOR="1") as terminal:
        text = plain(terminal.screen(lambda text: complete(text) and "driver gaps" in text))
    for word in ("epoch 1", "lost by this client 0", "median ", "in flight ", "driver gaps ", "p95 ", "confidence " if "confidence" in text else ""):
        assert word in text, word
    # What can be parted is parted; a camera's latency by stage is one piece.
    assert all(len(line) <= 40 for line in text.split("\n") if "prepare" not in line and "trained on" not in line), text


def test_a_daemon_that_goes_leaves_nothing_on_the_screen_and_is_found_again(milad, tmp_path):
    arguments = (milad, tmp_path / "s", "--source", "card:?rate=10")
    process = start(*arguments)
    with Terminal(milad, tmp_path / "s", 50, 100, COLORTERM="truecolor") as terminal:
        assert complete(plain(terminal.screen(lambda text: complete(text) and "▀" in text)))
        process.terminate()
        text = plain(terminal.screen(lambda text: "NO CONNECTION" in text))
        assert "the daemon stops" in text and f"waiting for milad at {tmp_path / 's'}" in text
        assert not any(word in text for word in ("▀", "frame ", "keyframe", "rate ")), text
        process.wait(timeout=60)
        process = start(*arguments)
        try:
            assert "NO CONNECTION" not in plain(terminal.screen(lambda text: complete(text) and "▀" in text))
        finally:
            process.kill()
            process.wait()


def test_a_terminal_that_changes_its_size_never_scrolls(milad, still):
    with Terminal(milad, still, 50, 120, COLORTERM="truecolor") as terminal:
        assert terminal.screen(lambda text: complete(text) and "▀" in text).count("\r\n") > 20
        terminal.resize(6, 40)
        small = terminal.screen(lambda text: text.count("\n") <= 5)
        assert small.count("\r\n") == 5 and plain(small).startswith("milad ")


def test_lines_for_programs_are_the_daemons_own(milad, still):
    command = [str(milad), "watch", "--socket", str(still), "--json", "--frames", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and lines[0]["type"] == "hello"
    assert [line["type"] for line in lines].count("result") == 3 and lines[-1]["type"] == "result"
