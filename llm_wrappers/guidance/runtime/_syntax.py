"""Which constructs a planner may use: rules that look at one node and what surrounds it."""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Callable, Iterator

from llm_wrappers.guidance.runtime.language import (
    EXCEPTIONS,
    METHODS,
    MODULES,
    NODES,
    TYPING_MODULES,
    WRITE_INSTEAD,
)
from llm_wrappers.guidance.runtime.source import Problem

__all__ = ["syntax_problems"]

_IN_ANNOTATIONS = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.BinOp,
    ast.BitOr, ast.Load,
)  # fmt: skip
_FORMAT = re.compile(r"[<>^]?[+]?0?\d{0,2}(\.\d{1,2})?[dfgse%]?")
_LARGEST_INT = 10**30
# The attributes by which frames, code, generators and tracebacks lead to each other.
_INTERNALS = frozenset(
    name
    for kind in vars(types).values()
    if isinstance(kind, type)
    for name in dir(kind)
    if re.match(r"[a-z]{1,2}_", name)
)
_Rule = Callable[["_Syntax", ast.AST], "Iterator[tuple[str, str]]"]


def syntax_problems(tree: ast.Module) -> list[Problem]:
    """Return the constructs of a tree that are outside the language of planners."""
    return list(_Syntax(tree).problems())


class _Syntax:
    """The nodes of one tree, each with its parent, and the rules for them."""

    def __init__(self, tree: ast.Module) -> None:
        self.parent: dict[ast.AST, ast.AST] = {}
        self.nodes: list[ast.AST] = []
        self.annotations: list[ast.expr] = []
        self.modules: set[str] = set()
        # A list and not recursion, because a source may be nested as deep as it likes.
        waiting: list[ast.AST] = [tree]
        while waiting:
            node = waiting.pop()
            self.nodes.append(node)
            if isinstance(node, ast.Import):
                self.modules.update(alias.asname or alias.name for alias in node.names)
            for field, value in ast.iter_fields(node):
                for child in value if isinstance(value, list) else [value]:
                    if not isinstance(child, ast.AST):
                        continue
                    self.parent[child] = node
                    if field in ("annotation", "returns") and isinstance(child, ast.expr):
                        self.annotations.append(child)
                    else:
                        waiting.append(child)

    def problems(self) -> Iterator[Problem]:
        for node in self.nodes:
            name = type(node).__name__
            if name not in NODES:
                message = WRITE_INSTEAD.get(type(node), f"`{name}` is not available")
                yield Problem(self._line(node), "construct", message)
            elif name in _RULES:
                for rule, message in _RULES[name](self, node):
                    yield Problem(self._line(node), rule, message)
        for annotation in self.annotations:
            if not all(isinstance(part, _IN_ANNOTATIONS) for part in ast.walk(annotation)):
                message = "annotations may be names and X[...] only; leave them out"
                yield Problem(annotation.lineno, "annotation", message)

    def _line(self, node: ast.AST) -> int:
        while not hasattr(node, "lineno") and node in self.parent:
            node = self.parent[node]
        return int(getattr(node, "lineno", 1))

    def is_method(self, node: ast.AST) -> bool:
        return isinstance(self.parent.get(node), ast.ClassDef)

    def check_import(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.Import | ast.ImportFrom)
        if not isinstance(self.parent[node], ast.Module):
            yield "import", "write imports at the top of the file"
        for alias in node.names:
            module = alias.name if isinstance(node, ast.Import) else str(node.module)
            if module in TYPING_MODULES and alias.name != "*":
                continue
            if module not in MODULES or (isinstance(node, ast.ImportFrom) and node.level):
                yield "import", f"`import {module}` is not available; only {_MODULES} are"
            elif isinstance(node, ast.ImportFrom) and alias.name not in MODULES[module]:
                yield "import", _not_in_module(module, alias.name)

    def check_class(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.ClassDef)
        if node.bases or node.keywords:
            yield "class", f"inheritance is not available; write `class {node.name}:`"
        if node.decorator_list:
            yield "class", "decorators are not available; remove them"
        for part in node.body:
            plain = isinstance(part, ast.FunctionDef | ast.Assign | ast.AnnAssign | ast.Pass)
            if not plain and not _is_docstring(part):
                yield "class", "a class may hold methods and constants only"

    def check_function(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.FunctionDef)
        if node.decorator_list:
            yield "decorator", "decorators are not available; write a plain method with self"
        first = (node.args.posonlyargs + node.args.args)[:1]
        if self.is_method(node) and [argument.arg for argument in first] != ["self"]:
            yield "self", f"the first parameter of the method {node.name} must be self"
        if node.name.startswith("__") and not (node.name == "__init__" and self.is_method(node)):
            yield "dunder", f"`{node.name}` is not available; give the method a plain name"

    def check_arguments(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.arguments)
        if node.vararg is not None or node.kwarg is not None:
            yield "arguments", "`*args` and `**kwargs` are not available; name the parameters"
        for default in [*node.defaults, *node.kw_defaults]:
            if isinstance(default, ast.List | ast.Dict | ast.Set | ast.Call):
                yield "state", "a default that can change is kept between calls; use None"
        owner = self.parent[node]
        names = [argument.arg for argument in node.posonlyargs + node.args + node.kwonlyargs]
        if "self" in names[1 if self.is_method(owner) else 0 :]:
            yield "self", "only the first parameter of a method may be called self"

    def check_try(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.Try)
        if node.finalbody:
            yield "construct", "`finally` is not available; write the code behind the try"

    def check_handler(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.ExceptHandler)
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if not all(isinstance(kind, ast.Name) and kind.id in EXCEPTIONS for kind in caught):
            yield "except", "name what is caught, as in `except KeyError:`"
        if node.name is not None:
            yield "except", f"write the `except` without `as {node.name}`"

    def check_raise(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.Raise)
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        named = raised is None or (isinstance(raised, ast.Name) and raised.id in EXCEPTIONS)
        if not named or node.cause is not None:
            yield "raise", 'write `raise ValueError("what is wrong")`'

    def check_attribute(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.Attribute)
        base = node.value.id if isinstance(node.value, ast.Name) else None
        if node.attr.startswith("__") or node.attr in _INTERNALS:
            yield "dunder", f"`.{node.attr}` is not available; {_NO_REFLECTION}"
        elif isinstance(node.ctx, ast.Store):
            if base != "self" or not self._is_plain_assignment_in_init(node):
                yield "state", "attributes may be set as `self.x = ...` in __init__ only; " + _PURE
        elif base != "self" and base not in self.modules:
            called = self.parent[node]
            if node.attr not in METHODS:
                yield "attribute", f"`.{node.attr}` is not available; {_NO_REFLECTION}"
            elif not isinstance(called, ast.Call) or called.func is not node:
                yield (
                    "attribute",
                    f"call `.{node.attr}(...)` where you need it, or write "
                    f"`lambda x: values.{node.attr}(x)`",
                )

    def _is_plain_assignment_in_init(self, node: ast.Attribute) -> bool:
        statement = self.parent[node]
        holder = statement
        while not isinstance(holder, ast.FunctionDef | ast.Lambda | ast.Module):
            holder = self.parent[holder]
        plain = isinstance(statement, ast.Assign | ast.AnnAssign)
        return plain and getattr(holder, "name", None) == "__init__" and self.is_method(holder)

    def check_call(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.Call)
        if any(keyword.arg is None for keyword in node.keywords):
            yield "construct", "`**` in a call is not available; name the arguments"

    def check_dict(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.Dict)
        if None in node.keys:
            yield "construct", "`**` in a dict is not available; write a | b"

    def check_constant(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.Constant)
        value = node.value
        if not isinstance(value, str | bool | int | float | None):
            yield "constant", "use texts, numbers, True, False and None only"
        elif isinstance(value, int) and value > _LARGEST_INT:
            yield "constant", "this number is too large; use math.inf"

    def check_format(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.FormattedValue)
        if node.format_spec is None:
            return
        assert isinstance(node.format_spec, ast.JoinedStr)
        parts = node.format_spec.values
        spec = parts[0].value if len(parts) == 1 and isinstance(parts[0], ast.Constant) else None
        if not isinstance(spec, str) or not _FORMAT.fullmatch(spec):
            yield "format", "use a short format such as `.2f` or `>5`"

    def check_operation(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        assert isinstance(node, ast.BinOp)
        text = isinstance(node.left, ast.JoinedStr) or (
            isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
        )
        if text and isinstance(node.op, ast.Mod):
            yield "format", 'formatting with % is not available; write f"{x}"'

    def check_target(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        only_names = isinstance(node, ast.For | ast.comprehension)
        if isinstance(node, ast.comprehension) and node.is_async:
            yield "construct", "`async for` is not available; write a plain `for`"
        for target in targets:
            for part in ast.walk(target) if isinstance(target, ast.Tuple | ast.List) else [target]:
                if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Slice):
                    yield "construct", "assigning to a slice is not available; build a new list"
                elif only_names and isinstance(part, ast.Subscript | ast.Attribute):
                    yield "construct", "loop over plain names, as in `for goal in goals:`"


_NO_REFLECTION = "use facts[...], plain methods of texts, lists and dicts, and self"
_PURE = "the answer must depend on the facts alone"
_MODULES = ", ".join([*MODULES, "typing"][:-1]) + " and typing"


def _not_in_module(module: str, name: str) -> str:
    return f"`{module}.{name}` is not available; of {module} there are {sorted(MODULES[module])}"


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


_RULES: dict[str, _Rule] = {
    "Import": _Syntax.check_import,
    "ImportFrom": _Syntax.check_import,
    "ClassDef": _Syntax.check_class,
    "FunctionDef": _Syntax.check_function,
    "arguments": _Syntax.check_arguments,
    "Try": _Syntax.check_try,
    "ExceptHandler": _Syntax.check_handler,
    "Raise": _Syntax.check_raise,
    "Attribute": _Syntax.check_attribute,
    "Call": _Syntax.check_call,
    "Dict": _Syntax.check_dict,
    "Constant": _Syntax.check_constant,
    "FormattedValue": _Syntax.check_format,
    "BinOp": _Syntax.check_operation,
    "Assign": _Syntax.check_target,
    "AugAssign": _Syntax.check_target,
    "AnnAssign": _Syntax.check_target,
    "For": _Syntax.check_target,
    "comprehension": _Syntax.check_target,
}
