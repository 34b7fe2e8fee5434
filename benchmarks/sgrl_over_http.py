"""What becomes of the code that a model sends: `make bench-sgrl-http`.

A real HTTP server on this machine is the model. `llm-wrappers write sgrl` asks it for a planner and
gets a good one, one that is broken or wrong once or for ever, and the hostile planners of the
tests, for ever the same. The command runs in this process, so that the table is there only if the
process has survived everything; what was written nevertheless is then used for a while.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)

from llm_wrappers.guidance import reference_artefact
from llm_wrappers.methods import sgrl
from llm_wrappers.scores import format_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sandbox"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "methods"))

from hostile_planners import GOALS, HOSTILE, SECRET, SECRET_VARIABLE, Hostile
from http_authoring import Authored, author, code_block, model_that_writes

DOOR_KEY, CRAFTER = "MiniGrid-DoorKey-5x5-v0", "llm_wrappers/Crafter-v1"
STEPS_OF_USE = 100
CHOSEN = (
    "runs a command", "__import__", "subprocess", "ctypes", "opens a connection", "forks",
    "kills its parent", "writes a file", "reads the environment", "eval by another alphabet",
    "evaluates type hints", "getattr by parts", "format string",
    "frame of a generator, called self", "frame of a traceback", "loader of a module",
    "metaclass", "patches math",
    "patches the built-ins", "forges the answers of other states", "os._exit",
    "raises what writes to the terminal", "changes the facts by another name", "loops for ever",
    "loops for ever when loaded", "calls itself", "doubles a text", "doubles a list", "keeps texts",
    "returns a list in itself", "returns a million goals", "returns nan",
    "returns goals that do not exist", "returns a generator", "loops over a set",
    "counts its calls in a global list", "reads what READS does not name", "ten megabytes",
    "half a surrogate pair",
)  # fmt: skip
Row = dict[str, Any]


def main() -> None:
    options = parse()
    os.environ[SECRET_VARIABLE] = SECRET
    rows: list[Row] = []
    for row in measured(options):
        print(f"{row['what the model writes']}: {row['outcome']}", file=sys.stderr, flush=True)
        rows.append(row)
    print(format_table(rows))
    refused = sum(row["outcome"].startswith("refused") for row in rows)
    harm = [row["what the model writes"] for row in rows if row["harm"]]
    print(f"\n{len(rows)} models, {refused} refused; harm done: {harm or 'none'}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"all {len(HOSTILE)} hostile planners")
    parser.add_argument("--only", nargs="+", default=None, help="these hostile planners")
    parser.add_argument("--states", type=int, default=20, help="situations to record by playing")
    parser.add_argument("--repairs", type=int, default=1, help="how often code may be sent back")
    parser.add_argument("--hangs-after", type=float, default=900.0, help="seconds")
    return parser.parse_args()


def measured(options: argparse.Namespace) -> Iterator[Row]:
    """Go through the models, and end the process with a traceback if one of them hangs it."""
    for name, versions in honest().items():
        yield tried(name, versions, DOOR_KEY, options)
    names = options.only or ([case.name for case in HOSTILE] if options.all else CHOSEN)
    for case in HOSTILE:
        if case.name in names:
            yield tried(case.name, case, CRAFTER, options)


def honest() -> dict[str, list[str]]:
    """Return versions of a planner as models write them that mean no harm."""
    good = planner_of_door_key()
    broken = good.replace("def generate(self, facts):", "def generate(self, facts)")
    wrong = {
        "unknown goal": good.replace('("find the key", NOW)', '("find the chest", NOW)'),
        "negative weight": good.replace('("find the key", NOW)', '("find the key", -NOW)'),
        "no goal": good.replace('[("find the key", NOW)]', "[]"),
        "reads the future": good.replace('facts["facing"] == "key"', 'facts["next_reward"] > 0'),
        "undeclared read": good.replace('"sees_key", ', ""),
    }
    found = {"good": [good], "broken, then good": [broken, good], "broken for ever": [broken]}
    for name, source in wrong.items():
        found |= {f"{name}, then good": [source, good], f"{name} for ever": [source]}
    return found


def planner_of_door_key() -> str:
    source = reference_artefact("minigrid-doorkey").planner_source
    assert source is not None
    return source


def tried(name: str, written: list[str] | Hostile, env_id: str, options: argparse.Namespace) -> Row:
    """Have the command ask one model, and say what became of it."""
    faulthandler.dump_traceback_later(options.hangs_after, exit=True)
    with tempfile.TemporaryDirectory() as folder:
        forbidden = Path(folder) / "forbidden"
        forbidden.mkdir()
        hostile = isinstance(written, Hostile)
        versions = [written.source] if isinstance(written, Hostile) else written
        path = str(forbidden / "written")
        masks = {"eat cow": ["noop"]} if hostile else reference_masks()
        found = author(
            model_that_writes(
                [code_block(text.replace("@FILE@", path)) for text in versions], masks
            ),
            Path(folder),
            env_id=env_id,
            goals=GOALS if hostile else (),
            states=options.states,
            repairs=options.repairs,
            forbidden=forbidden,
            secret=SECRET,
        )
        used = use(Path(folder) / "out", env_id, GOALS if hostile else None) if found.files else ""
        harm = [*found.harm, *(["WROTE"] if any(forbidden.iterdir()) else [])]
    faulthandler.cancel_dump_traceback_later()
    return {
        "what the model writes": name,
        "outcome": outcome(found) + used,
        "repairs": found.repairs,
        "requests": found.requests,
        "seconds": found.seconds,
        "harm": " ".join(dict.fromkeys(harm)),
    }


def reference_masks() -> dict[str, Any]:
    masks = reference_artefact("minigrid-doorkey").masks
    assert masks is not None
    return dict(masks)


def outcome(found: Authored) -> str:
    if found.artefact is not None:
        return "written"
    if not found.failures:
        return f"refused with status {found.status}: {found.complained.strip()[:60]}"
    if set(found.failures) == {"lint"}:
        return "refused at lint"
    return f"refused at validation: {', '.join(sorted(found.failures))}"


def use(folder: Path, env_id: str, goals: Any) -> str:
    """Play with what was written, contained as any file is."""
    env = sgrl.wrap(gym.make(env_id), f"file:{folder}", goals=goals)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(STEPS_OF_USE):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample(env_mask(env)))
        if terminated or truncated:
            env.reset()
    failures = env.all_stats()["GoalObservationWrapper"]["failures"]
    env.close()
    return f" and contained ({failures} failures in {STEPS_OF_USE} steps)"


def env_mask(env: Any) -> Any:
    return env.action_masks().astype("int8")


if __name__ == "__main__":
    main()
