"""Reading a planner's source before anything runs it."""

from __future__ import annotations

import ast

from llm_wrappers.guidance.runtime._names import name_problems
from llm_wrappers.guidance.runtime._state import state_problems
from llm_wrappers.guidance.runtime._syntax import syntax_problems
from llm_wrappers.guidance.runtime.language import CLASS_NAME
from llm_wrappers.guidance.runtime.source import (
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
    """Return what a planner's source must change before it is run, in the order of its lines.

    Planners are written in a small part of Python: one plain class, no imports but `math`,
    `collections` and `typing`, nothing that looks into objects or keeps anything between calls.
    The source is parsed and never executed, whatever it is.

    Args:
        source: The Python source.

    Returns:
        At most 50 problems; none where the source keeps to the language.

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
        ]
        problems += name_problems(tree, symbols(source))
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
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    named = [node for node in classes if node.name == CLASS_NAME and node in tree.body]
    if len(named) != 1:
        line = named[1].lineno if named else 1
        once = "only once" if named else "with a method generate(self, facts)"
        return [Problem(line, "class", f"write a class {CLASS_NAME} {once}")]
    problems = [
        Problem(node.lineno, "class", f"the only class is {CLASS_NAME}; use functions and dicts")
        for node in classes
        if node is not named[0]
    ]
    generate = [
        part
        for part in named[0].body
        if isinstance(part, ast.FunctionDef) and part.name == "generate"
    ]
    if (
        not generate
        or _argument_names(generate[-1])[:1] != ["self"]
        or not _takes_one(generate[-1])
    ):
        line = generate[-1].lineno if generate else named[0].lineno
        problems.append(
            Problem(line, "class", f"{CLASS_NAME} needs the method generate(self, facts)")
        )
    return problems


def _argument_names(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.posonlyargs + function.args.args]


def _takes_one(function: ast.FunctionDef) -> bool:
    arguments = function.args
    return (
        len(_argument_names(function)) == 2
        and not arguments.kwonlyargs
        and not arguments.defaults
        and arguments.vararg is None
        and arguments.kwarg is None
    )
