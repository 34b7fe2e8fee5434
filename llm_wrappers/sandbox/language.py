"""What planners must do without: what Monty lacks, and what hides where an answer comes from."""

from __future__ import annotations

import ast
from collections import Counter

__all__ = [
    "CLASS_NAME",
    "METHODS",
    "MODULES",
    "MUTATORS",
    "TYPING_MODULES",
    "WRITE_INSTEAD",
    "WRITE_INSTEAD_OF_NAME",
]

CLASS_NAME = "OptimizedGoalGenerator"

WRITE_INSTEAD: dict[type[ast.AST], str] = {
    ast.AsyncFunctionDef: "`async def` is not available; write a plain `def`",
    ast.Delete: "`del` is not available; build a new list or dict without the item, or use pop()",
    ast.Global: "`global` is not available; a planner keeps nothing between calls",
    ast.Yield: "`yield` is not available; append to a list and return it",
    ast.YieldFrom: "`yield from` is not available; append to a list and return it",
}

_NO_REFLECTION = "looking into objects is not available; use facts[...] and isinstance()"
_NO_INPUT = "a planner reads nothing but the facts it is given"
_NO_CODE = "running code from text is not available; write the code itself"
_NOT_STABLE = "its value differs from run to run; the answer must depend on the facts alone"
_PLAIN_CLASS = "write plain methods with self, or functions outside of the class"

WRITE_INSTEAD_OF_NAME: dict[str, str] = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__"), _NO_CODE),
    **dict.fromkeys(("open", "input", "breakpoint"), _NO_INPUT),
    **dict.fromkeys(("hash", "id"), _NOT_STABLE),
    **dict.fromkeys(("staticmethod", "classmethod", "property", "super", "object"), _PLAIN_CLASS),
    # Monty has some of these, and they say of a list that it has no `append`.
    **dict.fromkeys(
        ("getattr", "setattr", "delattr", "hasattr", "vars", "dir", "locals", "globals"),
        _NO_REFLECTION,
    ),
    "callable": _NO_REFLECTION,
    # In Monty a generator expression is a list.
    "next": "write a for loop that returns the first match",
}

METHODS = frozenset(
    name
    for kind in (str, list, tuple, dict, set, Counter)
    for name in dir(kind)
    if not name.startswith("_")
)
"""The methods of plain values, which Monty can call and cannot hand around."""

MUTATORS = (
    "add", "append", "clear", "discard", "extend", "insert", "pop", "remove", "reverse",
    "setdefault", "sort", "update",
)  # fmt: skip

MODULES = ("math", "collections")
"""What a planner may import; other modules are not there, or tell the time, or draw at random."""

TYPING_MODULES = frozenset({"typing", "__future__"})
"""Modules that may be imported for annotations."""
