"""Stage evaluate: the exported bundles on tuning clips, int8 and float, as they are meant to be run. Reports use other seeds and more of them."""

import json
from pathlib import Path

from . import checkpoint, stage_data
from .config import Config, RecipeError
from .datasets.packed import PackedClip
from .evaluate import evaluate
from .progress import Bar
from .stage_export import KINDS


def run(config: Config, work: Path) -> None:
    """Writes evaluation.json: by bundle, then by way of running it."""
    ways = [{"mode": "slow"}, {"mode": "fast"}]
    ways += [{"mode": mode, "interval": n, "latency": latency} for n, latency in ((5, 2), (10, 4)) for mode in ("mila", "copy")]
    seeds = (config.data.tune[0], min(config.data.tune[0] + config.evaluate_clips, config.data.tune[1]))
    clips = {"world": config.world, "seeds": list(seeds), "frames": config.data.frames}
    if config.data.tune_from:
        clips = {"clips": [PackedClip(clip.folder) for clip in stage_data.opened(config, work, seeds).values()]}
    longest = max(map(len, clips["clips"])) if "clips" in clips else config.data.frames
    ways = [way for way in ways if way.get("latency", 0) < longest]  # nothing of the others would be judged
    bar, found = Bar("evaluate"), {}
    for number, folder in enumerate(KINDS):
        if not (work / folder).is_dir():
            raise RecipeError(f"{work / folder}: expected the exported bundle, found none; run --stage export first")
        for step, way in enumerate(ways):
            asked = way | clips
            name = " ".join(str(value) for value in way.values())
            found.setdefault(folder, {})[name] = evaluate(work / folder, asked, work)
            bar.show((number * len(ways) + step + 1) / (len(KINDS) * len(ways)), f"{folder} {name}")
    checkpoint.write(work / "evaluation.json", lambda partial: partial.write_text(json.dumps(found, indent=1) + "\n"))
    bar.show(1.0, f"{work / 'evaluation.json'}", last=True)
