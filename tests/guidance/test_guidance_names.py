"""Planners and masks by name: references, files, and guidance that knows nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_wrappers import MaskBank
from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import (
    GuidanceError,
    GuidanceFileError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance import (
    FunctionPlanner,
    Goal,
    GuidanceArtefact,
    PlannerProgram,
    Provenance,
    reference_artefact,
    register_source,
    resolve,
    resolve_masks,
    resolve_planner,
    save_artefact,
)
from llm_wrappers.guidance.ablations import (
    EqualPlanner,
    NoPlanner,
    RandomPlanner,
    ShuffledPlanner,
    SinglePlanner,
    random_masks,
    shuffled_masks,
)
from llm_wrappers.guidance.planners import Planning
from llm_wrappers.sandbox import MontyRuntime
from llm_wrappers.worlds.crafter.rules import ACTIONS, describe

CRAFTER, CRAFTAX = "llm_wrappers/Crafter-v1", "llm_wrappers/CraftaxClassic-v1"
GOALS = ("go left", "go right")
SOURCE = """\
class OptimizedGoalGenerator:
    def generate(self, facts):
        return [("go left", 1.0)]
"""
MASKS = {"go left": [0], "go right": ["right"]}
ARTEFACT = GuidanceArtefact(
    provenance=Provenance(author="hand", environment="Toy-v0"), planner_source=SOURCE, masks=MASKS
)


def planner_of(name, env_id="Toy-v0"):
    return resolve_planner(name, env_id=env_id, goals=GOALS)


def masks_of(name, env_id="Toy-v0"):
    return resolve_masks(name, env_id=env_id, goals=GOALS, actions=["left", "right"])


@pytest.fixture
def folder(tmp_path):
    return save_artefact(ARTEFACT, tmp_path / "artefact")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Put an artefact of this test's own in the place of what ships for Crafter."""
    monkeypatch.setattr(resolve, "_data_folder", lambda name: tmp_path / name)
    return save_artefact(ARTEFACT, tmp_path / "crafter")


class TestPlannerNames:
    def test_none_and_random(self):
        assert isinstance(planner_of("none"), NoPlanner)
        planner = planner_of("random")
        assert isinstance(planner, RandomPlanner)
        assert planner.goals == GOALS

    def test_single(self):
        for name, goal in (("single", "go right"), ("single:go left", "go left")):
            planner = planner_of(name)
            assert isinstance(planner, SinglePlanner)
            assert planner.goal == goal

    def test_single_with_a_goal_that_there_is_not(self):
        with pytest.raises(UnknownNameError, match=r"\['go left', 'go right'\], got 'fly'"):
            planner_of("single:fly")

    def test_a_file(self, folder):
        planner = planner_of(f"file:{folder / 'planner.py'}")
        assert isinstance(planner, MontyRuntime)
        assert planner.plan([{}]) == [[("go left", 1.0)]]

    def test_code_of_a_file_does_not_run_here_unless_it_is_trusted(self, tmp_path):
        canary = tmp_path / "canary"
        planner = tmp_path / "planner.py"
        planner.write_text(f"open({str(canary)!r}, 'w').close()\n{SOURCE}")
        (answer,) = planner_of(f"file:{planner}").plan([{}])
        assert isinstance(answer, GuidanceError)
        assert not canary.exists()
        assert isinstance(planner_of(f"trusted:{planner}"), PlannerProgram)
        assert canary.exists()

    @pytest.mark.parametrize("name", ["guarded:", "shuffled:guarded:", "equal:guarded:"])
    def test_the_guard_is_gone_and_its_name_says_what_to_write(self, name, folder):
        said = 'no boundary against its author, and is gone; write "file:PATH" .* or "trusted:PATH"'
        with pytest.raises(UnknownNameError, match=said):
            planner_of(f"{name}{folder}")
        with pytest.raises(InvalidOptionError, match=said):
            ARTEFACT.planner("guarded")

    def test_a_changed_planner_is_taken_from_the_file_but_not_from_the_folder(self, folder):
        (folder / "planner.py").write_text(SOURCE + "# changed\n")
        assert planner_of(f"file:{folder / 'planner.py'}").source.endswith("# changed\n")
        with pytest.raises(GuidanceFileError, match=r"is not the planner that artefact\.json"):
            planner_of(f"file:{folder}")

    def test_shuffled(self, shipped, folder):
        for name, env_id in (("shuffled", CRAFTER), (f"shuffled:file:{folder}", "Toy-v0")):
            planner = planner_of(name, env_id)
            assert isinstance(planner, ShuffledPlanner)
            assert planner.plan([{}]) == [[("go right", 1.0)]]

    def test_equal(self, shipped, folder):
        for name, env_id in (("equal", CRAFTER), (f"equal:file:{folder}", "Toy-v0")):
            planner = planner_of(name, env_id)
            assert isinstance(planner, EqualPlanner)
            assert planner.plan([{}]) == [[("go left", 1.0)]]

    def test_the_oracle_of_an_environment_is_a_file_beside_its_reference(self, shipped):
        (shipped / "oracle.py").write_text(SOURCE + "# the oracle\n")
        assert planner_of("oracle", CRAFTER).source.endswith("# the oracle\n")

    @pytest.mark.parametrize("name", ["oracle", "shuffled", "equal"])
    @pytest.mark.parametrize("env_id", ["Toy-v0", ""])
    def test_what_needs_a_reference_says_where_there_is_one(self, name, env_id):
        with pytest.raises(UnknownNameError) as caught:
            planner_of(name, env_id)
        message = str(caught.value)
        assert message.startswith(f"{name!r} needs reference guidance, which ships for [")
        assert CRAFTAX in message
        assert (env_id or "this environment") in message


class TestMaskNames:
    def test_a_dict_is_taken_as_it_is(self):
        assert masks_of(MASKS) is MASKS

    def test_none_and_random(self):
        assert masks_of("none") == {}
        assert set(masks_of("random")) == set(GOALS)
        assert {action for row in masks_of("random").values() for action in row} <= {
            "left",
            "right",
        }

    def test_a_file(self, tmp_path):
        (tmp_path / "masks.json").write_text(json.dumps(MASKS))
        assert masks_of(f"file:{tmp_path / 'masks.json'}") == MASKS

    def test_a_folder(self, folder):
        assert masks_of(f"file:{folder}") == MASKS

    def test_a_reference_whose_planner_is_not_executed(self, shipped):
        save_artefact(ARTEFACT.model_copy(update={"planner_source": "1 / 0"}), shipped)
        assert masks_of("reference:crafter") == MASKS

    def test_shuffled(self, shipped, folder):
        exchanged = {"go left": ["right"], "go right": [0]}
        assert masks_of("shuffled", CRAFTER) == exchanged
        assert masks_of(f"shuffled:file:{folder}") == exchanged

    def test_a_folder_without_masks(self, tmp_path):
        save_artefact(ARTEFACT.model_copy(update={"masks": None}), tmp_path)
        with pytest.raises(UnknownNameError, match=r"has no masks\.json"):
            masks_of(f"file:{tmp_path}")


@pytest.mark.parametrize("resolved", [planner_of, masks_of])
class TestUnknown:
    @pytest.mark.parametrize(
        "name",
        ["", "referenze:crafter", "reference", "none:1", "llm:openai/gpt-5-mini", "planner.py"],
    )
    def test_a_name_that_nothing_resolves(self, resolved, name):
        with pytest.raises(UnknownNameError, match="expected one of reference:NAME") as caught:
            resolved(name)
        assert f"; got {name!r} as " in str(caught.value)

    @pytest.mark.parametrize("name", ["reference:", "reference:cartpole", "reference:../guidance"])
    def test_a_reference_that_does_not_ship(self, resolved, name):
        with pytest.raises(
            UnknownNameError,
            match=r"among \['craftax-classic', 'crafter', 'minigrid-doorkey'\], got",
        ):
            resolved(name)

    @pytest.mark.parametrize("name", ["file:nowhere", "file:nowhere.py", "file:nowhere.json"])
    def test_a_file_that_is_missing(self, resolved, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(GuidanceFileError, match="nowhere"):
            resolved(name)


def test_a_registered_source_gives_planners_and_masks(monkeypatch):
    for registry in (resolve._PLANNERS, resolve._MASKS):
        monkeypatch.setattr(registry, "_names", dict(registry._names))
    asked = []
    register_source("llm", lambda rest: asked.append(rest) or ARTEFACT)
    assert planner_of("llm:openai/gpt-5:mini").source == SOURCE
    assert masks_of("llm:openai/gpt-5:mini") == MASKS
    assert isinstance(planner_of("shuffled:llm:x"), ShuffledPlanner)
    assert asked == ["openai/gpt-5:mini", "openai/gpt-5:mini", "x"]
    with pytest.raises(UnknownNameError, match="none, llm:NAME; got 'llm'"):
        planner_of("llm")


@pytest.mark.parametrize(
    ("env_id", "name"),
    [(CRAFTER, "crafter"), (CRAFTAX, "craftax-classic")],
)
class TestWhatShips:
    def test_was_made_by_hand_for_this_environment(self, env_id, name):
        provenance = reference_artefact(name).provenance
        assert (provenance.author, provenance.environment) == ("hand", env_id)

    def test_has_a_planner_and_masks_that_fit(self, env_id, name):
        goals = describe(name).goals
        planner = resolve_planner(f"reference:{name}", env_id=env_id, goals=goals)
        assert isinstance(planner, PlannerProgram)
        masks = resolve_masks(f"reference:{name}", env_id=env_id, goals=goals, actions=ACTIONS)
        assert set(masks) <= set(goals)
        MaskBank(masks, spaces.Discrete(len(ACTIONS)), action_names=ACTIONS)


# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WISHES = ("collect wood", "eat cow", "wake up", "place table")
STATE = {"wood": 3, "dark": True, "near": None, "facing": "tree", "unlocked": ("a", "b"), "x": 0.5}
goal_lists = st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True)

PRINT_ALL = f"""
from llm_wrappers.guidance.ablations import *
state = {STATE!r}
print([(goal.text, goal.weight) for goal in RandomPlanner({WISHES!r}, seed=3).plan([state])[0]])
print(random_masks({WISHES!r}, range(17), seed=3))
print(ShuffledPlanner(NoPlanner(), {WISHES!r}, seed=3).exchange)
from llm_wrappers.guidance.suggesters import States, UniformSuggester
print(UniformSuggester({WISHES!r}, number=3).suggest(States([state], lambda facts: [""])))
"""


def test_everything_random_is_the_same_in_every_process():
    said = subprocess.run(
        [sys.executable, "-c", PRINT_ALL],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(PRINT_ALL, {})
    assert said == here.getvalue()
    assert said.count("\n") == 4


class TestSingle:
    @examples
    @given(goal_lists, st.data())
    def test_the_goal_is_the_same_in_every_state(self, goals, data):
        goal = data.draw(st.sampled_from(goals))
        plans = SinglePlanner(goals, goal).plan([{"x": x} for x in range(3)])
        assert plans == [[Goal(goal, 1.0)]] * 3

    @pytest.mark.parametrize("goal", ["fly", ""])
    def test_a_goal_outside_the_vocabulary_is_refused(self, goal):
        with pytest.raises(UnknownNameError, match=f"'place table'\\], got {goal!r}"):
            SinglePlanner(WISHES, goal)


class TestRandom:
    def test_all_goals_have_a_positive_weight(self):
        planner = RandomPlanner(WISHES)
        for answer in planner.plan([{"x": x} for x in range(50)]):
            assert tuple(goal.text for goal in answer) == WISHES
            assert all(goal.weight > 0 for goal in answer)

    def test_equal_states_have_equal_weights_whatever_holds_them(self):
        columns = (FactColumns("wood", (0, 1)), FactColumns("dark", (False, True)))
        table = FactsTable(columns, np.array([[1, 0]], np.int8))
        first, second, third = RandomPlanner(WISHES).plan(
            [table[0], {"wood": 1, "dark": False}, {"dark": False, "wood": 1}]
        )
        assert first == second == third
        other = [{"wood": 0, "dark": False}]
        assert RandomPlanner(WISHES).plan(other) != [first]
        assert RandomPlanner(WISHES).plan(other) != RandomPlanner(WISHES, seed=1).plan(other)


class TestShuffled:
    @examples
    @given(goal_lists, st.integers(0, 1000))
    def test_no_goal_stays_in_its_place(self, goals, seed):
        exchange = ShuffledPlanner(NoPlanner(), goals, seed=seed).exchange
        assert sorted(exchange) == sorted(exchange.values()) == sorted(goals)
        assert all(goal != other for goal, other in exchange.items())

    def test_moments_and_weights_are_those_of_the_other_planner(self):
        def plan(facts):
            return [[("eat cow", row["x"]), Goal("wake up", 2.0), ("fly", 3.0)] for row in facts]

        planner = ShuffledPlanner(FunctionPlanner(plan), WISHES)
        new = planner.exchange
        assert planner.plan([{"x": 1.0}, {"x": 5.0}]) == [
            [(new["eat cow"], weight), (new["wake up"], 2.0), ("fly", 3.0)] for weight in (1.0, 5.0)
        ]

    def test_it_is_as_pure_as_the_other_planner_and_reads_the_same(self):
        class Other:
            pure, reads, may_be_empty = True, ("x",), True

            def plan(self, facts):
                return [[("eat cow", 1.0)] if row["x"] else [] for row in facts]

        asked = Planning(ShuffledPlanner(Other(), WISHES), goals=WISHES, fallback=WISHES[0])
        plans = asked.plans([{"x": 1, "y": 1}, {"x": 1, "y": 2}, {"x": 0, "y": 1}])
        assert [len(plan.goals) for plan in plans] == [1, 1, 0]
        assert (asked.counts["planned"], asked.counts["failures"]) == (2, 0)
        assert ShuffledPlanner(FunctionPlanner(lambda facts: []), WISHES).pure is False


class TestEqual:
    def test_the_goals_that_have_a_weight_have_the_same(self):
        def plan(facts):
            return [[("eat cow", row["x"]), Goal("wake up", 2.0), ("fly", 0.0)] for row in facts]

        planner = EqualPlanner(FunctionPlanner(plan))
        assert planner.plan([{"x": 9.0}, {"x": 0.0}]) == [
            [("eat cow", 1.0), ("wake up", 1.0)],
            [("wake up", 1.0)],
        ]

    def test_it_is_as_pure_as_the_other_planner_and_reads_the_same(self):
        planner = EqualPlanner(NoPlanner())
        assert (planner.pure, planner.reads, planner.may_be_empty) == (True, (), True)
        planner = EqualPlanner(FunctionPlanner(lambda facts: []))
        assert (planner.pure, planner.reads, planner.may_be_empty) == (False, None, False)


class TestMasksThatKnowNothing:
    @examples
    @given(goal_lists, st.integers(1, 20), st.integers(0, 1000))
    def test_random_ones_leave_something_open_for_every_goal(self, goals, actions, seed):
        masks = random_masks(goals, range(actions), seed=seed)
        assert list(masks) == goals
        MaskBank(masks, spaces.Discrete(actions))  # which refuses an empty one

    @examples
    @given(goal_lists, st.integers(0, 1000))
    def test_shuffled_ones_give_each_goal_the_actions_of_another(self, goals, seed):
        masks = {goal: [number] for number, goal in enumerate(goals)}
        shuffled = shuffled_masks(masks, seed=seed)
        assert list(shuffled) == goals
        assert sorted(shuffled.values()) == sorted(masks.values())
        assert all(shuffled[goal] != masks[goal] for goal in goals)
