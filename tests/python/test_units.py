"""The shipped units: judged by systemd's own tools, and held against the daemon's deadlines and against each other."""

import re
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, needs

UNITS = ROOT / "systemd"
SOURCES = ROOT / "src"
NAMES = sorted(path.name for path in UNITS.iterdir() if path.suffix in {".service", ".socket"})


def settings(name: str) -> list[tuple[str, str]]:
    """A unit's assignments in order, without comments."""
    lines = (UNITS / name).read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]


def seconds(constant: str, file: str) -> float:
    """A `Duration` constant of the sources."""
    found = re.search(rf"const {constant}: Duration = Duration::from_(secs|millis)\((\d+)\)", (SOURCES / file).read_text())
    assert found, f"{constant} is no longer in {file}"
    return float(found[2]) * {"secs": 1, "millis": 1e-3}[found[1]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The units in a folder where each instance has a name and the program exists."""
    needs("systemd-analyze")
    folder = tmp_path_factory.mktemp("units")
    program = folder / "milad"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in NAMES:
        text = (UNITS / name).read_text().replace("/usr/bin/milad", str(program))
        # No manual pages on a bare machine.
        text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M)
        if "metrics@" in name:
            text = text.replace("\n[Socket]\n", "\n[Socket]\nListenStream=127.0.0.1:9465\n")
        (folder / name.replace("@.", "@front.")).write_text(text)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", ["milad.service", "milad@front.service"])
def test_the_exposure_is_at_most_half_a_point(installed, name):
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=5", str(installed / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_verify_has_nothing_to_say(installed):
    names = [path.name for path in installed.iterdir() if path.suffix in {".service", ".socket"} and "@." not in path.name]
    command = ["systemd-analyze", "verify", *(str(installed / name) for name in sorted(names))]
    done = subprocess.run(command, capture_output=True, text=True)
    # What it says of the machine's own units is not about ours.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "milad" in line]
    assert done.returncode == 0 and not ours, done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in NAMES if "@" not in name])
def test_an_instance_differs_in_its_names_only(name):
    template = name.replace(".", "@.", 1)

    def plain(assignments):
        for key, value in assignments:
            value = value.replace("@%i", "").replace("/run/milad/%i/", "/run/milad/").replace("/etc/milad/%i.", "/etc/milad/milad.")
            yield key, value.replace("milad-%i", "milad-daemon")

    skipped = {"Description", "ListenStream"} if "metrics" in name else {"Description"}
    one = [pair for pair in settings(name) if pair[0] not in skipped]
    other = [pair for pair in plain(settings(template)) if pair[0] not in skipped]
    assert one == other


@pytest.mark.parametrize("name", ["milad.service", "milad@.service"])
def test_deliberate_waits_fit_within_the_watchdogs_time(name):
    watchdog = float(dict(settings(name))["WatchdogSec"])
    # A stage may take half of the watchdog's time for a piece of work. Waits for a camera are counted as rest; that the driver's
    # own calls come back (closing and opening a camera anew, which take what a first frame may take) is not.
    allowed = watchdog / 2
    waits = {
        "a camera's first frame": seconds("FIRST_FRAME", "capture/v4l2/stream.rs"),
        "a camera that falls silent": seconds("SILENCE", "capture/v4l2/stream.rs"),
        "between two tries to open one": seconds("LONGEST_PAUSE", "capture/supervisor.rs"),
        "opening a pipe": seconds("OPEN_DEADLINE", "capture/pipe.rs"),
    }
    assert {what: wait for what, wait in waits.items() if wait > allowed} == {}
    assert watchdog >= seconds("SHORTEST", "service/watchdog.rs")


def test_the_sockets_have_the_names_that_the_daemon_looks_for():
    known = re.findall(r'"(\w+)" if kind', (SOURCES / "service/sockets.rs").read_text())
    assert sorted(set(known)) == sorted({dict(settings(name))["FileDescriptorName"] for name in NAMES if name.endswith(".socket")})


@pytest.mark.parametrize("name", ["milad.service", "milad@.service"])
def test_exit_78_is_not_tried_again(name):
    assert dict(settings(name))["RestartPreventExitStatus"] == "78"
    assert "EXIT_CODE: u8 = 78" in (SOURCES / "config.rs").read_text()


def test_operations_say_what_to_do_about_every_metric():
    series = set(re.findall(r"`((?:milad|process)_\w+?)(?:\{[\w,]+\})?`", (ROOT / "docs/METRICS.md").read_text()))
    assert len(series) > 25
    told = set(re.findall(r"`((?:milad|process)_\w+)`", (ROOT / "docs/OPERATIONS.md").read_text()))
    assert series - told == set()
