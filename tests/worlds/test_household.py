"""The household: its rules, its words, and what its judge and its goals are worth."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.worlds.household import HouseholdEnv
from llm_wrappers.worlds.household.env import HELD, HouseholdCaptioner, household_table

ENV_ID = "llm_wrappers/Household-v0"
TABLE = household_table()
NAMES = TABLE.action_names()


def facts_of(env, observation, info):
    batch = batch_of_one(env.observation_space, observation)
    return resolve_captioner(env).facts(batch, batch_infos(info))


def tidy(env, judge_name, *, seed):
    """Take the action that is judged best, among those that can be done; return the return."""
    captioner = resolve_captioner(env)
    judge = resolve_judge(judge_name, description=captioner.description)
    (observation, info), total, over, steps = env.reset(seed=seed), 0.0, False, 0
    while not over:
        facts = facts_of(env, observation, info)
        open_actions = np.flatnonzero(env.unwrapped.action_masks())
        states = States(facts * len(open_actions), captioner.state_captions)
        judged = judge.judge(states, list(open_actions))
        action = open_actions[int(np.argmax(judged))]
        observation, reward, terminated, truncated, info = env.step(action)
        total, over, steps = total + reward, terminated or truncated, steps + 1
    return total, steps, terminated


class TestTable:
    def test_every_object_has_a_right_place_and_a_wrong_one(self):
        for thing, places in TABLE.places.items():
            assert set(places) <= set(TABLE.receptacles)
            assert 0 < len(places) < len(TABLE.receptacles), thing

    def test_every_receptacle_is_of_use(self):
        assert {place for places in TABLE.places.values() for place in places} == set(
            TABLE.receptacles
        )
        assert set(TABLE.prepositions.values()) == {"in", "on"}

    def test_goals_are_worded_for_the_closed_question(self):
        assert TABLE.goal("orange", "desk") == "store an orange on the desk"
        assert len(set(TABLE.goals())) == len(TABLE.objects) * len(TABLE.receptacles)


class TestEnvironment:
    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10_000), objects=st.integers(1, 24))
    def test_everything_starts_wrong_and_the_return_counts_what_is_right(self, seed, objects):
        env = HouseholdEnv(objects=objects, length=30)
        observation, info = env.reset(seed=seed)
        assert (observation > HELD).sum() == objects
        assert info["stored_right"] == 0
        generator, total, over = np.random.default_rng(seed), 0.0, False
        while not over:
            action = generator.choice(np.flatnonzero(env.action_masks()))
            observation, reward, terminated, truncated, info = env.step(action)
            total, over = total + reward, terminated or truncated
            assert env.observation_space.contains(observation)
            assert (observation == HELD).sum() <= 1
            assert (observation > 0).sum() == objects
            assert total == info["stored_right"]
            assert terminated == (info["stored_right"] == objects)

    def test_the_mask_says_exactly_what_changes_something(self):
        env = HouseholdEnv(objects=4)
        generator = np.random.default_rng(0)
        observation, info = env.reset(seed=0)
        for _ in range(200):
            mask, action = env.action_masks(), int(generator.integers(len(NAMES)))
            assert (
                mask.tolist()
                == env.captioner.legal_actions(facts_of(env, observation, info)).tolist()[0]
            )
            old = observation
            observation, _, terminated, truncated, info = env.step(action)
            assert mask[action] == (observation != old).any()
            if terminated or truncated:
                observation, info = env.reset()

    def test_taking_away_what_lies_right_costs_what_it_earned(self):
        env = HouseholdEnv(objects=2)
        observation, _ = env.reset(seed=0)
        thing = int(np.flatnonzero(observation)[0])
        right = TABLE.receptacles.index(TABLE.places[TABLE.objects[thing]][0])
        rewards = [
            env.step(action)[1]
            for action in (thing, len(TABLE.objects) + right, thing, len(TABLE.objects) + right)
        ]
        assert rewards == [0.0, 1.0, -1.0, 1.0]

    def test_length_truncates(self):
        env = HouseholdEnv(length=2)
        env.reset(seed=0)
        last = len(NAMES) - 1
        assert env.step(last)[3] is False
        assert env.step(last)[2:4] == (False, True)

    @pytest.mark.parametrize("options", [{"objects": 0}, {"objects": 25}, {"objects": True}])
    def test_numbers_of_objects_that_cannot_be_are_refused(self, options):
        with pytest.raises(InvalidOptionError, match=r"objects must be a whole number in 1\.\.24"):
            HouseholdEnv(**options)

    def test_other_faults_are_refused(self):
        with pytest.raises(InvalidOptionError, match="length must be a whole number >= 1, got 0"):
            HouseholdEnv(length=0)
        env = HouseholdEnv()
        assert env.action_masks().all()
        with pytest.raises(ResetNeeded):
            env.step(0)
        env.reset(seed=0)
        with pytest.raises(InvalidOptionError, match="from 0 to 35, got 36"):
            env.step(36)


class TestWords:
    def test_the_captioner_is_found_and_fits_the_actions(self):
        env = gym.make(ENV_ID)
        captioner = resolve_captioner(env)
        assert isinstance(captioner, HouseholdCaptioner)
        assert isinstance(captioner, Captioner)
        assert len(captioner.description.action_names) == env.action_space.n
        assert captioner.description.goals == TABLE.goals()

    def test_actions_do_what_they_are_called_and_storing_is_worded_as_a_goal(self):
        env = gym.make(ENV_ID)
        observation, info = env.reset(seed=0)
        generator, seen = np.random.default_rng(1), set()
        captioner = resolve_captioner(env)
        before = facts_of(env, observation, info)
        for _ in range(300):
            action = int(generator.integers(len(NAMES)))
            observation, _, terminated, truncated, info = env.step(action)
            after = facts_of(env, observation, info)
            (caption,) = captioner.transition_captions(before, [action], after)
            if caption in captioner.no_effect:
                assert before == after
            elif caption.startswith("pick up"):
                assert caption == NAMES[action]
                assert after[0]["holding"] in caption
            else:
                assert caption in captioner.description.goals
                assert caption.endswith(NAMES[action].removeprefix("put it "))
            seen.add(caption.split()[0])
            before = after
            if terminated or truncated:
                before = facts_of(env, *env.reset())
        assert seen == {"nothing", "pick", "store"}

    def test_everything_can_be_read_back_from_the_caption(self):
        env = gym.make(ENV_ID, objects=24)
        facts = facts_of(env, *env.reset(seed=0))
        (caption,) = resolve_captioner(env).state_captions(facts)
        assert caption.startswith("You hold nothing.")
        for thing in TABLE.objects:
            assert f"The {thing} is {TABLE.at(facts[0][f'place of {thing}'])}." in caption

    def test_other_observations_are_refused(self):
        with pytest.raises(InvalidOptionError, match=r"shape \(n, 24\), got \(2, 3\)"):
            HouseholdCaptioner().facts(np.zeros((2, 3)), {})


class TestJudge:
    @pytest.mark.parametrize("seed", range(5))
    def test_the_oracle_tidies_up_without_a_wasted_step(self, seed):
        assert tidy(gym.make(ENV_ID), "oracle", seed=seed) == (5.0, 10, True)

    def test_its_opposite_never_does(self):
        total, _, terminated = tidy(gym.make(ENV_ID), "anti-oracle", seed=0)
        assert (total, terminated) == (0.0, False)
