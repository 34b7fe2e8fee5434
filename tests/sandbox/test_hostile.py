"""Hostile planners, each in a process that may die of it: none of them gets anywhere."""

import sys

import pytest
from hostile_planners import FACTS, GOALS, HOSTILE
from hostile_trials import outcomes

from llm_wrappers.sandbox import validate_planner

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits the memory of processes")


# Each of these costs a quarter of a second or more, and memory.
HANGING = [c for c in HOSTILE if {"timeout", "memory", "crashed", "given up"} & {*c.monty}]


class TestContainment:
    # Many in one test: started apart, they would cost as much again for every worker of xdist.
    @pytest.mark.parametrize(
        ("runtime", "cases"),
        [
            ("pool", [case for case in HOSTILE if case not in HANGING]),
            ("monty", HANGING[::18]),
            pytest.param("monty", HOSTILE, marks=pytest.mark.slow),
        ],
        ids=["at once", "hanging", "all"],
    )
    def test_in_monty(self, runtime, cases):
        ended = outcomes(runtime, cases)
        assert [o for case in cases if (o := ended[case.name]).end not in case.monty] == []
        assert [outcome for outcome in ended.values() if outcome.harm or outcome.seconds > 30] == []

    @pytest.mark.slow
    @pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
    def test_in_validation(self, case, tmp_path):
        source = case.source.replace("@FILE@", str(tmp_path / "written"))
        report = validate_planner(source, [FACTS, {**FACTS, "health": 9}], goals=GOALS)
        found = {finding.kind for finding in report.findings} or {"valid"}
        assert found & ({case.validation} if case.validation else {*case.monty, "slow", "valid"})
        assert list(tmp_path.iterdir()) == []


class TestTheTrialsThemselves:
    def test_without_protection_the_harm_is_seen(self):
        harmless_enough = {
            "writes a file": ("answers", "WROTE"),
            "reads the environment by getenv": ("answers", "LEAKED"),
            "patches math": ("answers", "TAMPERED"),
            "exit()": ("RAISED", ""),
            "os._exit": ("DIED", ""),
            "returns True for a weight": ("MALFORMED", ""),
        }
        cases = [case for case in HOSTILE if case.name in harmless_enough]
        ended = outcomes("plain", cases, processes=1)
        assert {o.name: (o.end, o.harm) for o in ended.values()} == harmless_enough

    @pytest.mark.slow
    def test_a_process_that_says_nothing_hangs(self, monkeypatch):
        monkeypatch.setattr("hostile_trials.SECONDS_TO_HANG", 3.0)
        (case,) = [case for case in HOSTILE if case.name == "loops for ever"]
        assert outcomes("plain", [case])[case.name].end == "HUNG"
