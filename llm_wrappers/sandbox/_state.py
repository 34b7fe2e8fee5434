"""What a planner must not change: its answer depends on the facts of one state alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from llm_wrappers.sandbox.language import CLASS_NAME, MUTATORS
from llm_wrappers.sandbox.source import Problem

__all__ = ["attributes_of_self", "facts_of", "is_of_self", "state_problems"]

_PURE = "the answer must depend on the facts alone"


def state_problems(tree: ast.Module) -> Iterator[Problem]:
    """Return where a planner changes what is kept between calls, or the facts it is given."""
    nodes = list(ast.walk(tree))
    bound = [name for node in nodes for name in _bound_by(node)]
    # A name that is bound only once means the same wherever it is written.
    constants = {n for part in tree.body for n in _stored_by(part) if bound.count(n) == 1}
    for function in nodes:
        if isinstance(function, ast.FunctionDef):
            for default in [*function.args.defaults, *function.args.kw_defaults]:
                if isinstance(default, ast.List | ast.Dict | ast.Set | ast.Call):
                    message = "a default that can change is kept between calls; use None"
                    yield Problem(default.lineno, "state", message)
            for changed in _changed_in(function):
                if isinstance(changed, ast.Name) and changed.id in constants:
                    message = f"`{changed.id}` is changed and kept between calls; {_PURE}"
                    yield Problem(changed.lineno, "state", message)
    for method in _methods(tree):
        yield from _method_problems(method, facts_of(tree))


def _method_problems(method: ast.FunctionDef, facts: set[str]) -> Iterator[Problem]:
    may_set = method.name == "__init__"
    for node in ast.walk(method):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            base = getattr(node.value, "id", None)
            if base == CLASS_NAME or (base == "self" and not may_set):
                message = f"attributes may be set as `self.x = ...` in __init__ only; {_PURE}"
                yield Problem(node.lineno, "state", message)
    for changed in _changed_in(method):
        if is_of_self(changed) and not may_set:
            message = f"`self.{changed.attr}` is changed and kept between calls; {_PURE}"
            yield Problem(changed.lineno, "state", message)
        elif method.name == "generate" and getattr(changed, "id", None) in facts:
            message = f"facts must not be changed; work on a copy: dict({ast.unparse(changed)})"
            yield Problem(changed.lineno, "state", message)


def attributes_of_self(tree: ast.Module) -> set[str]:
    """Return the names that can be reached through `self` in the classes of a planner."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names.update(part.name for part in node.body if isinstance(part, ast.FunctionDef))
            names.update(name for part in node.body for name in _stored_by(part))
        elif is_of_self(node) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def facts_of(tree: ast.Module) -> set[str]:
    """Return the name that `generate` gives the facts; none if it is bound again, as to a copy."""
    names = {
        method.args.args[1].arg
        for method in _methods(tree)
        if method.name == "generate" and len(method.args.args) > 1
    }
    return names - {name for node in ast.walk(tree) for name in _bound_by(node)}


def is_of_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Return whether this is `self.x`, for any x."""
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "self"


def _methods(tree: ast.Module) -> list[ast.FunctionDef]:
    return [
        part
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == CLASS_NAME
        for part in node.body
        if isinstance(part, ast.FunctionDef)
    ]


def _changed_in(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Return what is changed in place: x of `x[k] = v`, `x[k] += v` and `x.append(v)`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield node.value
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in MUTATORS:
            yield called.value


def _stored_by(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield from (name for part in ast.walk(target) for name in _bound_by(part))


def _bound_by(node: ast.AST) -> list[str]:
    stores = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    return [node.id] if stores and isinstance(node, ast.Name) else []
