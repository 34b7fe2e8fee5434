"""Writing SGRL guidance by the command, with a model behind real HTTP; for tests and benchmarks."""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_wrappers.cli import main as command
from llm_wrappers.guidance.artefact import GuidanceArtefact, load_artefact
from llm_wrappers.llm import allow_requests
from llm_wrappers.testing import LLMServer

__all__ = ["Authored", "author", "code_block", "model_that_writes"]

_STAGES_BEFORE_CODE_COUNTS = 5
_MOST_MEGABYTES = 300


@dataclass(frozen=True)
class Authored:
    """What became of one call of the command.

    Args:
        status: Its exit status.
        printed: What it printed.
        complained: What it printed to standard error.
        requests: How many requests came to the server.
        seconds: How long it took.
        files: What is in the folder for the artefact.
        artefact: What was written, None if nothing was.
        harm: What must not happen: ``"WROTE"``, ``"LEAKED"``, ``"TAMPERED"``, ``"MEMORY"``,
            ``"THREADS"``.
    """

    status: int
    printed: str
    complained: str
    requests: int
    seconds: float
    files: tuple[str, ...] = ()
    artefact: GuidanceArtefact | None = None
    harm: tuple[str, ...] = ()
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def repairs(self) -> int:
        """How often the code was sent back."""
        if self.artefact is not None:
            return int(self.artefact.provenance.authoring["repairs"])  # type: ignore[arg-type]
        return max(0, self.requests - 3)


def code_block(source: str) -> str:
    """Return an answer as a model gives it, with this code."""
    return f"Here is the module.\n\n```python\n{source.rstrip()}\n```\n"


def model_that_writes(
    versions: Sequence[str], masks: Mapping[str, Sequence[str]]
) -> Callable[[dict[str, Any]], str]:
    """Return a model for `LLMServer` that answers what is asked for at each stage.

    Args:
        versions: Its answers with code: after the review, and after each repair; then the last
            one for ever.
        masks: The goals with the actions that it names.
    """
    entries = [{"goal": goal, "actions": list(actions)} for goal, actions in masks.items()]

    def answer(body: dict[str, Any]) -> str:
        messages = body["messages"]
        if "goal analyst" in messages[0]["content"]:
            return json.dumps({"masks": entries})
        if len(messages) < _STAGES_BEFORE_CODE_COUNTS:
            return "First what is near, then what is far."
        # The answer depends on the request alone, as that of a model at temperature 0.
        version = (len(messages) - _STAGES_BEFORE_CODE_COUNTS) // 2
        return versions[min(version, len(versions) - 1)]

    return answer


def author(
    answer: str | Callable[[dict[str, Any]], str],
    folder: Path,
    *,
    env_id: str,
    goals: Iterable[str] = (),
    states: int = 30,
    repairs: int = 1,
    forbidden: Path | None = None,
    secret: str = "",
) -> Authored:
    """Run ``llm-wrappers write sgrl`` in this process against a server on this machine.

    Args:
        answer: What the model says.
        folder: An empty folder; the artefact goes to `out` in it.
        env_id: The environment.
        goals: The goal vocabulary, if not the environment's.
        states: How many situations are recorded.
        repairs: How often code may be sent back.
        forbidden: A folder in which nothing may be written.
        secret: A text that must not be seen.
    """
    out = folder / "out"
    arguments = ["write", "sgrl", "--env", env_id, "--model", "openai/test", "--out", str(out)]
    arguments += ["--states", str(states), "--repairs", str(repairs), "--timeout", "30"]
    arguments += ["--cache", str(folder / "answers.sqlite")]
    arguments += ["--goals", *goals] if goals else []
    printed, complained = io.StringIO(), io.StringIO()
    before, memory, threads = _state_of_process(), _megabytes(), threading.active_count()
    started = time.perf_counter()
    with LLMServer(answer) as server, allow_requests(True):
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            status = command([*arguments, "--api-base", server.api_base])
        requests = server.count
    seconds = time.perf_counter() - started
    said = printed.getvalue() + complained.getvalue()
    files = tuple(sorted(path.name for path in out.iterdir())) if out.exists() else ()
    saved = "".join((out / name).read_text(encoding="utf-8") for name in files)
    harm = {
        "WROTE": forbidden is not None and any(forbidden.iterdir()),
        "LEAKED": bool(secret) and (secret in said + saved or "root:x:" in said),
        "TAMPERED": _state_of_process() != before,
        "MEMORY": _megabytes() - memory > _MOST_MEGABYTES,
        "THREADS": threading.active_count() > threads + 2,
    }
    return Authored(
        status=status,
        printed=printed.getvalue(),
        complained=complained.getvalue(),
        requests=requests,
        seconds=seconds,
        files=files,
        artefact=load_artefact(out) if files else None,
        harm=tuple(name for name, happened in harm.items() if happened),
        failures=_failures(complained.getvalue()),
    )


def _failures(complaint: str) -> dict[str, int]:
    """Return the kinds of findings that the report of a refusal names."""
    found = re.search(r"failures by kind: (\{.*?\})", complaint)
    return dict(ast.literal_eval(found[1])) if found else {}


def _state_of_process() -> tuple[object, ...]:
    """Return what hostile code likes to replace or change."""
    return (
        math.sqrt,
        json.dumps,
        builtins.print,
        builtins.__import__,
        os.getcwd(),
        dict(os.environ),
    )


def _megabytes() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
