"""Judgements of a small problem, looked up; kept as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.guidance.states import States
from llm_wrappers.storage.whole_file import write_whole

__all__ = ["TableJudge"]

_FORMAT = "llm_wrappers/judgements"
_VERSION = 1


class TableJudge:
    """Looks up the judgement of each state and action; what the table lacks is not judged.

    LMGT (arXiv 2409.04744) asks its model in every step. A small discrete problem can be judged
    once before training instead: Blackjack has 560 questions.

    Args:
        entries: (facts, action, judgement) triples; judgements are -1, 0 or +1.
        reads: The facts that tell the states apart.

    Raises:
        GuidanceFileError: If an entry lacks one of the facts, or has another judgement.

    >>> table = TableJudge([({"sum": 20}, 1, -1)], reads=("sum",))
    >>> table.judge(States([{"sum": 20, "more": 1}, {"sum": 3}], lambda facts: []), [1, 1])
    [-1, None]
    """

    pure = True

    def __init__(
        self, entries: Iterable[tuple[Mapping[str, Any], Any, int]], *, reads: Sequence[str]
    ) -> None:
        self.reads = tuple(reads)
        self._judgements: dict[tuple[Any, ...], int] = {}
        for facts, action, value in entries:
            if value not in (-1, 0, 1) or isinstance(value, bool):
                raise GuidanceFileError(f"a judgement must be -1, 0 or +1, got {value!r}")
            self._judgements[self._key(facts, action)] = value

    def __len__(self) -> int:
        return len(self._judgements)

    def judge(self, states: States, actions: Sequence[Any]) -> list[int | None]:
        """Return the judgement of each, None where the table has none."""
        return [
            self._judgements.get(self._key(facts, action))
            for facts, action in zip(states.facts, actions, strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write the table to a JSON file."""
        entries = [[*key[:-1], key[-1], value] for key, value in self._judgements.items()]
        document = {
            "format": _FORMAT, "version": _VERSION, "facts": list(self.reads), "entries": entries,
        }  # fmt: skip
        write_whole(path, json.dumps(document, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> TableJudge:
        """Return the table of a JSON file.

        Raises:
            GuidanceFileError: If the file cannot be read or holds no such table.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise GuidanceFileError(f"cannot read {path}: {error}") from error
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            raise GuidanceFileError(
                f'{path}: expected a table of judgements with "format": "{_FORMAT}"'
            )
        if document.get("version") != _VERSION:
            raise GuidanceFileError(
                f"{path}: expected version {_VERSION}, got {document.get('version')!r}"
            )
        try:
            names = tuple(document["facts"])
            entries = [
                (dict(zip(names, values, strict=True)), action, value)
                for *values, action, value in document["entries"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise GuidanceFileError(f"{path}: an entry is malformed: {error}") from error
        return cls(entries, reads=names)

    def _key(self, facts: Mapping[str, Any], action: Any) -> tuple[Any, ...]:
        try:
            return (*(facts[name] for name in self.reads), _hashable(action))
        except KeyError as error:
            raise GuidanceFileError(
                f"the table tells states apart by {list(self.reads)}; a state lacks {error}"
            ) from None


def _hashable(action: Any) -> Any:
    plain = action.tolist() if hasattr(action, "tolist") else action
    return tuple(plain) if isinstance(plain, list) else plain
