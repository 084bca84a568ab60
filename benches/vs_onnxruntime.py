"""milad's networks against onnxruntime on the same files: alternating, one thread, attention cut out on both sides.

    python benches/vs_onnxruntime.py [BUNDLE …] [--milad PATH] [--rounds N] [--json]

Without a bundle: random-weight ResNet18 and MobileNetV2 (benches/networks.py). milad's time is the sum of its nodes' medians without the attention
(by the clock on the wall: each is too short to be interrupted often, a whole run on a busy machine is not); onnxruntime runs the file with each attention node replaced by its value input. Each round measures one, then the other: shares are what to compare,
for a neighbour's load slows both.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parent))
import networks  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


def without_attention(path: Path) -> bytes:
    model = onnx.load(path)
    graph, nodes = model.graph, []
    for node in graph.node:
        if node.domain != "ai.milad":
            nodes.append(node)
            continue
        value, outputs = node.input[2], list(node.output)
        nodes.append(onnx.helper.make_node("Identity", [value], outputs[:1]))
        # Confidence and border have one channel: the value's first.
        for name in filter(None, outputs[1:]):
            bounds = [f"{name}.{what}" for what in ("start", "end", "axis")]
            for bound, number in zip(bounds, (0, 1, 1)):
                graph.initializer.append(onnx.numpy_helper.from_array(np.array([number], np.int64), bound))
            nodes.append(onnx.helper.make_node("Slice", [value, *bounds], [name]))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(nodes)
    del model.functions[:]
    return model.SerializeToString()


class Theirs:
    def __init__(self, path: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(without_attention(path), options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        self.inputs = {i.name: rng.standard_normal(i.shape).astype(np.float32) for i in self.session.get_inputs()}

    def run(self, times: int) -> float:
        """Median CPU milliseconds of this process."""
        self.session.run(None, self.inputs)
        taken = []
        for _ in range(times):
            start = time.process_time()
            self.session.run(None, self.inputs)
            taken.append((time.process_time() - start) * 1e3)
        return statistics.median(taken)


def ours(milad: Path, bundle: Path, frames: int, *more: str) -> dict[str, float]:
    command = [milad, "bench", "--json", "--frames", frames, "--bundle", bundle, *more]
    report = json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)
    times = {}
    for network in report["networks"]:
        nodes = [node for node in network["nodes"] if node["operator"] != "InterFrameLocalAttention"]
        times[network["name"]] = sum(node["median_us"] for node in nodes) / 1e3
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--milad", type=Path, default=ROOT / "target" / "release" / "milad")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--float", action="store_true", help="also the engine's own float execution")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundles = args.bundles or networks.write(Path(folder))
        rows = []
        for path in bundles:
            files = ["slow"] if (path / "slow.onnx").read_bytes() == (path / "fast.onnx").read_bytes() else ["slow", "fast"]
            theirs = {name: Theirs(path / f"{name}.onnx") for name in files}
            measured = {name: [] for name in files}
            for _ in range(args.rounds):
                mine = ours(args.milad, path, args.frames)
                for name in files:
                    measured[name].append((mine[name], theirs[name].run(args.frames)))
            plain = ours(args.milad, path, 5, "--float") if args.float else {}
            for name in files:
                row = {"bundle": path.name, "network": name}
                row |= {"milad_ms": statistics.median(m for m, _ in measured[name])}
                row |= {"onnxruntime_ms": statistics.median(t for _, t in measured[name])}
                row |= {"ratio": statistics.median(m / t for m, t in measured[name]), "float_ms": plain.get(name)}
                rows.append(row)
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{'bundle':16} {'network':8} {'milad ms':>9} {'onnxruntime ms':>15} {'ratio':>6} {'engine in float ms':>19}")
    for row in rows:
        plain = f"{row['float_ms']:19.2f}" if row["float_ms"] else f"{'–':>19}"
        print(f"{row['bundle']:16} {row['network']:8} {row['milad_ms']:9.3f} {row['onnxruntime_ms']:15.3f} {row['ratio']:6.2f} {plain}")


if __name__ == "__main__":
    main()
