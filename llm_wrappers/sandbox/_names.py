"""Names that nothing defines, or that stand for what a planner cannot use."""

from __future__ import annotations

import ast
import builtins
import difflib
import symtable
from collections.abc import Collection, Iterator

from llm_wrappers.sandbox._state import attributes_of_self, is_of_self
from llm_wrappers.sandbox.language import WRITE_INSTEAD_OF_NAME
from llm_wrappers.sandbox.source import Problem

__all__ = ["name_problems"]

# What Monty lacks of the rest it says itself, by its line.
_READY_MADE = frozenset(dir(builtins)) - WRITE_INSTEAD_OF_NAME.keys()


def name_problems(tree: ast.Module, table: symtable.SymbolTable) -> Iterator[Problem]:
    """Return where a planner uses a name that is not there, with what was perhaps meant.

    Args:
        tree: The planner's syntax tree.
        table: The symbols of the same source.
    """
    attributes = attributes_of_self(tree)
    bound, undefined = _bound_and_undefined(table)
    known = sorted(bound | {name for name in _READY_MADE if name.islower()})
    for node in ast.walk(tree):
        if is_of_self(node) and node.attr not in attributes:
            hint = _hint(node.attr, attributes, "self.{}")
            yield Problem(node.lineno, "name", f"the class defines no `self.{node.attr}`{hint}")
        elif isinstance(node, ast.Name) and node.id in undefined:
            yield Problem(node.lineno, "name", _undefined(node.id, known, attributes))


def _undefined(name: str, known: list[str], attributes: set[str]) -> str:
    if name in WRITE_INSTEAD_OF_NAME:
        return f"`{name}` is not available: {WRITE_INSTEAD_OF_NAME[name]}"
    if name in attributes:
        return f"`{name}` is not defined; did you mean `self.{name}`?"
    return f"`{name}` is not defined{_hint(name, known, '{}') or '; define it'}"


def _hint(name: str, known: Collection[str], form: str) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean `{form.format(close[0])}`?" if close else ""


def _bound_and_undefined(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Return all names that are bound anywhere, and those that are looked up where none is."""
    bound: set[str] = set()
    looked_up: set[str] = set()
    defined = {symbol.get_name() for symbol in table.get_symbols() if _is_bound(symbol)}
    waiting = [table]
    while waiting:
        scope = waiting.pop()
        waiting.extend(scope.get_children())
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            if _is_bound(symbol):
                bound.add(name)
            elif symbol.is_referenced() and (scope is table or symbol.is_global()):
                looked_up.add(name)
    return bound, looked_up - defined - _READY_MADE


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()
