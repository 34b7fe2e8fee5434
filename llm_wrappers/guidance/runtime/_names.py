"""Which names a planner may use and bind, and what it must not change."""

from __future__ import annotations

import ast
import difflib
import symtable
from collections.abc import Iterator

from llm_wrappers.guidance.runtime._state import attributes_of_self
from llm_wrappers.guidance.runtime.language import (
    BUILTINS,
    CLASS_NAME,
    EXCEPTIONS,
    MODULES,
    TYPING_MODULES,
    WRITE_INSTEAD_OF_NAME,
)
from llm_wrappers.guidance.runtime.source import Problem

__all__ = ["name_problems"]

_READY_MADE = BUILTINS | EXCEPTIONS


def name_problems(tree: ast.Module, table: symtable.SymbolTable) -> list[Problem]:
    """Return the names that are unknown, taken or changed where they must not be.

    Args:
        tree: The planner's syntax tree.
        table: The symbols of the same source.
    """
    names = _Names(tree)
    unknown = names.unknown_problems(_undefined(table))
    unbound = names.unbound_problems(_methods_as_values(table))
    return [*names.bound_problems(), *names.used_problems(), *unknown, *unbound]


def _undefined(table: symtable.SymbolTable) -> set[str]:
    """Return the names that are looked up at module level, where nothing defines them."""
    found: set[str] = set()
    defined = {symbol.get_name() for symbol in table.get_symbols() if _is_bound(symbol)}
    waiting = [table]
    while waiting:
        scope = waiting.pop()
        waiting.extend(scope.get_children())
        for symbol in scope.get_symbols():
            looked_up = scope is table or symbol.is_global()
            if symbol.is_referenced() and looked_up and not _is_bound(symbol):
                found.add(symbol.get_name())
    return found - defined - _READY_MADE


def _methods_as_values(table: symtable.SymbolTable) -> set[str]:
    """Return the methods that the body of a class reads, outside of its methods."""
    return {
        symbol.get_name()
        for scope in table.get_children()
        if isinstance(scope, symtable.Class)
        for symbol in scope.get_symbols()
        if symbol.is_namespace() and symbol.is_referenced()
    }


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()


class _Names:
    """All names of one tree: where they are bound, where they are read."""

    def __init__(self, tree: ast.Module) -> None:
        self.read: list[ast.Name] = []
        self.bound: list[tuple[str, int]] = []
        self.nodes = list(ast.walk(tree))
        self.methods: set[ast.AST] = set()
        self.attributes = attributes_of_self(tree)
        self.modules: dict[str, str] = {}
        self.members: dict[str, str] = {}
        for node in self.nodes:
            self._collect(node)
        self.times_bound: dict[str, int] = {}
        for name, _ in self.bound:
            self.times_bound[name] = self.times_bound.get(name, 0) + 1

    def _collect(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                self.read.append(node)
            else:
                self.bound.append((node.id, node.lineno))
        elif isinstance(node, ast.arg):
            if node.arg != "self":
                self.bound.append((node.arg, node.lineno))
        elif isinstance(node, ast.ClassDef):
            self.methods.update(part for part in node.body if isinstance(part, ast.FunctionDef))
        elif isinstance(node, ast.FunctionDef):
            if node not in self.methods:
                self.bound.append((node.name, node.lineno))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                if isinstance(node, ast.Import):
                    self.modules[name] = alias.name
                else:
                    self.members[name] = str(node.module)
                self.bound.append((name, node.lineno))

    def bound_problems(self) -> Iterator[Problem]:
        for name, line in self.bound:
            if name in _READY_MADE or name == "self" or name == CLASS_NAME:
                yield Problem(line, "name", f"`{name}` has a meaning already; choose another name")
            elif name.startswith("__"):
                yield Problem(line, "dunder", f"`{name}` is not available; use a plain name")
            elif name in {**self.modules, **self.members} and self.times_bound[name] > 1:
                yield Problem(line, "name", f"`{name}` is imported; choose another name")

    def unknown_problems(self, undefined: set[str]) -> Iterator[Problem]:
        known = sorted({name for name, _ in self.bound} | BUILTINS)
        for node in self.read:
            if node.id not in undefined:
                continue
            if node.id in WRITE_INSTEAD_OF_NAME:
                message = f"`{node.id}` is not available: {WRITE_INSTEAD_OF_NAME[node.id]}"
            elif node.id.startswith("__"):
                message = f"`{node.id}` is not available; use plain names"
            else:
                close = difflib.get_close_matches(node.id, known, n=1)
                hint = f"; did you mean `{close[0]}`?" if close else "; define it"
                message = f"`{node.id}` is not defined{hint}"
            yield Problem(node.lineno, "name", message)

    def unbound_problems(self, methods: set[str]) -> Iterator[Problem]:
        # Called without its object, a method would take anything for `self`.
        for node in self.read:
            if node.id in methods:
                yield Problem(node.lineno, "name", f"reach the method as `self.{node.id}`")

    def used_problems(self) -> Iterator[Problem]:
        attributes = [node for node in self.nodes if isinstance(node, ast.Attribute)]
        bases = {id(node.value) for node in attributes}
        annotated = {id(part) for node in self.nodes for part in _annotation_parts(node)}
        for node in self.read:
            home = self.modules.get(node.id, self.members.get(node.id))
            if id(node) in annotated:
                continue
            if node.id == CLASS_NAME:
                yield Problem(node.lineno, "name", "reach methods and constants through self")
            elif home in TYPING_MODULES:
                message = f"`{node.id}` of {home} is available in annotations only"
                yield Problem(node.lineno, "name", message)
            elif node.id in self.modules and id(node) not in bases:
                message = f"the module {home} is no value; write `{node.id}.name`"
                yield Problem(node.lineno, "name", message)
        for attribute in attributes:
            if isinstance(attribute.value, ast.Name):
                yield from self._attribute_problems(attribute, attribute.value.id)

    def _attribute_problems(self, node: ast.Attribute, base: str) -> Iterator[Problem]:
        module = self.modules.get(base)
        if base == "self" and node.attr not in self.attributes:
            close = difflib.get_close_matches(node.attr, sorted(self.attributes), n=1)
            hint = f"; did you mean `self.{close[0]}`?" if close else ""
            yield Problem(node.lineno, "name", f"the class defines no `self.{node.attr}`{hint}")
        elif module in MODULES and node.attr not in MODULES[module]:
            there = ", ".join(sorted(MODULES[module]))
            message = f"`{module}.{node.attr}` is not available; of {module} there are: {there}"
            yield Problem(node.lineno, "name", message)


def _annotation_parts(node: ast.AST) -> Iterator[ast.AST]:
    for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        if isinstance(annotation, ast.AST):
            yield from ast.walk(annotation)
