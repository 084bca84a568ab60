"""`evaluate`: a bundle's quality on scenes or on labelled clips, by onnxruntime, as JSON: the cross-check of `milad eval`."""

import json
import re
from pathlib import Path


def add_command(commands) -> None:
    """`evaluate`, with its options."""
    command = commands.add_parser("evaluate", help="judge a bundle by onnxruntime, on rendered scenes or on a data set; prints JSON")
    command.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    command.add_argument("--mode", choices=("mila", "slow", "fast", "copy"), default="mila", help="how the networks answer (default mila)")
    command.add_argument("--interval", type=int, help="frames from keyframe to keyframe (default: the bundle's)")
    command.add_argument("--latency", type=int, default=0, help="frames until a keyframe comes into force (default 0)")
    command.add_argument("--clips", help="a data set: packed:PATH, folder:PATH, cityscapes:PATH:SPLIT, nyuv2:PATH")
    command.add_argument("--world", help="or scenes of this world")
    command.add_argument("--seeds", help="of these seeds, A..B")
    command.add_argument("--frames", type=int, default=50, help="and so many frames each (default 50)")
    command.add_argument("--work", type=Path, default=Path("."), help="folder that keeps rendered scenes (default: here)")


def run(arguments) -> int:
    """Runs what the command line asks for."""
    from .config import RecipeError
    from .evaluate import evaluate  # late: onnxruntime takes a moment, --help should not

    config = {"mode": arguments.mode, "interval": arguments.interval, "latency": arguments.latency}
    if arguments.clips:
        config["clips"] = arguments.clips
    else:
        if not arguments.world or arguments.seeds is None:
            raise RecipeError("expected --clips, or --world with --seeds A..B, found neither; name for example --world street --seeds 2000000..2000010")
        seeds = re.fullmatch(r"([0-9]{1,18})\.\.([0-9]{1,18})", arguments.seeds)
        if not seeds:
            raise RecipeError(f"--seeds: expected A..B, two whole numbers, found {arguments.seeds!r}; name for example --seeds 2000000..2000010")
        config |= {"world": arguments.world, "seeds": tuple(map(int, seeds.groups())), "frames": arguments.frames}
    print(json.dumps(evaluate(arguments.bundle, config, arguments.work), indent=1))
    return 0
