"""States and episodes from random and from guided play, in real environments."""

from __future__ import annotations

import json

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest

from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.errors import (
    GuidanceFileError,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance import GuidanceArtefact, Provenance, reference_artefact, save_artefact
from llm_wrappers.methods.sgrl.play import record_episodes, record_states, states_of

DOOR_KEY = "MiniGrid-DoorKey-5x5-v0"
REFERENCE = "reference:minigrid-doorkey"
MASKS = reference_artefact("minigrid-doorkey").masks
NAMES = ("left", "right", "forward", "pick up", "drop", "toggle", "done")


@pytest.fixture
def env():
    env = gym.make(DOOR_KEY, disable_env_checker=True)
    yield env
    env.close()


def actions_of(episodes):
    return [episode.actions for episode in episodes]


class TestEpisodes:
    def test_every_other_one_is_guided_and_keeps_to_the_masks(self, env):
        episodes = record_episodes(env, steps=700, guided_by=REFERENCE)
        assert [episode.guided for episode in episodes][:4] == [True, False, True, False]
        assert sum(len(episode.facts) for episode in episodes) == 700
        allowed = {True: [], False: []}
        for episode in episodes:
            assert len(episode.facts) == len(episode.actions) + 1
            assert episode.legal is None
            for facts, action in zip(episode.facts, episode.actions, strict=False):
                (plan,) = sgrl_plan([facts])
                allowed[episode.guided].append(NAMES[action] in MASKS[plan])
        assert all(allowed[True])
        assert not all(allowed[False])

    def test_are_decided_by_the_seed(self, env):
        first = record_episodes(env, steps=300, seed=3, guided_by=REFERENCE)
        again = record_episodes(env, steps=300, seed=3, guided_by=REFERENCE)
        other = record_episodes(env, steps=300, seed=4, guided_by=REFERENCE)
        assert actions_of(first) == actions_of(again) != actions_of(other)
        assert [episode.facts for episode in first] == [episode.facts for episode in again]

    def test_without_guidance_none_is_guided(self, env):
        episodes = record_episodes(env, steps=300)
        assert not any(episode.guided for episode in episodes)
        assert {action for episode in episodes for action in episode.actions} == set(range(7))

    def test_are_left_after_500_steps(self):
        env = gym.make("MiniGrid-DoorKey-16x16-v0", disable_env_checker=True)
        first, second = record_episodes(env, steps=700)
        assert (len(first.actions), len(second.actions)) == (500, 198)

    def test_the_goal_is_reached_more_often_when_guided(self, env):
        episodes = record_episodes(env, steps=3000, guided_by=REFERENCE)
        wins = {True: 0, False: 0}
        for episode in episodes:
            # The goal is in front at the last state before the end.
            wins[episode.guided] += len(episode.facts) < 251 and bool(
                episode.facts[-2]["facing"] == "goal"
            )
        assert wins[True] > wins[False]

    def test_the_environments_own_mask_is_kept_to_and_recorded(self, env):
        class OnlyTurns(gym.Wrapper):
            def action_masks(self):
                return np.array([True, True, False, False, False, False, False])

        episodes = record_episodes(OnlyTurns(env), steps=200, guided_by=("none", "none"))
        guided, at_random = episodes[0], record_episodes(OnlyTurns(env), steps=100)[0]
        assert set(guided.actions) == {0, 1}
        assert guided.legal.shape == (len(guided.actions), 7)
        assert guided.legal[:, :2].all()
        assert not guided.legal[:, 2:].any()
        assert not set(at_random.actions) <= {0, 1}

    def test_where_mask_and_environment_exclude_each_other_the_environment_holds(self, env):
        class OnlyTurns(gym.Wrapper):
            def action_masks(self):
                return np.array([True, True, False, False, False, False, False])

        toggling = (lambda rows: [[("open the door", 1.0)] for _ in rows], MASKS)
        episodes = record_episodes(OnlyTurns(env), steps=100, guided_by=toggling)
        assert set(episodes[0].actions) == {0, 1}

    def test_actions_that_do_not_begin_at_zero(self):
        class FromFive(gym.ActionWrapper):
            def __init__(self, env):
                super().__init__(env)
                self.action_space = gym.spaces.Discrete(2, start=5)

            def action(self, action):
                return action - 5

        leftward = (lambda rows: [[("go", 1.0)] for _ in rows], {"go": [0]})
        env = FromFive(gym.make("CartPole-v1"))
        speaks = GenericCaptioner(env.observation_space, env.action_space)
        episodes = record_episodes(
            env, captioner=speaks, steps=60, guided_by=leftward, goals=["go"]
        )
        assert set(episodes[0].actions) == {5}

    def test_a_planner_that_fails_leaves_everything_open(self, env):
        def fails(rows):
            raise ValueError("no idea")

        (episode, *_) = record_episodes(env, steps=200, guided_by=(fails, MASKS))
        assert set(episode.actions) == set(range(7))

    def test_planners_of_files_run_contained(self, env, tmp_path):
        escape = (
            "class OptimizedGoalGenerator:\n"
            "    def generate(self, facts):\n"
            f"        open({str(tmp_path / 'CANARY')!r}, 'w')\n"
            "        return [('find the key', 1.0)]\n"
        )
        hostile = GuidanceArtefact(
            provenance=Provenance(author="x", environment=DOOR_KEY),
            planner_source=escape,
            masks=MASKS,
        )
        save_artefact(hostile, tmp_path / "guidance")
        for guidance in (hostile, f"file:{tmp_path / 'guidance'}"):
            record_episodes(env, steps=5, guided_by=guidance)
            assert not (tmp_path / "CANARY").exists()

    @pytest.mark.parametrize("steps", [0, -1, 1.5, True])
    def test_a_wrong_number_of_steps(self, env, steps):
        with pytest.raises(InvalidOptionError, match="steps must be a whole number >= 1"):
            record_episodes(env, steps=steps)

    def test_guidance_that_cannot_lead(self, env):
        with pytest.raises(IncompatibleEnvironmentError, match="expected Discrete"):
            record_episodes(gym.make("Pendulum-v1"), guided_by=("none", "none"), goals=["swing up"])
        with pytest.raises(UnknownNameError):
            record_episodes(env, guided_by="nonsense")
        with pytest.raises(GuidanceFileError):
            record_episodes(env, guided_by="file:/no/such/folder")
        with pytest.raises(InvalidOptionError, match="goals"):
            record_episodes(gym.make("CartPole-v1"), guided_by=("random", "random"))


def sgrl_plan(facts):
    from llm_wrappers.guidance.resolve import resolve_planner

    planner = resolve_planner(REFERENCE, env_id=DOOR_KEY, goals=tuple(MASKS))
    return [max(goals, key=lambda pair: pair[1])[0] for goals in planner.plan(facts)]


class TestStates:
    def test_guided_ones_are_different_states_and_decided_by_the_seed(self, env):
        states = record_states(env, states=40, seed=1, guided_by=REFERENCE)
        assert len({json.dumps(state, sort_keys=True) for state in states}) == 40
        assert states == record_states(env, states=40, seed=1, guided_by=REFERENCE)
        assert states != record_states(env, states=40, seed=1)

    def test_guided_ones_come_from_further_on(self):
        # Ten states of random play are those of its first steps.
        env = gym.make("llm_wrappers/Crafter-v1", size=18, area=(32, 32))
        at_random = record_states(env, states=30, seed=0)
        guided = record_states(env, states=30, seed=0, guided_by="reference:crafter")
        assert achieved(guided) > achieved(at_random)

    def test_are_taken_evenly(self, env):
        episodes = record_episodes(env, steps=400)
        every = states_of(episodes, states=10_000)
        few = states_of(episodes, states=10)
        assert few == [every[position * len(every) // 10] for position in range(10)]
        with pytest.raises(InvalidOptionError, match="states"):
            states_of(episodes, states=0)


def achieved(states):
    return len({name for state in states for name in state["unlocked"]})
