#!/usr/bin/env python3
"""All of milad against what a user would write instead, in CPU time a frame, from a raw clip to the result.

    benches/whole.py [--milad target/release/milad] [--bundle models/street] [--interval 5] [--size 256x128] [--card YUYV] [--rounds 9] [--json]

- milad: the daemon on the clip, every frame answered, the slow network on every `interval`-th, results with their statistics to a client
  that takes all maps from shared memory. Counted: all threads but the source's, which reads the file.
  With `--card` its source is the test card instead, in one of the raw formats of cameras, 300 times a second: about as often as it is
  answered when a keyframe is computed in between.
- the other: a Python program that runs the same quantised slow network with onnxruntime on every frame, one thread. Its graph takes the uint8
  picture [1, H, W, 3] and gives uint8 classes at the published size, so that nothing is left to Python; depth and normals stay as the network gives
  them. Counted: the call of the session, nothing else. Its pictures have the network's size and are RGB already, for nothing.

The two alternate, one stopped while the other runs, so that what else the machine does meets both; each figure is the median over
rounds. Printed too: the shares of milad's threads; the time from the start of the process to its first result, and the memory that it holds after
the last round (VmRSS). Needs numpy, onnx and onnxruntime.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[1]
SUBSCRIBE = b'{"subscribe":{"maps":"shared"}}\n'
FRAMES = 30


def pictures(width, height):
    """A few smooth pictures with some noise, RGB: neither network cares what it sees."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    for number in range(FRAMES):
        waves = [127 + 90 * np.sin((x * (c + 2) + y * (3 - c)) * 6.3 / width + number / 4) for c in range(3)]
        yield np.clip(np.stack(waves, axis=-1) + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def write_clip(path, width, height):
    """Y4M, 4:2:0."""
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F30:1 Ip C420jpeg\n" % (width, height))
        for rgb in pictures(width, height):
            r, g, b = (rgb[..., c].astype(np.float32) for c in range(3))
            y = 16 + (65.5 * r + 128.6 * g + 25.0 * b) / 256
            u, v = 128 + (-37.8 * r - 74.2 * g + 112 * b) / 256, 128 + (112 * r - 93.8 * g - 18.2 * b) / 256
            planes = [y, *(p.reshape(height // 2, 2, width // 2, 2).mean((1, 3)) for p in (u, v))]
            file.write(b"FRAME\n" + b"".join(np.rint(p).astype(np.uint8).tobytes() for p in planes))


class Theirs:
    """The slow network from uint8 to uint8, as a user of onnxruntime would wrap it."""

    def __init__(self, bundle, manifest):
        inputs = manifest["input"]
        height, width = inputs["height"], inputs["width"]
        model = onnx.load(bundle / "slow.onnx")
        graph = model.graph
        constant = lambda name, values: graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        mean, std = (np.asarray(inputs[key], np.float32) * 255 for key in ("mean", "std"))
        constant("u8.mean", mean.reshape(1, 3, 1, 1))
        constant("u8.factor", 1 / std.reshape(1, 3, 1, 1))
        before = [
            helper.make_node("Transpose", ["picture"], ["u8.planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["u8.planes"], ["u8.float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["u8.float", "u8.mean"], ["u8.centred"]),
            helper.make_node("Mul", ["u8.centred", "u8.factor"], ["image"]),
        ]
        outputs, after = [], []
        for task in manifest["task"]:
            name = f"task.{task['name']}"
            found = next(output for output in graph.output if output.name == name)
            if task["kind"] == "segmentation":
                sides = [d.dim_value for d in found.type.tensor_type.shape.dim]
                constant("large.scales", np.float32([1, 1, task["height"] / sides[2], task["width"] / sides[3]]))
                after += [
                    helper.make_node("Resize", [name, "", "large.scales"], ["large"], mode="linear", coordinate_transformation_mode="half_pixel"),
                    helper.make_node("ArgMax", ["large"], ["classes.wide"], axis=1, keepdims=0),
                    helper.make_node("Cast", ["classes.wide"], ["classes"], to=TensorProto.UINT8),
                ]
                outputs.append(helper.make_tensor_value_info("classes", TensorProto.UINT8, [1, task["height"], task["width"]]))
            else:
                outputs.append(onnx.ValueInfoProto.FromString(found.SerializeToString()))
        nodes = [*before, *graph.node, *after]
        for field, values in [("node", nodes), ("output", outputs)]:
            values = [type(value).FromString(value.SerializeToString()) for value in values]
            graph.ClearField(field)
            getattr(graph, field).extend(values)
        graph.ClearField("input")
        graph.input.append(helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, height, width, 3]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self.pictures = [picture[None] for picture in pictures(width, height)]
        self.window(0.2)

    def window(self, seconds):
        """CPU milliseconds a frame."""
        run, frames, end = self.session.run, 0, time.monotonic() + seconds
        start = time.process_time()
        while time.monotonic() < end:
            run(None, {"picture": self.pictures[frames % FRAMES]})
            frames += 1
        return (time.process_time() - start) * 1e3 / frames


class Ours:
    """The daemon, stopped but in its windows."""

    def __init__(self, milad, bundle, source, interval, folder):
        self.path = f"{folder}/s"
        config = Path(folder) / "milad.toml"
        config.write_text(f"[keyframe]\ninterval = {interval}\nsynchronous = true\n", encoding="utf-8")
        command = [milad, "run", "--config", config, "--bundle", bundle, "--source", source, "--socket", self.path, "--metrics", "off"]
        start = time.monotonic()
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.sequence, self.first_ms = 0, None
        while True:
            try:
                self.peer = socket.socket(socket.AF_UNIX)
                self.peer.connect(self.path)
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("milad ended before it began: run it by hand to see why") from None
                time.sleep(0.002)
        self.peer.sendall(SUBSCRIBE)
        threading.Thread(target=self.read, args=(start,), daemon=True).start()
        while self.sequence < 2 * interval:
            time.sleep(0.01)
        self.process.send_signal(signal.SIGSTOP)

    def read(self, start):
        rest = b""
        while data := socket.recv_fds(self.peer, 1 << 16, 64):
            for fd in data[1]:
                os.close(fd)
            if not data[0]:
                return
            *lines, rest = (rest + data[0]).split(b"\n")
            for line in lines:
                # Only the newest matters: results are numbered.
                if line.startswith(b'{"type":"result"') and (at := line.find(b'"sequence":')) > 0:
                    self.first_ms = self.first_ms or (time.monotonic() - start) * 1e3
                    self.sequence = int(line[at + 11 : line.index(b",", at)])

    def cpu(self):
        """Nanoseconds by thread."""
        times = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            name = (task / "comm").read_text(encoding="ascii").strip()
            times[name] = times.get(name, 0) + int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return times

    def window(self, seconds):
        """CPU milliseconds a frame, by thread, without the source's."""
        time.sleep(0.02)
        first, before = self.sequence, self.cpu()
        self.process.send_signal(signal.SIGCONT)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(0.02)
        frames, after = self.sequence - first, self.cpu()
        if frames <= 0:
            raise SystemExit("milad answered no frame in a window: --seconds is too short")
        return {name: (after[name] - before.get(name, 0)) / 1e6 / frames for name in after if name != "milad-capture"}

    def resident_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1000

    def end(self):
        self.process.kill()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milad", type=Path, default=os.environ.get("MILAD_BIN", ROOT / "target/release/milad"))
    parser.add_argument("--bundle", type=Path, default=ROOT / "models/street")
    parser.add_argument("--interval", type=int, default=5)
    parser.add_argument("--size", default="256x128", help="of the clip's pictures")
    parser.add_argument("--card", metavar="FORMAT", help="YUYV, NV12, RGB3, …: the test card in this format, no clip")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a window")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    manifest = tomllib.loads((args.bundle / "bundle.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        if args.card:
            source = f"card:?width={width}&height={height}&format={args.card}&rate=300"
        else:
            write_clip(f"{folder}/clip.y4m", width, height)
            source = f"clip:{folder}/clip.y4m?rate=max&loop=1"
        theirs = Theirs(args.bundle, manifest)
        first = []
        for _ in range(5):
            started = Ours(args.milad, args.bundle, source, args.interval, folder)
            started.end()
            first.append(started.first_ms)
        ours = Ours(args.milad, args.bundle, source, args.interval, folder)
        try:
            rounds = [(ours.window(args.seconds), theirs.window(args.seconds)) for _ in range(args.rounds)]
            resident = ours.resident_mb()
        finally:
            ours.end()
    threads = {name: statistics.median(mine.get(name, 0) for mine, _ in rounds) for name in rounds[0][0]}
    report = {
        "bundle": args.bundle.name,
        "source": args.card or "clip",
        "size": args.size,
        "interval": args.interval,
        "milad_ms": statistics.median(sum(mine.values()) for mine, _ in rounds),
        "onnxruntime_ms": statistics.median(other for _, other in rounds),
        "ratio": statistics.median(sum(mine.values()) / other for mine, other in rounds),
        "threads_ms": {name: round(ms, 4) for name, ms in sorted(threads.items(), key=lambda pair: -pair[1]) if ms >= 0.0005},
        "first_result_ms": statistics.median(first),
        "resident_mb": resident,
        "outside_of_networks": statistics.median(1 - mine["milad-fast"] / sum(mine.values()) for mine, _ in rounds),
    }
    if args.json:
        print(json.dumps(report))
        return
    print("{bundle}, {source} {size}, interval {interval}: milad {milad_ms:.3f} ms of CPU a frame, onnxruntime on every frame {onnxruntime_ms:.3f} ms, ratio {ratio:.3f}".format(**report))
    print("milad by thread, ms:", ", ".join(f"{name} {ms}" for name, ms in report["threads_ms"].items()))
    print(f"outside of the thread that runs the networks: {report['outside_of_networks']:.1%}")
    print("first result {first_result_ms:.0f} ms after the start; {resident_mb:.1f} MB of memory held".format(**report))


if __name__ == "__main__":
    main()
