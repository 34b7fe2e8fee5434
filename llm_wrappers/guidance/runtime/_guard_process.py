"""A process that runs a planner behind the guard, for the validation of planners.

It differs from this process in `PYTHONHASHSEED` and in the order of sets, and can be killed.
"""

from __future__ import annotations

import json
from typing import Any


def main() -> None:
    """Answer messages until the other side is gone."""
    # It lies beside this script, where only a script finds it.
    from _process import begin  # type: ignore[import-not-found]

    pipes, options = begin()
    # These come with the package, which is found only now.
    from llm_wrappers.guidance.runtime.guard import GuardedPlanner

    try:
        planner = GuardedPlanner(
            options["source"], name="planner", fuel=options["fuel"], backwards=options["backwards"]
        )
    except Exception as error:
        pipes.reply({"broken": str(error)})
        return

    def answer(what: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        answers = [planner.answer(row) for row in rows]
        failures = {
            position: {name: getattr(answer, name) for name in ("kind", "message", "line")}
            for position, answer in enumerate(answers)
            if isinstance(answer, Exception)
        }
        return {"text": "\n".join(map(_line, answers)), "failures": failures}

    pipes.serve(answer, seconds=options["overdue"])


def _line(answer: Any) -> str:
    return "" if isinstance(answer, Exception) else "A" + json.dumps(answer)


if __name__ == "__main__":
    main()
