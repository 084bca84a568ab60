"""How far a stage is: a bar on the terminal (a line now and then elsewhere), a log of JSON lines, and a picture of the curves."""

import json
import sys
import time
from pathlib import Path


class Bar:
    """One line that is drawn over, or, where standard error is no terminal, a line every half minute."""

    def __init__(self, title: str):
        self.title, self.terminal = title, sys.stderr.isatty()
        self.shown, self.started = 0.0, time.monotonic()

    def show(self, share: float, text: str = "", last: bool = False) -> None:
        """`share` of the work is done."""
        now = time.monotonic()
        if now - self.shown < (0.2 if self.terminal else 30) and not last:
            return
        self.shown = now
        filled = round(24 * min(share, 1.0))
        line = f"{self.title} [{'#' * filled}{'.' * (24 - filled)}] {100 * share:5.1f} % {text}"
        end = "\n" if last or not self.terminal else ""
        print(("\r\x1b[2K" if self.terminal else "") + line, end=end, file=sys.stderr, flush=True)


class Log:
    """Appends objects, one a line."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, **entry) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self) -> list[dict]:
        """What has been written; a torn last line is passed over."""
        entries = []
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []:
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries


def curves(log: Log, path: Path) -> None:
    """A PNG with a panel for each logged quantity, against samples seen. Losses are smoothed."""
    from PIL import Image, ImageDraw

    from .checkpoint import write

    series: dict[str, list[tuple[float, float]]] = {}
    for entry in log.entries():
        for kind in ("losses", "validation"):
            for name, value in entry.get(kind, {}).items():
                if isinstance(value, (int, float)):
                    series.setdefault(f"{kind}: {name}", []).append((entry["samples"], float(value)))
    if not series:
        return
    columns, width, height, margin = 3, 360, 200, 28
    rows = -(-len(series) // columns)
    image = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(image)
    for number, (name, points) in enumerate(sorted(series.items())):
        left, top = number % columns * width + margin, number // columns * height + margin
        right, bottom = left + width - 2 * margin, top + height - 2 * margin
        if name.startswith("losses"):
            points = _smooth(points)
        xs, ys = zip(*points)
        low, high, end = min(ys), max(ys), max(xs) or 1
        span = (high - low) or 1.0
        draw.rectangle((left, top, right, bottom), outline="#bbbbbb")
        draw.text((left, top - 14), f"{name}: {ys[-1]:.4g}  ({low:.4g} to {high:.4g}, {end:.0f} samples)", fill="black")
        line = [(left + (right - left) * x / end, bottom - (bottom - top) * (y - low) / span) for x, y in points]
        if len(line) > 1:
            draw.line(line, fill="#1f5fa8", width=2)
    write(path, lambda partial: image.save(partial, "PNG"))


def _smooth(points):
    smoothed, mean = [], points[0][1]
    for x, y in points:
        mean += 0.1 * (y - mean)
        smoothed.append((x, mean))
    return smoothed
