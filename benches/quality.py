#!/usr/bin/env python3
"""Whether a shipped bundle, run in integers by `milad eval`, is as good as models/RESULTS.md says.

    benches/quality.py [--milad target/release/milad] [--name street] [--modes mila,slow] [--clips 24] [--jobs 2]

Reads seeds, frames and the tables of each interval from RESULTS.md, renders the same clips and judges the same frames. Of all clips, each mIoU must be
within 0.1 of the table's, whose figures are rounded to 0.1; with fewer clips (`--clips`) figures are printed and nothing is judged. Ends with status 1 where one is further away,
or where the table lacks one that was asked for.
Takes minutes: 1200 frames are rendered for each mode and interval.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = {"slow": "slow network on every frame", "mila": "**MILA as shipped**", "fast": "fast network alone", "copy": "copy the keyframe's result"}
# Figures in the table have one digit behind the point.
CLOSE, ROUNDED = 0.1, 0.05


def tables(text, name):
    """(interval, latency) → mode → mIoU in %."""
    section = re.split(r"^## ", text, flags=re.M)
    section = next((part for part in section if part.startswith(f"{name}\n")), None)
    if section is None:
        raise SystemExit(f"models/RESULTS.md has no section `{name}`")
    found = {}
    for part in re.split(r"^### ", section, flags=re.M)[1:]:
        title = re.match(r"Interval (\d+), latency (\d+)\n", part)
        if title is None:
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]
        first = next(i for i, row in enumerate(rows) if row[1].startswith("mIoU"))
        figures = {}
        for mode, words in ROWS.items():
            row = next((row for row in rows[first:] if row[0] == words), None)
            if row is not None:
                figures[mode] = float(row[1])
        found[tuple(map(int, title.groups()))] = figures
    return found


def miou(args, mode, interval, latency, seeds, frames):
    command = [args.milad, "eval", "--bundle", ROOT / "models" / args.name, "--world", args.name, "--mode", mode, "--json"]
    command += ["--seeds", f"{seeds[0]}..{seeds[1]}", "--frames", frames, "--interval", interval, "--latency", latency, "--jobs", args.jobs]
    report = json.loads(subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE).stdout)
    return next(100 * task["miou"] for task in report["all"]["tasks"] if task["kind"] == "segmentation")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milad", type=Path, default=os.environ.get("MILAD_BIN", ROOT / "target/release/milad"))
    parser.add_argument("--name", default="street")
    parser.add_argument("--modes", default="mila,slow")
    parser.add_argument("--intervals", default="5,10")
    parser.add_argument("--clips", type=int, help="fewer than in RESULTS.md")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    text = (ROOT / "models/RESULTS.md").read_text(encoding="utf-8")
    clips, frames, first = map(int, re.search(r"(\d+) clips of (\d+) frames, seeds (\d+)", text).groups())
    count = min(args.clips or clips, clips)
    wanted, failed = tables(text, args.name), False
    lacking = set(args.intervals.split(",")) - {str(interval) for interval, _ in wanted}
    if lacking:
        raise SystemExit(f"models/RESULTS.md has no table of {args.name} for the intervals {', '.join(sorted(lacking))}")
    for (interval, latency), figures in wanted.items():
        if str(interval) not in args.intervals.split(","):
            continue
        for mode in args.modes.split(","):
            if mode not in figures:
                raise SystemExit(f"models/RESULTS.md, {args.name}, interval {interval}: no row of {mode}")
            found = miou(args, mode, interval, latency, [first, first + count], frames)
            away = abs(found - figures[mode])
            failed |= count == clips and away > CLOSE + ROUNDED
            print(f"interval {interval}, latency {latency}, {mode}: {found:.2f} on {count} clips, RESULTS.md says {figures[mode]:.1f} of {clips}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
