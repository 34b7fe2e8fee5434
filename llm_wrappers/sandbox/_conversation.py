"""Asking a process for answers, state by state where a batch is lost."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from llm_wrappers.errors import GuidanceError, UserError
from llm_wrappers.sandbox._worker import Worker, WorkerLostError
from llm_wrappers.sandbox.answers import checked_answer, with_article
from llm_wrappers.sandbox.failure import PlannerFailure, one_line

__all__ = ["Answer", "Conversation"]

Answer: TypeAlias = "list[tuple[str, float]] | PlannerFailure"

_MOST_STATES_AT_ONCE = 64
_LOSSES = frozenset({"timeout", "memory", "crashed"})


class Conversation:
    """One process that runs one planner: started when needed, replaced when lost.

    Args:
        start: Starts the process.
        patience: After so many states in a row that cost the process, no more are asked.
    """

    def __init__(self, start: Callable[[], Worker], *, patience: int) -> None:
        self.owner = os.getpid()
        self._start = start
        self._patience = patience
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._losses = 0
        self._broken: PlannerFailure | None = None

    @property
    def pid(self) -> int | None:
        """The id of the process, while there is one."""
        return None if self._worker is None else self._worker.pid

    def answers(self, rows: list[dict[str, Any]], *, compare: bool = False) -> list[Answer]:
        """Return the answer for each state, or why there is none.

        Args:
            rows: The facts of the states; plain data.
            compare: Whether a planner that changes its facts fails with kind ``"mutated"``.

        Raises:
            UserError: If the process cannot be started on this machine.
        """
        what = "compare" if compare else "ask"
        answers: list[Answer] = []
        with self._lock:
            for start in range(0, len(rows), _MOST_STATES_AT_ONCE):
                answers += self._batch(what, rows[start : start + _MOST_STATES_AT_ONCE])
        return answers

    def close(self) -> None:
        """End the process; the next question starts another."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _batch(self, what: str, rows: list[dict[str, Any]]) -> list[Answer]:
        if self._broken is not None:
            return [self._broken] * len(rows)
        reply = self._reply(what, rows)
        if "text" in reply:
            self._losses = 0
            return self._read(reply, rows)
        lost = _failure(reply.get("lost") or reply["load"])
        if "load" in reply and lost.kind not in _LOSSES:
            self._broken = PlannerFailure(
                "load", f"cannot be loaded: {lost.message}", line=lost.line
            )
            return [self._broken] * len(rows)
        if len(rows) > 1:
            return [answer for row in rows for answer in self._batch(what, [row])]
        self._losses += lost.kind in _LOSSES
        if self._losses >= self._patience:
            self._broken = PlannerFailure(
                "given up",
                f"not asked any more: {self._losses} states in a row cost the process that runs "
                f"the planner; the last one {lost.message}",
                line=lost.line,
            )
        return [lost]

    def _reply(
        self, what: str, rows: list[dict[str, Any]], *, again: bool = True
    ) -> dict[str, Any]:
        try:
            if self._worker is None or not self._worker.is_open:
                self._worker = self._start()
            return self._worker.ask(what, rows)
        except WorkerLostError as error:
            self.close()
            if error.unasked and again:
                return self._reply(what, rows, again=False)
            return {"lost": {"kind": "crashed", "message": str(error), "line": None}}
        except UserError as error:
            self._broken = PlannerFailure("load", str(error))
            raise

    def _read(self, reply: dict[str, Any], rows: list[dict[str, Any]]) -> list[Answer]:
        lines = reply["text"].split("\n")
        if len(lines) != len(rows):
            wrong = PlannerFailure("answer", "the planner changes how its answers are sent")
            return [wrong] * len(rows)
        # These come from the process itself, which the planner cannot speak for.
        failures = reply.get("failures", {})
        return [
            _failure(failures[str(position)])
            if str(position) in failures
            else self._answer(line, rows[position])
            for position, line in enumerate(lines)
        ]

    def _answer(self, line: str, row: dict[str, Any]) -> Answer:
        changed = line.startswith("C")
        kind, text = line[changed : changed + 1], line[changed + 1 :]
        try:
            value = json.loads(text)
            if kind == "R":
                return self._raised(value, row)
            if kind != "A":
                kind_of_answer = with_article(one_line(str(value), most=60))
                return PlannerFailure(
                    "answer", f"expected a list of (goal, weight) pairs, got {kind_of_answer}"
                )
            answer = checked_answer(value)
        except GuidanceError as error:
            return PlannerFailure("answer", str(error))
        except (ValueError, TypeError, RecursionError):
            return PlannerFailure("answer", "the answer cannot be read")
        return PlannerFailure("mutated", "changes the facts it is given") if changed else answer

    def _raised(self, value: Any, row: dict[str, Any]) -> PlannerFailure:
        name, message = (one_line(str(part), most=300) for part in value)
        line = self._reply("line", [row]).get("line")
        described = f"{name}: {message}" if message else name
        return PlannerFailure("raised", described, line=line if type(line) is int else None)


def _failure(described: dict[str, Any]) -> PlannerFailure:
    return PlannerFailure(described["kind"], described["message"], line=described["line"])
