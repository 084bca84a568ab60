"""Reads the results of milad: statistics for every camera frame, and its maps as numpy arrays that are not copied.

    import milad_client

    with milad_client.connect(tasks=["depth"], maps="shared") as results:
        for result in results:
            depth = result.maps["depth"]
            near = depth.array.min()           # straight from the daemon's memory
            if depth.valid():                  # ... and it was still this frame's
                print(result.sequence, near)

Maps in shared memory last until the daemon comes around (8 frames later): ask `valid()` after the last look, or take a `copy()`, which does.
Results older than `max_age` seconds are passed over, and of several that wait the newest is given: a program that is slow, or a daemon
that hangs, must not make a robot act on the past. docs/PROTOCOL.md of milad describes what is read here.

One file, Linux, Python 3.9 or newer, numpy. It may be copied next to a program as it is.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import select
import socket
import struct
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Deque, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

__version__ = "0.1.0"
__all__ = ["connect", "Results", "Result", "View", "Error", "Refused", "Closed", "Overtaken", "NothingFresh", "default_socket"]

PROTOCOL = 1
DTYPES = {"u8": np.dtype("u1"), "i8": np.dtype("i1"), "f32": np.dtype("<f4")}
LINE_LIMIT = 1 << 20
PAYLOAD_LIMIT = 256 << 20
PLANE_LIMIT = 1 << 30
DESCRIPTORS = 65
RETRY = 0.2
# Messages that are passed over at most before a result is given.
AT_ONCE = 256
# Without a look at the socket: a daemon that was killed rings no bell.
NAP = 0.2
# In place of a sleep that the kernel refuses.
DOZE = 0.005


def _futex_number(machine: str, pointer: int) -> Optional[int]:
    """asm/unistd.h: the futex call with two longs of time. The machine is the kernel's; this program may be one of 32 bits on it."""
    if pointer == 8:
        return {"x86_64": 202, "aarch64": 98}.get(machine)
    narrow = ("x86_64", "i686", "i586", "i486", "i386", "aarch64", "armv8l", "armv7l", "armv6l")
    return 240 if pointer == 4 and machine in narrow else None


SYS_FUTEX = _futex_number(platform.machine(), struct.calcsize("P"))
FUTEX_WAIT = 0
# linux/fcntl.h; the fcntl module has them from Python 3.8 or 3.13 on, depending.
F_GET_SEALS, F_SEAL_SHRINK = 1034, 2


class Error(Exception):
    """What this module raises."""


class Refused(Error):
    """The daemon refused what was asked for, or had no room for another client."""


class Closed(Error):
    """The daemon closed the connection, and it was not to be made again."""


class Overtaken(Error):
    """The daemon has written another frame there."""


class NothingFresh(Error, TimeoutError):
    """No fresh result within the timeout."""


_ORDER = threading.Lock()


def _fence() -> None:
    """What was read before is read before what is read next, on this processor too: a lock's release and acquisition."""
    with _ORDER:
        pass
    with _ORDER:
        pass


class View:
    """A map: `array` is read-only and, in shared memory, changes when the daemon comes around."""

    __slots__ = ("array", "_generation", "_expected")

    def __init__(self, values: np.ndarray, generation: Optional[np.ndarray] = None, expected: int = 0) -> None:
        self.array: np.ndarray = values
        self._generation = generation
        self._expected = expected

    def valid(self) -> bool:
        """Whether all that was read from `array` until now is of this result's frame."""
        if self._generation is None:
            return True
        _fence()
        return int(self._generation[0]) == self._expected

    def copy(self) -> np.ndarray:
        """A copy to keep. Raises Overtaken where it came too late."""
        copied = self.array.copy()
        if not self.valid():
            raise Overtaken("the daemon writes another frame there by now: read sooner")
        return copied

    def __repr__(self) -> str:
        kind = "in the message" if self._generation is None else "in shared memory"
        return f"<milad_client.View {self.array.dtype} {self.array.shape} {kind}>"


@dataclass(frozen=True)
class Result:
    """The answer to one frame."""

    message: Dict[str, Any]
    """Its line, parsed: docs/PROTOCOL.md tells all fields."""
    maps: Dict[str, View]
    """By task; also `image`, where it was asked for."""

    @property
    def sequence(self) -> int:
        """The daemon's count of frames."""
        return self.message["sequence"]

    @property
    def epoch(self) -> int:
        """Grows with every reconnect of the camera and every change of the model."""
        return self.message["epoch"]

    @property
    def captured_ns(self) -> int:
        """When the frame was captured: nanoseconds of time.monotonic_ns()."""
        return self.message["captured_ns"]

    @property
    def age(self) -> float:
        """Seconds since the frame was captured."""
        return (time.monotonic_ns() - self.captured_ns) * 1e-9

    @property
    def keyframe(self) -> Optional[Dict[str, Any]]:
        """The keyframe that it rests on, or None before the first."""
        return self.message["keyframe"]

    @property
    def tasks(self) -> Dict[str, Dict[str, Any]]:
        """Statistics by task."""
        return self.message["tasks"]


class _Plane:
    """The memory of one task."""

    def __init__(self, info: Dict[str, Any], slots: int, fd: int) -> None:
        self.info, self.slots = info, slots
        size, data, used = info["slot_bytes"], info["data_offset"], info["bytes"]
        self.dtype = DTYPES[info["dtype"]]
        total = slots * size
        sound = 4 <= data and data + used <= size and slots > 0 and 0 < total <= PLANE_LIMIT and size % 4 == 0
        if not sound or int(np.prod(info["shape"])) * self.dtype.itemsize != used:
            raise Error(f"shared memory whose sizes contradict each other: {info}")
        try:
            sealed = fcntl.fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK
        except OSError:
            sealed = 0
        if not sealed or os.fstat(fd).st_size < total:
            raise Error("shared memory that could shrink, or is too small: not a map of milad")
        self.memory = mmap.mmap(fd, total, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)

    def view(self, slot: int, generation: int) -> View:
        if not 0 <= slot < self.slots:
            raise Error(f"no slot {slot}")
        start, shape = slot * self.info["slot_bytes"], self.info["shape"]
        values = np.frombuffer(self.memory, self.dtype, int(np.prod(shape)), start + self.info["data_offset"])
        return View(values.reshape(shape), np.frombuffer(self.memory, "<u4", 1, start), generation)


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Lines:
    """Results' lines in shared memory, and the bell that tells of them."""

    def __init__(self, info: Dict[str, Any], slots: int, fd: int) -> None:
        plane = _Plane({"dtype": "u8", "shape": [info["bytes"]], **info}, slots, fd)
        self.views = [plane.view(slot, 0) for slot in range(slots)]
        # Behind the first slot's generation.
        self.bell = np.frombuffer(plane.memory, "<u4", 1, 4)
        self.last: Optional[int] = None

    def _next(self) -> Optional[Tuple[int, View]]:
        """The generation and place of the oldest line that was not given yet; at first of the newest."""
        found = [(int(view._generation[0]), view) for view in self.views]
        if self.last is None:
            newest = max((number for number, _ in found if number), key=lambda number: _later(found[0][0], number), default=0)
            return next(((number, view) for number, view in found if number == newest), None) if newest else None
        fresh = [(number, view) for number, view in found if number and _later(self.last, number) > 0]
        return min(fresh, key=lambda it: _later(self.last or 0, it[0]), default=None)

    def saw(self, generation: int) -> int:
        """This one's line came another way. Those before it are given no more; returns how many they were."""
        distance = 1 if self.last is None else _later(self.last, generation)
        if distance > 0:
            self.last = generation
        return max(0, distance - 1)

    def waits(self) -> bool:
        return self._next() is not None

    def take(self) -> Optional[Dict[str, Any]]:
        """The next result; what was overlooked before it is in its `dropped`."""
        for _ in self.views:
            found = self._next()
            if found is None:
                return None
            number, view = found
            _fence()
            line = view.array.tobytes()
            _fence()
            if int(view._generation[0]) == number:
                message = _parsed(line[: line.find(b"\n") + 1])
                message["dropped"] = message.get("dropped", 0) + (0 if self.last is None else _later(self.last, number) - 1)
                self.last = number
                return message
        return None

    def sleep(self, seen: int, most: float) -> bool:
        """Until the bell is another one than `seen`; or wakes up for nothing. False: the kernel does not let it."""
        most = min(most, NAP)
        time_left = _Timespec(int(most), int(most % 1 * 1e9))
        address = ctypes.c_void_p(self.bell.__array_interface__["data"][0])
        number, what, seen_word = ctypes.c_long(SYS_FUTEX or -1), ctypes.c_int(FUTEX_WAIT), ctypes.c_uint(seen)
        if _LIBC.syscall(number, address, what, seen_word, ctypes.byref(time_left), None, 0) == 0:
            return True
        return ctypes.get_errno() in (errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT)


_LIBC = ctypes.CDLL(None, use_errno=True)


def _later(first: int, second: int) -> int:
    """How many generations one is later than another; past 2**32 - 1 comes 1."""
    distance = (second - first + (1 << 31)) % (1 << 32) - (1 << 31)
    return distance - 1 if distance > 0 and second < first else distance


def _parsed(line: Union[bytes, bytearray]) -> Dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as problem:
        raise Error(f"not a message of milad: {problem}") from None
    if not isinstance(message, dict):
        raise Error("not a message of milad: no object")
    return message


class _Connection:
    """Lines, payloads and descriptors of one connection; and lines that come in shared memory, behind all that the socket has."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.buffer = bytearray()
        self.sets: Deque[List[int]] = deque()
        self.lines: Optional[_Lines] = None
        # The lines that were read before, whose memory counts no more.
        self.before: Optional[_Lines] = None
        # What is to be given before anything is read.
        self.rest: Deque[Tuple[Dict[str, Any], bytearray]] = deque()

    def close(self) -> None:
        self.socket.close()
        for descriptors in self.sets:
            for fd in descriptors:
                os.close(fd)
        self.sets.clear()

    def ready(self, timeout: Optional[float]) -> bool:
        """Whether there is something to read, now or in time."""
        if self.buffer or self.rest:
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        end = None if timeout is None else time.monotonic() + timeout
        while self.lines is not None:
            bell = int(self.lines.bell[0])
            _fence()
            if poll.poll(0) or self.lines.waits():
                return True
            left = NAP if end is None else end - time.monotonic()
            if left <= 0:
                return False
            if not self.lines.sleep(bell, left):
                poll.poll(min(left, DOZE) * 1000)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))

    def _more(self) -> None:
        space = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)
        data, ancillary, flags, _ = self.socket.recvmsg(1 << 16, space, socket.MSG_CMSG_CLOEXEC)
        descriptors = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
        if descriptors:
            self.sets.append(list(descriptors))
        if flags & socket.MSG_CTRUNC or len(self.sets) > 8:
            raise Error("more descriptors than the daemon ever sends")
        if not data:
            raise ConnectionError("the daemon closed the connection")
        self.buffer += data

    def receive(self) -> Tuple[Dict[str, Any], bytearray]:
        """The next message and what came behind its line."""
        if self.rest:
            return self.rest.popleft()
        while self.lines is not None and not self.buffer:
            self.ready(None)
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            if poll.poll(0):
                break
            found = self.lines.take()
            if found is not None:
                return found, bytearray()
        scanned = 0
        while (end := self.buffer.find(b"\n", scanned)) < 0:
            scanned = len(self.buffer)
            if scanned > LINE_LIMIT:
                raise Error("a line of more than a MiB: not a message of milad")
            try:
                self._more()
            except ConnectionError:
                self._end_lines()
                if self.buffer or not self.rest:
                    raise
                return self.rest.popleft()
        message = _parsed(self.buffer[:end])
        del self.buffer[: end + 1]
        wanted = message.get("payload_bytes", 0)
        if not 0 <= wanted <= PAYLOAD_LIMIT:
            raise Error(f"a payload of {wanted} bytes: not a message of milad")
        while len(self.buffer) < wanted:
            self._more()
        payload = self.buffer[:wanted]
        del self.buffer[:wanted]
        if self.lines is not None:
            if "shared" in message:
                message["dropped"] = message.get("dropped", 0) + self.lines.saw(message["shared"]["generation"])
            elif message.get("type") == "model" or message.get("state") == "up":
                # Lines of another epoch come in other memory. What was not read of the last one's is too late, and counted.
                self.before, self.lines = self.lines, None
            elif message.get("type") == "bye":
                self._end_lines()
        elif message.get("type") == "result":
            # From here on there is nothing to count from.
            self.before = None
        self.rest.append((message, payload))
        return self.rest.popleft()

    def _end_lines(self) -> None:
        """Before the end comes what was written before it; no more than there is room for, though the daemon may go on."""
        lines, self.lines = self.lines, None
        for _ in lines.views if lines else []:
            message = lines.take()
            if message is None:
                break
            self.rest.append((message, bytearray()))


class Results:
    """Fresh results, one after the other. Made by `connect`."""

    def __init__(self, path: Optional[str], request: Dict[str, Any], max_age: Optional[float], newest: bool, reconnect: bool,
                 timeout: Optional[float]) -> None:
        self._path, self._request = path, request
        self._max_age, self._newest, self._reconnect, self._timeout = max_age, newest, reconnect, timeout
        self._connection: Optional[_Connection] = None
        self._planes: Dict[str, _Plane] = {}
        self._accepted = self._broken = False
        self._current: Optional[Result] = None
        self.hello: Dict[str, Any] = {}
        """The daemon's greeting: its tasks, its camera, its bundle."""
        self.camera_lost: Optional[str] = None
        """Why the daemon has no camera, while it has none."""
        self.refused = 0
        """How many results were too old to be given."""
        self._connect()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        return self.next()

    def close(self) -> None:
        """Ends the connection. Views that are still held stay readable."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def task(self, name: str) -> Dict[str, Any]:
        """A task's description in the greeting: its kind, size, classes."""
        for task in self.hello.get("tasks", []):
            if task["name"] == name:
                return task
        raise KeyError(name)

    def next(self) -> Result:
        """Waits for the next fresh result. Raises NothingFresh after the timeout."""
        end = None if self._timeout is None else time.monotonic() + self._timeout
        self._current = None
        while self._current is None:
            self._advance(None if end is None else end - time.monotonic())
        if self._newest:
            self._catch_up()
        return self._current

    def _connect(self) -> None:
        path = self._path or str(default_socket())
        connection = _Connection(path)
        try:
            connection.socket.sendall(json.dumps(self._request).encode() + b"\n")
        except OSError:
            # Closed already: what it sent before tells why.
            pass
        self._connection, self._planes, self._accepted, self.camera_lost = connection, {}, False, None

    def _advance(self, left: Optional[float]) -> None:
        if left is not None and left <= 0:
            raise NothingFresh("no fresh result in time")
        if self._broken:
            self._broken = False
            self._lost(ConnectionError("the daemon closed the connection"))
            return
        if self._connection is None:
            try:
                self._connect()
            except OSError:
                if not self._reconnect:
                    raise
                time.sleep(RETRY if left is None else min(RETRY, left))
            return
        if not self._connection.ready(left):
            return
        try:
            self._take(*self._connection.receive())
        except OSError as problem:
            self._lost(problem)

    def _lost(self, problem: OSError) -> None:
        self.close()
        if not self._reconnect:
            raise Closed(str(problem)) from None

    def _catch_up(self) -> None:
        for _ in range(AT_ONCE):
            if self._connection is None or not self._connection.ready(0):
                return
            try:
                self._take(*self._connection.receive())
            except OSError:
                # This result is good; the next call finds out.
                self._broken = True
                return

    def _take(self, message: Dict[str, Any], payload: bytearray) -> None:
        kind = message.get("type")
        if kind == "result":
            if not self._accepted:
                # From before the request was in force: without what was asked for.
                return
            age = (time.monotonic_ns() - message["captured_ns"]) * 1e-9
            if self._max_age is not None and age > self._max_age:
                self.refused += 1
                return
            self._current = Result(message, self._views(message, payload))
        elif kind == "hello":
            self.hello = message
        elif kind == "maps":
            self._planes = self._mapped(message)
        elif kind == "camera":
            self.camera_lost = message.get("reason", "") if message.get("state") == "lost" else None
            self.hello["camera"] = message.get("camera")
        elif kind == "model":
            self.hello.update(bundle=message["bundle"], tasks=message["tasks"])
        elif kind == "ok":
            self._accepted = True
        elif kind == "error" and not self._accepted:
            self.close()
            raise Refused(message.get("message", ""))

    def _mapped(self, message: Dict[str, Any]) -> Dict[str, _Plane]:
        descriptors = self._connection.sets.popleft() if self._connection and self._connection.sets else []
        try:
            lines = message.get("lines")
            if len(descriptors) != len(message["planes"]) + (lines is not None):
                raise Error(f"{len(message['planes'])} planes with {len(descriptors)} descriptors")
            if self._connection:
                before = self._connection.lines or self._connection.before
                self._connection.lines = _Lines(lines, message["slots"], descriptors[-1]) if lines else None
                if self._connection.lines and before:
                    self._connection.lines.last = before.last
                self._connection.before = None
            pairs = zip(message["planes"], descriptors)
            return {info["task"]: _Plane(info, message["slots"], fd) for info, fd in pairs if info["dtype"] in DTYPES}
        finally:
            # The mapping keeps the memory.
            for fd in descriptors:
                os.close(fd)

    def _views(self, message: Dict[str, Any], payload: bytearray) -> Dict[str, View]:
        shared = message.get("shared")
        if shared is not None:
            return {name: plane.view(shared["slot"], shared["generation"]) for name, plane in self._planes.items()}
        views = {}
        frozen = bytes(payload) if payload else b""
        for entry in message.get("maps", []):
            dtype = DTYPES.get(entry["dtype"])
            if dtype is not None:
                count = int(np.prod(entry["shape"]))
                if entry["offset"] < 0 or entry["offset"] + count * dtype.itemsize > len(frozen):
                    raise Error(f"a map beyond its payload: {entry}")
                views[entry["task"]] = View(np.frombuffer(frozen, dtype, count, entry["offset"]).reshape(entry["shape"]))
        return views


def connect(socket_path: Union[str, Path, None] = None, *, tasks: Optional[Sequence[str]] = None, maps: str = "none",
            lines: str = "socket", image: bool = False, every: int = 1, max_age: Optional[float] = 1.0, newest: bool = True, reconnect: bool = True,
            timeout: Optional[float] = None) -> Results:
    """Connects to milad.

    socket_path: where the daemon listens; None: where it does by default.
    tasks: whose statistics and maps are wanted; None: all.
    maps: "none", "inline" (each result brings a copy) or "shared" (views of the daemon's memory).
    lines: "shared" with shared maps: results' lines come in shared memory, too, and the daemon wakes all such programs at once; cheapest
        for it where several read. Not together with `every`, nor without any map (`tasks=[]` and no image); where it can't be had, they come by the
        socket.
    image: whether the picture that the networks saw comes along with the maps.
    every: every n-th result.
    max_age: seconds; results captured longer ago are passed over. None: none is.
    newest: of several results that wait, give the newest alone.
    reconnect: wait for a daemon that went.
    timeout: seconds after which `next` raises NothingFresh; None: it waits for ever.

    Raises OSError when nobody answers; a daemon that goes later is waited for.
    """
    subscribe: Dict[str, Any] = {"every": every, "maps": maps}
    if tasks is not None:
        subscribe["tasks"] = list(tasks)
    if image:
        subscribe["image"] = True
    if lines != "socket" and SYS_FUTEX is not None:
        subscribe["lines"] = lines
    request = {"protocol": PROTOCOL, "subscribe": subscribe}
    path = None if socket_path is None else str(socket_path)
    return Results(path, request, max_age, newest, reconnect, timeout)


def default_socket() -> Path:
    """The service's socket if it is there, else that of a daemon run by this user."""
    service = Path("/run/milad/results.sock")
    if service.exists():
        return service
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and (Path(runtime) / "milad.sock").exists():
        return Path(runtime) / "milad.sock"
    folder = Path(tempfile.gettempdir()) / f"milad-{os.geteuid()}"
    try:
        # Everybody may write to the folder for temporary files: believe only what belongs to this user.
        if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink() and (folder / "milad.sock").exists():
            return folder / "milad.sock"
    except OSError:
        pass
    return service
