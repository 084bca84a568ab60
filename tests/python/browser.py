"""A headless Chromium, driven through the DevTools protocol over two pipes: no network port, no package."""

import base64
import fcntl
import json
import os
import select
import signal
import subprocess
import time

CHROMIUM = "chromium"
# No GPU, no background traffic of its own, and a profile that goes with the test.
FLAGS = [
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-dev-shm-usage", "--disable-features=Translate,OptimizationHints,MediaRouter", "--hide-scrollbars", "--mute-audio",
    # A stranger's name that leads to this machine, as an attacker's name server would answer.
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
]


class Failed(Exception):
    """The browser refused, or did not answer."""


class Browser:
    """One browser with one page. Keeps every request, the status of every response, and every complaint."""

    def __init__(self, profile, patience=120):
        self.patience, self.number, self.buffer = patience, 0, b""
        self.requests, self.responses, self.console, self.session = [], {}, [], None
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        # It reads descriptor 3 and writes descriptor 4.
        (theirs_in, self.out), (self.input, theirs_out) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
        self.log = open(f"{profile}.log", "wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, pass_fds=(3, 4), start_new_session=True,
            preexec_fn=lambda: (os.dup2(high[0], 3), os.dup2(high[1], 4)),
        )
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # All of it, whatever processes it has become.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for fd in (self.out, self.input):
            os.close(fd)
        self.log.close()

    def call(self, method, **params):
        """A command's result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data) :]
        deadline = time.monotonic() + self.patience
        while True:
            answer = self._message(deadline)
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']}")
                return answer["result"]

    def _message(self, deadline):
        while b"\0" not in self.buffer:
            if not select.select([self.input], [], [], max(0, deadline - time.monotonic()))[0]:
                raise Failed("the browser does not answer")
            more = os.read(self.input, 1 << 20)
            if not more:
                raise Failed("the browser ended")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Network.responseReceived":
            self.responses.setdefault(params["response"]["url"], []).append(params["response"]["status"])
        elif method == "Runtime.exceptionThrown":
            self.console.append(params["exceptionDetails"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.console.append(params["entry"])
        return message

    def open(self, url):
        """Goes to a page, and waits for its text."""
        result = self.call("Page.navigate", url=url)
        if "errorText" in result:
            raise Failed(f"{url}: {result['errorText']}")
        self.wait("document.body && document.readyState !== 'loading'")

    def size(self, width, height, scale=1, mobile=False):
        """What the page takes for the window's size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def run(self, expression):
        """An expression's value, a promise's too."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, seconds=90):
        """Waits until an expression is true, and gives its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(expression)):
            if time.monotonic() > deadline:
                raise Failed(f"never: {expression}\n{self.run('document.body.innerText')}\n{self.console}")
            time.sleep(0.1)
        return value

    def point(self, x, y, kind="mouseMoved"):
        """Moves the pointer there, in the page's pixels."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y)

    def screenshot(self, whole=False):
        """The page as PNG."""
        more = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            more = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **more)["data"])
