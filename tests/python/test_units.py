"""The shipped units: judged by systemd's own tools, and held against the daemon's deadlines and against each other."""

import os
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
    assert len(names) == len(NAMES)
    verified(installed, *sorted(names))


def verified(folder: Path, *names: str) -> None:
    command = ["systemd-analyze", "verify", *(str(folder / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True)
    # What it says of the machine's own units is not about ours.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "milad" in line]
    assert done.returncode == 0 and not ours, done.stdout + done.stderr


def test_an_instance_has_a_name_that_a_user_can_have(installed):
    verified(installed, "milad@daemon.service", "milad@a-name-of-25-characters--.service")
    for name in ("abcdefghijklmnopqrstuvwxyz", "front.left"):
        with pytest.raises(AssertionError, match="does not match strict user/group name rules"):
            verified(installed, f"milad@{name}.service")
    # No instance has the user of the other unit: theirs begin with "milad-".
    users = {name: dict(settings(name))["User"] for name in ("milad.service", "milad@.service")}
    assert users["milad@.service"] == "milad-%i" and not users["milad.service"].startswith("milad-")


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_its_reason_above_it(name):
    """A comment directly above, or above the settings of one group: no more than three lines, without a gap."""
    without, comment, covered = [], False, 0
    for line in (UNITS / name).read_text().replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            comment, covered = True, 0
        elif "=" in line and not line.startswith("["):
            covered += 1
            if not comment or covered > 3:
                without.append(line)
        else:
            comment = False
    assert without == []


@pytest.mark.parametrize("name", [name for name in NAMES if "@" not in name])
def test_an_instance_differs_in_its_names_only(name):
    template = name.replace(".", "@.", 1)

    def plain(assignments):
        for key, value in assignments:
            value = value.replace("@%i", "").replace("/run/milad/%i/", "/run/milad/").replace("/etc/milad/%i.", "/etc/milad/milad.")
            yield key, value.replace("milad-%i", "miladd")

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
    assert "78" in dict(settings(name))["RestartPreventExitStatus"].split()
    assert "EXIT_CODE: u8 = 78" in (SOURCES / "config.rs").read_text()


@pytest.mark.parametrize("name", ["milad.service", "milad@.service"])
def test_clients_cannot_start_again_what_was_refused(name):
    """A waiting client starts a service through its socket whatever RestartPreventExitStatus= says: the sockets have to go."""
    unit = dict(settings(name))
    # Not against somebody who is starting it at that moment.
    assert unit["OnFailureJobMode"] == "fail"
    follower = dict(settings(unit["OnFailure"].replace("%i", "")))
    assert set(follower["Conflicts"].split()) == set(unit["Sockets"].split())


@pytest.mark.parametrize(
    ("words", "direct"),
    [("systemd 247 (247.3-7+deb11u4)", False), ("systemd 253 (253.1)", False), ("systemd 254 (254.26-1)", True), ("systemd 257~rc2", True),
     ("", False)],
)  # fmt: skip
def test_a_crash_is_no_failure_for_newer_service_managers(tmp_path, words, direct):
    """Since systemd 254 OnFailure= is followed at each restart, unless RestartMode= is there; older versions do not know that key."""
    fake = tmp_path / "systemctl"
    fake.write_text(f"#!/bin/sh\n[ $1 = --version ] && printf '%s\\n' '{words}' '+PAM +AUDIT'\n")
    fake.chmod(0o755)
    made = tmp_path / "generated"
    made.mkdir()
    environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}")
    done = subprocess.run([UNITS / "milad-generator", made, made, made], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = {path.relative_to(made).as_posix(): path.read_text() for path in made.rglob("*.conf")}
    drop_in = "[Service]\nRestartMode=direct\n"
    of_units = [name for name in NAMES if name.endswith(".service") and "OnFailure" in dict(settings(name))]
    assert found == ({f"{name}.d/50-restart-mode.conf": drop_in for name in of_units} if direct else {})
    assert len(of_units) == 2


@pytest.mark.parametrize("name", ["milad.service", "milad@.service"])
def test_no_number_of_crashes_ends_restarting(name):
    unit = dict(settings(name))
    assert unit["StartLimitIntervalSec"] == "0" and unit["Restart"] == "on-failure"
    # Without a limit a pause is what keeps a daemon that fails at once from taking the processor.
    assert float(unit["RestartSec"]) >= 2


def test_operations_say_what_to_do_about_every_metric():
    series = set(re.findall(r"`((?:milad|process)_\w+?)(?:\{[\w,]+\})?`", (ROOT / "docs/METRICS.md").read_text()))
    assert len(series) > 25
    told = set(re.findall(r"`((?:milad|process)_\w+)`", (ROOT / "docs/OPERATIONS.md").read_text()))
    assert series - told == set()
