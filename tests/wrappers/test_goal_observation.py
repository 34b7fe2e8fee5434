"""What each option of the goal wrapper does, and what happens when the planner fails."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from scipy.stats import chisquare
from wrapper_doubles import GOALS, always, counting_env, episodes, stable_id, with_goal

from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.errors import (
    GuidanceFileError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.testing import FailingPlanner, ScriptedEnv, ScriptedPlanner, make_scripted_env
from llm_wrappers.testing.scripted import FAILURES
from llm_wrappers.wrappers import ActionMaskWrapper, GoalObservationWrapper, vector

PLANNER_FILE = """
class OptimizedGoalGenerator:
    def generate(self, facts):
        return [("right" if facts["obs_0"] > 2 else "left", 1.0)]
"""


def goals_shown(env: gym.Env[Any, Any], steps: int = 8) -> list[str]:
    return [info["goal_text"] for _, info in episodes(env, [0] * steps)]


# --- the observation ---


def test_a_box_becomes_a_dict_with_the_goal() -> None:
    env = with_goal(counting_env(), always("right"))
    observation, info = env.reset(seed=0)
    assert env.observation_space == gym.spaces.Dict(
        obs=gym.spaces.Box(0.0, 1000.0, (1,), np.float32),
        goal=gym.spaces.Box(0.0, 1.0, (3,), np.float32),
    )
    assert observation["obs"].tolist() == [0.0]
    assert observation["goal"].tolist() == [0.0, 1.0, 0.0]
    assert info["goal_text"] == "right"


def test_the_goal_is_of_the_state_that_is_shown_with_it() -> None:
    planner = ScriptedPlanner(lambda facts: [("left" if facts["obs_0"] % 2 else "right", 1.0)])
    for observation, info in episodes(with_goal(counting_env(), planner), [0] * 8):
        assert info["goal_text"] == ("left" if observation["obs"][0] % 2 else "right")
        assert GOALS[int(observation["goal"].argmax())] == info["goal_text"]


def test_no_goal_is_the_zero_vector_and_the_empty_text() -> None:
    env = with_goal(planner="none")
    for observation, info in episodes(env, [0, 1, 2]):
        assert not observation["goal"].any()
        assert info["goal_text"] == ""
        assert env.current_goal() is None
    assert env.stats()["failures"] == 0


def test_it_tells_layers_above_what_it_knows() -> None:
    env = with_goal(gym.make("CartPole-v1"), always("left"))
    env.reset(seed=0)
    assert env.current_goal() == "left"
    assert env.goal_vocabulary() == tuple(GOALS)
    assert env.env_description().action_names == ("push left", "push right")


# --- one test per option ---


def test_planner_may_be_a_function_an_object_or_a_name(tmp_path: Any) -> None:
    def function(facts: list[dict[str, Any]]) -> Any:
        return [[("wait", 1.0)] for _ in facts]

    (tmp_path / "planner.py").write_text(PLANNER_FILE)
    assert set(goals_shown(with_goal(counting_env(), function))) == {"wait"}
    assert set(goals_shown(with_goal(counting_env(), always("left")))) == {"left"}
    from_file = with_goal(counting_env(), f"file:{tmp_path / 'planner.py'}")
    assert goals_shown(from_file, 4) == ["left", "left", "left", "right", "right"]
    assert (
        len(set(goals_shown(with_goal(counting_env(50), "random", reselect="every_step"), 40))) == 3
    )


def test_captioner_gives_the_facts() -> None:
    planner = always("left")
    env = make_scripted_env()
    captioner = GenericCaptioner(env.observation_space, env.action_space, include_infos=True)
    with_goal(env, planner, captioner=captioner).reset(seed=0)
    assert planner.asked[0]["info_steps"] == 0
    planner = always("left")
    with_goal(make_scripted_env(), planner).reset(seed=0)
    assert set(planner.asked[0]) == {"obs_0", "obs_1", "obs_2"}


def test_encoder_decides_how_a_goal_looks() -> None:
    hashed = with_goal(planner=always("left"), encoder="hashing:16")
    given = with_goal(planner=always("left"), encoder=HashingEncoder(16))
    space = hashed.observation_space["goal"]  # type: ignore[index]
    assert (space.shape, space.low[0]) == ((16,), -1.0)
    expected = HashingEncoder(16).encode(["left"])[0]
    for env in (hashed, given):
        observation, _ = env.reset(seed=0)
        np.testing.assert_array_equal(observation["goal"], expected)
        assert observation in env.observation_space


def test_selection_samples_or_takes_the_largest() -> None:
    planner = ScriptedPlanner([("left", 1.0), ("right", 3.0)])
    sampled = with_goal(counting_env(500), planner, reselect="every_step")
    largest = with_goal(counting_env(500), planner, reselect="every_step", selection="argmax")
    assert set(goals_shown(sampled, 50)) == {"left", "right"}
    assert set(goals_shown(largest, 50)) == {"right"}


def test_reselect_on_change_keeps_a_goal_while_the_plan_has_it() -> None:
    def plan(facts: Any) -> Any:
        first = "left" if facts["obs_0"] < 20 else "wait"
        return [(first, 1.0), ("right", 1.0)]

    env = with_goal(counting_env(500), ScriptedPlanner(plan), reselect="every_step")
    assert set(goals_shown(env, 19)) == {"left", "right"}
    # A goal that leaves the plan is left, one that stays in it is kept.
    for seed in range(10):
        env = with_goal(counting_env(500), ScriptedPlanner(plan))
        shown = [info["goal_text"] for _, info in episodes(env, [0] * 30, seed)]
        assert len(set(shown[:20])) == 1
        possible = {"right"} if shown[0] == "right" else {"right", "wait"}
        assert shown[20] in possible


def test_a_new_episode_forgets_the_goal_that_was_kept() -> None:
    env = with_goal(counting_env(3), ScriptedPlanner([("left", 1.0), ("right", 1.0)]))
    env.reset(seed=1)
    assert len({env.reset()[1]["goal_text"] for _ in range(20)}) == 2


@pytest.mark.parametrize(("fallback", "shown"), [(None, "left"), ("wait", "wait")])
def test_fallback_goal_is_shown_where_the_planner_fails(fallback: Any, shown: str) -> None:
    env = with_goal(planner=FailingPlanner([]), fallback_goal=fallback)
    with pytest.warns(GuidanceWarning, match="the planner failed"):
        _, info = env.reset(seed=0)
    assert info["goal_text"] == shown


def test_key_names_the_goal_in_the_observation() -> None:
    observation, _ = with_goal(planner=always("left"), key="task").reset(seed=0)
    assert set(observation) == {"obs", "task"}


# --- what the user got wrong ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"planner": "gpt"}, UnknownNameError, "reference:NAME, file:PATH"),
        ({"planner": "oracle"}, UnknownNameError, "'oracle' needs reference guidance"),
        ({"planner": "file:/nowhere/planner.py"}, GuidanceFileError, "/nowhere/planner.py"),
        ({"planner": 7}, InvalidOptionError, "expected a planner"),
        ({"goals": "left"}, InvalidOptionError, "a list of non-empty strings, got 'left'"),
        ({"goals": []}, InvalidOptionError, 'pass them, as in goals=["go left"'),
        ({"goals": None}, InvalidOptionError, "describes no goals: pass them"),
        ({"goals": ["left", "left"]}, InvalidOptionError, "goals must not repeat"),
        ({"captioner": object()}, InvalidOptionError, "captioner must have"),
        ({"encoder": "word2vec"}, UnknownNameError, "one-hot, hashing"),
        ({"encoder": 3}, InvalidOptionError, "an object with encode(texts) or its name"),
        ({"selection": "best"}, InvalidOptionError, "('sample', 'argmax'), got 'best'"),
        ({"reselect": "never"}, InvalidOptionError, "('on_change', 'every_step'), got 'never'"),
        ({"fallback_goal": "sleep"}, InvalidOptionError, "one of the goals"),
        ({"key": ""}, InvalidOptionError, "key must be a non-empty string, got ''"),
        ({"key": "obs"}, InvalidOptionError, "choose another with key=..."),
    ],
    ids=stable_id,
)
def test_a_wrong_option_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    options = {"planner": always("left"), **options}
    for env, wrapper in (
        (make_scripted_env(), GoalObservationWrapper),
        (gym.vector.SyncVectorEnv([make_scripted_env]), vector.GoalObservationWrapper),
    ):
        with pytest.raises(error, match=re.escape(message)):
            wrapper(env, **{"goals": GOALS, **options})


def test_a_key_that_is_taken_is_refused_with_those_there_are() -> None:
    env = make_scripted_env(observation_space=gym.spaces.Dict(goal=gym.spaces.Discrete(2)))
    with pytest.raises(InvalidOptionError, match=r"already has the key 'goal' \(keys: \['goal'\]"):
        with_goal(env)
    assert set(with_goal(with_goal(), key="second").reset()[0]) == {"obs", "goal", "second"}


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((2, 4)), "must return 3 finite vectors, got shape (2, 4)"),
        (np.full((3, 4), np.nan), "3 finite vectors"),
        (np.full((3, 4), 2.0), "vectors of unit length"),
    ],
)
def test_an_encoder_that_returns_something_else_is_refused(vectors: Any, message: str) -> None:
    class Encoder:
        def encode(self, texts: Any) -> Any:
            return vectors

    with pytest.raises(InvalidOptionError, match=re.escape(message)):
        with_goal(encoder=Encoder())


def test_an_environment_without_facts_is_refused() -> None:
    env = make_scripted_env(observation_space=gym.spaces.Text(5))
    with pytest.raises(IncompatibleEnvironmentError, match=r"Pass captioner=\.\.\."):
        with_goal(env)


# --- what the planner got wrong ---


@pytest.mark.parametrize("how", sorted(FAILURES))
def test_a_planner_that_fails_in_mid_episode_stops_nothing(how: str) -> None:
    """Test 27: the fallback goal is shown, nothing is masked, it is counted and said once."""
    planner = FailingPlanner(
        [("right", 1.0)], fails=lambda facts: facts["obs_0"] in (2, 3), how=how
    )
    goal = with_goal(counting_env(), planner, fallback_goal="wait")
    env = ActionMaskWrapper(goal, masks={"right": [0], "wait": [1]})
    observation, info = env.reset(seed=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(1, 9):
            observation, reward, terminated, _, info = env.step(0)
            failed = step in (2, 3)
            assert info["goal_text"] == ("wait" if failed else "right")
            assert observation["goal"].tolist() == [0.0, float(not failed), float(failed)]
            assert goal.current_goal() == (None if failed else "right")
            assert info["mask_applied"] is not failed
            assert env.action_masks().tolist() == ([True] * 3 if failed else [True, False, False])
            assert (reward, terminated) == (1.0, False)
    assert [warning.category for warning in caught] == [GuidanceWarning]
    stats = goal.stats()
    assert (stats["states"], stats["failures"]) == (9, 2)
    assert stats["unknown_goals"] == 0
    assert stats["goal_steps"] == {"left": 0, "right": 7, "wait": 2}


# --- the method of the paper ---


def test_25_nothing_but_the_planner_is_called_in_reset_and_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Test 25: no model, no text and no encoder in the hot path; the planner once per state."""
    encoder = HashingEncoder(8)
    texts: list[str] = []
    monkeypatch.setattr(
        type(encoder),
        "encode",
        lambda self, given: texts.extend(given) or np.eye(3, 8, dtype=np.float32),
    )
    for method in ("state_captions", "transition_captions"):
        monkeypatch.setattr(GenericCaptioner, method, None)
    planner = always("left")
    env = with_goal(counting_env(5), planner, encoder=encoder)
    seen = episodes(env, [0] * 20)
    assert texts == GOALS
    assert len(planner.asked) == len(seen) == env.stats()["planned"]


def test_28_goals_are_drawn_in_proportion_to_their_weights() -> None:
    """Test 28: chi-square; a goal of weight zero is never chosen."""
    weights = {"a": 1.0, "b": 2.5, "c": 0.0, "d": 6.0, "e": 0.5}
    planner = ScriptedPlanner(list(weights.items()))
    env = with_goal(counting_env(10_000), planner, goals=list(weights), reselect="every_step")
    counts = Counter(goals_shown(env, 4_000))
    assert counts["c"] == 0
    drawn = [goal for goal, weight in weights.items() if weight > 0]
    expected = np.array([weights[goal] for goal in drawn]) / 10.0 * 4_001
    assert chisquare([counts[goal] for goal in drawn], expected).pvalue > 0.01


def test_31_equal_weights_are_a_switch(tmp_path: Any) -> None:
    """Test 31: the ablation without priorities, by name, of any planner."""
    path = tmp_path / "planner.py"
    path.write_text(
        "class OptimizedGoalGenerator:\n"
        "    def generate(self, facts):\n"
        "        return [('left', 1.0), ('right', 99.0)]\n"
    )

    def share_of_left(planner: str) -> float:
        env = with_goal(counting_env(10_000), planner, reselect="every_step")
        return goals_shown(env, 400).count("left") / 401

    assert share_of_left(f"file:{path}") < 0.05
    assert 0.4 < share_of_left(f"equal:file:{path}") < 0.6


# --- around it ---


def test_a_state_of_another_vocabulary_is_refused() -> None:
    env = with_goal(goals=["left"], planner=always("left"))
    with pytest.raises(InvalidOptionError, match="got one of"):
        env.load_state_dict(with_goal().state_dict())


# --- factors of goals ---


FACTORED = ["rest", "act"]


def rest_or_act(facts: Any) -> Any:
    return [[("rest", 2.0), ("act", 1.0)] for _ in facts]


def rested(**options: Any) -> Any:
    return GoalObservationWrapper(ScriptedEnv(), planner=rest_or_act, goals=FACTORED, **options)


def many(**options: Any) -> Any:
    envs = SyncVectorEnv([ScriptedEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    return vector.GoalObservationWrapper(envs, planner=rest_or_act, goals=FACTORED, **options)


@pytest.fixture(params=[rested, many], ids=["single", "vector"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def goals_of(info: Any) -> set[str]:
    return set(np.atleast_1d(info["goal_text"]).tolist())


def test_the_next_goal_follows_the_factors_and_no_space_changes(make: Any) -> None:
    env = make(selection="argmax", reselect="every_step")
    space = env.observation_space
    _, info = env.reset(seed=0)
    assert goals_of(info) == {"rest"}
    env.set_goal_factors({"act": 3.0})
    observation, *_, info = env.step(env.action_space.sample())
    assert goals_of(info) == {"act"}
    assert env.observation_space is space
    assert observation in space
    env.set_goal_factors({})
    assert goals_of(env.step(env.action_space.sample())[-1]) == {"rest"}


def test_a_goal_that_is_kept_is_kept(make: Any) -> None:
    env = make(selection="argmax", reselect="on_change")
    env.reset(seed=0)
    env.set_goal_factors({"act": 3.0})
    assert goals_of(env.step(env.action_space.sample())[-1]) == {"rest"}
    assert goals_of(env.reset()[1]) == {"act"}


def test_factors_outlive_episodes_and_checkpoints(make: Any) -> None:
    env = make()
    assert env.goal_factors() == {"rest": 1.0, "act": 1.0}
    assert env.stats()["goal_factors"] == {}
    env.set_goal_factors({"act": 3})
    env.reset(seed=0)
    assert env.goal_factors() == {"rest": 1.0, "act": 3.0}
    assert env.stats()["goal_factors"] == {"act": 3.0}
    state = json.loads(json.dumps(env.state_dict()))
    other = make()
    other.load_state_dict(state)
    assert other.goal_factors() == env.goal_factors()
    assert other.stats() == env.stats()


def test_they_are_reached_through_layers_and_processes() -> None:
    env: Any = ActionMaskWrapper(rested(), masks={"rest": [0]})
    env.get_wrapper_attr("set_goal_factors")({"act": 0.5})
    assert env.get_wrapper_attr("goal_factors")()["act"] == 0.5
    envs = SyncVectorEnv([rested] * 2)
    envs.call("set_goal_factors", {"act": 0.5})
    assert [factors["act"] for factors in envs.call("goal_factors")] == [0.5, 0.5]
    envs.close()
