"""The stages of a training run, in their order, and what each is called on the command line."""

import importlib
from pathlib import Path

from . import config as configuration
from .config import RecipeError

STAGES = ("data", "slow", "quantise-slow", "fast", "quantise-fast", "export", "evaluate")


def add_command(commands) -> None:
    """`train`, with its options."""
    command = commands.add_parser("train", help="train networks and write a bundle, stage by stage; each goes on where it was interrupted")
    command.add_argument("--config", type=Path, required=True, help="configuration file, such as models/recipe/street.toml")
    command.add_argument("--work", type=Path, required=True, help="folder of clips, checkpoints, logs and results")
    command.add_argument("--stage", choices=(*STAGES, "all"), default="all", help="one stage, or all (the default)")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes the configuration, such as slow.training.samples=1000")


def run(arguments) -> int:
    """Runs what the command line asks for. Errors that a user can put right are `RecipeError`s."""
    config = configuration.load(arguments.config, arguments.set)
    stages = STAGES if arguments.stage == "all" else (arguments.stage,)
    for stage in stages:
        name = f"stage_{stage.replace('-', '_')}"
        try:
            module = importlib.import_module(f".{name}", __package__)
        except ModuleNotFoundError as error:
            if error.name != f"{__package__}.{name}":
                raise
            raise RecipeError(f"stage {stage}: expected a module {name}, found none; this recipe does not have the stage yet") from None
        module.run(config, arguments.work)
    return 0
