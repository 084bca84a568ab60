"""`results`: measures what is missing, then writes RESULTS.md, its plots and strips. Interrupted, it goes on where it was."""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from .. import scenes
from ..config import RecipeError
from ..progress import Bar
from . import card, document, plan as plans, rows
from .plan import Plan


def add_command(commands) -> None:
    """`results`, with its options."""
    command = commands.add_parser("results", help="measure the shipped networks and what they are compared with, and write RESULTS.md")
    command.add_argument("--plan", type=Path, required=True, help="what to measure, such as models/recipe/results.toml")
    command.add_argument("--work", type=Path, required=True, help="folder of baselines, rendered clips and measured rows")
    command.add_argument("--out", type=Path, required=True, help="folder of RESULTS.md and results/*.png, such as models")
    command.add_argument("--jobs", type=int, default=1, help="rows at the same time (default 1)")
    command.add_argument("--world", action="append", default=[], help="this world of the plan alone: what RESULTS.md says of the others stays (may be given again)")
    command.add_argument("--only-write", action="store_true", help="measure nothing, write what is there")
    command.add_argument("--cards", action="store_true", help="also put the figures into the CARD.md of each shipped bundle")
    command.add_argument("--no-pictures", action="store_true", help="leave plots and strips as they are")


def run(arguments) -> int:
    """Runs what the command line asks for."""
    plan = plans.load(arguments.plan, arguments.work)
    if unknown := set(arguments.world) - {world.name for world in plan.worlds}:
        raise RecipeError(f"--world: expected worlds of {arguments.plan}, found {', '.join(sorted(unknown))}; name some of {', '.join(world.name for world in plan.worlds)}")
    if arguments.world:
        plan = replace(plan, worlds=tuple(world for world in plan.worlds if world.name in arguments.world))
    need(plan, arguments.cards)
    if not arguments.only_write:
        measure(plan, arguments.work, arguments.jobs)
    if not arguments.no_pictures:
        pictures(plan, arguments.work, arguments.out)
    write(plan, arguments.work, arguments.out, keep=bool(arguments.world))
    if arguments.cards:
        for world in plan.worlds:
            card.write(plan, world, lambda row: rows.kept(plan, row, arguments.work) if rows.there(row) else None)
    return 0


def need(plan: Plan, cards: bool) -> None:
    """Refuses what must be there before anything is measured or written: the shipped bundles, and their cards where they are to be changed."""
    from ..sequence import described  # late: onnxruntime takes its time

    for world in plan.worlds:
        for name in ("bundle.toml", "slow.onnx", "fast.onnx", *(["CARD.md"] if cards else [])):
            if not (world.bundle / name).is_file():
                raise RecipeError(
                    f"{world.bundle}: expected the bundle that {world.name} ships, found no {name}; call this where the plan's paths begin, or export it there"
                )
        taken = described(world.bundle / "bundle.toml")["input"]
        size = (taken["height"], taken["width"])
        if size != scenes.SIZE:
            raise RecipeError(f"{world.bundle}: expected networks that take {scenes.SIZE[1]}×{scenes.SIZE[0]} pixels, found {size[1]}×{size[0]}; judge others by `evaluate`")


def measure(plan: Plan, work: Path, jobs: int) -> None:
    """Every row whose bundle is there and that is not measured yet."""
    wanted = [row for row in plans.all_rows(plan) if rows.there(row)]
    for world in sorted({row.world for row in wanted}):
        scenes.folder(world, plan.seeds, plan.frames, work, jobs)
    missing = [row for row in wanted if rows.kept(plan, row, work) is None]
    bar, done = Bar("results"), len(wanted) - len(missing)
    bar.show(done / max(len(wanted), 1), f"{done} of {len(wanted)} rows", last=not missing)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(max(jobs, 1)) as pool:
        running = {pool.submit(rows.measure, plan, row, work): row for row in missing}
        try:
            for future in as_completed(running):
                future.result()
                done += 1
                row = running[future]
                bar.show(done / len(wanted), f"{done} of {len(wanted)} rows: {row.world} {row.key}", last=done == len(wanted))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def pictures(plan: Plan, work: Path, out: Path) -> None:
    """Plots of what was measured, and a strip of each world's first clip."""
    from . import strips

    try:
        from . import plots
        import matplotlib  # noqa: F401  (drawn with it)
    except ImportError as error:
        raise RecipeError("expected matplotlib for the plots, found none; pip install milad-recipe[plots], or say --no-pictures") from error
    folder = out / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for world in plan.worlds:
        plots.draw(plan, world, lambda row: rows.kept(plan, row, work), folder)
        first = scenes.rendered(world.name, plan.seeds, plan.frames, work)[0]
        strips.strip(world.bundle, first, folder / f"{world.name}-strip.png")


def write(plan: Plan, work: Path, out: Path, keep: bool = False) -> None:
    """RESULTS.md, whole or not at all; `keep`: with what it says already of worlds that the plan lacks."""
    measured = {(row.world, row.key): rows.kept(plan, row, work) if rows.there(row) else None for row in plans.all_rows(plan)}

    def drawn(name: str) -> str | None:
        return f"results/{name}.png" if (out / "results" / f"{name}.png").is_file() else None

    text = document.text(plan, lambda row: measured.get((row.world, row.key)), lambda row: rows.states(row, work), drawn)
    out.mkdir(parents=True, exist_ok=True)
    if keep and (out / "RESULTS.md").is_file():
        text = document.in_place((out / "RESULTS.md").read_text(encoding="utf-8"), text)
    unfinished = out / "RESULTS.md.unfinished"
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, out / "RESULTS.md")
