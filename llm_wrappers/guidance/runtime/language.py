"""The part of Python in which planners are written: tables for the lint and for the guard.

Everything here also runs in Monty, with the same result.
"""

from __future__ import annotations

import ast

__all__ = [
    "BUILTINS",
    "CLASS_NAME",
    "EXCEPTIONS",
    "METHODS",
    "MODULES",
    "MUTATORS",
    "NODES",
    "TYPING_MODULES",
    "WRITE_INSTEAD",
    "WRITE_INSTEAD_OF_NAME",
    "words",
]


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


CLASS_NAME = "OptimizedGoalGenerator"

NODES = words(
    """
    Module FunctionDef ClassDef Return Assign AugAssign AnnAssign For While If Raise Try Assert
    Import ImportFrom Expr Pass Break Continue ExceptHandler arguments arg keyword alias
    BoolOp NamedExpr BinOp UnaryOp Lambda IfExp Dict Set ListComp SetComp DictComp GeneratorExp
    comprehension Compare Call FormattedValue JoinedStr Constant Attribute Subscript Name List
    Tuple Slice Load Store And Or Not Invert UAdd USub
    Add Sub Mult Div FloorDiv Mod Pow BitOr BitAnd BitXor
    Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn
    """
)

WRITE_INSTEAD: dict[type[ast.AST], str] = {
    ast.AsyncFunctionDef: "`async def` is not available; write a plain `def`",
    ast.Await: "`await` is not available; a planner waits for nothing",
    ast.Delete: "`del` is not available; build a new list or dict without the item, or use pop()",
    ast.With: "`with` is not available; a planner opens nothing",
    ast.Match: "`match` is not available; write if / elif / else",
    ast.Global: "`global` is not available; a planner keeps nothing between calls",
    ast.Nonlocal: "`nonlocal` is not available; return the value instead",
    ast.Yield: "`yield` is not available; append to a list and return it",
    ast.YieldFrom: "`yield from` is not available; append to a list and return it",
    ast.Starred: "unpacking with `*` is not available; add lists with + and name the arguments",
    ast.LShift: "`<<` is not available; write a multiplication",
    ast.RShift: "`>>` is not available; write a division with //",
    ast.MatMult: "`@` is not available; write a sum of products",
}

BUILTINS = words(
    """
    abs all any bool dict divmod enumerate filter float frozenset int isinstance len list map max
    min range reversed round set sorted str sum tuple zip
    """
)

EXCEPTIONS = words(
    """
    Exception ArithmeticError AssertionError AttributeError IndexError KeyError LookupError
    NotImplementedError OverflowError RuntimeError TypeError ValueError ZeroDivisionError
    """
)

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
    **dict.fromkeys(
        ("getattr", "setattr", "delattr", "hasattr", "vars", "dir", "locals", "globals", "type"),
        _NO_REFLECTION,
    ),
    "callable": _NO_REFLECTION,
    "print": "nobody reads what a planner prints; remove it",
    "next": "write a for loop that returns the first match",
    "iter": "write a for loop",
    "slice": "write x[a:b]",
    "pow": "write a ** b",
    "format": 'write an f-string such as f"{x:.2f}"',
    "BaseException": "name a narrower exception, such as KeyError",
    "__name__": "remove the `if __name__ == ...` part; only the class is used",
}

METHODS = words(
    """
    add append capitalize clear copy count difference discard endswith extend find get index insert
    intersection isalpha isdigit isdisjoint issubset issuperset items join keys lower lstrip
    most_common pop remove replace reverse rstrip setdefault sort split startswith strip
    symmetric_difference title union update upper values
    """
)
"""The methods that may be called on any value."""

MUTATORS = words("add append clear discard extend insert pop remove reverse setdefault sort update")

MODULES: dict[str, frozenset[str]] = {
    "math": words(
        """
        atan2 ceil copysign cos degrees e exp fabs floor hypot inf isfinite isinf isnan log log10
        log2 nan pi radians sin sqrt tan tanh trunc
        """
    ),
    "collections": frozenset({"Counter", "defaultdict"}),
}
"""Importable module -> what of it may be used."""

TYPING_MODULES = frozenset({"typing", "__future__"})
"""Modules that may be imported for annotations alone."""
