"""`python -m milad_recipe train …` trains networks and writes a bundle; `adopt …` takes a bundle's networks to train on from; `evaluate …` judges
one; `results …` writes RESULTS.md; `tiny …` writes the tests' bundles, or checks them."""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

from . import adopt_command, evaluate_command, train
from .config import RecipeError
from .results import command as results


def main() -> int:
    parser = argparse.ArgumentParser(prog="milad_recipe", description="Networks for milad.")
    commands = parser.add_subparsers(dest="command", required=True)
    tiny = commands.add_parser("tiny", help="write the tiny untrained bundles that the tests use")
    tiny.add_argument("--out", type=Path, required=True, help="folder of the bundles")
    tiny.add_argument("--check", action="store_true", help="write nothing; fail where a file differs from what would be written")
    others = {"train": train, "adopt": adopt_command, "evaluate": evaluate_command, "results": results}
    for other in others.values():
        other.add_command(commands)
    arguments = parser.parse_args()
    if arguments.command in others:
        try:
            need_folder(arguments.work)
            return others[arguments.command].run(arguments)
        except RecipeError as error:
            print(f"milad_recipe: {error}", file=sys.stderr)
            return 1
    return check(arguments.out) if arguments.check else write(arguments.out)


def need_folder(work: Path) -> None:
    """Refuses a --work that is no folder and cannot become one."""
    there = next(place for place in (work, *work.parents) if place.exists())
    if not there.is_dir():
        raise RecipeError(f"--work {work}: expected a folder, found that {there} is none; name another")


def write(out: Path) -> int:
    """Writes every tiny bundle into a folder of its own."""
    from . import tiny  # late: torch takes seconds, --help should not

    tiny.write_all(out)
    return 0


def check(out: Path) -> int:
    """Regenerates into a temporary folder and compares byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        expected = {path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file()}
        found = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
        wrong = [f"missing: {out / path}" for path in sorted(expected - found)]
        wrong += [f"not of the recipe: {out / path}" for path in sorted(found - expected)]
        wrong += [
            f"differs: {out / path}" for path in sorted(expected & found) if not filecmp.cmp(Path(folder) / path, out / path, shallow=False)
        ]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
