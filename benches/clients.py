#!/usr/bin/env python3
"""What clients and the live view cost the daemon and each other, on one machine, by many short windows that take turns.

    benches/clients.py [--milad target/release/milad] [--pairs 30] [--frames 60] [--runs 3] [--limit 300]
                       [--only readers pictures neighbours crowded nobody elsewhere view alike]

- readers: eight clients that read all maps from shared memory at 30 frames/s, against none: CPU time of the daemon. They get results' lines
  there as well, or by the socket (--lines)
- pictures: the same when each of the eight reads the picture that the networks saw as well
- neighbours: clients that misbehave (one stops reading, one dies while it holds the ring, one closes its descriptors, one sends
  garbage), against none: the 99th percentile of a well-behaved client's latency, from capture to receipt
- crowded: the same with the slow network on the core of the frame's way
- nobody: the same with nobody who misbehaves on either side: what the comparison is worth
- elsewhere: the same, but they misbehave towards another daemon on their own core: what the machine makes of it
- view: the view with nobody looking, against none: CPU time of the daemon, and that of the thread that serves it
- alike: two daemons without a view: what a comparison of two processes is worth

In one daemon the clients join and leave; windows go without, with, with, without, …, so that what else the machine does, and what
drifts, meets both sides. A window is a whole number of frame intervals and begins between two frames: so the frames in it are
counted exactly. Two neighbouring windows are a pair; what is told is the median of the pairs' ratios with the interval in which it lies with 95 %
(bootstrap). The view needs two daemons, which run at the same time on two cores and change cores with every window, started anew for every run.

The daemon has the first core, well-behaved clients the next, those that misbehave the last ones; where they must share, those that misbehave
run only when the core is idle (SCHED_IDLE), so that what is measured is what the daemon makes of them. Where latency is measured the slow network
has the next core too, as the sample configuration advises: a frame that meets it on its own core takes some milliseconds longer, and one in a
hundred would tell of nothing else; and the client that measures runs at once (SCHED_FIFO, where that is allowed). Windows in which other
processes took more than --others of a core don't count and are repeated, until there are enough or a run's time is over.
Needs numpy. Nothing here is a test: the machine decides.
"""

import argparse
import atexit
import fcntl
import json
import mmap
import os
import random
import select
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "clients" / "python"))
CORES = sorted(os.sched_getaffinity(0))
OURS, GOOD, BAD = CORES[:1], CORES[1:2] or CORES, CORES[2:] or CORES[1:] or CORES
SUBSCRIBE = b'{"subscribe":{"maps":"%s","image":true}}\n'
# How well-behaved clients get results' lines: told to the actors by the environment.
LINES = os.environ.get("MILAD_BENCH_LINES", "shared")
# After clients came or went, before a window begins.
SETTLE_S = 0.4


class Daemon:
    """`slow_core`: where the slow network runs; left out: with the rest."""

    def __init__(self, milad, bundle, *arguments, cores=OURS, rate=30, idle=False, slow_core=None):
        def settle():
            os.sched_setaffinity(0, cores)
            if idle:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

        self.folder = tempfile.TemporaryDirectory()
        self.socket = f"{self.folder.name}/s"
        if slow_core is not None:
            config = Path(self.folder.name) / "milad.toml"
            config.write_text(f"[threads]\nslow_cores = [{slow_core}]\n", encoding="ascii")
            arguments = [*arguments, "--config", config]
        command = [milad, "run", "--bundle", bundle, "--source", f"card:?rate={rate}", "--socket", self.socket, "--metrics", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=settle,
        )
        # However this ends: a daemon that is left over disturbs all later windows.
        atexit.register(self.process.kill)
        with socket.socket(socket.AF_UNIX) as peer:
            while peer.connect_ex(self.socket) != 0:
                time.sleep(0.05)
            lines = (json.loads(line) for line in peer.makefile("rb"))
            results = (message for message in lines if message["type"] == "result" and message["keyframe"])
            self.captured = next(results)["captured_ns"]
            self.interval = 1_000_000_000 / rate

    def tasks(self):
        return Path(f"/proc/{self.process.pid}/task").iterdir()

    def cpu(self):
        """Seconds of CPU time by thread, to the nanosecond."""
        spent = {}
        for task in self.tasks():
            name = (task / "comm").read_text(encoding="ascii").strip()
            spent[name] = spent.get(name, 0) + int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        return spent

    def move(self, cores):
        for task in self.tasks():
            os.sched_setaffinity(int(task.name), cores)

    def beat(self, after_ns):
        """The first moment in the middle between two captures, but nearer to the second: the frame before is done by then."""
        phase = (after_ns - self.captured) / self.interval
        return self.captured + (int(phase - 0.75) + 1.75) * self.interval

    def end(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def until(moment_ns):
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) * 1e-9))


def strangers():
    """Seconds of CPU time of all processes that are no part of this, those that have ended too, and what the machine's host took."""
    total, own = int(Path("/proc/stat").read_text(encoding="ascii").split()[8]), str(os.getpgrp())
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if fields[2] != own:
                # Its own, and of those of its children whose end it has taken note of.
                total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def window(daemons, options):
    """Milliseconds of CPU time a frame over so many frames, by daemon and thread; when it was, or None where others disturbed it."""
    others, frames = strangers(), options.frames
    begin = daemons[0].beat(time.monotonic_ns() + SETTLE_S * 1e9)
    until(begin)
    before = [daemon.cpu() for daemon in daemons]
    end = begin + frames * daemons[0].interval
    until(end)
    after = [daemon.cpu() for daemon in daemons]
    spent = [{name: (new[name] - old.get(name, 0)) * 1e3 / frames for name in new} for old, new in zip(before, after)]
    disturbed = strangers() - others > options.others * (SETTLE_S + frames * daemons[0].interval * 1e-9)
    return spent, None if disturbed else (begin, end)


class Actor:
    """A client in a process of its own, that joins and leaves when it is told to. `policy`: how its core's scheduler treats it."""

    def __init__(self, role, path, cores, policy=os.SCHED_OTHER):
        def settle():
            os.sched_setaffinity(0, cores)
            try:
                os.sched_setscheduler(0, policy, os.sched_param(1 if policy == os.SCHED_FIFO else 0))
            except PermissionError:
                print("    a client that is to run at once may have to wait for others on its core: not allowed (CAP_SYS_NICE)", file=sys.stderr)

        command = [sys.executable, __file__, "--role", role, path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=settle)
        atexit.register(self.process.kill)

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def heard(self):
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()


def usable(found, tried, options):
    """Says how many were disturbed; there is no figure without any."""
    if found < tried:
        print(f"    {tried - found} of {tried} do not count: other processes took more than {options.others:.0%} of a core", flush=True)
    if not found:
        raise SystemExit("nothing that counts: try again on a quieter machine")


def join(actors):
    for actor in actors:
        actor.say("join")
    for actor in actors:
        actor.heard()


def leave(actors):
    for actor in actors:
        actor.say("leave")
    return [actor.heard() for actor in actors]


def told(seconds=0.0):
    """Whether an actor is told something else."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def tell(what):
    print(json.dumps(what), flush=True)


def reader(path, image=False):
    """A well-behaved client: reads every number of every map of every frame. Tells when each was captured, and how old it was when it was
    published and when it was received, in milliseconds."""
    import milad_client

    seen = []
    with milad_client.connect(path, maps="shared", lines=LINES, image=image, max_age=None, newest=False) as results:
        for result in results:
            seen.append((result.captured_ns, (result.message["published_ns"] - result.captured_ns) / 1e6, (time.monotonic_ns() - result.captured_ns) / 1e6))
            if len(seen) == 1:
                tell("in")
            for view in result.maps.values():
                view.array.sum()
            if told():
                break
    tell(seen)


def looker(path):
    """The same with the picture that the networks saw."""
    reader(path, image=True)


def ring(peer):
    """Asks for the ring, and maps what comes."""
    peer.sendall(SUBSCRIBE % b"shared")
    while True:
        data, descriptors, *_ = socket.recv_fds(peer, 65536, 64)
        if descriptors:
            return [mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ) for fd in descriptors]
        if not data:
            raise ConnectionError


def dying(path):
    """Takes the ring's memory, reads in it and dies with it, again and again. Tells how often."""
    tell("in")
    died, begin = 0, time.monotonic()
    while not told():
        child = os.fork()
        if child == 0:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                for memory in ring(peer):
                    memory[:64]
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        died += 1
    tell(("deaths with the ring in hand", died / (time.monotonic() - begin)))


def deaf(path):
    """Asks for everything inline and never reads."""
    tell("in")
    while not told():
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.sendall(SUBSCRIBE % b"inline")
            told(6)
    tell("out")


def closing(path):
    """Closes the descriptors that it is given, reads on."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(SUBSCRIBE % b"shared")
        tell("in")
        while not told():
            for fd in socket.recv_fds(peer, 65536, 64)[1]:
                os.close(fd)
    tell("out")


def garbage(path):
    """Sends lines that are none, as fast as they are taken but for a breath between them. Tells how many the daemon read at least."""
    tell("in")
    read, begin = 0, time.monotonic()
    while not told():
        sent = taken = 0
        try:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(path)
                peer.settimeout(0.1)
                for _ in range(10):
                    peer.sendall(os.urandom(2000).replace(b"\n", b" ") + b"\n")
                    sent += 1
                    left = told(0.01)
                    # What lies in the socket unread is the sender's; nothing: all was read.
                    if not int.from_bytes(fcntl.ioctl(peer, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
                        taken = sent
                    if left:
                        break
        except OSError:
            time.sleep(0.01)
        read += taken
    tell(("lines of garbage read by the daemon", read / (time.monotonic() - begin)))


def awake(_):
    """Keeps its core from sleeping, in whatever time nobody else wants."""
    while True:
        pass


ROLES = {role.__name__: role for role in (reader, looker, dying, deaf, closing, garbage, awake)}
MISBEHAVING = ["dying", "deaf", "closing", "garbage"]


def act(role, path):
    """Once for every `join`, until the next word comes."""
    sys.path.insert(0, str(ROOT / "clients" / "python"))
    if role in ("reader", "looker"):
        import milad_client  # noqa: F401  (before the first window, not in it)
    while sys.stdin.readline() == "join\n":
        ROLES[role](path)
        sys.stdin.readline()


def turns(seconds):
    """Without and with, in an order in which what drifts meets both alike; for so long."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield (False, True) if number % 2 == 0 else (True, False)
        number += 1


def likely(values, draws=4000):
    """The median, and the interval that holds it with 95 %: drawn again and again from the same values."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return statistics.median(values), medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def say(name, pairs, unit, bound):
    """`pairs`: without and with what is measured."""
    middle, low, high = likely([busy / alone for alone, busy in pairs])
    alone, busy = (statistics.median(side) for side in zip(*pairs))
    verdict = "holds" if middle <= bound else "does NOT hold"
    print(f"{name}: {middle:.4f} times, 95 % within {low:.4f} and {high:.4f} ({len(pairs)} pairs; medians {alone:.4f} and {busy:.4f} {unit}), "
          f"wanted at most {bound}: {verdict}", flush=True)


def threads(samples):
    """Which threads pay: the medians of the pairs' differences."""
    names = sorted({name for pair in samples for side in pair for name in side})
    for name in names:
        alone, busy = ([side.get(name, 0) * 1e3 for side in sides] for sides in zip(*samples))
        more = statistics.median(b - a for a, b in zip(alone, busy))
        if max(statistics.median(alone), abs(more)) >= 1:
            print(f"    {name:16} {statistics.median(alone):8.1f} us a frame, {more:+.1f}")


def readers(options, role="reader"):
    """Eight of them against none: milliseconds of CPU time a frame."""
    what = "shared maps" if role == "reader" else "shared maps and the picture"
    daemon, samples, read, tried = Daemon(options.milad, options.bundle), [], [], 0
    crowd = [Actor(role, daemon.socket, GOOD + BAD) for _ in range(8)]
    sleepless = [Actor("awake", daemon.socket, [core], os.SCHED_IDLE) for core in sorted({*GOOD, *BAD})] if options.awake else []
    for actor in sleepless:
        actor.say("join")
    join(crowd)
    leave(crowd)
    for order in turns(options.limit):
        pair = {}
        tried += 1
        for busy in order:
            if busy:
                join(crowd)
            spent, span = window([daemon], options)
            pair[busy] = spent[0]
            if busy:
                seen = leave(crowd)
            if span is None:
                pair = None
                break
            if busy:
                read += [sum(span[0] < at < span[1] for at, *_ in one) for one in seen]
        if pair:
            samples.append((pair[False], pair[True]))
        if len(samples) == options.pairs:
            break
    usable(len(samples), tried, options)
    for actor in crowd:
        actor.end()
    for actor in sleepless:
        actor.kill()
    daemon.end()
    print(f"each of the eight read {min(read)} to {max(read)} of a window's {options.frames} frames")
    say(f"eight readers of {what}, CPU a frame", [tuple(sum(side.values()) for side in pair) for pair in samples], "ms", 1.03)
    threads(samples)


def pictures(options):
    """The same with the picture."""
    readers(options, "looker")


def p99(values):
    return sorted(values)[int(0.99 * (len(values) - 1))]


def ratio(sides):
    """p99 with them to p99 without, and where it lies with 95 %: windows are drawn again and again, for the frames of one are alike."""
    chance = random.Random(1)
    pooled = lambda windows: p99([age for window in windows for age in window])  # noqa: E731
    drawn = sorted(pooled(chance.choices(sides[True], k=len(sides[True]))) / pooled(chance.choices(sides[False], k=len(sides[False]))) for _ in range(400))
    return pooled(sides[True]) / pooled(sides[False]), drawn[10], drawn[-11]


def neighbours(options, elsewhere=False, crowded=False, roles=None):
    """Four that misbehave against none: a good client's 99th percentile in milliseconds, over all windows of a run."""
    roles, ratios = options.roles if roles is None else roles, []
    for run in range(options.runs):
        daemon = Daemon(options.milad, options.bundle, rate=options.rate, slow_core=None if crowded else (CORES[1:] or CORES)[0])
        other = Daemon(options.milad, options.bundle, cores=BAD, rate=options.rate, idle=True) if elsewhere else None
        # The clients' core is awake on both sides: what it takes to wake it up is none of the daemon's business.
        awake = Actor("awake", daemon.socket, GOOD, os.SCHED_IDLE)
        # Neither is who else runs there.
        good = Actor("reader", daemon.socket, GOOD, os.SCHED_FIFO)
        bad = [Actor(role, (other or daemon).socket, BAD, os.SCHED_OTHER if CORES[2:] else os.SCHED_IDLE) for role in roles]
        awake.say("join")
        join([good])
        join(bad)
        leave(bad)
        spans, spent, deeds, tried = {False: [], True: []}, [], {}, 0
        for order in turns(options.limit / options.runs):
            for busy in order:
                if len(spans[busy]) == options.pairs:
                    continue
                if busy:
                    join(bad)
                cpu, span = window([daemon], options)
                tried += 1
                for said in leave(bad) if busy else []:
                    if isinstance(said, list) and span:
                        deeds.setdefault(said[0], []).append(said[1])
                if span:
                    spans[busy].append(span)
                    spent.append((busy, sum(cpu[0].values())))
            if min(map(len, spans.values())) == options.pairs:
                break
        usable(min(map(len, spans.values())) and len(spent), tried, options)
        seen = leave([good])[0]
        for actor in [good, *bad]:
            actor.end()
        awake.kill()
        daemon.end()
        if other:
            other.end()
        cpu = [statistics.median(ms for side, ms in spent if side == busy) for busy in (False, True)]
        for number, when in enumerate(("when published", "when received")):
            sides = {busy: [[ages[number] for at, *ages in seen if begin < at < end] for begin, end in spans[busy]] for busy in spans}
            sides = {busy: [ages for ages in windows if ages] for busy, windows in sides.items()}
            alone, busy = ([age for window in sides[side] for age in window] for side in (False, True))
            middle, low, high = ratio(sides)
            quantiles = ", ".join(f"{name} {at(alone):.3f} and {at(busy):.3f}" for name, at in (("p50", statistics.median), ("p99", p99), ("most", max)))
            print(f"    run {run + 1}, {when}: p99 {middle:.3f} times, 95 % within {low:.3f} and {high:.3f}; ms without and with: {quantiles}", flush=True)
        ratios.append(middle)
        told_of = ", ".join(f"{statistics.median(rates):.1f} {what}" for what, rates in deeds.items())
        print(f"    {len(alone)} and {len(busy)} frames; CPU {cpu[0]:.3f} and {cpu[1]:.3f} ms a frame; a second: {told_of}", flush=True)
    middle = statistics.median(ratios)
    verdict = "holds" if middle <= 1.1 else "does NOT hold"
    where = (", towards another daemon" if elsewhere else "") + (", the slow network on the frame's core" if crowded else "")
    print(f"p99 latency beside {len(roles)} that misbehave{where}: {middle:.3f} times (median of {', '.join(f'{r:.3f}' for r in ratios)}), wanted at most 1.1: {verdict}")


def crowded(options):
    """The same with the slow network on the core of the frame's way."""
    neighbours(options, crowded=True)


def nobody(options):
    """The same windows with nobody who misbehaves."""
    neighbours(options, roles=[])


def elsewhere(options):
    """The same disturbance of the machine, but none of this daemon."""
    neighbours(options, elsewhere=True)


def view(options, flags=("--view",)):
    """With nobody looking against without one: milliseconds of CPU time a frame."""
    samples, wanted = [], max(1, options.pairs // options.runs)
    for _ in range(options.runs):
        daemons = [Daemon(options.milad, options.bundle, cores=CORES[:1]), Daemon(options.milad, options.bundle, *flags, cores=CORES[1:2] or CORES)]
        for number in range(2 * wanted):
            for which, daemon in enumerate(daemons):
                daemon.move([CORES[(which + number) % len(CORES[:2])]])
            spent, span = window(daemons, options)
            # Those of a pair stay together.
            samples.append(spent if span else None)
        for daemon in daemons:
            daemon.end()
    # Two windows with changed cores are one value for each.
    tried = len(samples) // 2
    samples = [window for pair in zip(samples[::2], samples[1::2]) if all(pair) for window in pair]
    usable(len(samples) // 2, tried, options)
    pairs = [tuple(sum(first[i].values()) + sum(second[i].values()) for i in (0, 1)) for first, second in zip(samples[::2], samples[1::2])]
    say("the view with nobody looking, CPU a frame" if flags else "two daemons that are the same", [(a / 2, b / 2) for a, b in pairs], "ms", 1.005)
    threads(samples)
    print(f"the thread that serves it took {sum(viewed.get('milad-metrics', 0) for _, viewed in samples) * options.frames:.4f} ms in all of {len(samples)} windows")


def alike(options):
    """Two daemons without a view: what the comparison of two processes is worth."""
    view(options, ())


PARTS = {part.__name__: part for part in (readers, pictures, neighbours, crowded, nobody, elsewhere, view, alike)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milad", default=ROOT / "target" / "release" / "milad")
    parser.add_argument("--bundle", default=ROOT / "models" / "street")
    parser.add_argument("--pairs", type=int, default=30, help="pairs of windows")
    parser.add_argument("--frames", type=int, default=60, help="frames a window")
    parser.add_argument("--runs", type=int, default=3, help="of neighbours and view, each with daemons of its own")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="of a part; it ends with the pairs that it has by then")
    parser.add_argument("--roles", nargs="+", choices=MISBEHAVING, default=MISBEHAVING, help="who misbehaves in neighbours")
    parser.add_argument("--rate", type=float, default=120, help="frames a second of neighbours: many, for a percentile is made of one in a hundred")
    parser.add_argument("--others", type=float, default=0.05, metavar="SHARE",
                        help="of one core, by processes that are no part of this: a window in which they took more does not count")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--lines", choices=["shared", "socket"], default="shared", help="how well-behaved clients get results' lines")
    parser.add_argument("--awake", action="store_true",
                        help="readers' cores never sleep, with readers and without: a virtual machine's sleeping core costs whoever wakes it up, other machines' don't")
    parser.add_argument("--role", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        return act(*options.role)
    os.environ["MILAD_BENCH_LINES"] = options.lines
    # Whoever was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[1:])
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for part in options.only:
        PARTS[part](options)


if __name__ == "__main__":
    main()
