"""Planner code in Monty, a Python interpreter of its own in a process of its own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from llm_wrappers import checks
from llm_wrappers.errors import InvalidOptionError, require
from llm_wrappers.sandbox.answers import plain_facts
from llm_wrappers.sandbox.process import Answer, Conversation, Worker
from llm_wrappers.sandbox.source import checked_source, declared_reads, hash_of

__all__ = ["MontyRuntime"]

_SCRIPT = Path(__file__).with_name("_monty_process.py")
# Our choices. Monty ends a state at its time limit; that the process ends itself comes last.
_MOST_TEXT_PER_STATE = 100_000
_RECURSION_DEPTH = 200
_SECONDS_OF_GRACE = 0.5
_SECONDS_OF_SLACK = 10.0


class MontyRuntime:
    """Runs a planner in Monty: it sees its facts, and no file, network, clock or environment.

    All states of a call go to Monty at once. A state for which the planner raises, hangs or eats
    memory gets a `PlannerFailure` in the place of its answer; the others keep theirs. The process
    starts at the first call, is replaced when it is lost, and is not shared with forks and copies
    in other processes.

    Args:
        source: The Python source.
        name: What to call it in messages, such as its path.
        seconds: The computing time of one state, and of all that are asked together.
        memory: The bytes that the planner may use.
        seed: Of the random numbers that the planner may draw; its clock stands still.
        patience: After so many states in a row that hung or died, no more are asked.

    Raises:
        DependencyNotInstalled: If Monty is not installed.
        GuidanceFileError: If the source has not the form of a planner; nothing is executed for it.
        InvalidOptionError: If an option is no positive number.

    >>> source = '''
    ... class OptimizedGoalGenerator:
    ...     def generate(self, facts):
    ...         return [("go left" if facts["angle"] < 0 else "go right", 1.0)]
    ... '''
    >>> with MontyRuntime(source) as planner:
    ...     planner.plan([{"angle": -1}, {"angle": "up"}, {"angle": 1}])
    [[('go left', 1.0)], PlannerFailure(...), [('go right', 1.0)]]
    """

    pure = True

    def __init__(
        self,
        source: str,
        *,
        name: str = "planner",
        seconds: float = 0.25,
        memory: int = 64 << 20,
        seed: int = 0,
        patience: int = 20,
    ) -> None:
        seconds = checks.number("seconds", seconds, above=0)
        memory = checks.whole("memory", memory, least=1)
        patience = checks.whole("patience", patience, least=1)
        if type(seed) is not int:
            raise InvalidOptionError(f"seed must be an int, got {seed!r}")
        if importlib.util.find_spec("pydantic_monty") is None:
            require("pydantic_monty", extra="sandbox")
        self.source = source
        self.name = name
        self.reads = declared_reads(checked_source(source, name=name))
        self._options = {"seconds": seconds, "memory": memory, "seed": seed, "patience": patience}
        self._conversation = self._new_conversation()

    @property
    def sha256(self) -> str:
        """The hash of the source, by which a planner is known."""
        return hash_of(self.source)

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the weighted goals of each state, or a `PlannerFailure` in their place."""
        return self.answers([plain_facts(row) for row in facts])

    def answers(self, rows: list[dict[str, Any]], *, compare: bool = False) -> list[Answer]:
        """Return what `plan` returns, for facts that are plain data already.

        Args:
            rows: The facts of the states.
            compare: Whether a planner that changes the facts it is given fails for that.
        """
        if self._conversation.owner != os.getpid():
            # After a fork: the process is our parent's, and its lock may be held for ever.
            self._conversation = self._new_conversation()
        return self._conversation.answers(rows, compare=compare)

    def close(self) -> None:
        """End the process; the next call starts another."""
        self._conversation.close()

    def _new_conversation(self) -> Conversation:
        seconds = self._options["seconds"]
        options = {
            "source": self.source,
            "seconds": float(seconds),
            "memory": self._options["memory"],
            "seed": self._options["seed"],
            "grace": _SECONDS_OF_GRACE,
            "depth": _RECURSION_DEPTH,
            "most_text": _MOST_TEXT_PER_STATE,
            # Loading and asking may each take all of their time.
            "overdue": 2 * (seconds + _SECONDS_OF_GRACE) + _SECONDS_OF_SLACK,
        }
        return Conversation(
            partial(Worker, _SCRIPT, options), patience=int(self._options["patience"])
        )

    def __enter__(self) -> MontyRuntime:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.source, self.name, self._options)

    def __copy__(self) -> MontyRuntime:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MontyRuntime:
        return self


def _restored(source: str, name: str, options: dict[str, Any]) -> MontyRuntime:
    return MontyRuntime(source, name=name, **options)
