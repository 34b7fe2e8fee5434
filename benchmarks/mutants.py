"""Small faults in Python code, each in one line: what `mutation_sample.py` tries."""

from __future__ import annotations

import ast
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAIRS = (
    (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn), (ast.And, ast.Or), (ast.Add, ast.Sub),
)  # fmt: skip
SWAPS: dict[type, Any] = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
NOT_RUN = {"annotation", "returns", "decorator_list", "bases", "exc"}  # types, and messages
Mutant = dict[str, Any]


def changes(node: ast.AST, field: str) -> Iterator[tuple[str, str]]:
    """Give the faults that could stand in place of a node: what they are called, and their code."""
    match node:
        case ast.Compare(ops=[op]):
            new = ast.Compare(node.left, [SWAPS[type(op)]()], node.comparators)
            yield "comparison", ast.unparse(new)
        case ast.BoolOp():
            yield "and/or", f"({ast.unparse(ast.BoolOp(SWAPS[type(node.op)](), node.values))})"
        case ast.BinOp(op=ast.Add() | ast.Sub()) if not set(ast.unparse(node)) & set("\"'["):
            yield "+/-", ast.unparse(ast.BinOp(node.left, SWAPS[type(node.op)](), node.right))
        case ast.UnaryOp(op=ast.Not()):
            yield "not", f"({ast.unparse(node.operand)})"
        case ast.Constant(value=bool()):
            yield "constant", repr(not node.value)
        case ast.Constant(value=None) if "defaults" in field:
            yield "constant", "0"
        case ast.Constant(value=int()):
            yield "constant", repr(node.value + 1)
        case ast.Expr(value=ast.Call()):
            yield "call", "pass"
        case ast.Return(value=ast.expr()) if ast.unparse(node) != "return None":
            yield "return", "return"


def mutants_of(root: Path, name: str) -> Iterator[Mutant]:
    """Give all mutants of a module that change one line."""
    lines = (root / name).read_text(encoding="utf-8").splitlines()
    above: dict[Any, tuple[Any, str]] = {}
    for node in ast.walk(ast.parse("\n".join(lines))):
        for field, value in ast.iter_fields(node):
            parts = value if isinstance(value, list) else [value]
            above.update({part: (node, field) for part in parts if isinstance(part, ast.AST)})
    for node in above:
        chain, fields = [node], []
        while chain[-1] in above:
            fields.append(above[chain[-1]][1])
            chain.append(above[chain[-1]][0])
        is_text = NOT_RUN & {*fields} or any(isinstance(each, ast.JoinedStr) for each in chain)
        if is_text or not isinstance(node, ast.expr | ast.stmt) or node.lineno != node.end_lineno:
            continue
        function = next((each for each in chain[1:] if isinstance(each, ast.FunctionDef)), None)
        found = list(changes(node, fields[0]))
        if function and node in function.body[1:-1] and isinstance(node, ast.Assign | ast.Expr):
            found.append(("return", "return"))
        # What coverage sees of a statement with a block is its head.
        statement = next(each for each in chain if isinstance(each, ast.stmt))
        block = getattr(statement, "body", None)
        last = max(statement.lineno, block[0].lineno - 1) if block else statement.end_lineno
        line = lines[node.lineno - 1].encode()
        for kind, new in found:
            after = line[: node.col_offset] + new.encode() + line[node.end_col_offset :]
            yield {
                "file": name, "function": function and function.name, "line": node.lineno,
                "span": [statement.lineno, last], "kind": kind,
                "original": line.decode().strip(), "mutated": after.decode().strip(),
            }  # fmt: skip


def sampled(mutants: list[Mutant], count: int, seed: str) -> list[Mutant]:
    """Choose mutants so that kinds take turns and files are hit as evenly as can be."""
    random.Random(seed).shuffle(mutants)
    chosen: list[Mutant] = []
    for kind in itertools.cycle(sorted({mutant["kind"] for mutant in mutants})):
        hit = Counter(each["file"] for each in chosen)
        left = [each for each in mutants if each["kind"] == kind and each not in chosen]
        chosen += sorted(left, key=lambda each: hit[each["file"]])[:1]
        if len(chosen) >= min(count, len(mutants)):
            break
    return chosen
