"""`adopt`: takes the networks of a finished bundle to train on from them."""

from pathlib import Path


def add_command(commands) -> None:
    """`adopt`, with its options."""
    command = commands.add_parser("adopt", help="put a bundle's networks where stages slow and fast leave theirs, to train on from them")
    command.add_argument("--config", type=Path, required=True, help="configuration of the bundle's networks, such as models/recipe/street.toml")
    command.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, such as models/street; or the ONNX file of a plain network")
    command.add_argument("--work", type=Path, required=True, help="work folder, where stage data has been")
    command.add_argument("--samples", type=int, nargs=2, default=(0, 0), metavar=("SLOW", "FAST"), help="that the networks have seen (default 0 0)")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes the configuration, as for train")


def run(arguments) -> int:
    """Runs what the command line asks for."""
    from .adopt import adopt  # late: torch takes seconds, --help should not
    from .config import load

    adopt(load(arguments.config, arguments.set), arguments.bundle, arguments.work, tuple(arguments.samples))
    return 0
