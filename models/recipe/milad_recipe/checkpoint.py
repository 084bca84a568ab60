"""What a stage leaves behind: written whole or not at all, read as numbers only, and refused where it belongs to another configuration."""

import hashlib
import json
import os
from pathlib import Path

import torch

from .config import RecipeError


def save(path: Path, digest: str, state: dict) -> None:
    """`state` holds tensors, numbers, texts, and lists and dicts of them."""
    write(path, lambda partial: torch.save({"digest": digest, **state}, partial))


def load(path: Path, digest: str, what: str) -> dict | None:
    """The state saved in `path`, or None where there is no such file. `what` names the stage to run again."""
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["digest"]
    except Exception as error:  # torch raises whatever the file's bytes lead it to
        raise RecipeError(f"{path}: expected a checkpoint of stage {what}, found a file that cannot be read ({type(error).__name__}); remove it and run --stage {what}") from None
    if found != digest:
        raise RecipeError(
            f"{path}: expected a checkpoint of this configuration ({digest}), found one of another ({found}); "
            f"put the configuration back, choose another --work, or remove the file and run --stage {what} again"
        )
    return state


def start(path: Path) -> dict:
    """A checkpoint of whatever configuration, to take weights from."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {"average": dict(state["average"]), "samples": int(state["samples"])}
    except FileNotFoundError:
        raise RecipeError(f"{path}: expected a checkpoint to start from, found no file; give the path of a stage's checkpoint.pt, or leave training.start empty") from None
    except Exception as error:  # torch raises whatever the file's bytes lead it to
        raise RecipeError(f"{path}: expected a checkpoint to start from, found something else ({type(error).__name__}: {error}); give the path of a stage's checkpoint.pt") from None


def fingerprint(state: dict) -> str:
    """Of the averaged weights that a stage left: files made of them say so (`sign`), and so does a network that learned from them."""
    whole = hashlib.sha256()
    for name, value in sorted(state["average"].items()):
        whole.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]


def sign(folder: Path, **made_of: str) -> None:
    """Says of which weights the files in `folder` were made: fingerprints by stage."""
    write(folder / "weights.json", lambda partial: partial.write_text(json.dumps(made_of) + "\n"))


def signed(folder: Path, stage: str, **made_of: str) -> None:
    """Refuses files that were made of other weights; `stage` makes them anew."""
    path = folder / "weights.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != made_of:
        other = "none that says of what" if found is None else "some made of other weights"
        raise RecipeError(f"{folder}: expected files made of the weights that the trainings left, found {other}; run --stage {stage} again")


def need(path: Path, digest: str, what: str) -> dict:
    """As `load`, but the file must be there."""
    state = load(path, digest, what)
    if state is None:
        raise RecipeError(f"{path}: expected what stage {what} leaves, found no such file; run --stage {what} first")
    return state


def write(path: Path, writer) -> None:
    """Calls `writer` with a temporary name in the same folder, then renames: a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        writer(partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
