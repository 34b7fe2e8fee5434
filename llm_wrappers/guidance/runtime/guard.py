"""Planner code in this process, behind a guard: fast, and no boundary against an attacker."""

from __future__ import annotations

import ast
import builtins
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from llm_wrappers import checks
from llm_wrappers._version import __version__
from llm_wrappers.errors import GuidanceError, GuidanceFileError, InvalidOptionError
from llm_wrappers.guidance.program import hash_of
from llm_wrappers.guidance.runtime._builtins import Builtins
from llm_wrappers.guidance.runtime._meter import Meter, OutOfFuel
from llm_wrappers.guidance.runtime._operations import Operations
from llm_wrappers.guidance.runtime._rewrite import rewritten
from llm_wrappers.guidance.runtime.answers import checked_answer, type_name
from llm_wrappers.guidance.runtime.facts import FrozenFacts, plain_facts
from llm_wrappers.guidance.runtime.failure import PlannerFailure
from llm_wrappers.guidance.runtime.language import CLASS_NAME, TYPING_MODULES
from llm_wrappers.guidance.runtime.lint import lint_planner
from llm_wrappers.guidance.runtime.record import ValidationRecord
from llm_wrappers.guidance.runtime.source import declared_reads, parsed, quietly_compiled

__all__ = ["FUEL", "GuardedRuntime"]

FUEL = 20_000
"""The steps of one state, our choice: the reference planners need less than 100."""


class GuardedRuntime:
    """Runs a planner that was validated, in this process, for about a third of what Monty costs.

    The source must keep to the language of planners (`lint_planner`). Its operators, loops and
    calls are counted, so that a mistake ends as a failure of one state and not of the run. This
    stops accidents and casual mischief. It is no security boundary: against a malicious author
    use `MontyRuntime`.

    Args:
        source: The Python source.
        validated: The record that `validate_planner` gave for this very source.
        name: What to call it in messages, such as its path.
        fuel: What one state may cost, in steps of about one loop turn.

    Raises:
        InvalidOptionError: If the record is of another source or another version of this package.
        GuidanceFileError: If the source does not keep to the language.
    """

    pure = True

    def __init__(
        self,
        source: str,
        validated: ValidationRecord,
        *,
        name: str = "planner",
        fuel: int = FUEL,
    ) -> None:
        _check_record(validated, source, name)
        self.source = source
        self.validated = validated
        self.name = name
        self._engine = GuardedPlanner(source, name=name, fuel=fuel)
        self.reads = self._engine.reads

    @property
    def sha256(self) -> str:
        """The hash of the source, by which a planner is known."""
        return hash_of(self.source)

    def plan(self, facts: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the weighted goals of each state, or a `PlannerFailure` in their place."""
        return [self._engine.answer(plain_facts(row)) for row in facts]

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.source, self.validated, self.name, self._engine.fuel)

    def __copy__(self) -> GuardedRuntime:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GuardedRuntime:
        return self


class GuardedPlanner:
    """The guard itself: a planner's source, rewritten and loaded.

    Args:
        source: The Python source.
        name: What to call it in messages.
        fuel: What one state may cost.
        backwards: Whether loops over sets run from their end; for the validation of planners.

    Raises:
        GuidanceFileError: If the source does not keep to the language or cannot be loaded.
    """

    def __init__(self, source: str, *, name: str, fuel: int, backwards: bool = False) -> None:
        fuel = checks.whole("fuel", fuel, least=1)
        problems = lint_planner(source)
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise GuidanceFileError(
                f"{name}: the guard runs the language of planners only: {problems[0]}{more}; "
                "lint_planner(source) lists all"
            )
        tree = parsed(source)
        self.fuel = fuel
        self.reads = declared_reads(tree)
        self._meter = Meter(fuel, backwards=backwards)
        self._filename = f"<guarded {name}>"
        self._make = self._loaded(tree, name)

    def answer(self, facts: dict[str, Any]) -> list[tuple[str, float]] | PlannerFailure:
        """Return the checked answer for one state, or why there is none."""
        try:
            self._meter.refill()
            answer = self._make().generate(FrozenFacts(facts))
        except OutOfFuel as error:
            return PlannerFailure(
                "fuel",
                f"did more than {self.fuel} steps; make it shorter",
                line=self._line(error.__traceback__),
            )
        except Exception as error:
            return PlannerFailure("raised", _described(error), line=self._line(error.__traceback__))
        try:
            return checked_answer(answer)
        except GuidanceError as error:
            return PlannerFailure("answer", str(error))

    def _loaded(self, tree: ast.Module, name: str) -> Any:
        operations = Operations(self._meter)
        namespace = _namespace(tree, self._meter, operations)
        try:
            exec(quietly_compiled(rewritten(tree), name=self._filename), namespace)
        except OutOfFuel:
            raise GuidanceFileError(f"{name}: takes more than {self.fuel} steps to load") from None
        except Exception as error:
            line = self._line(error.__traceback__)
            raise GuidanceFileError(
                f"{name}: cannot be loaded ({_described(error)}, line {line})"
            ) from None
        return namespace[CLASS_NAME]

    def _line(self, trace: TracebackType | None) -> int | None:
        lines = [
            line
            for frame, line in traceback.walk_tb(trace)
            if frame.f_code.co_filename == self._filename
        ]
        return lines[-1] if lines else None


def _namespace(tree: ast.Module, meter: Meter, operations: Operations) -> dict[str, Any]:
    """Return all names that guarded code sees."""
    library = Builtins(meter, operations)
    modules = library.modules()
    names: dict[str, Any] = {
        "__builtins__": {"__build_class__": builtins.__build_class__},
        "__name__": "guarded_planner",
        **library.functions(),
        "@tick": meter.tick,
        "@each": meter.each,
    }
    for name in dir(operations):
        if not name.startswith("_"):
            names["@" + name] = getattr(operations, name)
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name not in TYPING_MODULES:
                    names[alias.asname or alias.name] = modules[alias.name]
        elif isinstance(node, ast.ImportFrom) and node.module not in TYPING_MODULES:
            for alias in node.names:
                member = getattr(modules[str(node.module)], alias.name)
                names[alias.asname or alias.name] = member
    return names


def _check_record(record: ValidationRecord, source: str, name: str) -> None:
    if not isinstance(record, ValidationRecord):
        raise InvalidOptionError(
            f"expected the ValidationRecord of this source, got a {type(record).__name__}; "
            "validate_planner(...).record() makes one"
        )
    try:
        found = hash_of(source)
    except UnicodeEncodeError as error:
        raise GuidanceFileError(f"{name}: not valid text ({error.reason})") from None
    if record.sha256 != found:
        raise InvalidOptionError(
            f"the validation record is of another source than {name}; validate it again"
        )
    if record.library_version != __version__:
        raise InvalidOptionError(
            f"{name} was validated by version {record.library_version} of this package, and this "
            f"is {__version__}; validate it again"
        )


def _described(error: Exception) -> str:
    """Return type and text of an exception without printing what planner code put into it."""
    args = error.args
    text = args[0] if len(args) == 1 and type(args[0]) is str else ""
    return f"{type_name(error)}: {text}" if text else type_name(error)


def _restored(source: str, validated: ValidationRecord, name: str, fuel: int) -> GuardedRuntime:
    return GuardedRuntime(source, validated, name=name, fuel=fuel)
