"""Reading a planner's source before anything runs it, to say early and well what will not do."""

from __future__ import annotations

import ast
import builtins
import difflib
import symtable
from collections.abc import Collection, Iterator
from typing import TypeGuard

from llm_wrappers.sandbox.source import (
    CLASS_NAME,
    METHODS,
    MODULES,
    MUTATORS,
    TYPING_MODULES,
    WRITE_INSTEAD,
    WRITE_INSTEAD_OF_NAME,
    Problem,
    SourceError,
    declared_reads,
    parsed,
    quietly_compiled,
    symbols,
    syntax_problem,
)

__all__ = ["Problem", "lint_planner"]

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


# What Monty lacks of the rest it says itself, by its line.
_READY_MADE = frozenset(dir(builtins)) - WRITE_INSTEAD_OF_NAME.keys()


def name_problems(tree: ast.Module, table: symtable.SymbolTable) -> Iterator[Problem]:
    """Return where a planner uses a name that is not there, with what was perhaps meant."""
    attributes = attributes_of_self(tree)
    bound, undefined = _bound_and_undefined(table)
    known = sorted(bound | {name for name in _READY_MADE if name.islower()})
    for node in ast.walk(tree):
        if is_of_self(node) and node.attr not in attributes:
            hint = _hint(node.attr, attributes, "self.{}")
            yield Problem(node.lineno, "name", f"the class defines no `self.{node.attr}`{hint}")
        elif isinstance(node, ast.Name) and node.id in undefined:
            yield Problem(node.lineno, "name", _undefined(node.id, known, attributes))


def _undefined(name: str, known: list[str], attributes: set[str]) -> str:
    if name in WRITE_INSTEAD_OF_NAME:
        return f"`{name}` is not available: {WRITE_INSTEAD_OF_NAME[name]}"
    if name in attributes:
        return f"`{name}` is not defined; did you mean `self.{name}`?"
    return f"`{name}` is not defined{_hint(name, known, '{}') or '; define it'}"


def _hint(name: str, known: Collection[str], form: str) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean `{form.format(close[0])}`?" if close else ""


def _bound_and_undefined(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """Return all names that are bound anywhere, and those that are looked up where none is."""
    bound: set[str] = set()
    looked_up: set[str] = set()
    defined = {symbol.get_name() for symbol in table.get_symbols() if _is_bound(symbol)}
    waiting = [table]
    while waiting:
        scope = waiting.pop()
        waiting.extend(scope.get_children())
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            if _is_bound(symbol):
                bound.add(name)
            elif symbol.is_referenced() and (scope is table or symbol.is_global()):
                looked_up.add(name)
    return bound, looked_up - defined - _READY_MADE


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_parameter()


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
        yield from _changes_in_method(method, facts_of(tree))


def _changes_in_method(method: ast.FunctionDef, facts: set[str]) -> Iterator[Problem]:
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


_MOST_PROBLEMS = 50


def lint_planner(source: str) -> list[Problem]:
    """Return what a planner's source must change before it is worth running, by lines.

    It names what Monty does not run, what keeps something between calls or takes the answer from
    anything but the facts, and names that nothing defines, each with what to write instead. It
    explains and does not protect: that is Monty's part. The source is never executed.

    Args:
        source: The Python source.

    Returns:
        At most 50 problems; none where there is nothing to say.

    >>> for problem in lint_planner("import os"): print(problem)
    line 1: write a class OptimizedGoalGenerator with a method generate(self, facts)
    line 1: `import os` is not available; only math, collections and typing are
    """
    try:
        tree = parsed(source)
        problems = [
            *syntax_problems(tree),
            *state_problems(tree),
            *_shape_problems(tree),
            *_reads_problems(tree),
            *name_problems(tree, symbols(source)),
        ]
        if not problems:
            # Compiling runs nothing; it finds a `return` outside of a function, for one.
            quietly_compiled(tree, name="planner")
    except SourceError as error:
        return [error.problem]
    except SyntaxError as error:
        # Some mistakes, such as two arguments of one name, are found after parsing.
        return [syntax_problem(error)]
    except (RecursionError, MemoryError):
        return [Problem(1, "size", "this is nested too deeply; split it into statements")]
    return sorted(set(problems), key=lambda problem: (problem.line, problem.rule))[:_MOST_PROBLEMS]


def _reads_problems(tree: ast.Module) -> list[Problem]:
    try:
        declared_reads(tree)
    except SourceError as error:
        return [error.problem]
    return []


def _shape_problems(tree: ast.Module) -> list[Problem]:
    named = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == CLASS_NAME]
    if len(named) != 1:
        line = named[1].lineno if named else 1
        once = "only once" if named else "with a method generate(self, facts)"
        return [Problem(line, "class", f"write a class {CLASS_NAME} {once}")]
    (planner,) = named
    generate = [
        part
        for part in planner.body
        if isinstance(part, ast.FunctionDef) and part.name == "generate"
    ]
    if generate and _takes_one(generate[-1].args):
        return []
    line = generate[-1].lineno if generate else planner.lineno
    return [Problem(line, "class", f"{CLASS_NAME} needs the method generate(self, facts)")]


def _takes_one(arguments: ast.arguments) -> bool:
    return (
        len(arguments.posonlyargs + arguments.args) == 2
        and not arguments.kwonlyargs
        and not arguments.defaults
        and arguments.vararg is None
        and arguments.kwarg is None
    )
