"""What strangers can send to a running daemon: it is refused, told why, counted, and costs a bounded amount of everything."""

import json
import re
import socket
import subprocess
import time
import urllib.request

import pytest

from conftest import BUNDLES

# Room for what an allocator keeps; a leak of a KiB a connection is found with 10,000 of them.
GROWTH = 6 << 20


class Daemon:
    """`milad run --view` on a test card, and what it counts."""

    def __init__(self, milad, folder):
        self.socket = folder / "s"
        command = [milad, "run", "--bundle", BUNDLES / "plain", "--source", "card:", "--view"]
        command = [str(part) for part in [*command, "--socket", self.socket, "--metrics", "127.0.0.1:0"]]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if found := re.search(r"http://([^/]+)/metrics", line):
                self.address = found[1]
                break
        self.host, port = self.address.split(":")
        self.port = int(port)
        # Until all of its descriptors and threads are there.
        while self.metric("milad_keyframes_total") < 2:
            time.sleep(0.05)

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=60) as answer:
            return int(float(re.search(rf"^{name} (\S+)$", answer.read().decode(), re.M)[1]))

    def settle(self, name, value):
        deadline = time.monotonic() + 60
        while (found := self.metric(name)) != value:
            assert time.monotonic() < deadline, (name, found, value)
            time.sleep(0.05)

    def connect(self):
        peer = socket.socket(socket.AF_UNIX)
        # Without a limit: a full queue is waited for.
        peer.connect(str(self.socket))
        peer.settimeout(60)
        return peer

    def http(self, request, shut=True):
        """Sends bytes and gives all that comes back, or nothing where the connection is reset."""
        with socket.create_connection((self.host, self.port), timeout=60) as peer:
            answer = b""
            try:
                peer.sendall(request)
                if shut:
                    peer.shutdown(socket.SHUT_WR)
                while more := peer.recv(65536):
                    answer += more
            except ConnectionError:
                pass
            return answer

    def costs(self):
        return {name: self.metric(f"process_{name}") for name in ("open_fds", "resident_memory_bytes", "threads")}


@pytest.fixture(scope="module")
def daemon(milad, tmp_path_factory):
    daemon = Daemon(milad, tmp_path_factory.mktemp("hostile"))
    yield daemon
    assert daemon.process.poll() is None, "it ended"
    daemon.process.kill()
    daemon.process.wait()


@pytest.fixture(autouse=True)
def unharmed(daemon):
    """Whatever a test does, results go on, and descriptors, threads and memory are what they were."""
    before = daemon.costs()
    yield
    daemon.settle("milad_clients", 0)
    daemon.settle("process_open_fds", before["open_fds"])
    after = daemon.costs()
    assert after["threads"] == before["threads"]
    assert after["resident_memory_bytes"] < before["resident_memory_bytes"] + GROWTH, (before, after)
    published = daemon.metric("milad_frames_published_total")
    deadline = time.monotonic() + 60
    while daemon.metric("milad_frames_published_total") <= published:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("request_line, word", [
    ({"subscribe": {"tasks": ["colour"]}}, 'no task "colour"; there are: segmentation, depth, normals'),
    ({"subscribe": {"tasks": "depth"}}, "expected a sequence"),
    ({"subscribe": {"every": -1}}, "invalid value: integer `-1`"),
    ({"subscribe": {"every": 0}}, "counts from 1"),
    ({"subscribe": {"every": 1.5}}, "floating point"),
    ({"subscribe": {"every": 1 << 70}}, "expected u32"),
    ({"subscribe": {"maps": "telepathy"}}, "unknown variant `telepathy`"),
    ({"subscribe": {"image": True}}, "comes with maps"),
    ({"protocol": 2, "subscribe": {}}, "protocol 2 is not spoken here: this daemon speaks 1"),
    ({"protocol": -1, "subscribe": {}}, "expected u32"),
    ({"unsubscribe": {}}, "missing field `subscribe`"),
    ([1, 2], "expected"),
    (b'{"more":' + b"[" * 4000, "EOF while parsing a list"),
    (b'{"subscribe":', "EOF"),
    (b"\xff\xfe\x00", "expected"),
    (b"GET / HTTP/1.1\r", "expected"),
])
def test_a_request_that_can_not_be_is_refused_with_a_reason_and_changes_nothing(daemon, request_line, word):
    line = request_line if isinstance(request_line, bytes) else json.dumps(request_line).encode()
    with daemon.connect() as peer:
        stream = peer.makefile("rwb")
        assert json.loads(stream.readline())["type"] == "hello"
        peer.sendall(line + b"\n")
        told = [json.loads(stream.readline())]
        while told[-1]["type"] in ("result", "camera"):
            told.append(json.loads(stream.readline()))
        assert told[-1]["type"] == "error" and word in told[-1]["message"], told[-1]
        # What it gets is what it got before: all tasks, no maps.
        after = json.loads(stream.readline())
        assert after["type"] == "result" and list(after["tasks"]) == ["segmentation", "depth", "normals"] and "maps" not in after


def test_64_clients_are_served_and_the_65th_is_told(daemon):
    refused = daemon.metric("milad_client_refusals_total")
    peers = [daemon.connect() for _ in range(64)]
    streams = [peer.makefile("rb") for peer in peers]
    assert all(json.loads(stream.readline())["type"] == "hello" for stream in streams)
    with daemon.connect() as late, late.makefile("rb") as stream:
        told = json.loads(stream.readline())
        assert told["type"] == "error" and "64 clients are connected" in told["message"]
        assert stream.readline() == b""
    assert daemon.metric("milad_client_refusals_total") == refused + 1
    # All of them get the frames of now.
    assert all(json.loads(stream.readline())["type"] == "result" for stream in streams)
    for stream, peer in zip(streams, peers):
        stream.close()
        peer.close()


def test_ten_thousand_connects_in_a_row_cost_nothing_that_stays(daemon):
    counted = daemon.metric("milad_client_connections_total")
    # What is allocated once is allocated by now.
    for _ in range(200):
        daemon.connect().close()
    # Some may wait to be accepted while nobody is there: the count tells when all of them were.
    daemon.settle("milad_client_connections_total", counted + 200)
    daemon.settle("milad_clients", 0)
    before = daemon.costs()
    for number in range(10_000):
        with daemon.connect() as peer:
            if number % 3 == 1:
                peer.send(b"\0" * 100)
            elif number % 3 == 2:
                peer.send(b'{"subscribe":{"maps":"shared","image":true}}\n')
    daemon.settle("milad_client_connections_total", counted + 10_200)
    daemon.settle("milad_clients", 0)
    after = daemon.costs()
    assert after["open_fds"] == before["open_fds"]
    assert after["resident_memory_bytes"] < before["resident_memory_bytes"] + GROWTH, (before, after)


LONG = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"


@pytest.mark.parametrize("request_bytes, status", [
    (LONG, 431),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", 431),
    (b"A" * 1_000_000, 431),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 10_000, 405),
    (b"PUT /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"DELETE /metrics HTTP/1.1\r\n\r\n", 405),
    (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /..%2f..%2fetc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET //etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /stream/../metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET file:///etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\n\r\n", 403),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 403),
    (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
    (b"GET /stream HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403),
    (b"GET /stream HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", 403),
])
def test_an_http_request_that_can_not_be_is_refused_and_counted(daemon, request_bytes, status):
    refused = daemon.metric("milad_http_refusals_total")
    answer = daemon.http(request_bytes)
    # What is still on its way when the connection ends may take the answer with it; it was refused all the same.
    assert answer.startswith(b"HTTP/1.1 %d " % status) or (answer == b"" and len(request_bytes) > 8192), answer[:200]
    assert b"root:" not in answer
    assert daemon.metric("milad_http_refusals_total") == refused + 1


def test_requests_behind_the_first_are_not_read(daemon):
    answer = daemon.http(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
    assert answer.count(b"HTTP/1.1 ") == 1 and b"\r\nConnection: close\r\n" in answer


def test_slow_bytes_end_after_their_time_and_a_scraper_gets_in_meanwhile(daemon):
    """Three times as many as there is room for, each with a byte now and then: they are cut off, and counted."""
    refused = daemon.metric("milad_http_refusals_total")
    began = time.monotonic()
    slow = [socket.create_connection((daemon.host, daemon.port), timeout=60) for _ in range(48)]
    open_still, scraped = list(slow), 0
    while open_still and time.monotonic() < began + 120:
        for peer in list(open_still):
            try:
                peer.send(b"G" if scraped == 0 else b"X")
                peer.settimeout(0.01)
                peer.recv(4096)
                open_still.remove(peer)
            except TimeoutError:
                pass
            except ConnectionError:
                open_still.remove(peer)
        assert daemon.metric("milad_camera_up") == 1
        scraped += 1
    assert not open_still, f"{len(open_still)} of 48 live on"
    assert daemon.metric("milad_http_refusals_total") >= refused + 48
    for peer in slow:
        peer.close()


def test_streams_that_nobody_reads_are_few_and_end(daemon):
    request = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
    peers = []
    for _ in range(6):
        peer = socket.create_connection((daemon.host, daemon.port), timeout=60)
        peer.sendall(request)
        assert peer.recv(12) == b"HTTP/1.1 200"
        peers.append(peer)
    assert daemon.http(request, shut=False).startswith(b"HTTP/1.1 503 ")
    # None of them reads: each is let go, and metrics are served all the time.
    daemon.settle("milad_clients", 0)
    for peer in peers:
        peer.close()
