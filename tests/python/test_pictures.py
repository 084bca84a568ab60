"""The README's pictures: made by the program itself, by `pytest tests/python/test_pictures.py --pictures`, and small."""

import io
import re

import pytest
from PIL import Image

from conftest import ROOT
from test_view import Daemon, Elsewhere, browser  # noqa: F401 (a fixture)
from test_watch_screen import Terminal

# A picture, at most.
BYTES = 300_000
DOCS = ROOT / "docs" / "pictures"
PICTURES = {"view.png": (1280, 800), "view-phone.png": (390, 844), "watch.png": None}


def keep(name, png):
    """Writes a picture, with 256 colours where it would be too large."""
    DOCS.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(png)) as picture:
        picture = picture.convert("RGB")
        picture.save(DOCS / name, optimize=True)
        if (DOCS / name).stat().st_size > BYTES:
            picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(DOCS / name, optimize=True)


def html_of(text):
    """A terminal's text as a page."""
    out = []
    for sequence, words in re.findall(r"\x1b\[([0-9;?]*[A-Za-z])|([^\x1b]+)", text.replace("\r", "")):
        if words:
            out.append(words.replace("&", "&amp;").replace("<", "&lt;"))
        elif sequence == "0m":
            out.append("</i>")
        elif sequence.endswith("m"):
            n = sequence[:-1].split(";")
            if len(n) == 10:
                over, under = (f"rgb({','.join(part)})" for part in (n[2:5], n[7:10]))
                # The upper half of a block, without gaps between rows.
                style = f"color:transparent;background:linear-gradient({over} 50%,{under} 50%)"
            else:
                style = {"2": "color:#949da5", "1;31": "color:#ff7b72"}.get(sequence[:-1]) or f"color:rgb({','.join(n[2:5])})"
            out.append(f"</i><i style='{style}'>")
    style = "body { margin: 0; background: #101316; color: #e8eaec } pre { font: 13px/16px DejaVu Sans Mono, monospace; padding: 12px; margin: 0; display: inline-block }"
    style += " i { font-style: normal; display: inline-block; height: 16px; vertical-align: top }"
    return f"<!doctype html><meta charset=utf-8><style>{style}</style><pre>{''.join(out)}</pre>"


def test_pictures_for_the_readme(request, milad, browser, tmp_path):
    if not request.config.getoption("--pictures"):
        pytest.skip("made once, with --pictures")
    with Daemon(milad, tmp_path, "--source", "scene:street?seed=5&rate=10") as street:
        for name, size in PICTURES.items():
            if size:
                browser.size(*size, mobile=size[0] < 700)
                browser.open("about:blank")
                browser.open(street.url)
                browser.wait("document.body && document.body.dataset.frames > 150", 300)
                box = "document.querySelector('canvas[data-map]').getBoundingClientRect()"
                browser.point(*browser.run(f"(b => [b.left + .37 * b.width, b.top + .62 * b.height])({box})"))
                browser.wait("document.getElementById('hover').dataset.sequence")
                keep(name, browser.screenshot(whole=size[0] > 700))
        with Terminal(milad, street.socket, 34, 118, COLORTERM="truecolor") as terminal:
            # With a whole line of latencies.
            text = terminal.screen(lambda text: "▀" in text and "driver gaps" in text and re.search("[▁▂▃▄▅▆▇█]{40}", text))
    browser.size(1100, 700)
    with Elsewhere(html_of(text).encode()) as site:
        browser.open(site.url)
        shape = "(b => [Math.ceil(b.width), Math.ceil(b.height)])(document.querySelector('pre').getBoundingClientRect())"
        browser.size(*browser.run(shape))
        keep("watch.png", browser.screenshot())
    browser.open("about:blank")


def test_the_readme_shows_pictures_that_are_there_and_small():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in PICTURES:
        assert f"docs/pictures/{name}" in text and (DOCS / name).stat().st_size <= BYTES, name
