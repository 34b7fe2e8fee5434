"""What Monty does not run, or does not run as it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from llm_wrappers.sandbox._state import attributes_of_self, facts_of
from llm_wrappers.sandbox.language import METHODS, MODULES, TYPING_MODULES, WRITE_INSTEAD
from llm_wrappers.sandbox.source import Problem

__all__ = ["syntax_problems"]

_NO_REFLECTION = "use facts[...], plain methods of texts, lists and dicts, and self"
_IN_CLASSES = (ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.Pass)


def syntax_problems(tree: ast.Module) -> Iterator[Problem]:
    """Return the constructs of a planner that need another form."""
    nodes = list(ast.walk(tree))
    for node in nodes:
        if type(node) in WRITE_INSTEAD:
            yield Problem(getattr(node, "lineno", 1), "construct", WRITE_INSTEAD[type(node)])
        elif isinstance(node, ast.Import):
            yield from _import_problems([alias.name for alias in node.names], node)
        elif isinstance(node, ast.ImportFrom):
            yield from _import_problems([str(node.module)], node)
        elif isinstance(node, ast.ClassDef):
            yield from _class_problems(node)
    yield from _attribute_problems(tree, nodes)


def _import_problems(modules: list[str], node: ast.Import | ast.ImportFrom) -> Iterator[Problem]:
    for module in modules:
        if module not in MODULES and module not in TYPING_MODULES:
            there = f"only {', '.join(MODULES)} and typing are"
            yield Problem(node.lineno, "import", f"`import {module}` is not available; {there}")


def _class_problems(node: ast.ClassDef) -> Iterator[Problem]:
    if node.bases or node.keywords:
        message = f"inheritance is not available; write `class {node.name}:`"
        yield Problem(node.lineno, "class", message)
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            yield from _method_problems(part)
        elif not isinstance(part, _IN_CLASSES) and not _is_docstring(part):
            yield Problem(part.lineno, "class", "a class may hold methods and constants only")


def _method_problems(method: ast.FunctionDef) -> Iterator[Problem]:
    if method.decorator_list:
        message = "decorators are not available; write a plain method with self"
        yield Problem(method.lineno, "decorator", message)
    first = (method.args.posonlyargs + method.args.args)[:1]
    if [argument.arg for argument in first] != ["self"]:
        message = f"the first parameter of the method {method.name} must be self"
        yield Problem(method.lineno, "self", message)


def _attribute_problems(tree: ast.Module, nodes: list[ast.AST]) -> Iterator[Problem]:
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    own = attributes_of_self(tree)
    imported = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    facts = facts_of(tree)
    for node in nodes:
        if not isinstance(node, ast.Attribute):
            continue
        base = node.value.id if isinstance(node.value, ast.Name) else None
        if node.attr.startswith("__") or (base in facts and node.attr not in METHODS):
            message = f"`.{node.attr}` is not available; {_NO_REFLECTION}"
            yield Problem(node.lineno, "attribute", message)
        elif node.attr in METHODS - own and base not in imported and id(node) not in called:
            message = (
                f"call `.{node.attr}(...)` where you need it, or write "
                f"`lambda x: values.{node.attr}(x)`"
            )
            yield Problem(node.lineno, "attribute", message)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
