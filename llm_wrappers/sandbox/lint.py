"""Reading a planner's source before anything runs it, to say early and well what will not do."""

from __future__ import annotations

import ast

from llm_wrappers.sandbox._names import name_problems
from llm_wrappers.sandbox._state import state_problems
from llm_wrappers.sandbox._syntax import syntax_problems
from llm_wrappers.sandbox.language import CLASS_NAME
from llm_wrappers.sandbox.source import (
    Problem,
    SourceError,
    declared_reads,
    parsed,
    quietly_compiled,
    symbols,
    syntax_problem,
)

__all__ = ["Problem", "lint_planner"]

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
