"""The guard: planner code in this process, bounded."""

import copy
import pickle
import time
from datetime import datetime, timezone

import cloudpickle
import pytest
from hostile_planners import FACTS, HOSTILE

from llm_wrappers import __version__
from llm_wrappers.errors import GuidanceFileError, GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance import Planner, PlannerProgram
from llm_wrappers.guidance.planning import Planning
from llm_wrappers.guidance.program import hash_of
from llm_wrappers.guidance.runtime import GuardedRuntime, PlannerFailure, ValidationRecord

SOURCE = """\
READS = ("angle",)
class OptimizedGoalGenerator:
    def generate(self, facts):
        return [("go left" if facts["angle"] < 0 else "go right", 10 / facts["angle"] ** 2)]
"""


def record_of(source, **changes):
    fields = {
        "sha256": hash_of(source),
        "library_version": __version__,
        "states": 1,
        "when": datetime.now(timezone.utc),
    }
    return ValidationRecord(**{**fields, **changes})


def guarded(source, **options):
    return GuardedRuntime(source, record_of(source), **options)


def answer(body, facts=FACTS, before="", **options):
    """Return the answer of a planner with this body, or its failure."""
    lines = [before, "class OptimizedGoalGenerator:", "    def generate(self, facts):"]
    source = "\n".join(lines + ["        " + line for line in body.splitlines()]) + "\n"
    (given,) = guarded(source, **options).plan([facts])
    return given


class TestPlanner:
    def test_it_is_a_planner_for_the_facts_it_reads(self):
        runtime = guarded(SOURCE)
        assert isinstance(runtime, Planner)
        assert (runtime.pure, runtime.reads, runtime.sha256) == (True, ("angle",), hash_of(SOURCE))
        assert runtime.plan([{"angle": -1}, {"angle": 2}]) == [
            [("go left", 10.0)],
            [("go right", 2.5)],
        ]

    def test_one_bad_state_does_not_spoil_the_others_behind_planning(self):
        planning = Planning(guarded(SOURCE), goals=("go left", "go right"), fallback="go left")
        with pytest.warns(GuidanceWarning):
            plans = planning.plans([{"angle": -1}, {"angle": 0}, {"angle": 1}])
        assert [plan.failed for plan in plans] == [False, True, False]
        assert planning.counts["failures"] == 1

    def test_a_failure_says_what_and_where(self):
        (failure,) = guarded(SOURCE).plan([{"angle": 0}])
        assert isinstance(failure, PlannerFailure)
        assert str(failure) == "ZeroDivisionError: division by zero (line 4 of the planner)"
        assert failure.kind == "raised"

    @pytest.mark.parametrize(
        "copied",
        [
            lambda runtime: pickle.loads(pickle.dumps(runtime)),
            lambda runtime: cloudpickle.loads(cloudpickle.dumps(runtime)),
        ],
        ids=["pickle", "cloudpickle"],
    )
    def test_it_survives_pickling(self, copied):
        runtime = copied(guarded(SOURCE, name="swing.py", fuel=50))
        assert runtime.plan([{"angle": 1}]) == [[("go right", 10.0)]]
        assert (runtime.name, runtime.validated.sha256) == ("swing.py", hash_of(SOURCE))

    def test_its_limits_survive_pickling(self):
        source = SOURCE.replace("        return", "        list(range(60))\n        return")
        (failure,) = pickle.loads(pickle.dumps(guarded(source, fuel=50))).plan([{"angle": 1}])
        assert "did more than 50 steps" in failure.message

    def test_copies_are_itself(self):
        runtime = guarded(SOURCE)
        assert copy.deepcopy(runtime) is copy.copy(runtime) is runtime


class TestRecord:
    def test_another_source_is_refused(self):
        with pytest.raises(InvalidOptionError, match=r"is of another source than swing\.py; vali"):
            GuardedRuntime(SOURCE + "\n", record_of(SOURCE), name="swing.py")

    def test_a_record_of_another_version_is_refused(self):
        record = record_of(SOURCE, library_version="0.0.1")
        with pytest.raises(InvalidOptionError, match=r"by version 0\.0\.1 of this package, and"):
            GuardedRuntime(SOURCE, record)

    @pytest.mark.parametrize("record", [None, True, hash_of(SOURCE)])
    def test_without_a_record_nothing_runs(self, record):
        with pytest.raises(
            InvalidOptionError, match=r"validate_planner\(\.\.\.\)\.record\(\) makes"
        ):
            GuardedRuntime(SOURCE, record)

    def test_a_record_is_plain_data(self):
        record = record_of(SOURCE)
        assert ValidationRecord.model_validate_json(record.model_dump_json()) == record
        with pytest.raises(ValueError, match="sha256"):
            record_of(SOURCE, sha256="x")

    def test_text_that_is_no_text_is_refused(self):
        with pytest.raises(GuidanceFileError, match="not valid text"):
            GuardedRuntime("x = '\ud800'", record_of(SOURCE))


class TestLimits:
    @pytest.mark.parametrize("fuel", [0, -1, 1.5, True, "many"])
    def test_fuel_is_a_count(self, fuel):
        with pytest.raises(InvalidOptionError, match="fuel must be a whole number >= 1"):
            guarded(SOURCE, fuel=fuel)

    def test_fuel_is_per_state(self):
        body = "for i in range(facts['n']):\n    pass\nreturn []"
        assert answer(body, {"n": 90}, fuel=100) == []
        failure = answer(body, {"n": 110}, fuel=100)
        assert (failure.kind, failure.line) == ("fuel", 4)
        assert "did more than 100 steps" in str(failure)

    @pytest.mark.parametrize(
        "body",
        [
            "while True: pass",
            "for i in range(9**9): pass",
            "x = [1]\nfor i in x: x.append(i)",
            "return [x for x in range(9**9)]",
            "f = lambda n: [f(n), f(n)]\nf(1)",
            "x = list(range(1000))\nwhile True: x = sorted(x)",
            "x = list(range(1000))\nwhile True: x = x[:]",
            "x = list(range(1000))\nwhile True: x.copy()",
            "x = list(range(1000))\nwhile True: y = -1 in x",
            "x = list(range(1000))\nwhile True: x.reverse()",
            "x = set(range(1000))\nwhile True: x | {1}",
            "x = {i: i for i in range(1000)}\nwhile True: x = x | {1: 1}",
            "x = set(range(1000))\nwhile True: x.union({1})",
            "x = 'ab ' * 3000\nwhile True: x.split()",
            "x = [0] * 1000\nwhile True: x += x",
            "x = [0] * 1000\nwhile True: x *= 3",
            "x = {'a': [0] * 1000}\nwhile True: x['a'] += x['a']",
            "return [1] * 10**9",
            "return sum([[0] * 1000] * 1000, [])",
        ],
    )
    def test_what_is_much_work_runs_out_of_fuel(self, body):
        started = time.perf_counter()
        failure = answer(body)
        assert isinstance(failure, PlannerFailure)
        assert failure.kind in ("fuel", "raised")
        assert time.perf_counter() - started < 5

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("return 'x' * 10**9", "ValueError: texts must not be longer than 10000 characters"),
            ("return 'x'.join(['y' * 9000] * 9)", "ValueError: texts must not be longer than 100"),
            ("return ('x' * 9000).replace('x', 'yy')", "ValueError: texts must not be longer"),
            ("return 10 ** 999", "OverflowError: exponents must not be larger than 256"),
            ("x = 10 ** 200\nreturn x ** 9", "OverflowError: this number becomes too large"),
            ("x = 10 ** 200\nreturn x * x * x * x", "OverflowError: this number becomes too"),
            ("return round(5, -999)", "OverflowError: round() takes at most 30 digits"),
            ("return int('9' * 200)", "ValueError: this text is too long for a number"),
            ("x = '%d'\nreturn x % 3", "TypeError: % is for numbers; format texts as f-strings"),
            ("f = facts\nf.update(a=1)", "TypeError: facts must not be changed; work on a copy"),
            ("f = facts\nf['wood'] = 1", "TypeError: facts must not be changed; work on a copy"),
            ("return ','.join([1])", "TypeError: join() is for texts"),
            ("x = 3\nreturn x.split()", "TypeError: split() is for texts"),
            ("x = 3\nreturn x.replace('a', 'b')", "TypeError: replace() is for texts"),
        ],
    )
    def test_what_becomes_too_large_is_said(self, body, message):
        failure = answer(body)
        assert isinstance(failure, PlannerFailure)
        assert failure.message.startswith(message)

    def test_what_is_loaded_is_bounded_too(self):
        with pytest.raises(GuidanceFileError, match="takes more than 20000 steps to load"):
            answer("return []", before="while True: pass")
        with pytest.raises(GuidanceFileError, match=r"cannot be loaded \(ZeroDivisionError: .* 2"):
            answer("return []", before="x = 0\ny = 1 / x")

    def test_out_of_fuel_cannot_be_caught(self):
        body = "try:\n    while True: pass\nexcept Exception:\n    return []"
        assert answer(body).kind == "fuel"

    def test_an_exception_is_not_printed(self):
        dag = "x = (1,)\nfor i in range(60):\n    x = (x, x)\n"
        assert str(answer(dag + "raise ValueError(x)")) == "ValueError (line 7 of the planner)"
        assert answer("raise ValueError(f'a{1}')").message == "ValueError: a1"

    def test_lists_in_facts_cannot_be_changed_for_the_caller(self):
        facts = {"seen": ["tree"]}
        assert answer("s = facts['seen']\ns.append('cow')\nreturn []", facts) == []
        assert facts == {"seen": ["tree"]}


# Plain sets have any order, and a plain generator is no answer.
ANSWERED = [
    case
    for case in HOSTILE
    if case.guard == ("answers",) and not {"set", "generator"} & set(case.name.split())
]


class TestSameAsPlain:
    @pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.name)
    def test_what_the_guard_lets_through_is_answered_the_same(self, case):
        plain = PlannerProgram(case.source).plan([FACTS])
        assert guarded(case.source).plan([FACTS]) == plain
