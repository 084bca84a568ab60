"""The kernels' own example program `pixels`: bytes in, bytes out."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(data: bytes, *arguments) -> bytes:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = Path(os.environ.get("MILAD_PIXELS", target / "release" / "examples" / "pixels"))
    if not binary.is_file():
        pytest.fail(f"{binary} is not there: run `cargo build --release -p milad-kernels --examples`, or set MILAD_PIXELS")
    done = subprocess.run([str(binary), *map(str, arguments)], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def floats(data: bytes, shape) -> np.ndarray:
    return np.frombuffer(data, "<f4").reshape(shape)
