"""One thread or four: the same bytes, also where the engine really splits its work."""

import importlib.util
import pathlib
import subprocess

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _benchmark():
    spec = importlib.util.spec_from_file_location("async_latency", ROOT / "benches/async_latency.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_network_that_is_split_over_threads_gives_the_same_bytes(milad, tmp_path):
    # 64 → 64 channels at 64×32 pixels: several times the engine's threshold for splitting.
    _benchmark().heavy_bundle(tmp_path / "bundle", layers=2)
    clip = tmp_path / "clip"
    clip.mkdir()
    rng = np.random.default_rng(5)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (32, 64, 3), np.uint8)).save(clip / f"{number:06}.png")
    results = []
    for threads in (1, 4, 4):
        out = tmp_path / f"out{len(results)}"
        command = [milad, "infer", "--bundle", tmp_path / "bundle", "--clip", clip, "--out", out, "--interval", "2"]
        subprocess.run([*command, "--threads", str(threads)], check=True)
        results.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert len(results[0]) > 4
    assert results[0] == results[1] == results[2]
