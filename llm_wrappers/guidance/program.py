"""A planner kept as Python source: the form in which SGRL's language model writes it."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_wrappers.errors import GuidanceFileError

__all__ = ["PlannerProgram"]

_CLASS_NAME = "OptimizedGoalGenerator"


class PlannerProgram:
    """A planner whose source defines the class `OptimizedGoalGenerator`, as SGRL's does.

    The class takes no arguments and has one method, ``generate(facts) -> list of (goal, weight)``,
    which must be a pure function of the facts of one state. The module may name the facts it
    reads in a tuple ``READS``; it is then given only these and asked again only when one of them
    changes.

    The source runs in this process with all its rights: load only files you would run.

    Args:
        source: The Python source.
        name: What to call it in tracebacks, such as its path.

    Raises:
        GuidanceFileError: If the source cannot be executed or defines no such class.

    >>> program = PlannerProgram('''
    ... READS = ("angle",)
    ... class OptimizedGoalGenerator:
    ...     def generate(self, facts):
    ...         return [("go left" if facts["angle"] < 0 else "go right", 1.0)]
    ... ''')
    >>> program.plan([{"angle": -1}, {"angle": 1}])
    [[('go left', 1.0)], [('go right', 1.0)]]
    """

    pure = True

    def __init__(self, source: str, *, name: str = "planner") -> None:
        self.source = source
        self.name = name
        self._load()

    @property
    def sha256(self) -> str:
        """The hash of the source, by which a planner is known."""
        return hash_of(self.source)

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the weighted goals of each state."""
        return [self._generator.generate(dict(row)) for row in facts]

    def _load(self) -> None:
        try:
            namespace = self._executed()
            self.reads = _checked_reads(namespace.get("READS"))
            make_generator = namespace.get(_CLASS_NAME)
            self._generator: Any = make_generator() if callable(make_generator) else None
        except Exception as error:
            raise GuidanceFileError(
                f"{self.name}: cannot be executed ({type(error).__name__}: {error})"
            ) from error
        if not callable(getattr(self._generator, "generate", None)):
            raise GuidanceFileError(
                f"{self.name}: expected a class {_CLASS_NAME} with a method generate(facts)"
            )

    def _executed(self) -> dict[str, Any]:
        # A name of its own keeps tracebacks readable: linecache then shows the source's lines.
        filename = f"<planner {self.name} {self.sha256[:12]}>"
        linecache.cache[filename] = (
            len(self.source), None, self.source.splitlines(keepends=True), filename,
        )  # fmt: skip
        namespace: dict[str, Any] = {"__name__": "llm_wrappers_planner"}
        # The __future__ imports of this module must not hold for the planner.
        exec(compile(self.source, filename, "exec", dont_inherit=True), namespace)
        return namespace

    def __getstate__(self) -> dict[str, str]:
        return {"source": self.source, "name": self.name}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["source"], name=state["name"])  # type: ignore[misc]


def read_program(path: Path) -> PlannerProgram:
    """Return the planner of a source file.

    Raises:
        GuidanceFileError: If the file cannot be read or is not such a planner.
    """
    return PlannerProgram(read_source(path), name=path.name)


def read_source(path: Path) -> str:
    """Return the text of a file with its line ends as they are, so that its hash holds.

    Raises:
        GuidanceFileError: If the file cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise GuidanceFileError(f"cannot read {path}: {error}") from error


def hash_of(source: str) -> str:
    """Return the hash by which a planner is known."""
    return hashlib.sha256(source.encode()).hexdigest()


def _checked_reads(reads: Any) -> tuple[str, ...] | None:
    if reads is None:
        return None
    if isinstance(reads, str) or not all(isinstance(name, str) for name in reads):
        raise TypeError(f"READS must be a tuple of names of facts, got {reads!r}")
    return tuple(reads)
