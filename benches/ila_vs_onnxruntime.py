#!/usr/bin/env python3
"""Local attention: our kernel against onnxruntime on the operator's function body, one thread each, alternating in one run.

    python benches/ila_vs_onnxruntime.py [--rounds 15] [--isa avx512] [--json] [--at-least 20]

Needs cargo, numpy, onnx and onnxruntime. The function body is what an exported network carries (models/recipe). Both get the same
inputs, and their outputs are compared. Ours has keys and values packed beforehand, as in the daemon, once per keyframe; the body knows
no such thing. Times are processor time of the thread that computes. `--at-least` fails when a ratio of medians is below it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "models" / "recipe"))

# heads, Cq, Cv, H, W, T, r
SHAPES = [
    (1, 32, 32, 48, 80, 1, 4),
    (1, 64, 64, 48, 80, 1, 4),
    (1, 32, 32, 16, 32, 1, 3),
    (1, 64, 64, 16, 32, 1, 3),
    (1, 32, 32, 24, 40, 1, 3),
]


def build() -> str:
    """Builds the benchmark; returns its path."""
    command = ["cargo", "bench", "-p", "milad-kernels", "--bench", "ila", "--no-run", "--message-format=json-render-diagnostics"]
    lines = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    programs = [json.loads(line).get("executable") for line in lines]
    return next(program for program in programs if program)


def session(shape):
    """onnxruntime, one thread, on one attention node."""
    import onnx
    import onnxruntime
    from milad_recipe.ila import DOMAIN, OP_TYPE, VERSION, onnx_function
    from onnx import TensorProto, helper

    heads, cq, cv, height, width, keyframes, radius = shape
    sizes = {"q": [1, cq, height, width], "k": [keyframes, cq, height, width], "v": [keyframes, cv, height, width]}
    graph = helper.make_graph(
        [helper.make_node(OP_TYPE, ["q", "k", "v"], ["y", "", ""], domain=DOMAIN, radius=radius, heads=heads)],
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, cv, height, width])],
    )
    imports = [helper.make_opsetid("", onnx_function.OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    model = helper.make_model(graph, functions=[onnx_function.function()], opset_imports=imports, ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    rng = np.random.default_rng(1)
    inputs = {name: rng.standard_normal(size).astype(np.float32) for name, size in sizes.items()}
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), inputs


def compare(program: str, shape, rounds: int, isa: str | None, folder: Path) -> dict:
    ort, inputs = session(shape)
    file = folder / "inputs.f32"
    file.write_bytes(b"".join(inputs[name].astype("<f4").tobytes() for name in ("q", "k", "v")))
    command = [program, "--shape", ",".join(map(str, shape)), "--drive", str(file)] + (["--isa", isa] if isa else [])
    ours, theirs = [], []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        kernel = process.stdout.readline().strip()
        if not kernel:
            raise SystemExit(f"{program} ended at once with {process.wait()}")
        for _ in range(rounds + 2):
            # Each warms up first: the other one has just had the caches.
            ort.run(["y"], inputs)
            start = time.thread_time()
            expected = ort.run(["y"], inputs)[0]
            theirs.append(time.thread_time() - start)
            process.stdin.write("\n")
            process.stdin.flush()
            ours.append(float(process.stdout.readline()))
        process.stdin.close()
    actual = np.fromfile(f"{file}.y", "<f4").reshape(expected.shape)
    ours, theirs = float(np.median(ours[2:])), float(np.median(theirs[2:]))
    difference = float(np.abs(actual - expected).max() / np.abs(expected).max())
    return {"shape": shape, "kernel": kernel, "ours_s": ours, "onnxruntime_s": theirs, "ratio": theirs / ours, "difference": difference}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--isa")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--at-least", type=float, default=0.0)
    arguments = parser.parse_args()
    program = build()
    slow = False
    if not arguments.json:
        print("g   Cq  Cv    H×W    T r | kernel    ours ms  onnxruntime ms  ratio  largest difference / range")
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            row = compare(program, shape, arguments.rounds, arguments.isa, Path(folder))
            if arguments.json:
                print(json.dumps(row), flush=True)
            else:
                heads, cq, cv, height, width, keyframes, radius = shape
                print(
                    f"{heads} {cq:4}{cv:4} {height:3}×{width:<4} {keyframes} {radius} | {row['kernel']:<9} {row['ours_s'] * 1e3:7.3f}"
                    f"  {row['onnxruntime_s'] * 1e3:14.2f} {row['ratio']:6.0f}  {row['difference']:.1e}",
                    flush=True,
                )
            if row["difference"] > 1e-4:
                raise SystemExit(f"{shape}: outputs differ by {row['difference']:.1e} of their range, expected at most 1e-4")
            slow |= row["ratio"] < arguments.at_least
    return int(slow)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
