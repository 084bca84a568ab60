"""What a bundle says of itself: `bundle.toml` as docs/BUNDLE.md defines it, and its CARD.md."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

SCHEMA = 1


@dataclass(frozen=True)
class Task:
    """One prediction. `classes` (name, "#rrggbb") for segmentation, `encoding` for depth, `channels` for raw."""

    name: str
    kind: str
    width: int
    height: int
    classes: tuple[tuple[str, str], ...] = ()
    encoding: str = ""
    channels: int = 0

    def output_channels(self) -> int:
        """Channels of the network's output `task.<name>`."""
        return {"segmentation": len(self.classes), "depth": 1, "normals": 3, "raw": self.channels}[self.kind]


@dataclass(frozen=True)
class Description:
    """All of bundle.toml but the digests."""

    name: str
    trained_on: str
    frame_interval_s: float
    keyframe_interval: int
    width: int
    height: int
    tasks: tuple[Task, ...]
    intrinsics: tuple[float, float, float, float] | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resize: str = "stretch"
    card: str = field(default="", compare=False)


def write(folder: Path, description: Description, networks: dict[str, bytes]) -> None:
    """Writes a whole bundle: `networks` are the bytes of `slow` and `fast`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in networks.items():
        (folder / f"{name}.onnx").write_bytes(data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in networks.items()}
    (folder / "bundle.toml").write_text(to_toml(description, digests), encoding="utf-8")
    (folder / "CARD.md").write_text(f"# {description.name}\n\n{description.card.strip()}\n", encoding="utf-8")


def to_toml(description: Description, digests: dict[str, str]) -> str:
    """bundle.toml. `digests` are the SHA-256 digests of `slow` and `fast`, in hexadecimal."""
    d = description
    lines = [
        f"schema = {SCHEMA}",
        f"name = {_string(d.name)}",
        f"trained_on = {_string(d.trained_on)}",
        f"frame_interval_s = {d.frame_interval_s!r}",
        f"keyframe_interval = {d.keyframe_interval}",
    ]
    if d.intrinsics is not None:
        lines.append(f"intrinsics = {_floats(d.intrinsics)}")
    lines += [
        "",
        "[input]",
        f"width = {d.width}",
        f"height = {d.height}",
        f"mean = {_floats(d.mean)}",
        f"std = {_floats(d.std)}",
        f"resize = {_string(d.resize)}",
    ]
    for task in d.tasks:
        lines += ["", "[[task]]", f"name = {_string(task.name)}", f"kind = {_string(task.kind)}"]
        lines += [f"width = {task.width}", f"height = {task.height}"]
        if task.kind == "segmentation":
            lines.append("classes = [")
            lines += [f"    {{ name = {_string(name)}, color = {_string(color)} }}," for name, color in task.classes]
            lines.append("]")
        elif task.kind == "depth":
            lines.append(f"encoding = {_string(task.encoding)}")
        elif task.kind == "raw":
            lines.append(f"channels = {task.channels}")
    for name in ("slow", "fast"):
        lines += ["", f"[files.{name}]", f'sha256 = "{digests[name]}"']
    return "\n".join(lines) + "\n"


def _string(text: str) -> str:
    if any(c in text for c in '"\\\n') or not text.isprintable():
        raise ValueError(f"a plain text on one line is expected, without quotes and backslashes: {text!r}")
    return f'"{text}"'


def _floats(values) -> str:
    return "[" + ", ".join(repr(float(v)) for v in values) + "]"
