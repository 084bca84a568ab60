"""The live view in a browser: what it shows is what the daemon computed, nothing old is shown as new, strangers see nothing."""

import http.server
import re
import subprocess
import threading
import time
import urllib.request

import numpy as np
import pytest

import milad_client
from browser import CHROMIUM, Browser
from conftest import BUNDLES, ROOT, needs

STREET = ROOT / "models" / "street"
NAMES = ["image", "segmentation", "depth", "normals"]


class Daemon:
    """`milad run --view` with a socket and an address of its own."""

    def __init__(self, milad, folder, *arguments, bundle=STREET, stdin=subprocess.DEVNULL):
        self.socket = folder / "s"
        command = [milad, "run", "--bundle", bundle, "--socket", self.socket, "--metrics", "127.0.0.1:0", "--view", *arguments]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for line in self.process.stdout:
            if found := re.search(r"http://([^/]+)/metrics", line):
                self.address = found[1]
                break
        self.url = f"http://{self.address}/"

    def metric(self, name):
        with urllib.request.urlopen(self.url + "metrics", timeout=60) as answer:
            return float(re.search(rf"^{name} (\S+)$", answer.read().decode(), re.M)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    needs(CHROMIUM)
    with Browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.fixture(scope="module")
def street(milad, tmp_path_factory):
    """The default scene and the network that ships, at a rate that leaves a busy machine room."""
    with Daemon(milad, tmp_path_factory.mktemp("street"), "--source", "scene:street?seed=5&rate=6") as daemon:
        yield daemon


@pytest.fixture
def page(browser, street):
    """The page, looked at for a while, without complaints from the browser."""
    browser.requests.clear()
    browser.console.clear()
    browser.size(1280, 800)
    browser.point(0, 0)
    browser.open(street.url)
    browser.wait("document.body && document.body.dataset.frames > 3")
    yield browser
    assert browser.console == []
    browser.open("about:blank")


def pixels(browser, name):
    """What a canvas shows, [height, width, 4]."""
    told = browser.run(f"""(() => {{ const c = document.querySelector('canvas[data-map="{name}"]');
        return [c.height, c.width, [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]]; }})()""")
    height, width, values = told
    return np.array(values, np.uint8).reshape(height, width, 4)


def test_it_shows_moving_pictures_of_each_task(page):
    assert page.run("[...document.querySelectorAll('canvas[data-map]')].map(c => c.dataset.map)") == NAMES
    before = {name: pixels(page, name) for name in NAMES}
    page.wait(f"document.body.dataset.frames > {int(page.run('document.body.dataset.frames')) + 6}")
    for name in NAMES:
        after = pixels(page, name)
        assert after.shape == (128, 256, 4) and (after[..., 3] == 255).all()
        assert len(np.unique(after.reshape(-1, 4), axis=0)) > 3, f"{name} shows something"
        assert (before[name] != after).any(), f"{name} moves"
    assert page.run("getComputedStyle(document.querySelector('canvas[data-map]')).visibility") == "visible"


class Listener:
    """A client of another language beside the page: all maps of all results."""

    def __init__(self, socket):
        self.kept, self.over, self.hello = {}, threading.Event(), None
        self.thread = threading.Thread(target=self._run, args=(socket,))

    def _run(self, socket):
        with milad_client.connect(socket, maps="inline", image=True, newest=False, max_age=None) as results:
            for result in results:
                self.hello = results.hello
                self.kept[result.sequence] = {name: view.copy() for name, view in result.maps.items()}
                if self.over.is_set():
                    return

    def maps(self, sequence):
        """Those of a frame; None where this client was too slow for it."""
        deadline = time.monotonic() + 30
        while max(self.kept) < sequence:
            assert time.monotonic() < deadline, (sequence, sorted(self.kept))
            time.sleep(0.02)
        return self.kept.get(sequence)

    def __enter__(self):
        self.thread.start()
        while not self.kept:
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def test_what_it_shows_is_what_the_daemon_sends(page, street):
    """Pictures of one frame, against a client of another language."""
    with Listener(street.socket) as listener:
        maps = None
        page.run("whole = take, 0")
        while not maps:
            page.run("take = whole, 0")
            frames = int(page.run("document.body.dataset.frames"))
            page.wait(f"document.body.dataset.frames > {frames + 2}")
            # No more frames, so that what is drawn is of one.
            maps = listener.maps(page.run("take = () => 0, draw(), state.result.sequence"))
        colours = {task["name"]: task for task in listener.hello["tasks"]}
    np.testing.assert_array_equal(pixels(page, "image")[..., :3], maps["image"])
    palette = np.array([[int(c["color"][i : i + 2], 16) for i in (1, 3, 5)] for c in colours["segmentation"]["classes"]], np.uint8)
    np.testing.assert_array_equal(pixels(page, "segmentation")[..., :3], palette[maps["segmentation"]])
    right, down, forward = maps["normals"].astype(int)
    seen = (maps["normals"] != 0).any(0)
    np.testing.assert_array_equal(pixels(page, "normals")[seen][:, :3], np.stack([128 + right, 128 - down, 128 - forward], -1)[seen])
    # Nearer is warmer: red falls with distance beyond the first quarter of the scale.
    depth, shown = maps["depth"], pixels(page, "depth")[..., :3].astype(int)
    order = np.log(depth[np.isfinite(depth)])
    near, far = order < np.quantile(order, 0.2), order > np.quantile(order, 0.7)
    warmth = (shown[..., 0] - shown[..., 2])[np.isfinite(depth)]
    assert warmth[near].min() > warmth[far].max()


def test_the_hover_value_is_the_maps_value(page, street):
    seen = set()
    with Listener(street.socket) as listener:
        classes = page.run("state.hello.tasks[0].classes.map(c => c.name)")
        for number, (right, down) in enumerate([(0.1, 0.1), (0.5, 0.9), (0.9, 0.5), (0.31, 0.62), (0.999, 0.999)]):
            left, top, width, height = page.run(f"""(() => {{
                const b = document.querySelector('canvas[data-map="{NAMES[number % 4]}"]').getBoundingClientRect();
                return [b.left, b.top, b.width, b.height]; }})()""")
            page.point(left + right * width, top + down * height)
            maps = None
            while not maps:
                frames = int(page.run("document.body.dataset.frames"))
                page.wait(f"document.body.dataset.frames > {frames + 1}")
                at = page.run("(h => ({...h.dataset, text: h.textContent}))(document.getElementById('hover'))")
                maps = listener.maps(int(at["sequence"]))
            x, y = int(at["x"]), int(at["y"])
            assert abs(x - right * 256) <= 1 and abs(y - down * 128) <= 1
            assert int(at["class"]) == maps["segmentation"][y, x] and classes[int(at["class"])] in at["text"]
            metres = maps["depth"][y, x]
            assert np.float32(float(at["depth"].replace("Infinity", "inf"))) == metres
            assert (f"{metres:.2f} m" if np.isfinite(metres) else "none") in at["text"]
            assert [int(v) for v in at["normal"].split()] == maps["normals"][:, y, x].tolist()
            seen.add(int(at["class"]))
    assert len(seen) > 1
    page.point(1, 1)
    page.wait("document.getElementById('hover').dataset.sequence === undefined")


def test_it_can_be_blended_and_looked_at_one_by_one_at_any_width(page):
    for width in (320, 390, 800, 1280):
        page.size(width, 800)
        for mode, count in (("side", 4), ("blend", 1), ("single", 1)):
            page.run(f"document.querySelector('[data-mode={mode}]').click()")
            page.wait(f"document.querySelectorAll('canvas[data-map]').length === {count}")
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), (width, mode)
        for name in NAMES:
            page.run(f"(t => {{ t.value = '{name}'; t.dispatchEvent(new Event('change')); }})(document.getElementById('task'))")
            assert len(np.unique(pixels(page, name).reshape(-1, 4), axis=0)) > 3, name
    page.run("document.querySelector('[data-mode=blend]').click()")
    page.run("(t => { t.value = 'segmentation'; t.dispatchEvent(new Event('change')); take = () => 0; })(document.getElementById('task'))")
    # Half of one and half of the other.
    layers = []
    for share in (0, 100, 50):
        page.run(f"(a => {{ a.value = {share}; a.dispatchEvent(new Event('input')); }})(document.getElementById('alpha'))")
        layers.append(pixels(page, "blend:segmentation")[..., :3].astype(int))
    assert np.abs(layers[2] - (layers[0] + layers[1]) / 2).max() <= 2 and np.abs(layers[0] - layers[1]).max() > 50


def test_its_numbers_are_those_of_the_results(page):
    page.wait("/rate .*\\/s/.test(document.getElementById('rate').textContent)")
    page.wait("/keyframe \\d+/.test(document.querySelector('figcaption').textContent)")
    # Also those that are 0.
    page.wait(r"/^captured \d+ · published \d+ · driver gaps \d+/.test(document.getElementById('account').textContent)")
    # From here on it stands still.
    page.run("take = () => 0; draw(); numbers()")
    text = "id => document.querySelector(id).textContent"
    told = page.run(f"(t => ({{result: state.result, latency: t('#latency'), age: t('#age'), camera: t('figcaption')}}))({text})")
    result = told["result"]
    assert f"{result['latency_ms']['total']:.1f} ms" in told["latency"] and f"fast {result['latency_ms']['fast']:.1f}" in told["latency"]
    key = result["keyframe"]
    assert f"{key['age_ms']:.0f} ms" in told["age"]
    assert f"keyframe {key['sequence']}" in told["camera"]
    for canvas in ("plot-latency", "plot-rate", "plot-age"):
        inked = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
        assert page.run(f"({inked})(document.getElementById('{canvas}'))"), canvas


def test_it_reads_only_while_somebody_looks(page, street):
    def hide(hidden):
        page.run(f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}})")
        page.run("document.dispatchEvent(new Event('visibilitychange'))")

    assert street.metric("milad_clients") == 1
    hide("true")
    until = time.monotonic() + 60
    while street.metric("milad_clients") > 0:
        assert time.monotonic() < until, "it reads on behind the user's back"
        time.sleep(0.05)
    frames = int(page.run("document.body.dataset.frames"))
    hide("false")
    page.wait(f"document.body.dataset.frames > {frames + 2} && document.body.className === 'live'")


def test_nothing_is_fetched_from_elsewhere_and_nothing_can_be(page, street):
    assert page.requests and all(url.startswith(street.url) or url.startswith("data:") for url in page.requests), page.requests
    with Elsewhere(b"other") as other:
        image = "new Promise((yes, no) => { const i = new Image(); i.onload = yes; i.onerror = no; i.src = '%s'; })"
        for attempt in (f"fetch('{other.url}', {{mode: 'no-cors'}})", image % f"{other.url}x.png"):
            assert page.run(f"{attempt}.then(() => 'came', () => 'refused')") == "refused"
        assert other.asked == []
    # The browser says so, too: that was this test.
    assert len(page.console) >= 2
    page.console.clear()


class Elsewhere:
    """Another site on this machine, with one page."""

    def __init__(self, body):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_another_site_gets_nothing(browser, street):
    with Elsewhere(b"<!doctype html><title>evil</title>") as other:
        browser.open(other.url)
        browser.responses.clear()
        for mode in ("cors", "no-cors"):
            told = browser.run(f"fetch('{street.url}stream', {{mode: '{mode}'}}).then(r => r.text(), () => 'refused')")
            assert told in ("refused", ""), told
        seen = browser.run(f"""new Promise(done => {{
            const frame = document.createElement('iframe');
            const look = () => {{ try {{ return !!frame.contentDocument.body.textContent; }} catch {{ return false; }} }};
            frame.onload = () => done(look());
            frame.src = '{street.url}';
            document.body.append(frame);
        }})""")
        assert seen is False
        assert set(browser.responses[street.url + "stream"]) == {403}
    # A name of somebody else's that leads here: rebinding.
    browser.responses.clear()
    stranger = f"http://evil.example:{street.address.rsplit(':', 1)[1]}/"
    browser.open(stranger)
    assert browser.responses[stranger] == [403] and "not a name of this machine" in browser.run("document.body.innerText")
    assert browser.run("fetch('/stream').then(r => r.status)") == 403
    browser.open("about:blank")
    browser.console.clear()
    until = time.monotonic() + 60
    while street.metric("milad_clients") > 0:
        assert time.monotonic() < until, "a stream was left behind"
        time.sleep(0.1)


def test_those_who_have_the_token_may_look_from_elsewhere(milad, browser, tmp_path):
    (tmp_path / "milad.toml").write_text('[view]\nenabled = true\nallow_remote = true\ntoken = "correct-horse-battery"\n')
    with Daemon(milad, tmp_path, "--source", "card:", "--config", tmp_path / "milad.toml", bundle=BUNDLES / "plain") as daemon:
        browser.open(daemon.url)
        browser.wait("document.body && document.body.innerText.includes('a token is needed')")
        browser.open("about:blank")
        browser.open(daemon.url + "#token=correct-horse-battery")
        browser.wait("document.body && document.body.dataset.frames > 2")
    browser.open("about:blank")
    browser.console.clear()


class Feed:
    """A camera of the test's own: Y4M into `pipe:`, as long as it is told to."""

    def __init__(self, pipe):
        self.pipe, self.flowing, self.over = pipe, threading.Event(), threading.Event()
        self.flowing.set()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        self.pipe.write(b"YUV4MPEG2 W64 H32 F10:1 Ip C444\n")
        number = 0
        while not self.over.is_set():
            if self.flowing.wait(0.1):
                number += 1
                self.pipe.write(b"FRAME\n" + bytes([number * 9 % 200 + 20]) * (64 * 32) + bytes([128]) * (2 * 64 * 32))
                self.pipe.flush()
                time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def test_a_lost_camera_is_shown_as_lost_and_comes_back(milad, browser, tmp_path):
    ours = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with Daemon(milad, tmp_path, "--source", "pipe:", bundle=BUNDLES / "plain", stdin=ours.stdout) as daemon, Feed(ours.stdin) as feed:
        visible = "getComputedStyle(document.querySelector('canvas[data-map]')).visibility === 'visible'"
        browser.open(daemon.url)
        browser.wait("document.body && document.body.dataset.frames > 3")
        assert browser.run(visible) and browser.run("document.body.className") == "live"
        for _ in range(2):
            feed.flowing.clear()
            browser.wait("document.body.className === 'lost'")
            browser.wait("document.getElementById('lost').innerText.includes('camera lost: pipe: no complete frame within 2.0 s')")
            assert not browser.run(visible), "no picture that stands still"
            assert browser.run("document.body.className") == "lost"
            box = browser.run("(b => [b.left + 20, b.top + 20])(document.querySelector('.frame').getBoundingClientRect())")
            browser.point(*box)
            assert browser.run("document.getElementById('hover').dataset.sequence") is None, "no value of a frame that was"
            frames = int(browser.run("document.body.dataset.frames"))
            feed.flowing.set()
            browser.wait(f"document.body.dataset.frames > {frames + 2} && document.body.className === 'live'")
            assert browser.run(visible) and not browser.run("getComputedStyle(document.getElementById('lost')).display === 'block'")
    # And a daemon that went is no frozen picture either.
    browser.wait("document.body.className === 'lost'")
    assert not browser.run(visible)
    browser.open("about:blank")
    browser.console.clear()
    ours.kill()
    ours.wait()
