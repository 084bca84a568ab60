#!/usr/bin/env python3
"""What clients and the live view cost the daemon, as ratios of alternating windows on one machine.

    benches/clients.py [--milad target/release/milad] [--seconds 10] [--rounds 5]

- eight clients that read all maps from shared memory at 30 frames/s, against none: CPU time of the daemon a published frame
- the view with nobody looking, against none: the same, and whether the thread that serves it woke up at all
- clients that misbehave (one stops reading, one dies while it holds the ring, one closes its descriptors, one sends garbage),
  against none: the 99th percentile of a well-behaved client's latency, from capture to receipt

Windows alternate, so that what else the machine does meets both sides; each figure is the median over rounds, with the least and
the largest. The daemon is pinned to one core and all else to the others, where there are several. Needs numpy. Nothing here is a test: the machine decides.
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
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "clients" / "python"))
CORES = sorted(os.sched_getaffinity(0))
SUBSCRIBE = b'{"subscribe":{"maps":"shared","image":true}}\n'


class Daemon:
    def __init__(self, milad, bundle, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        self.socket = f"{self.folder.name}/s"
        command = [milad, "run", "--bundle", bundle, "--source", "card:", "--socket", self.socket, "--metrics", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, CORES[:1]),
        )
        while True:
            try:
                self.published()
                break
            except OSError:
                time.sleep(0.05)

    def cpu(self):
        """Seconds of CPU time, to the nanosecond."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return total / 1e9

    def wakes(self, name):
        """How often the thread of that name was switched to."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text(encoding="ascii").strip() == name:
                return sum(int(line.split()[1]) for line in (task / "status").read_text(encoding="ascii").splitlines() if "ctxt_switches" in line)
        raise SystemExit(f"no thread {name}")

    def published(self):
        """The newest result's sequence, by a client that comes and goes."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(self.socket)
            for line in peer.makefile("rb"):
                message = json.loads(line)
                if message["type"] == "result":
                    return message["sequence"]
        raise SystemExit("the daemon ended")

    def window(self, seconds):
        """CPU seconds a frame over a while."""
        frames, cpu = self.published(), self.cpu()
        time.sleep(seconds)
        cpu = self.cpu() - cpu
        return cpu / max(1, self.published() - frames)

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def reader(path):
    """A well-behaved client: reads every number of every map of every frame. Prints its latencies when it is asked to end."""
    import milad_client

    latencies = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("\n".join(f"{ms:.3f}" for ms in latencies))))
    with milad_client.connect(path, maps="shared", image=True, max_age=None, newest=False) as results:
        for result in results:
            latencies.append((time.monotonic_ns() - result.captured_ns) / 1e6)
            for view in result.maps.values():
                view.array.sum()


def dying(path):
    """Takes the ring's memory and dies with it, again and again."""
    while True:
        child = os.fork()
        if child == 0:
            import milad_client

            milad_client.connect(path, maps="shared", image=True).next()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)


def deaf(path):
    """Asks for everything and never reads."""
    while True:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.sendall(SUBSCRIBE.replace(b"shared", b"inline"))
            time.sleep(6)


def closing(path):
    """Closes the descriptors that it is given, reads on."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(SUBSCRIBE)
        while data := socket.recv_fds(peer, 65536, 64):
            for fd in data[1]:
                os.close(fd)


def garbage(path):
    """Sends lines that are none, as fast as they are taken."""
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                peer.settimeout(0.1)
                for _ in range(10):
                    peer.sendall(os.urandom(2000).replace(b"\n", b" ") + b"\n")
                    time.sleep(0.01)
        except OSError:
            time.sleep(0.01)


ROLES = {role.__name__: role for role in (reader, dying, deaf, closing, garbage)}


def actors(roles, path):
    command = [sys.executable, __file__, "--role"]
    return [subprocess.Popen([*command, role, path], stdout=subprocess.PIPE, text=True, start_new_session=True) for role in roles]


def dismiss(started):
    told = []
    for process in started:
        process.terminate()
        told.append([float(line) for line in process.communicate()[0].split()])
    return told


def say(name, ratios, bound):
    middle = statistics.median(ratios)
    verdict = "holds" if middle <= bound else "does NOT hold"
    print(f"{name}: {middle:.4f} times (from {min(ratios):.4f} to {max(ratios):.4f}), wanted at most {bound}: {verdict}", flush=True)


def p99(values):
    return sorted(values)[int(0.99 * (len(values) - 1))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milad", default=ROOT / "target" / "release" / "milad")
    parser.add_argument("--bundle", default=ROOT / "models" / "street")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--role", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        return ROLES[options.role[0]](options.role[1])
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[1:])
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")

    daemon = Daemon(options.milad, options.bundle)
    daemon.window(3)
    ratios = []
    for _ in range(options.rounds):
        alone = daemon.window(options.seconds)
        crowd = actors(["reader"] * 8, daemon.socket)
        time.sleep(2)
        ratios.append(daemon.window(options.seconds) / alone)
        dismiss(crowd)
    say("eight readers of shared maps, CPU a frame", ratios, 1.03)

    ratios = []
    for _ in range(options.rounds):
        good = actors(["reader"], daemon.socket)
        time.sleep(options.seconds)
        before = p99(dismiss(good)[0])
        bad, good = actors(["dying", "deaf", "closing", "garbage"], daemon.socket), actors(["reader"], daemon.socket)
        time.sleep(options.seconds)
        ratios.append(p99(dismiss(good)[0]) / before)
        for process in bad:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    say("p99 latency beside four that misbehave", ratios, 1.1)

    viewed = Daemon(options.milad, options.bundle, "--view")
    viewed.window(3)
    ratios, woken = [], 0
    for _ in range(options.rounds):
        windows = []
        for active, other in ((daemon, viewed), (viewed, daemon)):
            other.process.send_signal(signal.SIGSTOP)
            active.process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            wakes = viewed.wakes("milad-metrics")
            windows.append(active.window(options.seconds))
            woken += viewed.wakes("milad-metrics") - wakes
        ratios.append(windows[1] / windows[0])
    say("the view with nobody looking, CPU a frame", ratios, 1.005)
    print(f"the thread that serves it was switched to {woken} times in {options.rounds * options.seconds:.0f} s of it")
    daemon.end()
    viewed.end()


if __name__ == "__main__":
    main()
