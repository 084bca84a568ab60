#!/usr/bin/env python3
"""Does a keyframe cost a frame its deadline?

Runs the daemon asynchronously on a paced clip, with the frame's way (preparation, fast network, publishing) on one core and
the slow network, the clip's reader and the client on another, and compares the latency from capture to publishing of the
frames that were answered while the slow network ran with that of all others: p99 of one against p99 of the other.

The slow network is the tiny bundle's with a chain of convolutions added, so that a keyframe takes several frames.

    benches/async_latency.py [--milad target/release/milad] [--runs 3] [--seconds 20]

Needs Linux with two cores, numpy and onnx. Prints one line a run and the median ratio; exit status 1 above --limit.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
RATE = 30


def heavy_bundle(folder: pathlib.Path, layers: int) -> None:
    """The tiny bundle `fast-keys` whose slow network carries `layers` convolutions more (75 MMAC each at 64×32)."""
    shutil.copytree(ROOT / "tests/bundles/fast-keys", folder)
    toml = (folder / "bundle.toml").read_text()
    (folder / "bundle.toml").write_text(toml.split("[files.")[0])
    model = onnx.load(folder / "slow.onnx")
    graph = model.graph
    rng = np.random.default_rng(0)

    def weights(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        graph.initializer.append(numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name))

    weights("load.first", 64, 3, 3, 3)
    weights("load.again", 64, 64, 3, 3)
    graph.initializer.append(numpy_helper.from_array(np.float32(1e-30), "load.share"))
    nodes = [helper.make_node("Conv", ["image", "load.first"], ["load.0"], pads=[1, 1, 1, 1])]
    for layer in range(layers):
        nodes.append(helper.make_node("Conv", [f"load.{layer}", "load.again"], [f"load.{layer}.c"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"load.{layer}.c"], [f"load.{layer + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"load.{layers}"], ["load.mean"], axes=[0, 1, 2, 3], keepdims=0)
                 if model.opset_import[0].version < 18 else
                 helper.make_node("ReduceMean", [f"load.{layers}"], ["load.mean"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["load.mean", "load.share"], ["load.little"]))
    # The chain's result enters an output, so that nobody may leave it out.
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == "task.depth":
                node.output[i] = "load.depth"
    nodes.append(helper.make_node("Add", ["load.depth", "load.little"], ["task.depth"]))
    graph.node.extend(nodes)
    onnx.save(model, folder / "slow.onnx")


def clip(path: pathlib.Path) -> None:
    """Three seconds of noise at 320×240."""
    rng = np.random.default_rng(1)
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F%d:1 Ip C420jpeg\n" % RATE)
        for _ in range(3 * RATE):
            file.write(b"FRAME\n" + rng.integers(0, 256, 320 * 240 * 3 // 2, np.uint8).tobytes())


def run(milad: str, folder: pathlib.Path, seconds: float) -> dict:
    config = folder / "milad.toml"
    socket_path = folder / "results.sock"
    config.write_text(
        f"""
[camera]
source = "clip:{folder / 'clip.y4m'}?rate={RATE}&loop=1"
[model]
bundle = "{folder / 'bundle'}"
[keyframe]
interval = 10
synchronous = false
[results]
socket = "{socket_path}"
[metrics]
listen = "off"
[threads]
capture_cores = [0]
slow_cores = [0]
fast_cores = [1]
publish_cores = [1]
"""
    )
    daemon = subprocess.Popen([milad, "run", "--config", config], stdout=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(0, {0})
        deadline = time.monotonic() + 10
        while not socket_path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(str(socket_path))
        end = time.monotonic() + seconds
        during, rest = [], []
        for line in stream.makefile():
            message = json.loads(line)
            if message["type"] == "result" and message["keyframe"]:
                (during if message["slow_running"] else rest).append(message["latency_ms"]["total"])
            if time.monotonic() > end:
                break
    finally:
        daemon.terminate()
        daemon.wait()
    p99 = lambda values: float(np.percentile(values, 99))
    return {
        "during": p99(during),
        "rest": p99(rest),
        "ratio": p99(during) / p99(rest),
        "frames_during": len(during),
        "frames_rest": len(rest),
        "median_during": statistics.median(during),
        "median_rest": statistics.median(rest),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milad", default=os.environ.get("MILAD_BIN", str(ROOT / "target/release/milad")))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--layers", type=int, default=160, help="convolutions added to the slow network")
    parser.add_argument("--limit", type=float, default=1.3)
    args = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory(prefix="milad-bench-") as name:
        folder = pathlib.Path(name)
        heavy_bundle(folder / "bundle", args.layers)
        clip(folder / "clip.y4m")
        for _ in range(args.runs):
            result = run(args.milad, folder, args.seconds)
            ratios.append(result["ratio"])
            print(
                "p99 {during:.2f} ms while the slow network runs ({frames_during} frames, median {median_during:.2f}), "
                "{rest:.2f} ms otherwise ({frames_rest} frames, median {median_rest:.2f}): {ratio:.2f}".format(**result)
            )
    median = statistics.median(ratios)
    print(f"median ratio {median:.2f} (limit {args.limit})")
    return 0 if median <= args.limit else 1


if __name__ == "__main__":
    sys.exit(main())
