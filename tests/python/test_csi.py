"""The drop-in for CSI cameras that docs/OPERATIONS.md shows, as it stands there: its shell runs with a stand-in for `rpicam-vid`
that writes frames as that does, the real ffmpeg where there is one, and the daemon in the place that systemd would give it."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from conftest import BUNDLES, ROOT
from test_service import DEADLINE, listening_unix

# Writes pictures as `rpicam-vid --codec yuv420 -o -` does: planes without a header, through a C stream whose last, partly filled
# block waits for the next picture unless it is told to flush. Notes how it was called, and its process.
RPICAM = """#!/usr/bin/env python3
import os, sys, time
from pathlib import Path
here = Path(__file__).parent
(here / "arguments").write_text("\\n".join(sys.argv[1:]))
(here / "pid").write_text(str(os.getpid()))
if (here / "no-camera").exists():
    sys.exit("ERROR: *** no cameras available ***")
value = lambda name: sys.argv[sys.argv.index(name) + 1]
size, rate, kept = int(value("--width")) * int(value("--height")) * 3 // 2, float(value("--framerate")), b""
while (here / "wait").exists():
    time.sleep(0.05)
for number in range(100000):
    out = kept + bytes([40 + number % 160]) * size
    cut = len(out) if "--flush" in sys.argv else len(out) // 4096 * 4096
    out, kept = out[:cut], out[cut:]
    while out:
        out = out[os.write(1, out):]
    limit = here / "pictures"
    if limit.exists() and number + 1 >= int(limit.read_text()):
        time.sleep(1000)
    time.sleep(1 / rate)
"""
# Puts Y4M's lines around such pictures: what ffmpeg does with the arguments of the page.
FFMPEG = """#!/usr/bin/env python3
import os, sys
width, height = map(int, sys.argv[sys.argv.index("-s") + 1].split("x"))
rate = sys.argv[sys.argv.index("-r") + 1]
size, first = width * height * 3 // 2, True
while len(picture := sys.stdin.buffer.read(size)) == size:
    if first:
        sys.stdout.buffer.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A0:0 C420jpeg XYSCSS=420JPEG\\n".encode())
    first = False
    sys.stdout.buffer.write(b"FRAME\\n" + picture)
    sys.stdout.buffer.flush()
"""


def settings() -> list[tuple[str, str]]:
    """The drop-in's assignments in order, continued lines joined as systemd does."""
    page = (ROOT / "docs/OPERATIONS.md").read_text()
    blocks = [block for block in re.findall(r"```ini\n(.*?)```", page, re.S) if "rpicam-vid" in block]
    assert len(blocks) == 1
    lines = re.sub(r"\\\n", " ", blocks[0]).splitlines()
    assert lines[0] == "[Service]"
    return [tuple(line.split("=", 1)) for line in lines[1:] if line and not line.startswith("#")]


class Service:
    """The drop-in's command with a socket passed by name and notices, as systemd starts it."""

    def __init__(self, milad: Path, folder: Path):
        self.tools = folder / "tools"
        self.tools.mkdir()
        (self.tools / "rpicam-vid").write_text(RPICAM)
        if shutil.which("ffmpeg") is None:
            (self.tools / "ffmpeg").write_text(FFMPEG)
        for tool in self.tools.iterdir():
            tool.chmod(0o755)
        configuration = folder / "milad.toml"
        configuration.write_text(f'[camera]\nsource = "v4l2:"\n[model]\nbundle = "{BUNDLES / "plain"}"\n[metrics]\nlisten = "off"\n')
        commands = [value for name, value in settings() if name == "ExecStart"]
        assert commands[0] == "" and len(commands) == 2, "the unit's own command has to be taken back first"
        assert "%" not in commands[1] and "$" not in commands[1], "systemd would put something in its place"
        command = commands[1].replace("/usr/bin/milad", str(milad)).replace("/etc/milad/milad.toml", str(configuration))
        self.command = shlex.split(command)
        self.results = listening_unix(folder / "results.sock")
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notices.bind(str(folder / "notify"))
        self.notices.settimeout(DEADLINE)
        self.folder = folder

    def start(self):
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify"), LISTEN_FDS="1", LISTEN_FDNAMES="results",
                           PATH=f"{self.tools}:{os.environ['PATH']}")  # fmt: skip
        self.stderr = open(self.folder / "stderr", "w+")
        self.process = subprocess.Popen(
            ["sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh", *self.command], env=environment, close_fds=False, cwd=self.folder,
            preexec_fn=lambda: os.dup2(self.results.fileno(), 3), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self.stderr, start_new_session=True,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # What systemd does to whatever is left of a service.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)

    def notice(self, wanted: str) -> str:
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            text, extra, _, _ = self.notices.recvmsg(65536, socket.CMSG_SPACE(12))
            sender = int.from_bytes(extra[0][2][:4], "little")
            assert sender == self.process.pid, "NotifyAccess=main: systemd listens to the main process alone"
            if wanted in text.decode():
                return text.decode()
        raise AssertionError(f"no {wanted}: {self.said()}")

    def said(self) -> str:
        return (self.folder / "stderr").read_text()

    def messages(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(DEADLINE)
            client.connect(str(self.folder / "results.sock"))
            for line in client.makefile("rb"):
                yield json.loads(line)


@pytest.fixture
def service(milad, tmp_path):
    with Service(milad, tmp_path) as made:
        yield made


def test_the_drop_in_serves_the_cameras_pictures_as_the_main_process(service):
    service.start()
    service.notice("READY=1")
    found = []
    for message in service.messages():
        found += [message] if message["type"] == "result" else []
        if len(found) == 10:
            break
    sequences = [result["sequence"] for result in found]
    assert sequences == sorted(set(sequences)) and any(result["keyframe"] for result in found)
    arguments = (service.tools / "arguments").read_text().split("\n")
    size = [arguments[arguments.index(name) + 1] for name in ("--width", "--height")]
    assert f"{size[0]}×{size[1]}" in service.notice("frames/s"), "the status tells of the camera"
    os.kill(service.process.pid, signal.SIGTERM)
    assert service.process.wait(DEADLINE) == 0


def test_the_newest_picture_is_answered_without_another(service):
    """A camera's program that keeps a picture's end until the next would make every result a picture late."""
    service.tools.joinpath("pictures").write_text("3")
    service.tools.joinpath("wait").touch()
    service.start()
    service.notice("READY=1")
    answered = []
    for message in service.messages():
        service.tools.joinpath("wait").unlink(missing_ok=True)
        if message["type"] == "result":
            answered.append(message["driver_sequence"])
        elif message.get("state") == "lost" and answered:
            break
    # Earlier ones may have been replaced before they were answered, the newest never.
    assert answered[-1] == 2, answered


def is_restarted(status: int) -> bool:
    """What systemd makes of an exit status, by the drop-in and the unit that it changes."""
    unit = re.findall(r"^(Restart\w*)=(.*)$", (ROOT / "systemd/milad.service").read_text(), re.M)
    restart, prevented = "no", set()
    for name, value in unit + settings():
        restart = value if name == "Restart" else restart
        if name == "RestartPreventExitStatus":
            prevented = prevented | set(value.split()) if value else set()
    assert restart in ("always", "on-failure") and "78" in dict(unit)["RestartPreventExitStatus"]
    return str(status) not in prevented and (status != 0 or restart == "always")


def test_a_camera_program_that_ends_is_started_again(service):
    service.start()
    service.notice("READY=1")
    service.notice("frames/s")
    os.kill(int((service.tools / "pid").read_text()), signal.SIGKILL)
    assert is_restarted(service.process.wait(DEADLINE)), service.said()


@pytest.mark.parametrize("own", [False, True], ids=["a header without frames", "nothing"])
def test_a_camera_program_that_finds_no_camera_is_started_again(service, own):
    """What ffmpeg writes of no picture is its version's own."""
    if own:
        (service.tools / "ffmpeg").write_text(FFMPEG)
        (service.tools / "ffmpeg").chmod(0o755)
    service.tools.joinpath("no-camera").touch()
    service.start()
    assert is_restarted(service.process.wait(DEADLINE)), service.said()
    assert "no cameras available" in service.said(), "the camera's own words reach the journal"
