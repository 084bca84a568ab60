#!/usr/bin/env python3
"""What clients and the live view cost the daemon, as ratios of alternating windows on one machine.

    benches/clients.py [--milad target/release/milad] [--seconds 20] [--rounds 3] [--only readers pictures neighbours view]

- eight clients that read all maps from shared memory at 30 frames/s, against none: CPU time of the daemon a published frame
- the same eight when each reads the picture that the networks saw as well
- the view with nobody looking, against none: the same, and whether the thread that serves it woke up at all
- clients that misbehave (one stops reading, one dies while it holds the ring, one closes its descriptors, one sends garbage),
  against none: the 99th percentile of a well-behaved client's latency, from capture to receipt

Windows alternate, so that what else the machine does meets both sides; each figure is the median of the rounds' ratios, beside the
medians of both sides. The daemon is pinned to one core and all else to the others, where there are several. Needs numpy. Nothing here
is a test: the machine decides.
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


def reader(path, image=False):
    """A well-behaved client: reads every number of every map of every frame. Prints its latencies when it is asked to end."""
    import milad_client

    latencies = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("\n".join(f"{ms:.3f}" for ms in latencies))))
    with milad_client.connect(path, maps="shared", image=image, max_age=None, newest=False) as results:
        for result in results:
            latencies.append((time.monotonic_ns() - result.captured_ns) / 1e6)
            for view in result.maps.values():
                view.array.sum()


def looker(path):
    """The same with the picture that the networks saw."""
    reader(path, image=True)


def dying(path):
    """Takes the ring's memory and dies with it, again and again."""
    import milad_client

    while True:
        child = os.fork()
        if child == 0:
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


ROLES = {role.__name__: role for role in (reader, looker, dying, deaf, closing, garbage)}


def actors(roles, path, cores=None):
    """On the cores that the daemon has not, or on these."""
    command = [sys.executable, __file__, "--role"]
    settled = lambda: os.sched_setaffinity(0, cores or CORES[1:] or CORES)  # noqa: E731
    return [subprocess.Popen([*command, role, path], stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=settled) for role in roles]


def dismiss(started):
    told = []
    for process in started:
        process.terminate()
        told.append([float(line) for line in process.communicate()[0].split()])
    return told


def say(name, pairs, unit, bound):
    """`pairs`: without and with what is measured, round by round."""
    ratios = [busy / alone for alone, busy in pairs]
    middle = statistics.median(ratios)
    alone, busy = (statistics.median(side) for side in zip(*pairs))
    verdict = "holds" if middle <= bound else "does NOT hold"
    print(f"{name}: {middle:.4f} times (rounds {', '.join(f'{ratio:.4f}' for ratio in ratios)}; medians {alone:.3f} and {busy:.3f} {unit}), "
          f"wanted at most {bound}: {verdict}", flush=True)


def p99(values):
    return sorted(values)[int(0.99 * (len(values) - 1))]


def readers(options, role="reader"):
    """Eight of them against none: milliseconds of CPU time a frame."""
    daemon, pairs = Daemon(options.milad, options.bundle), []
    daemon.window(3)
    for _ in range(options.rounds):
        alone = daemon.window(options.seconds)
        crowd = actors([role] * 8, daemon.socket)
        time.sleep(2)
        pairs.append((alone * 1e3, daemon.window(options.seconds) * 1e3))
        seen = dismiss(crowd)
    daemon.end()
    print(f"each of the eight read {min(map(len, seen))} results or more in a window of {options.seconds:.0f} s")
    what = "shared maps" if role == "reader" else "shared maps and the picture"
    say(f"eight readers of {what}, CPU a frame", pairs, "ms", 1.03)


def pictures(options):
    """The same with the picture."""
    readers(options, "looker")


def neighbours(options):
    """Four that misbehave against none: a good client's 99th percentile in milliseconds. It shares the daemon's core, so that the four, which have
    the others, slow it only through the daemon."""
    daemon, pairs = Daemon(options.milad, options.bundle), []
    daemon.window(3)
    for _ in range(options.rounds):
        good = actors(["reader"], daemon.socket, CORES[:1])
        time.sleep(options.seconds)
        before = p99(dismiss(good)[0])
        bad = actors(["dying", "deaf", "closing", "garbage"], daemon.socket)
        # What starting them costs this machine is none of the daemon's business.
        time.sleep(2)
        good = actors(["reader"], daemon.socket, CORES[:1])
        time.sleep(options.seconds)
        pairs.append((before, p99(dismiss(good)[0])))
        for process in bad:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    daemon.end()
    say("p99 latency beside four that misbehave", pairs, "ms", 1.1)


def view(options):
    """With nobody looking against without one: milliseconds of CPU time a frame."""
    plain, viewed = Daemon(options.milad, options.bundle), Daemon(options.milad, options.bundle, "--view")
    pairs, woken = [], 0
    for daemon in (plain, viewed):
        daemon.window(3)
    for number in range(options.rounds):
        windows = {}
        # Who goes first takes turns.
        for active, other in [(plain, viewed), (viewed, plain)][:: 1 if number % 2 else -1]:
            other.process.send_signal(signal.SIGSTOP)
            active.process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            wakes = viewed.wakes("milad-metrics")
            windows[active] = active.window(options.seconds) * 1e3
            woken += viewed.wakes("milad-metrics") - wakes
        pairs.append((windows[plain], windows[viewed]))
    for daemon in (plain, viewed):
        daemon.end()
    say("the view with nobody looking, CPU a frame", pairs, "ms", 1.005)
    print(f"the thread that serves it was switched to {woken} times in {options.rounds * options.seconds:.0f} s of it")


PARTS = {part.__name__: part for part in (readers, pictures, neighbours, view)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milad", default=ROOT / "target" / "release" / "milad")
    parser.add_argument("--bundle", default=ROOT / "models" / "street")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--role", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        return ROLES[options.role[0]](options.role[1])
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[1:])
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for part in options.only:
        PARTS[part](options)


if __name__ == "__main__":
    main()
