"""`milad eval --json` as a judge: what is shipped is judged by the program that runs it. Its report, brought to `evaluate`'s table.

Shares become percent, lists become tables by name; nothing is computed here.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .. import scenes
from ..config import RecipeError

_FIGURES = {
    "segmentation": {"miou": ("miou", 100.0)},
    "depth": {"abs_rel": ("abs_rel", 1.0), "rmse": ("rmse_m", 1.0), "delta": ("within_1_25", 100.0)},
    "normals": {
        "mean": ("mean_deg", 1.0),
        "median": ("median_deg", 1.0),
        "within_11.25": ("within_11_25_deg", 100.0),
        "within_22.5": ("within_22_5_deg", 100.0),
        "within_30": ("within_30_deg", 100.0),
    },
}
"""Of each kind, our name of a figure → theirs, and what it is multiplied by."""


def evaluate(bundle: Path, config: Mapping, work: Path) -> dict:
    """As `evaluate.evaluate`, for scenes: `world`, `seeds`, `frames`, `mode`, `interval`, `latency`."""
    clips = scenes.folder(config["world"], config["seeds"], config["frames"], work)
    command = [scenes.program(), "eval", "--bundle", _as_path(bundle), "--clips", str(clips), "--mode", config["mode"], "--json"]
    command += ["--interval", str(config["interval"]), "--latency", str(config["latency"]), "--jobs", str(config.get("jobs", 1))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RecipeError(f"{' '.join(command)}: expected a report, found status {done.returncode}: {done.stderr.strip()[-500:]}; run it by hand to see why")
    return converted(json.loads(done.stdout))


def _as_path(bundle: Path) -> str:
    """A bare name would be looked for among the installed bundles."""
    return str(bundle.resolve())


def converted(report: Mapping) -> dict:
    """`milad eval --json` as `evaluate.evaluate` would tell it."""
    cost = report["cost"]
    return {
        "bundle": report["bundle"],
        "mode": report["mode"],
        "interval": report["interval"],
        "latency": report["latency"],
        "depth_cap": report["depth_cap_m"],
        "tasks": _tasks(report["all"]),
        "other_frames": _tasks(report["non_key"]),
        "streaming": _tasks(report["streaming"]),
        "ages": {str(entry["age"]): _tasks(entry) for entry in report["by_age"]},
        "consistency": next((100.0 * entry["miou"] for entry in report["consistency"] if entry["miou"] is not None), None),
        "classes": {
            task["name"]: {entry["name"]: _times(entry["iou"], 100.0) for entry in task["classes"]}
            for task in report["all"]["tasks"]
            if task["kind"] == "segmentation"
        },
        "clips": report["clips"],
        "frames": report["scored_frames"],
        "macs": {"slow": cost["slow_macs"], "fast": cost["fast_macs"], "mean": cost["macs_per_frame"]},
    }


def _tasks(quality: Mapping) -> dict:
    return {
        task["name"]: {ours: _times(task[theirs], factor) for ours, (theirs, factor) in _FIGURES[task["kind"]].items()}
        for task in quality["tasks"]
        if task["kind"] in _FIGURES
    }


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value
