"""Planner source to guarded code: each construct that can cost much pays for itself."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TypeVar

from llm_wrappers.guidance.runtime.language import words

__all__ = ["rewritten"]

_Node = TypeVar("_Node", bound=ast.AST)

_OPERATORS = {ast.Add: "add", ast.Mult: "multiply", ast.Pow: "power", ast.Mod: "remainder"}
_IN_PLACE = {**_OPERATORS, ast.Add: "add_to", ast.Mult: "multiply_to"}
_COMBINES = (ast.Sub, ast.BitOr, ast.BitAnd, ast.BitXor)
# Methods that compare, copy or print what they are called on.
_LOOKS_AT_ITSELF = words(
    """
    copy count difference index intersection isdisjoint issubset issuperset most_common remove
    reverse sort symmetric_difference union
    """
)
# Methods that keep what they are given as it is.
_KEEPS = frozenset({"append", "insert", "items", "keys", "values"})


def rewritten(tree: ast.Module) -> ast.Module:
    """Return the tree of a planner that passed the lint, with its operators guarded.

    What the guard adds is called by names with a leading ``@``, which no source can spell.

    Args:
        tree: Is changed.
    """
    changed = _Rewriter().visit(tree)
    assert isinstance(changed, ast.Module)
    return ast.fix_missing_locations(changed)


class _Rewriter(ast.NodeTransformer):
    """Replaces one kind of node per method; children first."""

    def visit_Import(self, node: ast.Import) -> None:
        """Drop it; the names are there already."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Drop it; the names are there already."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        node.body.insert(0, _at(node, ast.Expr(_call("tick"))))
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        node.body = _at(node.body, ast.BoolOp(ast.And(), [_call("tick"), node.body]))
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return _at(node, ast.Pass())
        assigned = ast.Assign(targets=[node.target], value=node.value, type_comment=None)
        return self.generic_visit(_at(node, assigned))

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.iter = _at(node.iter, _call("each", node.iter))
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.iter = _at(node.iter, _call("each", node.iter))
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        node.body.insert(0, _at(node, ast.Expr(_call("tick"))))
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        name = _OPERATORS.get(type(node.op))
        if _makes_a_number(node):
            return node
        if isinstance(node.op, _COMBINES):
            operation = ast.Constant(type(node.op).__name__)
            return _at(node, _call("combine", operation, node.left, node.right))
        return node if name is None else _at(node, _call(name, node.left, node.right))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.target, ast.Subscript):
            operator = ast.Constant(type(node.op).__name__)
            holder, key = node.target.value, node.target.slice
            return _at(node, ast.Expr(_call("augment", operator, holder, key, node.value)))
        assert isinstance(node.target, ast.Name)
        old = ast.Name(node.target.id, ast.Load())
        if isinstance(node.op, _COMBINES):
            value = _call("combine_to", ast.Constant(type(node.op).__name__), old, node.value)
        elif type(node.op) in _IN_PLACE:
            value = _call(_IN_PLACE[type(node.op)], old, node.value)
        else:
            return node
        return _at(node, ast.Assign(targets=[node.target], value=value, type_comment=None))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        operands = [node.left, *node.comparators]
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
            return self._contains(node)
        for position, operator in enumerate(node.ops):
            pair = operands[position : position + 2]
            # Identity looks at nothing, and a constant differs from what is large at once.
            constant = any(isinstance(side, ast.Constant) for side in pair)
            by_value = not isinstance(operator, ast.Is | ast.IsNot) and not constant
            if by_value or isinstance(operator, ast.In | ast.NotIn):
                operands[position : position + 2] = [_small(side) for side in pair]
        node.left, node.comparators = operands[0], operands[1:]
        return node

    def _contains(self, node: ast.Compare) -> ast.AST:
        found = _at(node, _call("contains", node.comparators[0], node.left))
        return (
            found if isinstance(node.ops[0], ast.In) else _at(node, ast.UnaryOp(ast.Not(), found))
        )

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.slice, ast.Slice):
            node.value = _small(node.value)
        else:
            node.slice = _small(node.slice)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        self.generic_visit(node)
        node.keys = [None if key is None else _small(key) for key in node.keys]
        return node

    def visit_Set(self, node: ast.Set) -> ast.AST:
        self.generic_visit(node)
        node.elts = [_small(item) for item in node.elts]
        return node

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        # As in Monty; and a generator would lead to the frames of this process.
        return self.generic_visit(_at(node, ast.ListComp(node.elt, node.generators)))

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        self.generic_visit(node)
        node.key = _small(node.key)
        return node

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        self.generic_visit(node)
        node.elt = _small(node.elt)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        for part in node.values:
            # A format is constant text, which must stay as it is.
            if isinstance(part, ast.FormattedValue):
                part.value = _small(self.visit(part.value))
        return _at(node, _call("text", node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        method = node.func
        if not isinstance(method, ast.Attribute) or _is_name(method.value, "self"):
            return node
        if method.attr in ("join", "replace", "split"):
            return _at(node, _call(method.attr, method.value, *node.args))
        if method.attr in _LOOKS_AT_ITSELF:
            method.value = _small(method.value)
        if method.attr == "extend":
            node.args = [_at(item, _call("taken", item)) for item in node.args]
        elif method.attr not in _KEEPS:
            node.args = [_small(item) for item in node.args]
        for keyword in node.keywords:
            if keyword.arg == "key":
                keyword.value = _at(keyword.value, _call("keyed", keyword.value))
        return node


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name("@" + name, ast.Load()), list(arguments), [])


def _at(place: ast.AST, node: _Node) -> _Node:
    return ast.copy_location(node, place)


def _small(node: ast.expr) -> ast.expr:
    return node if _is_plain(node) else _at(node, _call("small", node))


def _is_plain(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(isinstance(item, ast.Constant) for item in node.elts)
    already = isinstance(node, ast.Call) and _is_name(node.func, "@small")
    return already or isinstance(node, ast.Constant)


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _makes_a_number(node: ast.BinOp) -> bool:
    """Return whether a constant says that this is arithmetic with a small result."""
    constants: Sequence[object] = [
        side.value for side in (node.left, node.right) if isinstance(side, ast.Constant)
    ]
    numbers = [value for value in constants if type(value) in (int, float)]
    if isinstance(node.op, ast.Add | ast.Sub):
        return bool(numbers)
    if isinstance(node.op, ast.Mult):
        return any(type(value) is float for value in numbers)
    if isinstance(node.op, ast.Mod):
        return isinstance(node.left, ast.Constant) and bool(numbers)
    return False
