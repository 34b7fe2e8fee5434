"""Factors of goals through the wrappers: spaces stay, goals change, checkpoints keep them."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from llm_wrappers import GoalObservationWrapper
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.testing import ScriptedEnv
from llm_wrappers.wrappers import ActionMaskWrapper, vector

GOALS = ["rest", "act"]


def planner(facts: Any) -> Any:
    return [[("rest", 2.0), ("act", 1.0)] for _ in facts]


def single(**options: Any) -> Any:
    return GoalObservationWrapper(ScriptedEnv(), planner=planner, goals=GOALS, **options)


def many(**options: Any) -> Any:
    envs = SyncVectorEnv([ScriptedEnv] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    return vector.GoalObservationWrapper(envs, planner=planner, goals=GOALS, **options)


@pytest.fixture(params=[single, many], ids=["single", "vector"])
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


def test_a_state_from_before_there_were_factors_is_loaded(make: Any) -> None:
    env = make()
    env.set_goal_factors({"act": 3.0})
    old = {name: value for name, value in make().state_dict().items() if name != "goal_factors"}
    env.load_state_dict(old)
    assert env.goal_factors() == {"rest": 1.0, "act": 1.0}


def test_wrong_factors_are_refused(make: Any) -> None:
    with pytest.raises(InvalidOptionError, match="vocabulary"):
        make().set_goal_factors({"fly": 2.0})


def test_they_are_reached_through_layers_and_processes() -> None:
    env: Any = ActionMaskWrapper(single(), masks={"rest": [0]})
    env.get_wrapper_attr("set_goal_factors")({"act": 0.5})
    assert env.get_wrapper_attr("goal_factors")()["act"] == 0.5
    envs = gym.vector.AsyncVectorEnv([single] * 2)
    envs.call("set_goal_factors", {"act": 0.5})
    assert [factors["act"] for factors in envs.call("goal_factors")] == [0.5, 0.5]
    envs.close()


def test_factors_of_one_are_no_factors(make: Any) -> None:
    seen = []
    for factors in (None, dict.fromkeys(GOALS, 1.0)):
        env = make(reselect="every_step")
        if factors is not None:
            env.set_goal_factors(factors)
        env.reset(seed=1)
        env.action_space.seed(0)
        steps = [env.step(env.action_space.sample()) for _ in range(5)]
        seen.append([np.array(step[0]["goal"]).tolist() for step in steps])
    assert seen[0] == seen[1]
