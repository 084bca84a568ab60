"""The daemon under a service manager, whose part this test plays: sockets passed by name, notices, the watchdog, reload."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tests" / "bundles" / "plain"
CARD = "card:?rate=50&width=64&height=32"
DEADLINE = 60


class Manager:
    """What systemd does for a Type=notify service with sockets."""

    def __init__(self, milad, folder: Path, sockets: dict[str, socket.socket], arguments=(), watchdog_us=None, source=CARD):
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(folder / "notify"))
        self.notices.settimeout(DEADLINE)
        self.stderr = open(folder / "stderr", "w+")
        environment = dict(os.environ, NOTIFY_SOCKET=str(folder / "notify"))
        if sockets:
            environment |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
        if watchdog_us is not None:
            environment["WATCHDOG_USEC"] = str(watchdog_us)
        descriptors = [passed.fileno() for passed in sockets.values()]

        def place():
            # Descriptors count from 3; first out of each other's way.
            high = [os.dup2(fd, 100 + number) for number, fd in enumerate(descriptors)]
            for number, fd in enumerate(high):
                os.dup2(fd, 3 + number)

        command = 'export LISTEN_PID=$$; exec "$@"'
        self.process = subprocess.Popen(
            ["sh", "-c", command, "sh", milad, "run", "--source", source, "--bundle", BUNDLE, *map(str, arguments)],
            env=environment, preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=self.stderr, cwd=folder,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Reaped by `hold` where a thread is held: before that it can't be.
        self.process.kill()
        self.notices.close()

    def notice(self, wanted: str) -> dict[str, str]:
        """The next notice that has `wanted` in it, as its assignments."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            text = self.notices.recv(65536).decode()
            if wanted in text:
                return dict(line.split("=", 1) for line in text.splitlines())
        raise AssertionError(f"no notice with {wanted!r} came; the daemon said:\n{self.said()}")

    def said(self) -> str:
        self.stderr.flush()
        return Path(self.stderr.name).read_text()


def listening_unix(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.listen()
    return made


def listening_tcp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def test_passed_sockets_are_served_and_left_in_place(milad, tmp_path):
    path = tmp_path / "results.sock"
    # In the other order than usual: names decide.
    sockets = {"metrics": listening_tcp(), "results": listening_unix(path)}
    with Manager(milad, tmp_path, sockets) as manager:
        manager.notice("READY=1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(DEADLINE)
            client.connect(str(path))
            assert client.makefile("rb").readline().startswith(b'{"type":"hello"')
        host, port = sockets["metrics"].getsockname()
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=DEADLINE) as answer:
            assert b"milad_frames_captured_total" in answer.read()
        manager.process.send_signal(signal.SIGTERM)
        manager.notice("STOPPING=1")
        assert manager.process.wait(DEADLINE) == 0
        assert path.exists(), "the socket is the service manager's"


def test_with_results_passed_and_no_metrics_the_daemon_opens_no_port(milad, tmp_path):
    with Manager(milad, tmp_path, {"results": listening_unix(tmp_path / "results.sock")}) as manager:
        manager.notice("READY=1")
        inodes = {os.readlink(f"/proc/{manager.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{manager.process.pid}/fd")}
        tables = "".join(Path(f"/proc/{manager.process.pid}/net/{table}").read_text() for table in ("tcp", "tcp6"))
        ours = [row for row in tables.splitlines() if len(row.split()) > 9 and f"socket:[{row.split()[9]}]" in inodes]
        assert not ours
        assert "no metrics socket was passed" in manager.said()


def test_off_means_that_nothing_is_served_on_a_passed_socket_either(milad, tmp_path):
    sockets = {"results": listening_unix(tmp_path / "results.sock"), "metrics": listening_tcp()}
    with Manager(milad, tmp_path, sockets, ["--metrics", "off"]) as manager:
        manager.notice("READY=1")
        for _ in range(3):
            # Not left to wait, and in nobody's queue when the service is stopped.
            with socket.create_connection(sockets["metrics"].getsockname(), timeout=DEADLINE) as client:
                with contextlib.suppress(ConnectionError):
                    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert client.recv(1) == b""
        manager.process.send_signal(signal.SIGTERM)
        assert manager.process.wait(DEADLINE) == 0
        lines = [line for line in manager.said().splitlines() if "metrics" in line]
        assert len(lines) == 1 and 'metrics.listen = "off"' in lines[0] and "mask --now milad-metrics.socket" in lines[0], lines


def test_keys_that_passed_sockets_overrule_are_told_at_the_start(milad, tmp_path):
    sockets = {"results": listening_unix(tmp_path / "results.sock"), "metrics": listening_tcp()}
    arguments = ["--metrics", "127.0.0.1:1", "--socket", tmp_path / "other.sock"]
    with Manager(milad, tmp_path, sockets, arguments) as manager:
        manager.notice("READY=1")
        host, port = sockets["metrics"].getsockname()
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=DEADLINE) as answer:
            assert b"milad_frames_captured_total" in answer.read()
        lines = [line for line in manager.said().splitlines() if "is ignored" in line]
        assert [key for line in lines for key in ("results.socket", "metrics.listen") if key in line] == ["results.socket", "metrics.listen"]
        assert all("set ListenStream= in its .socket unit" in line for line in lines), lines
        assert not (tmp_path / "other.sock").exists()


def test_off_without_a_passed_metrics_socket_is_no_reason_to_warn(milad, tmp_path):
    with Manager(milad, tmp_path, {"results": listening_unix(tmp_path / "results.sock")}, ["--metrics", "off"]) as manager:
        manager.notice("READY=1")
        assert "metrics" not in manager.said()


def test_a_camera_that_comes_or_goes_is_told_at_once(milad, tmp_path):
    """A loss may be over before the next line is due: each has a line of its own."""
    arguments = ["--socket", tmp_path / "results.sock", "--metrics", "off"]
    with Manager(milad, tmp_path, {}, arguments) as manager:
        manager.notice("READY=1")
        assert "waiting for its first frame" in manager.notice("STATUS=")["STATUS"]


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("milad.socket", lambda _: listening_tcp(), 'a socket was passed as "milad.socket", expected "results" or "metrics"'),
        ("results", lambda _: listening_tcp(), "is a listening TCP socket; expected a listening Unix stream socket"),
        ("metrics", lambda folder: listening_unix(folder / "m"), "is a listening Unix stream socket; expected a listening TCP"),
    ],
)
def test_a_socket_of_a_wrong_name_or_kind_is_refused(milad, tmp_path, name, make, said):
    with Manager(milad, tmp_path, {name: make(tmp_path)}) as manager:
        assert manager.process.wait(DEADLINE) == 78
        assert said in manager.said()


def test_reload_is_bracketed_by_notices(milad, tmp_path):
    config = tmp_path / "milad.toml"
    config.write_text("[keyframe]\ninterval = 4\n")
    arguments = ["--config", config, "--socket", tmp_path / "results.sock", "--metrics", "off"]
    with Manager(milad, tmp_path, {}, arguments) as manager:
        manager.notice("READY=1")
        for text in ("[keyframe]\ninterval = 7\n", "[keyframe]\ninterval = 'x'\n"):
            config.write_text(text)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            manager.process.send_signal(signal.SIGHUP)
            told = manager.notice("RELOADING=1")
            assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            manager.notice("READY=1")
        assert "keyframe.interval applied" in manager.said()
        assert "reload refused, nothing changed" in manager.said()


# Attaches to a thread, which stops it, and holds it until it is killed itself: a tracer that lives on would have to reap it.
HOLDER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16
if libc.ptrace(PTRACE_ATTACH, int(sys.argv[1]), None, None) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def hold():
    """Stops one thread of a process for good, as a driver or a bug would."""
    holders = []

    def hold(process: int, thread: str) -> None:
        tasks = [task for task in Path(f"/proc/{process}/task").iterdir() if (task / "comm").read_text().strip() == thread]
        assert len(tasks) == 1, f"no thread {thread}"
        command = [sys.executable, "-c", HOLDER, tasks[0].name]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        holders.append((process, holder))
        if holder.stdout.readline() != "held\n":
            reason = f"threads can't be stopped here: ptrace: {holder.stderr.read()}"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)

    yield hold
    for process, holder in holders:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("stage", ["capture", "prepare", "fast", "publish"])
def test_the_watchdog_is_fed_until_a_stage_hangs(milad, tmp_path, hold, stage):
    arguments = ["--socket", tmp_path / "results.sock", "--metrics", "off"]
    with Manager(milad, tmp_path, {}, arguments, watchdog_us=4_000_000) as manager:
        manager.notice("READY=1")
        for _ in range(2):
            manager.notice("WATCHDOG=1")
        hold(manager.process.pid, f"milad-{stage}")
        said = manager.notice("WATCHDOG=trigger")["STATUS"]
        # Where it was stopped is chance: at work it is named; at rest, its frames tell.
        at_rest = "captured frames have been waiting for an answer"
        assert re.match(rf"(stage {stage} has been at one piece of work|{at_rest}) for \d+\.\d s", said), said
        assert stage != "capture" or at_rest not in said, "capture always has a time to be back"
        assert said in manager.said()


def test_a_daemon_that_waits_for_its_camera_is_fed(milad, tmp_path):
    arguments = ["--socket", tmp_path / "results.sock", "--metrics", "off"]
    with Manager(milad, tmp_path, {}, arguments, 4_000_000, "v4l2:/dev/video99") as manager:
        ready = manager.notice("READY=1")
        assert "video99" in ready["STATUS"]
        for _ in range(6):
            assert manager.notice("WATCHDOG=") == {"WATCHDOG": "1"}
        assert manager.process.poll() is None


@pytest.mark.parametrize(("text", "status", "said"), [("interval = 3", 0, "accepted"), ("intervall = 3", 78, "keyframe.interval")])
def test_what_reload_does_first_reads_the_configuration_alone(milad, tmp_path, text, status, said):
    config = tmp_path / "milad.toml"
    # Neither the bundle nor the camera is there: only the words are judged.
    config.write_text(f'[camera]\nsource = "v4l2:/dev/video99"\n[model]\nbundle = "none"\n[keyframe]\n{text}\n')
    command = [milad, "check", "--configuration-only", "--config", config]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == status and said in done.stdout + done.stderr


def test_the_configurations_that_operations_shows_are_accepted(milad, tmp_path):
    shown = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs/OPERATIONS.md").read_text(), re.M | re.S)
    assert shown
    for text in shown:
        (tmp_path / "shown.toml").write_text(text)
        command = [str(milad), "check", "--configuration-only", "--config", str(tmp_path / "shown.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, text + done.stderr
