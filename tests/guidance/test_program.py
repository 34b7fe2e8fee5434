"""A planner kept as Python source."""

import copy
import hashlib
import pickle
import re
import traceback

import cloudpickle
import pytest

from llm_wrappers.errors import GuidanceFileError
from llm_wrappers.guidance import Planner, PlannerProgram
from llm_wrappers.guidance.planning import Planning
from llm_wrappers.guidance.program import read_program

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

    def test_reads_is_what_it_is_given_behind_planning(self):
        body = "return [('go left' if set(facts) == {'angle'} else 'go right', 1.0)]"
        program = PlannerProgram("READS = ('angle',)\n" + with_body(body))
        asked = Planning(program, goals=("go left", "go right"), fallback="go right")
        assert asked.plans([{"angle": 1, "speed": 2}, {"angle": 1, "speed": 3}])[1].goals == (0,)
        assert asked.counts["planned"] == 1

    def test_each_state_is_a_dict_of_its_own(self):
        program = PlannerProgram(with_body("facts.clear(); return type(facts)"))
        facts = {"angle": 1}
        assert program.plan([facts]) == [dict]
        assert facts == {"angle": 1}

    def test_the_hash_is_of_the_source(self):
        assert PlannerProgram(SOURCE).sha256 == hashlib.sha256(SOURCE.encode()).hexdigest()

    def test_any_python_may_be_used(self):
        body = "wish = Wish('go'); return [(wish.text, wish.weight)]"
        program = PlannerProgram(
            "from dataclasses import dataclass\n"
            "import math\n"
            "@dataclass\n"
            "class Wish:\n"
            "    text: str\n"
            "    weight: float = math.pi\n" + with_body(body)
        )
        assert program.plan([{}])[0][0][0] == "go"


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

    def test_the_cause_is_kept(self):
        with pytest.raises(GuidanceFileError) as caught:
            PlannerProgram("1 / 0")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_a_traceback_shows_the_line_and_the_name(self):
        program = PlannerProgram(SOURCE, name="swing.py")
        with pytest.raises(ValueError, match="upright") as caught:
            program.plan([{"angle": 0}])
        shown = "".join(traceback.format_exception(caught.value))
        assert "# a line to be found in the traceback" in shown
        assert f'File "<planner swing.py {program.sha256[:12]}>", line 9, in generate' in shown

    def test_two_sources_of_one_name_keep_their_own_lines(self):
        programs = [PlannerProgram(with_body(f"raise KeyError  # number {n}")) for n in (1, 2)]
        for number, program in enumerate(programs, start=1):
            with pytest.raises(KeyError) as caught:
                program.plan([{}])
            assert f"# number {number}" in "".join(traceback.format_exception(caught.value))


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
    def test_a_file_is_named_in_tracebacks(self, tmp_path):
        (tmp_path / "swing.py").write_text(SOURCE)
        program = read_program(tmp_path / "swing.py")
        assert (program.source, program.name) == (SOURCE, "swing.py")

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
