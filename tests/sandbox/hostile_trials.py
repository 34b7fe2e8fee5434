"""Running hostile planners in processes that may die, and seeing what they did there.

As a script: run the named ones in one runtime and print a line of JSON for each.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hostile_planners import FACTS, HOSTILE, SECRET, SECRET_VARIABLE, Hostile

__all__ = ["Outcome", "outcomes"]

# A process that says nothing for so long hangs: the longest planner is killed within 2 seconds.
SECONDS_TO_HANG = 60.0
MOST_MEGABYTES = 200
_MOST_BYTES = 6 << 30


@dataclass(frozen=True)
class Outcome:
    """What became of one planner.

    Args:
        name: Its name.
        end: ``"answers"``, a kind of `PlannerFailure`, ``"refused"``, or what must not happen:
            ``"DIED"``, ``"HUNG"``, ``"RAISED"`` (out of the runtime) and ``"MALFORMED"``.
        harm: What else must not happen: ``"WROTE"``, ``"LEAKED"``, ``"TAMPERED"``, ``"MEMORY"``.
        seconds: How long it took.
        message: What the failure says.
    """

    name: str
    end: str
    harm: str = ""
    seconds: float = 0.0
    message: str = ""


def outcomes(runtime: str, hostile: list[Hostile], *, processes: int = 2) -> dict[str, Outcome]:
    """Run planners in a runtime; a process that dies of one is replaced.

    Args:
        runtime: ``"monty"``; ``"pool"``, the same with one process of Monty for all of them; or,
            without any protection, ``"plain"``.
        hostile: The planners; each must survive nothing but itself, so choose well for "plain".
        processes: How many are run at the same time.
    """
    found: dict[str, Outcome] = {}
    threads = [
        threading.Thread(target=_run, args=(runtime, hostile[part::processes], found))
        for part in range(processes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _run(runtime: str, hostile: list[Hostile], found: dict[str, Outcome]) -> None:
    waiting = [case.name for case in hostile]
    while waiting:
        ended = _run_until_it_dies(runtime, waiting, found)
        waiting = [name for name in waiting if name not in found]
        if waiting and ended is not None:
            found[waiting[0]] = Outcome(waiting[0], ended)
            waiting = waiting[1:]


def _run_until_it_dies(runtime: str, names: list[str], found: dict[str, Outcome]) -> str | None:
    process = subprocess.Popen(
        [sys.executable, __file__, runtime, json.dumps(names)],
        env={**os.environ, SECRET_VARIABLE: SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    heard = [time.monotonic()]
    hung = threading.Event()

    def watch() -> None:
        while process.poll() is None:
            if time.monotonic() - heard[0] > SECONDS_TO_HANG:
                hung.set()
                process.kill()
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            heard[0] = time.monotonic()
            outcome = Outcome(**json.loads(line))
            found[outcome.name] = outcome
    watcher.join()
    return "HUNG" if hung.is_set() else "DIED" if process.returncode else None


def main() -> None:
    """Run the named planners here."""
    _limit_memory()
    runtime, names = sys.argv[1], json.loads(sys.argv[2])
    cases = {case.name: case for case in HOSTILE}
    for name in names:
        print(json.dumps(vars(_tried(runtime, cases[name]))), flush=True)


def _tried(runtime: str, case: Hostile) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "written"
        patched = math.sqrt
        memory, started = _megabytes(), time.perf_counter()
        end, answer, message = _end(runtime, case.source.replace("@FILE@", str(file)))
        seconds = time.perf_counter() - started
        harm = {
            "WROTE": any(Path(folder).iterdir()),
            "LEAKED": SECRET in answer + message or "root:" in answer,
            "TAMPERED": math.sqrt is not patched or len([1]) != 1 or not callable(json.dumps),
            "MEMORY": _megabytes() - memory > MOST_MEGABYTES,
        }
    return Outcome(
        case.name, end, " ".join(name for name, bad in harm.items() if bad), seconds, message
    )


def _end(runtime: str, source: str) -> tuple[str, str, str]:
    """Return how it ended, the answer as text and the message."""
    from llm_wrappers.errors import GuidanceFileError
    from llm_wrappers.sandbox import PlannerFailure

    try:
        try:
            planner = _runtime(runtime, source)
        except GuidanceFileError as error:
            return "refused", "", str(error)
        (answer,) = planner.plan([FACTS])
        if runtime != "plain":
            planner.close()
    except BaseException as error:
        return "RAISED", "", f"{type(error).__name__}: {error}"
    if isinstance(answer, PlannerFailure):
        return answer.kind, "", str(answer)
    if not all(type(goal) is str and type(weight) in (int, float) for goal, weight in answer):
        return "MALFORMED", "", ""
    return "answers", repr(answer), ""


def _runtime(runtime: str, source: str) -> Any:
    from llm_wrappers.guidance import PlannerProgram
    from llm_wrappers.sandbox import MontyRuntime

    if runtime == "plain":
        return PlannerProgram(source)
    planner = MontyRuntime(source)
    if runtime == "pool":
        conversation = planner._conversation
        # What the process for this planner would have been started with.
        _, options = conversation._start.args
        conversation._start = partial(_Session, options)
    return planner


class _Session:
    """Stands in for the process of one planner: a session in the pool that all of them share."""

    is_open, pid = True, None

    def __init__(self, options: dict[str, Any]) -> None:
        import pydantic_monty

        from llm_wrappers.sandbox._monty_process import PlannerSession, _pool

        if not _POOL:
            _POOL.append(_pool(pydantic_monty, options).__enter__())
        self._session = PlannerSession(pydantic_monty, _POOL[0], options)
        self.ask = self._session.reply

    def close(self) -> None:
        self._session._discard()


_POOL: list[Any] = []


def _megabytes() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))


if __name__ == "__main__":
    main()
