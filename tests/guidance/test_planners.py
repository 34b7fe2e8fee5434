"""Planners as functions and as source, and asking one."""

from __future__ import annotations

import copy
import hashlib
import pickle
import re
import traceback

import cloudpickle
import numpy as np
import pytest

from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import GuidanceFileError, GuidanceWarning, InvalidOptionError
from llm_wrappers.guidance import FunctionPlanner, Planner, PlannerProgram, resolve_planner
from llm_wrappers.guidance.ablations import NoPlanner
from llm_wrappers.guidance.goals import Plan
from llm_wrappers.guidance.planners import Planning, read_program

GOALS = ("collect wood", "eat cow", "wake up")
COLUMNS = (FactColumns("wood", tuple(range(10))), FactColumns("dark", (False, True)))


class Recorder:
    """A planner that keeps what it was asked; `wood` chooses the goal."""

    def __init__(self, answer=None, **attributes):
        self.asked = []
        self.answer = answer or (lambda row: [(GOALS[row["wood"] % 3], 1.0)])
        vars(self).update(attributes)

    def plan(self, facts):
        self.asked.append([dict(row) for row in facts])
        return [self.answer(row) for row in facts]


def rows(*woods, dark=False):
    return [{"wood": wood, "dark": dark} for wood in woods]


def table(*woods, dark=False):
    return FactsTable(COLUMNS, np.array([[wood, dark] for wood in woods], np.int8).reshape(-1, 2))


def as_planner(planner):
    return resolve_planner(planner, env_id="", goals=GOALS)


def make(planner, *, fallback="wake up"):
    return Planning(planner, goals=GOALS, fallback=fallback)


def chosen(plans):
    return [plan.goals for plan in plans]


@pytest.fixture(params=[rows, table], ids=["dicts", "table"])
def states(request):
    return request.param


class TestPlans:
    def test_each_state_has_the_plan_of_its_goals(self, states):
        asked = make(Recorder(pure=True))
        assert chosen(asked.plans(states(1, 2, 1))) == [(1,), (2,), (1,)]
        assert asked.counts == {
            "states": 3,
            "unknown_goals": 0,
            "failures": 0,
            "planned": 2,
            "consulted": 3,
            "unguided": 0,
        }

    def test_where_it_fails_the_fallback_stands_in(self):
        asked = make(Recorder(lambda row: "eat cow"), fallback="eat cow")
        with pytest.warns(GuidanceWarning, match="steps like this one run without guidance and"):
            plans = asked.plans(rows(1, 2))
        assert plans == [Plan((1,), (1.0,), failed=True)] * 2

    def test_unknown_goals_are_counted_and_the_rest_of_the_answer_holds(self):
        asked = make(Recorder(lambda row: [("fly", 9.0), ("eat cow", 1.0)], pure=True))
        assert chosen(asked.plans(rows(1)) + asked.plans(rows(1))) == [(1,), (1,)]
        assert asked.stats()["unknown_goals"] == 2
        assert asked.stats()["failures"] == 0

    def test_an_answer_may_be_empty_only_where_the_planner_says_so(self):
        silent = make(Recorder(lambda row: [], may_be_empty=True))
        assert silent.plans(rows(1)) == [Plan((), ())]
        assert silent.stats()["unguided"] == 0  # It is guided to nothing.
        with pytest.warns(GuidanceWarning, match="no goal of the vocabulary"):
            make(Recorder(lambda row: [])).plans(rows(1))


class TestPlanner:
    def test_a_function_is_a_planner_that_gets_dicts_of_its_own(self, states):
        def plan(facts):
            assert type(facts) is list
            for row in facts:
                assert type(row) is dict
                row.clear()
            return [[("eat cow", 1.0)] for _ in facts]

        given = states(1, 2)
        planner = as_planner(plan)
        assert isinstance(planner, Planner)
        assert chosen(make(planner).plans(given)) == [(1,), (1,)]
        assert dict(given[0]) == {"wood": 1, "dark": False}

    def test_a_function_is_not_remembered_unless_it_is_pure(self):
        assert as_planner(lambda facts: []).pure is False
        assert FunctionPlanner(lambda facts: [], pure=True).pure is True

    @pytest.mark.parametrize("planner", [None, 3, [("eat cow", 1.0)], {"plan": 1}])
    def test_anything_else_is_refused(self, planner):
        with pytest.raises(InvalidOptionError, match="expected a planner"):
            as_planner(planner)

    @pytest.mark.parametrize("planner", [NoPlanner, dict])
    def test_a_class_is_refused(self, planner):
        with pytest.raises(InvalidOptionError, match=f"got the class {planner.__name__}; call it"):
            as_planner(planner)


SOURCE = '''\
"""Go where the pole leans."""

READS = ("angle",)


class OptimizedGoalGenerator:
    def generate(self, facts):
        if facts["angle"] == 0:
            raise ValueError("upright")  # a line to be found in the traceback
        return [("go left" if facts["angle"] < 0 else "go right", 1.0)]
'''


def with_body(body):
    return f"class OptimizedGoalGenerator:\n    def generate(self, facts):\n        {body}\n"


class TestContract:
    def test_plans_for_each_state(self):
        program = PlannerProgram(SOURCE)
        assert isinstance(program, Planner)
        left, right = program.plan([{"angle": -1}, {"angle": 1}])
        assert (left, right) == ([("go left", 1.0)], [("go right", 1.0)])
        assert program.pure is True

    @pytest.mark.parametrize(
        ("line", "reads"),
        [
            ("", None),
            ("READS = None", None),
            ("READS = ()", ()),
            ("READS = ('a', 'b')", ("a", "b")),
            ("READS = ['a']", ("a",)),
        ],
    )
    def test_reads(self, line, reads):
        assert PlannerProgram(f"{line}\n{with_body('return []')}").reads == reads

    def test_each_state_is_a_dict_of_its_own(self):
        program = PlannerProgram(with_body("facts.clear(); return type(facts)"))
        facts = {"angle": 1}
        assert program.plan([facts]) == [dict]
        assert facts == {"angle": 1}


class TestErrors:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("", "expected a class OptimizedGoalGenerator with a method generate(facts)"),
            ("class Other: pass", "expected a class OptimizedGoalGenerator with a method"),
            ("OptimizedGoalGenerator = 3", "expected a class OptimizedGoalGenerator with a method"),
            ("class OptimizedGoalGenerator: pass", "expected a class OptimizedGoalGenerator with"),
            ("class OptimizedGoalGenerator: generate = 3", "with a method generate(facts)"),
            ("def (:", "cannot be executed (SyntaxError: "),
            ("import no_such_module", "cannot be executed (ModuleNotFoundError: No module named"),
            ("costs = {}\ncosts['table']", "cannot be executed (KeyError: 'table')"),
            ("\0", "cannot be executed ("),
            ("name = '\ud800'", "cannot be executed (UnicodeEncodeError: "),
            (
                "class OptimizedGoalGenerator:\n    def __init__(self, facts): pass",
                "cannot be executed (TypeError: ",
            ),
            (
                "READS = 'angle'\n" + with_body("return []"),
                "cannot be executed (TypeError: READS must be a tuple of names of facts, got 'ang",
            ),
            ("READS = (1,)\n" + with_body("return []"), "READS must be a tuple of names of facts"),
            ("READS = 3\n" + with_body("return []"), "cannot be executed (TypeError: "),
        ],
        ids=repr,
    )
    def test_a_source_that_is_no_planner(self, source, message):
        with pytest.raises(GuidanceFileError, match=re.escape(message)) as caught:
            PlannerProgram(source, name="planner.py")
        assert str(caught.value).startswith("planner.py: ")

    def test_a_traceback_shows_the_line_and_the_name(self):
        program = PlannerProgram(SOURCE, name="swing.py")
        with pytest.raises(ValueError, match="upright") as caught:
            program.plan([{"angle": 0}])
        shown = "".join(traceback.format_exception(caught.value))
        assert "# a line to be found in the traceback" in shown
        assert f'File "<planner swing.py {program.sha256[:12]}>", line 9, in generate' in shown


class TestCopies:
    @pytest.mark.parametrize(
        "copied",
        [
            lambda program: pickle.loads(pickle.dumps(program)),
            lambda program: cloudpickle.loads(cloudpickle.dumps(program)),
            copy.deepcopy,
            copy.copy,
        ],
        ids=["pickle", "cloudpickle", "deepcopy", "copy"],
    )
    def test_a_copy_plans_alike(self, copied):
        program = PlannerProgram(SOURCE, name="swing.py")
        twin = copied(program)
        assert twin.plan([{"angle": 1}]) == program.plan([{"angle": 1}])
        assert (twin.source, twin.name, twin.reads) == (SOURCE, "swing.py", ("angle",))
        assert twin._generator is not program._generator


class TestFiles:
    def test_line_ends_are_kept_so_that_the_hash_holds(self, tmp_path):
        raw = SOURCE.replace("\n", "\r\n").encode()
        (tmp_path / "swing.py").write_bytes(raw)
        program = read_program(tmp_path / "swing.py")
        assert program.sha256 == hashlib.sha256(raw).hexdigest()
        assert program.plan([{"angle": 1}]) == [[("go right", 1.0)]]

    def test_what_cannot_be_read_is_named(self, tmp_path):
        (tmp_path / "latin.py").write_bytes(b"# \xe4")
        for path in (tmp_path / "missing.py", tmp_path / "latin.py", tmp_path):
            with pytest.raises(GuidanceFileError, match=re.escape(f"cannot read {path}: ")):
                read_program(path)
