"""LMGT's reward shifts with judges of known quality, side by side: `make bench-lmgt`.

`--list` names parts and arms. No language model is asked: judges are rules and tables written by
hand, with and without noise, so that what a shift does can be told from how good a model is. Each
result is kept on disk, so an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmgt_cells
from lmgt_speed import speed_table

import llm_wrappers
from llm_wrappers.scores import bootstrap_interval, format_table, interquartile_mean

INTERRUPTED = 130
SPEED = "speed"


@dataclass(frozen=True)
class Cell:
    """One training: a part, a budget, an arm and a seed."""

    part: str
    steps: int
    arm: str
    seed: int

    def asked(self) -> Any:
        """Return what makes a result on disk the one that is wanted."""
        options = lmgt_cells.parts()[self.part].arms[self.arm]
        wanted = {"version": llm_wrappers.__version__, "options": options, **vars(self)}
        return json.loads(json.dumps(wanted))

    def path(self, out: Path) -> Path:
        """Return where its result is kept."""
        name = self.arm.replace(":", "_").replace(" ", "_")
        return out / f"{self.part}-{self.steps}" / f"{name}-{self.seed}.json"

    def found(self, out: Path) -> dict[str, Any] | None:
        """Return the result that is on disk, None if there is none that fits."""
        path = self.path(out)
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return record["result"] if record.get("asked") == self.asked() else None

    def measure(self, out: Path) -> None:
        """Train, and leave the result on disk."""
        result = lmgt_cells.run(self.part, self.arm, steps=self.steps, seed=self.seed)
        path = self.path(out)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"asked": self.asked(), "result": result}))
        temporary.replace(path)


def cells_of(options: argparse.Namespace, part: str) -> list[Cell]:
    """Return the trainings of one part, seed by seed."""
    described = lmgt_cells.parts()[part]
    arms = [arm for arm in options.arms or described.arms if arm in described.arms]
    seeds = options.seeds if options.seeds is not None else range(described.seeds)
    budgets = options.steps or described.steps
    return [Cell(part, steps, arm, seed) for steps in budgets for seed in seeds for arm in arms]


def measure_missing(cells: Sequence[Cell], out: Path) -> None:
    missing = [cell for cell in cells if cell.found(out) is None]
    if len(missing) < len(cells):
        say(f"{len(cells) - len(missing)} of {len(cells)} results are there")
    started = time.perf_counter()
    for done, cell in enumerate(missing, start=1):
        cell.measure(out)
        left = (time.perf_counter() - started) / done * (len(missing) - done)
        what = f"{cell.part} {cell.steps:,}, {cell.arm}, seed {cell.seed}"
        say(f"[{done}/{len(missing)}] {what}: done; about {left / 60:.0f} minutes left")


def tables_of(cells: Sequence[Cell], out: Path) -> list[str]:
    """Return one table for each part and budget, and write it beside its results."""
    tables = []
    for part, steps in dict.fromkeys((cell.part, cell.steps) for cell in cells):
        mine = [cell for cell in cells if (cell.part, cell.steps) == (part, steps)]
        results = {cell: cell.found(out) for cell in mine}
        done = {cell: result for cell, result in results.items() if result is not None}
        if not done:
            continue
        rows = [_row(arm, part, done) for arm in dict.fromkeys(cell.arm for cell in done)]
        table = f"{_title(part, steps, mine, len(done))}\n\n{format_table(rows)}"
        (out / f"{part}-{steps}.md").write_text(table + "\n", encoding="utf-8")
        tables.append(table)
    return tables


def _title(part: str, steps: int, cells: Sequence[Cell], done: int) -> str:
    described = lmgt_cells.parts()[part]
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(cell.seed for cell in cells))
    title = (
        f"{described.title}, {steps:,} {described.unit}, seeds {seeds}: {described.measure}; "
        "interquartile mean over seeds (95 % bootstrap interval)"
    )
    return title if done == len(cells) else f"{title}\n{len(cells) - done} results are missing"


def _row(arm: str, part: str, done: dict[Cell, dict[str, Any]]) -> dict[str, Any]:
    results = [result for cell, result in done.items() if cell.arm == arm]
    values = [float(result["value"]) for result in results]
    # A mean reward of a hand has its digits behind the point.
    form = ".3f" if part == "blackjack" else ",.1f"
    agreements = [r["agreement"] for r in results if r["agreement"] is not None]
    row: dict[str, Any] = {"judge": arm, "seeds": len(values), "value": _written(values, form)}
    if part == "watch":
        row["solved"] = f"{sum(r['solved'] for r in results)}/{len(results)}"
        row["right at the end"] = f"{statistics.mean(r['right'] for r in results):.0%}"
    row["agrees with the oracle"] = f"{statistics.mean(agreements):.0%}" if agreements else None
    return row


def _written(values: Sequence[float], form: str) -> str:
    low, high = bootstrap_interval(values)
    middle = f"{interquartile_mean(values):{form}}"
    return middle if len(values) < 2 else f"{middle} ({low:{form}} to {high:{form}})"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def list_parts() -> int:
    for name, part in lmgt_cells.parts().items():
        print(f"{name}: {part.title}; arms: {', '.join(part.arms)}")
    print(f"{SPEED}: steps per second with and without a judge")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*lmgt_cells.parts(), SPEED]
    arms = dict.fromkeys(arm for part in lmgt_cells.parts().values() for arm in part.arms)
    parser.add_argument("--list", action="store_true", help="list the parts and their arms")
    parser.add_argument("--parts", nargs="+", default=names, choices=names, metavar="PART")
    parser.add_argument("--arms", nargs="+", choices=list(arms), help="default: all", metavar="ARM")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--steps", nargs="+", type=int, help="budgets; default: each part's own")
    parser.add_argument("--out", type=Path, default=Path("runs/lmgt"))
    options = parser.parse_args(arguments)
    if options.steps and min(options.steps) < 1:
        parser.error(f"--steps must be at least 1, got {min(options.steps)}")
    if options.seeds and min(options.seeds) < 0:
        parser.error(f"--seeds must be at least 0, got {min(options.seeds)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.list:
        return list_parts()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cells = [cell for p in options.parts if p != SPEED for cell in cells_of(options, p)]
    status = 0
    try:
        measure_missing(cells, options.out)
        if SPEED in options.parts:
            print(f"{speed_table(options.steps[0] if options.steps else 5_000)}\n")
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        status = INTERRUPTED
    for table in tables_of(cells, options.out):
        print(f"{table}\n")
    print(
        "Judges are rules written by hand and tables made from them: no language model was asked."
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
