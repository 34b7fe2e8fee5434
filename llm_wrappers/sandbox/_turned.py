"""A planner whose sets are gone through from their end, to find what hangs on their order."""

from __future__ import annotations

import ast

from llm_wrappers.sandbox.source import parsed

__all__ = ["turned"]

_TURN = "_lw_turned"
_HELPER = f"""
def {_TURN}(items):
    return [*items][::-1] if isinstance(items, (set, frozenset)) else items
"""
_TAKES_IN_ORDER = (
    "dict", "enumerate", "extend", "filter", "iter", "join", "list", "map", "max", "min", "sorted",
    "sum", "tuple", "zip",
)  # fmt: skip


def turned(source: str) -> str:
    """Return a source that does the same wherever the order of sets says nothing.

    Monty keeps the members of a set as they came, and Python in an order that may differ from
    process to process.

    Args:
        source: A source that has been parsed before.

    Raises:
        RecursionError: If it is too deep to be written anew.
    """
    tree = parsed(source)
    last_future = max(
        (n for n, node in enumerate(tree.body) if getattr(node, "module", "") == "__future__"),
        default=-1,
    )
    _Turner().visit(tree)
    tree.body[last_future + 1 : last_future + 1] = ast.parse(_HELPER).body
    return ast.unparse(ast.fix_missing_locations(tree))


class _Turner(ast.NodeTransformer):
    """Puts a call around whatever is gone through."""

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.iter = _around(node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.iter = _around(node.iter)
        return node

    def visit_Starred(self, node: ast.Starred) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            node.value = _around(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if getattr(node.func, "id", getattr(node.func, "attr", "")) in _TAKES_IN_ORDER:
            node.args = [a if isinstance(a, ast.Starred) else _around(a) for a in node.args]
        return node


def _around(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(_TURN, ast.Load()), [node], [])
