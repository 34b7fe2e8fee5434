"""Planners in Monty: what they answer, and what becomes of the others when one fails."""

import copy
import pickle
import threading

import cloudpickle
import numpy as np
import pytest

from llm_wrappers.errors import (
    DependencyNotInstalled,
    GuidanceWarning,
    InvalidOptionError,
)
from llm_wrappers.guidance import Planner
from llm_wrappers.guidance.planners import Planning
from llm_wrappers.sandbox import MontyRuntime, PlannerFailure
from llm_wrappers.sandbox.source import hash_of

SOURCE = """\
READS = ("n",)
class OptimizedGoalGenerator:
    def generate(self, facts):
        return [("eat cow", 12 / facts["n"])]
"""


def source(body, before=""):
    lines = [before, "class OptimizedGoalGenerator:", "    def generate(self, facts):"]
    return "\n".join(lines + ["        " + line for line in body.splitlines()]) + "\n"


def rows(*numbers):
    return [{"n": number} for number in numbers]


def kinds(answers):
    return [a.kind if isinstance(a, PlannerFailure) else "answer given" for a in answers]


@pytest.fixture
def run():
    """Return a function that asks a planner with this body, and ends its process afterwards."""
    started = []

    def ask(body, *states, before="", **options):
        started.append(MontyRuntime(source(body, before), **options))
        return started[-1].plan(rows(*states or (1,)))

    yield ask
    for runtime in started:
        runtime.close()


class TestPlanner:
    def test_it_is_a_planner_for_the_facts_it_reads(self):
        with MontyRuntime(SOURCE, name="swing.py") as runtime:
            assert isinstance(runtime, Planner)
            assert (runtime.pure, runtime.reads, runtime.name) == (True, ("n",), "swing.py")
            assert (runtime.source, runtime.sha256) == (SOURCE, hash_of(SOURCE))
            assert runtime.plan(rows(1, 2)) == [[("eat cow", 12.0)], [("eat cow", 6.0)]]
            assert runtime.plan([]) == []

    def test_more_states_than_are_asked_at_once(self):
        with MontyRuntime(SOURCE) as runtime:
            answers = runtime.plan(rows(*range(1, 201)))
        assert answers == [[("eat cow", 12 / n)] for n in range(1, 201)]

    def test_facts_arrive_as_they_are(self, run):
        runtime = MontyRuntime(
            source("return [(f'{name} {type(v).__name__} {v}', 1) for name, v in facts.items()]")
        )
        facts = {"a": 1, "b": 0.5, "c": True, "d": None, "e": "x\n", "f": ("y", "z"), "g": [1]}
        with runtime:
            (answer,) = runtime.plan([facts])
            (from_numpy,) = runtime.plan([{"a": np.int8(1), "c": np.bool_(True)}])
        assert [goal for goal, _ in answer] == [
            f"{name} {type(value).__name__} {value}" for name, value in facts.items()
        ]
        assert [goal for goal, _ in from_numpy] == ["a int 1", "c bool True"]

    def test_behind_planning_one_bad_state_is_one_failure(self):
        with MontyRuntime(SOURCE) as runtime:
            planning = Planning(runtime, goals=("eat cow", "wake up"), fallback="wake up")
            with pytest.warns(GuidanceWarning):
                plans = planning.plans(rows(1, 0, 2))
        assert [plan.failed for plan in plans] == [False, True, False]
        assert (planning.counts["planned"], planning.counts["failures"]) == (3, 1)

    def test_threads_get_their_own_answers(self):
        answers = {}
        with MontyRuntime(SOURCE) as runtime:

            def ask(n):
                answers[n] = [runtime.plan(rows(n, n + 1)) for _ in range(20)]

            threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        for n, given in answers.items():
            assert given == [[[("eat cow", 12 / n)], [("eat cow", 12 / (n + 1))]]] * 20


class TestFailures:
    def test_the_others_keep_their_answers_when_one_raises(self, run):
        answers = run("return [('a', 1 / facts['n'])]", 1, 0, 2)
        assert answers[0] == [("a", 1.0)]
        assert answers[2] == [("a", 0.5)]
        assert str(answers[1]) == "ZeroDivisionError: division by zero (line 4 of the planner)"

    def test_the_others_keep_their_answers_whatever_one_does(self, run):
        cases = [
            ("while True: pass", "timeout", "took more than 0.2 seconds"),
            ("x = [1]\nwhile True: x = x + x", "memory", "used more than 8 MB"),
            ("return 5", "answer", "expected a list of (goal, weight) pairs"),
            ("return {1}", "answer", "(goal, weight) pairs, got a set"),
            ("return [('a', float('nan'))]", "answer", "finite and >= 0"),
            ("return [('a', 1)] * 65", "answer", "at most 64 goals, got 65"),
            ("return [('a' * 900000, 1)]", "answer", "too long to be read"),
            ("raise KeyError('no')", "raised", "KeyError: 'no'"),
            ("return missing", "raised", "NameError: name 'missing' is not"),
        ]
        bodies = [
            f"if facts['n'] == {2 * n}:\n    " + body.replace("\n", "\n    ")
            for n, (body, _, _) in enumerate(cases)
        ]
        body = "\n".join([*bodies, "return [('a', facts['n'])]"])
        answers = run(body, *range(2 * len(cases)), seconds=0.2, memory=8 << 20)
        for n, (_, kind, message) in enumerate(cases):
            assert answers[2 * n].kind == kind
            assert message in str(answers[2 * n])
            assert answers[2 * n + 1] == [("a", 2 * n + 1)]

    def test_it_goes_on_after_a_process_was_lost(self):
        runtime = MontyRuntime(
            source(
                "x = (1,)\nfor i in range(60 * (facts['n'] == 3)): x = (x, x)\nreturn [(str(x), 1)]"
            ),
            seconds=0.2,
        )
        with runtime:
            assert kinds(runtime.plan(rows(3)))[0] in ("timeout", "memory", "crashed")
            assert runtime.plan(rows(4)) == [[("(1,)", 1)]]

    @pytest.mark.parametrize(
        ("before", "message"),
        [
            ("import os\nos.environ['x']", "is not supported in this environment"),
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("1 / 0", "ZeroDivisionError: division by zero (line 1 of the planner)"),
            ("class A(dict): pass", "does not yet support class inheritance"),
        ],
    )
    def test_what_cannot_be_loaded_is_said_for_every_state_and_not_tried_again(
        self, run, before, message
    ):
        answers = run("return []", *range(500), before=before)
        assert kinds(answers) == ["load"] * 500
        assert message in str(answers[0])

    def test_who_hangs_again_and_again_is_not_asked_any_more(self, run):
        answers = run("while True: pass", *range(40), seconds=0.05, patience=3)
        assert kinds(answers) == ["timeout"] * 3 + ["given up"] * 37
        assert "not asked any more: 3 states in a row" in str(answers[-1])
        assert "took more than 0.05 seconds" in str(answers[-1])

    def test_patience_is_for_states_in_a_row(self, run):
        body = "while facts['n'] % 2: pass\nreturn []"
        answers = run(body, *range(8), seconds=0.05, patience=3)
        assert kinds(answers) == ["answer given", "timeout"] * 4

    def test_a_message_is_short_and_harmless(self, run):
        (failure,) = run("raise ValueError('\\x1b[31m' + 'x' * 100000 + '\\n')")
        assert len(str(failure)) < 400
        assert str(failure).isascii()
        assert "\x1b" not in str(failure)

    def test_what_it_prints_is_not_seen(self, run, capfd):
        assert run("print('seen?')\nreturn []") == [[]]
        assert capfd.readouterr() == ("", "")

    def test_changed_facts_are_found_when_asked_for(self):
        runtime = MontyRuntime(source("if facts['n'] == 2: facts['n'] = 3\nreturn [('a', 1)]"))
        with runtime:
            assert runtime.plan(rows(1, 2)) == [[("a", 1)]] * 2
            one, two = runtime.answers(rows(1, 2), compare=True)
        assert one == [("a", 1)]
        assert (two.kind, str(two)) == ("mutated", "changes the facts it is given")

    def test_the_answers_are_checked_even_if_what_sends_them_is_replaced(self, run):
        forged = "global _lw_answer\n_lw_answer = lambda facts: {text}\nreturn []"
        for text in ["''", "'A['", "'R5'", "'T' + '[' * 5000", "'A[[' + '9' * 9999 + ',1]]'"]:
            answers = run(forged.replace("{text}", text), 1, 2)
            assert kinds(answers)[1:] == ["answer"]
            assert len(str(answers[1])) < 400


class TestDeterminism:
    CHANCE = "import random\nimport time"
    BODY = "return [('a', random.random()), ('b', time.time())]"

    def test_chance_and_clock_are_the_same_every_time_and_follow_the_seed(self, run):
        (one,) = run(self.BODY, before=self.CHANCE, seed=1)
        assert run(self.BODY, before=self.CHANCE, seed=1) == [one]
        (two,) = run(self.BODY, before=self.CHANCE, seed=2)
        assert one[0] != two[0]
        assert one[1] != two[1]


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"seconds": 0}, "seconds must be a finite number > 0, got 0"),
            ({"seconds": float("nan")}, "seconds must be a finite number > 0"),
            ({"seconds": "1"}, "seconds must be a finite number > 0"),
            ({"memory": -1}, "memory must be a whole number >= 1, got -1"),
            ({"memory": 1e6}, "memory must be a whole number >= 1"),
            ({"patience": 0}, "patience must be a whole number >= 1"),
            ({"seed": "a"}, "seed must be an int, got 'a'"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, options, message):
        with pytest.raises(InvalidOptionError, match=message):
            MontyRuntime(SOURCE, **options)

    def test_without_monty_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pydantic_monty", None)
        with pytest.raises(DependencyNotInstalled, match=r"llm-wrappers\[sandbox\]"):
            MontyRuntime(SOURCE)


class TestCopies:
    @pytest.mark.parametrize("module", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
    def test_a_pickle_has_the_source_and_the_options_and_no_process(self, module):
        runtime = MontyRuntime(source("while True: pass"), name="x", seconds=0.05, patience=1)
        with runtime:
            runtime.plan(rows(1))
            data = module.dumps(runtime)
        assert len(data) < 2000
        with module.loads(data) as twin:
            assert (twin.source, twin.name) == (runtime.source, "x")
            assert kinds(twin.plan(rows(1, 2))) == ["timeout", "given up"]

    def test_copies_are_itself(self):
        runtime = MontyRuntime(SOURCE)
        assert copy.deepcopy(runtime) is copy.copy(runtime) is runtime
