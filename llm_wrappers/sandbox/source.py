"""A planner's source as a syntax tree, and what it must do without; nothing is executed."""

from __future__ import annotations

import ast
import hashlib
import io
import symtable
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import CodeType

from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.sandbox.answers import one_line

__all__ = [
    "CLASS_NAME",
    "METHODS",
    "MODULES",
    "MUTATORS",
    "TYPING_MODULES",
    "WRITE_INSTEAD",
    "WRITE_INSTEAD_OF_NAME",
    "Problem",
    "SourceError",
    "checked_source",
    "declared_reads",
    "hash_of",
    "parsed",
    "quietly_compiled",
    "symbols",
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


# Our choices. A planner has about 7,000 characters; what is deep or long enough can make the
# parser of an older Python overflow its stack.
MOST_CHARACTERS = 50_000
_MOST_TOKENS_PER_STATEMENT = 4_000


@dataclass(frozen=True)
class Problem:
    """One thing that a planner's source must change.

    Args:
        line: Where, counted from 1.
        rule: A short name of what is violated, such as ``"import"``.
        message: What is wrong and what to write instead, for a person or a language model.

    >>> print(Problem(3, "import", "`import os` is not available"))
    line 3: `import os` is not available
    """

    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class SourceError(Exception):
    """The source cannot be parsed; holds the one problem that says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def parsed(source: str) -> ast.Module:
    """Return the syntax tree of a source.

    Raises:
        SourceError: If it is too long, too deep or no Python.
    """
    if len(source) > MOST_CHARACTERS:
        raise SourceError(
            Problem(1, "size", f"write at most {MOST_CHARACTERS:,} characters, not {len(source):,}")
        )
    if "\0" in source:
        line = source[: source.index("\0")].count("\n") + 1
        raise SourceError(Problem(line, "syntax", "remove the null byte; write plain text"))
    if source.startswith("\ufeff"):
        raise SourceError(Problem(1, "syntax", "remove the byte order mark at the start"))
    try:
        # A source without an end of its tokens is one that Python can say more about.
        with suppress(tokenize.TokenError, SyntaxError):
            _check_tokens(source)
        with _no_warnings():
            return ast.parse(source)
    except SyntaxError as error:
        raise SourceError(syntax_problem(error)) from None
    except (RecursionError, MemoryError):
        raise SourceError(_too_deep(1)) from None
    except ValueError as error:
        message = f"not valid Python: {one_line(str(error), most=120)}"
        raise SourceError(Problem(1, "syntax", message)) from None


def quietly_compiled(tree: ast.Module, *, name: str) -> CodeType:
    """Return the code of a tree; nothing is executed."""
    with _no_warnings():
        return compile(tree, name, "exec", dont_inherit=True)


def syntax_problem(error: SyntaxError) -> Problem:
    """Return what Python itself objects to."""
    message = f"not valid Python: {one_line(error.msg, most=120)}"
    return Problem(error.lineno or 1, "syntax", message)


def symbols(source: str) -> symtable.SymbolTable:
    """Return the symbol table of a source; nothing is executed."""
    with _no_warnings():
        return symtable.symtable(source, "planner", "exec")


def checked_source(source: str, *, name: str) -> ast.Module:
    """Return the tree of a source that has the form of a planner, without executing it.

    Raises:
        GuidanceFileError: If it cannot be parsed, has no class `OptimizedGoalGenerator` with a
            method `generate`, or names what it reads in another way than a tuple of texts.
    """
    try:
        tree = parsed(source)
        declared_reads(tree)
    except SourceError as error:
        raise GuidanceFileError(f"{name}: {error}") from None
    if not any(_is_generator(node) for node in tree.body):
        raise GuidanceFileError(
            f"{name}: expected a class {CLASS_NAME} with a method generate(self, facts)"
        )
    return tree


def declared_reads(tree: ast.Module) -> tuple[str, ...] | None:
    """Return the facts that a planner names in ``READS``, or None where it names none.

    Raises:
        SourceError: If ``READS`` is not one literal tuple of texts.
    """
    found = [node for node in tree.body if _assigns_reads(node)]
    if not found:
        return None
    value = found[-1].value if isinstance(found[-1], ast.Assign | ast.AnnAssign) else None
    if len(found) == 1 and isinstance(value, ast.Constant) and value.value is None:
        return None
    if len(found) == 1 and isinstance(value, ast.Tuple | ast.List):
        names = [item.value for item in value.elts if isinstance(item, ast.Constant)]
        if len(names) == len(value.elts) and all(type(name) is str for name in names):
            return tuple(str(name) for name in names)
    raise SourceError(
        Problem(
            found[-1].lineno,
            "reads",
            'READS must be written once, as a tuple of the names of facts: READS = ("wood", ...)',
        )
    )


def hash_of(source: str) -> str:
    """Return the hash by which a planner is known."""
    return hashlib.sha256(source.encode()).hexdigest()


@contextmanager
def _no_warnings() -> Iterator[None]:
    # Warnings of style, such as of "is" with a number, must not become errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _assigns_reads(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == "READS" for target in targets)


def _is_generator(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.ClassDef)
        and node.name == CLASS_NAME
        and any(isinstance(part, ast.FunctionDef) and part.name == "generate" for part in node.body)
    )


def _check_tokens(source: str) -> None:
    tokens = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        tokens = 0 if token.type == tokenize.NEWLINE else tokens + 1
        if tokens > _MOST_TOKENS_PER_STATEMENT:
            raise SourceError(_too_deep(token.start[0]))
        # Python reads many look-alikes as the ASCII letters; nobody should have to know which.
        named = token.type in (tokenize.NAME, tokenize.ERRORTOKEN)
        if named and not token.string.isascii():
            raise SourceError(
                Problem(token.start[0], "name", "use names of ASCII letters, digits and _ only")
            )


def _too_deep(line: int) -> Problem:
    return Problem(line, "size", "this is nested too deeply or too long; split it into statements")
