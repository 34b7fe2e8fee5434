"""The captions of Blackjack and FrozenLake, against Gymnasium's own environments."""

import re

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.toy_text.blackjack import BlackjackCaptioner
from llm_wrappers.worlds.toy_text.frozen_lake import FrozenLakeCaptioner


def episodes(env, steps, *, seed=0):
    """Yield (facts before, action, facts after, reward, terminated) of random play."""
    captioner = resolve_captioner(env)
    env.action_space.seed(seed)

    def facts(observation, info):
        return captioner.facts(batch_of_one(env.observation_space, observation), batch_infos(info))

    before = facts(*env.reset(seed=seed))
    for _ in range(steps):
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        after = facts(observation, info)
        yield before, action, after, reward, terminated
        before = facts(*env.reset()) if terminated or truncated else after


class TestBlackjack:
    def test_is_found_by_itself(self):
        env = gym.make("Blackjack-v1")
        captioner = resolve_captioner(env)
        assert isinstance(captioner, BlackjackCaptioner)
        assert isinstance(captioner, Captioner)
        assert len(captioner.description.action_names) == env.action_space.n

    def test_the_names_of_the_actions_are_those_of_the_game(self):
        env = gym.make("Blackjack-v1")
        captioner = resolve_captioner(env)
        seen = set()
        for before, action, after, reward, terminated in episodes(env, 400):
            (caption,) = captioner.transition_captions(before, [action], after)
            if caption.startswith("stick"):
                assert terminated
                assert before == after
            elif "over 21" in caption:
                assert terminated
                assert reward == -1
            else:
                assert not terminated
                assert f"hold {after[0]['player_sum']}" in caption
            seen.add(re.sub(r"\d+", "N", caption))
        assert seen == {"stick at N", "hit and hold N", "hit and go over N with N"}

    def test_the_hand_can_be_read_back_from_the_sentence(self):
        env = gym.make("Blackjack-v1")
        captioner = resolve_captioner(env)
        for before, *_ in episodes(env, 200):
            (sentence,) = captioner.state_captions(before)
            total, card = re.search(r"sum to (\d+) .* shows an? (\w+)\.", sentence).groups()
            assert int(total) == before[0]["player_sum"]
            assert (1 if card == "ace" else int(card)) == before[0]["dealer_card"]
            assert ("with a usable" in sentence) == before[0]["usable_ace"]

    def test_other_observations_are_refused(self):
        with pytest.raises(InvalidOptionError, match="tuple of three arrays, got a ndarray"):
            BlackjackCaptioner().facts(np.zeros(3), {})


class TestFrozenLake:
    @pytest.mark.parametrize("env_id", ["FrozenLake-v1", "FrozenLake8x8-v1"])
    def test_says_what_the_game_does(self, env_id):
        env = gym.make(env_id, is_slippery=False)
        captioner = resolve_captioner(env)
        assert isinstance(captioner, FrozenLakeCaptioner)
        names = captioner.description.action_names
        for before, action, after, reward, terminated in episodes(env, 300):
            ahead = before[0][f"tile_{names[action]}"]
            assert (ahead == "edge") == (before == after)
            if ahead != "edge":
                assert after[0]["tile"] == ahead
            assert terminated == (after[0]["tile"] in ("hole", "goal"))
            assert reward == (after[0]["tile"] == "goal")
            (caption,) = captioner.transition_captions(before, [action], after)
            assert caption.startswith(f"go {names[action]}: ")
            assert ("stay in place" in caption) == (ahead == "edge")

    def test_the_map_is_the_one_of_the_environment(self):
        env = gym.make("FrozenLake-v1", desc=["SF", "HG"])
        captioner = resolve_captioner(env)
        assert "SF\nHG" in captioner.description.rules
        assert captioner.facts(np.array([1]), {})[0]["tile_down"] == "goal"

    @pytest.mark.parametrize("tiles", [[16], [-1], [[0]]])
    def test_tiles_outside_the_map_are_refused(self, tiles):
        captioner = FrozenLakeCaptioner(["SFFF", "FHFH", "FFFH", "HFFG"])
        with pytest.raises(InvalidOptionError, match=r"tiles of 0\.\.15"):
            captioner.facts(np.array(tiles), {})

    @pytest.mark.parametrize("lake", [[], [""], ["SF", "F"], ["SX"]])
    def test_a_map_that_is_none_is_refused(self, lake):
        with pytest.raises(InvalidOptionError, match="lake must be"):
            FrozenLakeCaptioner(lake)
