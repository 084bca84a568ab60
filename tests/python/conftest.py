"""Where things are. Nothing is built here: MILAD_BIN names the program, or else it is the workspace's release build."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = ROOT / "tests" / "bundles"
sys.path.insert(0, str(ROOT / "models" / "recipe"))
sys.path.insert(0, str(ROOT / "clients" / "python"))


def pytest_addoption(parser):
    parser.addoption("--pictures", action="store_true", help="make the README's pictures anew")


def needs(tool: str) -> None:
    """Skips a test where `tool` is missing; in CI, where everything is installed, that is a failure."""
    if shutil.which(tool) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{tool} is not installed")


@pytest.fixture(scope="session")
def milad() -> Path:
    """The program under test."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = Path(os.environ.get("MILAD_BIN", target / "release" / "milad"))
    if not binary.is_file():
        pytest.fail(f"{binary} is not there: run `cargo build --release`, or set MILAD_BIN")
    return binary


@pytest.fixture(scope="session")
def infer(milad):
    """Runs `milad infer` and returns the folder of its results."""

    def run(bundle: Path, clip: Path, out: Path, interval: int, latency: int, threads: int = 1, **environment: str) -> Path:
        command = [milad, "infer", "--bundle", bundle, "--clip", clip, "--out", out]
        command += ["--interval", interval, "--latency", latency, "--threads", threads]
        command, environment = [str(part) for part in command], os.environ | environment
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return out

    return run
