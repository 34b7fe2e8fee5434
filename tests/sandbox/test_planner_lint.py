"""Reading a planner's source: what is let through, and what is said about the rest."""

import ast
from pathlib import Path

import pytest
from hostile_planners import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

import llm_wrappers
from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.sandbox import MontyRuntime, Problem, lint_planner
from llm_wrappers.sandbox.source import checked_source, declared_reads, parsed

WORLDS = Path(llm_wrappers.__file__).parent / "worlds"
HEAD = "class OptimizedGoalGenerator:\n"


def planner(body, before=""):
    lines = ["    def generate(self, facts):", *("        " + line for line in body.splitlines())]
    return before + HEAD + "\n".join(lines) + "\n"


def messages(source):
    return [str(problem) for problem in lint_planner(source)]


BEFORE = """\
import math
from collections import namedtuple

Point = namedtuple("Point", "wood count")


class Box:
    def __init__(self, items=None):
        self.items = items

    def put(self, item):
        self.items = [item]
        return self


"""
RUNS_IN_MONTY = [
    "x = Box().put(2).items[0]",
    "x = Point(facts['wood'], 1).wood",
    "x = math.factorial(facts['wood'])",
    "match facts:\n    case {'wood': n}: x = n",
    "x, *rest = [2, 3]",
    "def f(*numbers, **named): return numbers[0]\nx = f(*[2], **{'y': 1})",
    "try:\n    x = facts['stone']\nexcept KeyError as error:\n    x = 2\nfinally:\n    y = 1",
    "x = '%d' % (1 << 1)",
    "sum = 2\nx = sum",
    "print('nobody hears this')\nx = 2",
    "x = 0\ndef f():\n    nonlocal x\n    x = 2\nf()",
]


class TestWhatIsLetThrough:
    @pytest.mark.parametrize(
        "path", sorted(WORLDS.glob("*/reference/*.py")), ids=lambda path: str(path)[-24:]
    )
    def test_the_reference_planners(self, path):
        assert lint_planner(path.read_text()) == []

    def test_a_planner_as_language_models_write_it(self):
        assert (
            messages('''\
"""Goals for a small world."""
from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Dict, List, Tuple

PRIORITY: Dict[str, float] = {"eat cow": 3.0, "collect wood": 1.0}


def clip(value: float, low: float = 0.0, high: float = 1.0) -> float:
    """Return the value within its limits."""
    return max(low, min(high, value))


class OptimizedGoalGenerator:
    """From facts to goals."""

    THRESHOLD = 3

    def __init__(self):
        self.scale = 10.0

    def generate(self, facts: Dict[str, Any]) -> List[Tuple[str, float]]:
        weights: Dict[str, float] = defaultdict(float)
        low = min(facts.get("food", 9), facts.get("drink", 9))
        urgency = 1 / (1 + math.exp(low - self.THRESHOLD))
        for goal, priority in PRIORITY.items():
            weights[goal] += round(clip(urgency * priority) * self.scale, 3)
        try:
            steps = facts["near_cow"]
        except KeyError:
            steps = None
        if steps is not None and 0 < steps <= 3:
            weights["eat cow"] *= 2
        return self.best(weights, count=5) or [("collect wood", 1.0)]

    def best(self, weights, count):
        """Return the heaviest goals."""
        ranked = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))
        return [(goal, weight) for goal, weight in ranked if weight > 0][:count]
''')
            == []
        )

    @pytest.mark.parametrize("ends", ["\r\n", "\r"])
    def test_other_ends_of_lines(self, ends):
        assert messages(planner("x = 1\nreturn []").replace("\n", ends)) == []

    def test_what_monty_runs(self):
        methods = []
        for n, body in enumerate(RUNS_IN_MONTY):
            lines = [*body.splitlines(), "return [(str(x), 1.0)]"]
            methods += [f"    def m{n}(self, facts):", *(f"        {line}" for line in lines)]
        called = ", ".join(f"self.m{n}(facts)[0]" for n in range(len(RUNS_IN_MONTY)))
        source = planner(f"return [{called}]", BEFORE) + "\n".join(methods)
        assert messages(source) == []
        with MontyRuntime(source) as monty:
            assert monty.plan([{"wood": 2}]) == [[("2", 1.0)] * len(RUNS_IN_MONTY)]

    def test_a_copy_of_the_facts_may_be_changed(self):
        assert messages(planner("facts = dict(facts)\nfacts['x'] = 1\nreturn []")) == []
        assert messages(planner("mine = dict(facts)\nmine['x'] = 1\nreturn []")) == []

    def test_a_local_list_may_have_the_name_of_a_constant(self):
        assert messages(planner("GOALS = []\nGOALS.append(1)\nreturn []", "GOALS = [1]\n")) == []


class TestWhatIsSaid:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("", "line 1: write a class OptimizedGoalGenerator with a method generate(self, facts"),
            (HEAD + "    pass", "line 1: OptimizedGoalGenerator needs the method generate(self, "),
            (HEAD + "    def generate(facts): pass", "line 2: the first parameter of the method "),
            (HEAD + "    def generate(self): pass", "line 2: OptimizedGoalGenerator needs the met"),
            (planner("return []") * 2, "line 4: write a class OptimizedGoalGenerator only once"),
            (planner("return []").replace("r:", "r(dict):", 1), "line 1: inheritance is not avail"),
            (planner("return []", "import os\n"), "line 1: `import os` is not available; only mat"),
            (planner("return []", "from . import x\n"), "line 1: `import None` is not available;"),
            (planner("return eval('1')"), "line 3: `eval` is not available: running code from te"),
            (planner("return open('x')"), "line 3: `open` is not available: a planner reads"),
            (planner("return hash('x')"), "line 3: `hash` is not available: its value differs fr"),
            (planner("return next(x for x in facts)"), "line 3: `next` is not available: write a "),
            (planner("return facts.__class__"), "line 3: `.__class__` is not available; use facts"),
            (planner("return facts.wood"), "line 3: `.wood` is not available; use facts[...], pla"),
            (planner("f = facts.get\nreturn []"), "line 3: call `.get(...)` where you need it"),
            (planner("return self.other()"), "line 3: the class defines no `self.other`"),
            (planner("return self.generatee"), "no `self.generatee`; did you mean `self.g"),
            (planner("goals = []\nreturn gaols"), "line 4: `gaols` is not defined; did you mean `"),
            (planner("return generate(2)"), "is not defined; did you mean `self.generate`?"),
            (planner("return max(facts, key=str.lower)"), "line 3: call `.lower(...)` where you"),
            (HEAD + "    @property\n    def x(self): pass", "line 3: decorators are not availab"),
            (HEAD + "    if 1: x = 2", "line 2: a class may hold methods and constants only"),
            (planner("async def f(): pass"), "line 3: `async def` is not available; write a pl"),
            (planner("OptimizedGoalGenerator.n = 1"), "line 3: attributes may be set as `self."),
            (planner("self.n = 1\nreturn []"), "line 3: attributes may be set as `self.x = ...` i"),
            (planner("self.n += 1\nreturn []"), "line 3: attributes may be set as `self.x = ...` "),
            (planner("C['a'] = 1\nreturn []", "C = {}\n"), "line 4: `C` is changed and kept betwe"),
            (planner("C.append(1)\nreturn []", "C = []\n"), "line 4: `C` is changed and kept betw"),
            (planner("facts['x'] = 1\nreturn []"), "line 3: facts must not be changed; work on a"),
            (planner("facts.pop('x')\nreturn []"), "line 3: facts must not be changed; work on a "),
            (planner("def f(x=[]): pass\nreturn []"), "line 3: a default that can change is kept"),
            (planner("global x\nreturn []"), "line 3: `global` is not available; a planner keeps "),
            (planner("del facts['x']"), "line 3: `del` is not available; build a new list or dict"),
            (planner("yield 1"), "line 3: `yield` is not available; append to a list and return i"),
            (planner("return []", "READS = ['a', 1]\n"), "line 1: READS must be written once, as"),
            (planner("return []", "READS = 'a'\n"), "line 1: READS must be written once, as a tup"),
            (planner("return [") + "x", "not valid Python: "),
            ("return 1\n" + planner("return []"), "line 1: not valid Python: 'return' outside fun"),
            (planner("f = lambda a, a: 1"), "line 3: not valid Python: duplicate argument 'a' in "),
            ("\ufeff" + planner("return []"), "line 1: remove the byte order mark at the start"),
            (planner("return []") + "\0", "line 4: remove the null byte; write plain text"),
            (planner("f\u0430cts = 1"), "line 3: use names of ASCII letters, digits and _ only"),
            ("x = 1\n" * 10_000, "line 1: write at most 50,000 characters, not 60,000"),
        ],
        ids=lambda value: repr(value)[-40:],
    )  # fmt: skip
    def test_each_rule_says_where_what_and_what_instead(self, source, expected):
        assert any(expected in message for message in messages(source)), messages(source)

    def test_problems_come_in_the_order_of_lines_and_each_once(self):
        found = lint_planner(planner("open(1)\nx = hash(1)\nopen(2)\nreturn eval('x')"))
        assert [problem.line for problem in found] == [3, 4, 5, 6]
        assert all(isinstance(problem, Problem) and problem.rule == "name" for problem in found)

    def test_there_are_never_too_many(self):
        assert len(lint_planner(planner("open(1)\n" * 500))) == 50

    def test_warnings_of_python_are_no_problems(self):
        assert messages(planner("return 1 is 1")) == []
        assert messages(planner("return '\\d'")) == []


class TestSourcesThatMayBeAnything:
    def test_the_hostile_planners(self, tmp_path):
        for case in HOSTILE:
            found = lint_planner(case.source.replace("@FILE@", str(tmp_path / "written")))
            assert bool(found) == (case.validation == "lint"), case.name
        assert list(tmp_path.iterdir()) == []

    @given(st.text())
    def test_any_text(self, text):
        assert all(problem.line >= 1 for problem in lint_planner(text))

    @given(st.text(alphabet="()[]{}:=,.'\"\\\n\t #f*lambdeif0", max_size=60))
    def test_what_looks_like_code(self, text):
        assert lint_planner(text)

    def test_ten_megabytes_are_refused_at_once(self):
        assert "10,000,000" in messages("x=1\n" * 2_500_000)[0]


class TestReads:
    @pytest.mark.parametrize(
        ("line", "reads"),
        [
            ("", None),
            ("READS = None", None),
            ("READS = ()", ()),
            ("READS = ('a', 'b')", ("a", "b")),
            ("READS = ['a']", ("a",)),
            ("READS: tuple = ('a',)", ("a",)),
        ],
    )
    def test_they_are_found_without_running_anything(self, line, reads):
        assert declared_reads(parsed(f"{line}\n{planner('return []')}")) == reads

    @pytest.mark.parametrize(
        "line",
        ["READS = 'a'", "READS = (1,)", "READS = tuple('a')", "READS += ('a',)", "READS = x"],
    )
    def test_anything_but_a_tuple_of_texts_is_refused(self, line):
        with pytest.raises(GuidanceFileError, match=r"^swing\.py: line 1: READS must be written"):
            checked_source(f"{line}\n{planner('return []')}", name="swing.py")

    def test_the_form_of_a_planner_is_checked_without_running_it(self):
        assert isinstance(checked_source(planner("return []", "1 / 0\n"), name="x"), ast.Module)
        with pytest.raises(GuidanceFileError, match="expected a class OptimizedGoalGenerator"):
            checked_source("def generate(facts): return []", name="x")


def test_one_statement_may_be_so_long_and_no_longer():
    assert messages(planner("x = [" + "1, " * 1_900 + "]\nreturn []")) == []
    assert messages(planner("x = 1\n" * 1_500 + "return []")) == []
    too_long = "line 3: this is nested too deeply or too long; split it into statements"
    assert messages(planner("x = [" + "1, " * 2_100 + "]\nreturn []")) == [too_long]
