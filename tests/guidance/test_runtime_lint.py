"""Reading a planner's source: what is let through, and what is said about the rest."""

import ast
import time
from pathlib import Path

import pytest
from hostile_planners import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

import llm_wrappers
from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.guidance.runtime import Problem, lint_planner
from llm_wrappers.guidance.runtime.source import checked_source, declared_reads, parsed

DATA = Path(llm_wrappers.__file__).parent / "data"
HEAD = "class OptimizedGoalGenerator:\n"


def planner(body, before=""):
    lines = ["    def generate(self, facts):", *("        " + line for line in body.splitlines())]
    return before + HEAD + "\n".join(lines) + "\n"


def messages(source):
    return [str(problem) for problem in lint_planner(source)]


class TestWhatIsLetThrough:
    @pytest.mark.parametrize("path", sorted(DATA.glob("*/*.py")), ids=lambda path: str(path)[-24:])
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
            (planner("return []", "class A: pass\n"), "line 1: the only class is OptimizedGoalGen"),
            (planner("return []").replace("r:", "r(dict):", 1), "line 1: inheritance is not avail"),
            (planner("return []", "import os\n"), "line 1: `import os` is not available; only mat"),
            (planner("import math\nreturn []"), "line 3: write imports at the top of the file"),
            (planner("return []", "from math import factorial\n"), "line 1: `math.factorial` is n"),
            (planner("return math.factorial(3)", "import math\n"), "line 4: `math.factorial` is n"),
            (planner("return []", "from . import x\n"), "line 1: `import None` is not available;"),
            (planner("return eval('1')"), "line 3: `eval` is not available: running code from te"),
            (planner("return open('x')"), "line 3: `open` is not available: a planner reads"),
            (planner("return hash('x')"), "line 3: `hash` is not available: its value differs fr"),
            (planner("print(1)\nreturn []"), "line 3: `print` is not available: nobody reads what"),
            (planner("return next(x for x in facts)"), "line 3: `next` is not available: write a "),
            (planner("return facts.__class__"), "line 3: `.__class__` is not available; use facts"),
            (planner("return facts.wood"), "line 3: `.wood` is not available; use facts[...], pla"),
            (planner("f = facts.get\nreturn []"), "line 3: call `.get(...)` where you need it"),
            (planner("return self.other()"), "line 3: the class defines no `self.other`"),
            (planner("return self.generatee"), "no `self.generatee`; did you mean `self.g"),
            (planner("goals = []\nreturn gaols"), "line 4: `gaols` is not defined; did you mean `"),
            (planner("return __file__"), "line 3: `__file__` is not available; use plain names"),
            (planner("return []") + "if __name__ == '__main__':\n    1\n", "line 4: `__name__` is"),
            (planner("self.n = 1\nreturn []"), "line 3: attributes may be set as `self.x = ...` i"),
            (planner("self.n += 1\nreturn []"), "line 3: attributes may be set as `self.x = ...` "),
            (planner("C['a'] = 1\nreturn []", "C = {}\n"), "line 4: `C` is changed and kept betwe"),
            (planner("C.append(1)\nreturn []", "C = []\n"), "line 4: `C` is changed and kept betw"),
            (planner("facts['x'] = 1\nreturn []"), "line 3: facts must not be changed; work on a"),
            (planner("facts.pop('x')\nreturn []"), "line 3: facts must not be changed; work on a "),
            (planner("def f(x=[]): pass\nreturn []"), "line 3: a default that can change is kept"),
            (planner("global x\nreturn []"), "line 3: `global` is not available; a planner keeps "),
            (planner("del facts['x']"), "line 3: `del` is not available; build a new list or dict"),
            (planner("with facts: pass"), "line 3: `with` is not available; a planner opens nothi"),
            (planner("match facts:\n    case 1: pass"), "line 3: `match` is not available; write"),
            (planner("yield 1"), "line 3: `yield` is not available; append to a list and return i"),
            (planner("return [*facts]"), "line 3: unpacking with `*` is not available; add lists "),
            (planner("return dict(**facts)"), "line 3: `**` in a call is not available; name the "),
            (planner("return {**facts}"), "line 3: `**` in a dict is not available; write a | b"),
            (planner("def f(*a): pass\nreturn []"), "line 3: `*args` and `**kwargs` are not avail"),
            (planner("try: pass\nexcept: pass"), "line 4: name what is caught, as in `except KeyE"),
            (planner("try: pass\nexcept KeyError as e: pass"), "line 4: write the `except` "),
            (planner("try: pass\nfinally: pass"), "line 3: `finally` is not available; write the "),
            (planner("raise 'x'"), 'line 3: write `raise ValueError("what is wrong")`'),
            (planner("raise KeyError from None"), 'line 3: write `raise ValueError("what is wrong'),
            (planner("return '%d' % 3"), 'line 3: formatting with % is not available; write f"{x}'),
            (planner("return f'{1:{2}}'"), "line 3: use a short format such as `.2f` or `>5`"),
            (planner("return f'{1:>999999}'"), "line 3: use a short format such as `.2f` or `>5`"),
            (planner("return 1 << 3"), "line 3: `<<` is not available; write a multiplication"),
            (planner("return b'x'"), "line 3: use texts, numbers, True, False and None only"),
            (planner(f"return {10**40}"), "line 3: this number is too large; use math.inf"),
            (planner("x = [1]\nx[0:1] = []"), "line 4: assigning to a slice is not available;"),
            (planner("for facts['x'] in []: pass"), "line 3: loop over plain names, as in `for go"),
            (planner("sum = 3\nreturn []"), "line 3: `sum` has a meaning already; choose another "),
            (planner("math = 3\nreturn []", "import math\n"), "line 4: `math` is imported; choose"),
            (planner("return math", "import math\n"), "line 4: the module math is no value; write"),
            (planner("return List", "from typing import List\n"), "line 4: `List` of typing is av"),
            (planner("return []", "x: print() = 1\n"), "line 1: annotations may be names and X[.."),
            (planner("return []", "@print\ndef f(): pass\n"), "line 2: decorators are not availab"),
            (planner("return (lambda self: 1)(2)"), "line 3: only the first parameter of a method"),
            (planner("return OptimizedGoalGenerator()"), "line 3: reach methods and constants thr"),
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
        found = lint_planner(planner("print(1)\nx = hash(1)\nprint(2)\nreturn eval('x')"))
        assert [problem.line for problem in found] == [3, 4, 5, 6]
        assert all(isinstance(problem, Problem) and problem.rule == "name" for problem in found)

    def test_there_are_never_too_many(self):
        assert len(lint_planner(planner("print(1)\n" * 500))) == 50

    def test_warnings_of_python_are_no_problems(self):
        assert messages(planner("return 1 is 1")) == []
        assert messages(planner("return '\\d'")) == []


class TestSourcesThatMayBeAnything:
    @pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
    def test_the_hostile_planners(self, case, tmp_path):
        started = time.perf_counter()
        found = lint_planner(case.source.replace("@FILE@", str(tmp_path / "written")))
        assert bool(found) == (case.validation == "lint")
        assert time.perf_counter() - started < 5
        assert list(tmp_path.iterdir()) == []

    @given(st.text())
    def test_any_text(self, text):
        assert all(problem.line >= 1 for problem in lint_planner(text))

    @given(st.text(alphabet="()[]{}:=,.'\"\\\n\t #f*lambdeif0", max_size=60))
    def test_what_looks_like_code(self, text):
        assert lint_planner(text)

    @given(st.lists(st.sampled_from(planner("return [(x, 1)]").split(" ")), max_size=20))
    def test_a_planner_in_disorder(self, words):
        lint_planner(" ".join(words))

    def test_ten_megabytes_are_refused_at_once(self):
        started = time.perf_counter()
        assert "10,000,000" in messages("x=1\n" * 2_500_000)[0]
        assert time.perf_counter() - started < 0.5


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
