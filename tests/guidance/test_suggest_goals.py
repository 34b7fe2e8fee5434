"""Who suggests goals without a language model, by which names, and asking one."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from llm_wrappers import registry
from llm_wrappers.captions import EnvDescription
from llm_wrappers.errors import GuidanceError, GuidanceWarning, InvalidOptionError, UnknownNameError
from llm_wrappers.guidance import FunctionPlanner, Goal, suggesters
from llm_wrappers.guidance.states import States
from llm_wrappers.guidance.suggesters import (
    MOST_CHARACTERS,
    MOST_GOALS,
    FixedSuggester,
    FunctionSuggester,
    PlannerSuggester,
    Suggesting,
    UniformSuggester,
    resolve_suggester,
)
from llm_wrappers.worlds.crafter.captioner import CrafterFamilyCaptioner

TOY = EnvDescription(env_id="Toy-v0", rules="", goals=("go left", "go right", "wait"))
CRAFTAX = CrafterFamilyCaptioner("craftax-classic").description


def states(*facts: Any) -> States:
    return States(facts, lambda rows: ["" for _ in rows])


def crafter_state(**changes: Any) -> dict[str, Any]:
    """Return the facts of a state in which nothing is near, held or reached."""
    captioner = CrafterFamilyCaptioner("craftax-classic")
    infos = {
        "local_view": np.full((1, 7, 9), 2, np.uint8),
        "inventory": {
            name: np.array([9 if name in ("health", "food", "drink", "energy") else 0])
            for name in ("health", "food", "drink", "energy", "sapling", "wood", "stone", "coal",
                "iron", "diamond", "wood_pickaxe", "stone_pickaxe", "iron_pickaxe", "wood_sword",
                "stone_sword", "iron_sword")
        },
        "achievements": {
            goal.replace(" ", "_"): np.array([0]) for goal in captioner.description.goals
        },
        "facing": np.array([1]),
        "sleeping": np.array([False]),
        "daylight": np.array([1.0]),
    }  # fmt: skip
    return {**dict(captioner.facts(None, infos)[0]), **changes}


# --- states ---


def test_captions_are_made_once_and_only_where_somebody_reads_them() -> None:
    made: list[int] = []

    def caption(facts: Any) -> list[str]:
        made.append(len(facts))
        return [f"x is {row['x']}" for row in facts]

    two = States([{"x": 1}, {"x": 2}], caption)
    assert (len(two), made) == (2, [])
    assert two.captions == two.captions == ("x is 1", "x is 2")
    assert made == [2]


# --- names ---


@pytest.mark.parametrize(
    ("name", "goals"),
    [
        ("none", ()),
        ("novelty", TOY.goals),
        ("fixed:go left", ("go left",)),
        ("fixed:go left| wait ", ("go left", "wait")),
        (["wait", "go left"], ("wait", "go left")),
        (("wait",), ("wait",)),
    ],
)
def test_these_suggest_the_same_everywhere(name: Any, goals: tuple[str, ...]) -> None:
    suggester = resolve_suggester(name, description=TOY)
    assert [tuple(each) for each in suggester.suggest(states({"x": 1}, {"x": 2}))] == [goals] * 2


def test_a_reference_suggests_its_planners_goals() -> None:
    suggester = resolve_suggester("reference:craftax-classic", description=CRAFTAX)
    same = resolve_suggester("planner:reference:craftax-classic", description=CRAFTAX)
    facts = crafter_state(near_tree=1, sees_tree=True)
    (goals,) = suggester.suggest(states(facts))
    assert "collect wood" in goals
    assert set(goals) <= set(CRAFTAX.goals)
    assert same.suggest(states(facts)) == [goals]
    assert suggester.pure  # type: ignore[attr-defined]
    assert "unlocked" in suggester.reads  # type: ignore[attr-defined]


def test_the_oracle_suggests_what_is_possible_and_not_yet_reached() -> None:
    oracle = resolve_suggester("oracle", description=CRAFTAX)
    wood = crafter_state(near_tree=1, sees_tree=True, wood=2)
    ((*goals,),) = oracle.suggest(states(wood))
    assert {"collect wood", "place table"} <= set(goals)
    assert "collect stone" not in goals
    ((*later,),) = oracle.suggest(states({**wood, "unlocked": ("collect_wood",)}))
    assert set(goals) - set(later) == {"collect wood"}


def test_uniform_draws_goals_that_are_fixed_for_a_state() -> None:
    suggester = resolve_suggester("uniform:2", description=TOY)
    many = states(*({"x": number} for number in range(600)))
    drawn = suggester.suggest(many)
    assert drawn == suggester.suggest(many)
    assert all(len(set(goals)) == 2 for goals in drawn)
    counts = [sum(goal in goals for goals in drawn) for goal in TOY.goals]
    assert chisquare(counts).pvalue > 1e-3
    assert UniformSuggester(TOY.goals, number=2, seed=1).suggest(many) != drawn
    (everything,) = resolve_suggester("uniform", description=TOY).suggest(states({}))  # type: ignore[misc]
    assert sorted(everything) == sorted(TOY.goals)
    (five,) = resolve_suggester("uniform", description=CRAFTAX).suggest(states({}))  # type: ignore[misc]
    assert len(five) == 5


@pytest.mark.parametrize(
    ("name", "description", "error", "message"),
    [
        ("gpt", TOY, UnknownNameError, "reference:NAME, planner:NAME, oracle, uniform"),
        ("fixed", TOY, UnknownNameError, "got 'fixed'"),
        ("fixed:", TOY, InvalidOptionError, "non-empty strings"),
        ("fixed:a||b", TOY, InvalidOptionError, "non-empty strings"),
        ("reference:chess", TOY, UnknownNameError, "got 'chess'"),
        ("planner:chess", TOY, UnknownNameError, "chess"),
        ("oracle", TOY, UnknownNameError, "'oracle' needs reference guidance"),
        ("uniform:0", TOY, InvalidOptionError, "from 1 to the 3 goals"),
        ("uniform:4", TOY, InvalidOptionError, "from 1 to the 3 goals"),
        ("uniform:", TOY, InvalidOptionError, "expected uniform:K, got 'uniform:'"),
        ("uniform:many", TOY, InvalidOptionError, "uniform:K with a whole number, got 'many'"),
        (
            "novelty",
            EnvDescription(env_id="Bare-v0", rules=""),
            InvalidOptionError,
            'name them, as in suggester="fixed:go left',
        ),
        (7, TOY, InvalidOptionError, "expected a suggester"),
        (UniformSuggester, TOY, InvalidOptionError, "call it first"),
    ],
)
def test_wrong_names_say_what_was_expected(
    name: Any, description: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        resolve_suggester(name, description=description)
    assert message in str(caught.value)


# --- prefixes of other packages ---


def load_echo(rest: str, *, description: Any) -> FixedSuggester:
    return FixedSuggester([f"{rest} in {description.env_id}"])


def installed(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Pretend that packages are installed whose metadata holds these entry points."""
    group = suggesters.ENTRY_POINTS
    found = [EntryPoint(name, value, group) for name, value in values.items()]
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda *, group: found if group == suggesters.ENTRY_POINTS else [],
    )


def test_an_installed_package_can_add_a_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, echo=f"{__name__}:load_echo")
    suggester = resolve_suggester("echo:a: b", description=TOY)
    assert suggester.suggest(states({})) == [("a: b in Toy-v0",)]
    with pytest.raises(UnknownNameError, match=r"none, echo; got 'gpt'"):
        resolve_suggester("gpt", description=TOY)


# --- objects and functions ---


def test_a_function_is_a_suggester() -> None:
    suggester = resolve_suggester(lambda given: [["go left"]] * len(given), description=TOY)
    assert isinstance(suggester, FunctionSuggester)
    assert not suggester.pure
    assert suggester.suggest(states({}, {})) == [["go left"]] * 2
    assert resolve_suggester(suggester, description=TOY) is suggester


def test_a_planners_goals_lose_their_weights_and_those_of_weight_zero() -> None:
    answers = [[("go left", 1.0), Goal("wait", 5.0), ("go right", 0.0)], GuidanceError("x"), None]
    planner = FunctionPlanner(lambda facts: answers, pure=True)  # type: ignore[arg-type, return-value]
    suggester = PlannerSuggester(planner)
    assert suggester.suggest(states({}, {}, {})) == [["go left", "wait"], *answers[1:]]
    assert (suggester.pure, suggester.reads) == (True, None)


ROWS = [{"wood": 2}, {"wood": 1}, {"wood": 0}]


def asking(suggester: Any) -> Suggesting:
    return Suggesting(suggester, caption=lambda facts: [f"wood {row['wood']}" for row in facts])


class Following:
    """A suggester that follows episodes, and so is asked about every state."""

    def __init__(self, *, pure: bool = False) -> None:
        self.pure = pure
        self.given: list[list[int]] = []

    def reset(self, mask: Any) -> None:
        self.fresh = mask

    def suggest(self, states: Any) -> list[list[str]]:
        self.given.append([row["wood"] for row in states.facts])
        if len(states) != 3:
            raise RuntimeError("not all of them")
        return [[caption] for caption in states.captions]


def test_one_that_follows_episodes_is_always_asked_about_all_states() -> None:
    suggester = Following()
    suggesting = asking(suggester)
    assert suggesting.goals(ROWS, [2, 0]) == [("wood 0",), ("wood 2",)]
    assert suggesting.goals(ROWS, []) == []
    assert suggester.given == [[2, 1, 0]]
    assert suggesting.states_asked == 3
    assert suggesting.counts["states"] == suggesting.counts["consulted"] == 2


def test_one_that_follows_episodes_and_fails_is_not_asked_about_some_of_them() -> None:
    suggester = Following()
    suggesting = asking(suggester)
    with pytest.warns(GuidanceWarning, match="not all of them"):
        assert suggesting.goals(ROWS[:2], [1]) == [()]
    assert suggester.given == [[2, 1]]
    assert suggesting.counts["suggester_failures"] == suggesting.counts["unguided"] == 1


def test_one_that_is_pure_is_asked_about_what_is_wanted() -> None:
    suggester = Following(pure=True)
    with pytest.warns(GuidanceWarning, match="not all of them"):
        asking(suggester).goals(ROWS, [1])
    assert suggester.given == [[1]]


def test_what_is_kept_of_an_answer() -> None:
    answers = [["eat cow", "", "eat cow", " ", 7, "x" * (MOST_CHARACTERS + 1)], [], None]
    suggesting = asking(FunctionSuggester(lambda states: answers))  # type: ignore[arg-type, return-value]
    assert suggesting.goals(ROWS, range(3)) == [("eat cow",), (), ()]
    counts = suggesting.counts
    assert (counts["suggestions"], counts["dropped_goals"], counts["unanswered"]) == (1, 4, 1)
    assert counts["unguided"] == 1  # An empty list is an answer: nothing is suggested.


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@pytest.mark.filterwarnings("ignore:the suggester failed:llm_wrappers.errors.GuidanceWarning")
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers=st.lists(anything, min_size=3, max_size=3) | anything)
def test_whatever_is_answered_goals_are_distinct_texts(answers: Any) -> None:
    suggesting = asking(FunctionSuggester(lambda states: answers))
    goals = suggesting.goals(ROWS, range(3))
    assert len(goals) == 3
    for each in goals:
        assert len(set(each)) == len(each) <= MOST_GOALS
        assert all(type(goal) is str and goal.strip() for goal in each)
        assert all(len(goal) <= MOST_CHARACTERS for goal in each)
    counts = suggesting.counts
    assert counts["states"] == 3
    assert counts["suggestions"] == sum(map(len, goals))
    assert counts["suggester_failures"] + counts["unanswered"] == counts["unguided"] <= 3
