"""What a planner must not change: its answer depends on the facts of one state alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeGuard

from llm_wrappers.guidance.runtime.language import MUTATORS
from llm_wrappers.guidance.runtime.source import Problem

__all__ = ["attributes_of_self", "state_problems"]


def state_problems(tree: ast.Module) -> list[Problem]:
    """Return where methods change what is kept between calls, or the facts they are given."""
    nodes = list(ast.walk(tree))
    bound = [name for node in nodes for name in _bound_by(node)]
    # A name that is bound only once means the same wherever it is written.
    constants = {name for name in _assigned_at_top(tree) if bound.count(name) == 1}
    return [
        Problem(changed.lineno, "state", message)
        for function in nodes
        if isinstance(function, ast.FunctionDef)
        for changed in _changed_in(function)
        for message in _objections(changed, function, constants, bound)
    ]


def attributes_of_self(tree: ast.Module) -> set[str]:
    """Return the names that can be reached through `self` in the classes of a planner."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names.update(part.name for part in node.body if isinstance(part, ast.FunctionDef))
            names.update(name for part in node.body for name in _stored_by(part))
        elif _is_attribute_of_self(node) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return names


def _objections(
    changed: ast.expr, function: ast.FunctionDef, constants: set[str], bound: list[str]
) -> Iterator[str]:
    if _is_attribute_of_self(changed) and function.name != "__init__":
        yield f"`self.{changed.attr}` is changed and kept between calls; {_PURE}"
    elif isinstance(changed, ast.Name):
        name = changed.id
        if name in constants:
            yield f"`{name}` is changed and kept between calls; {_PURE}"
        # A parameter that is bound again may be a copy by now.
        if _facts_of(function) == name and name not in bound:
            yield f"facts must not be changed; work on a copy: dict({name})"


_PURE = "the answer must depend on the facts alone"


def _facts_of(function: ast.FunctionDef) -> str | None:
    """Return the name of the parameter of `generate` that holds the facts."""
    names = [argument.arg for argument in function.args.args]
    return names[1] if function.name == "generate" and len(names) > 1 else None


def _changed_in(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Return what is changed in place: x of `x[k] = v`, `x[k] += v` and `x.append(v)`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield node.value
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in MUTATORS:
            yield called.value


def _assigned_at_top(tree: ast.Module) -> set[str]:
    return {name for node in tree.body for name in _stored_by(node)}


def _stored_by(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield from (name for part in ast.walk(target) for name in _bound_by(part))


def _bound_by(node: ast.AST) -> list[str]:
    stores = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    return [node.id] if stores and isinstance(node, ast.Name) else []


def _is_attribute_of_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )
