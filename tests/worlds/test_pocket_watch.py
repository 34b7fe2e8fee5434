"""RUDDER's pocket watches: the numbers of the demonstration, the judge, and what it teaches."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.worlds.pocket_watch import PocketWatchEnv
from llm_wrappers.worlds.pocket_watch.env import BRANDS, PocketWatchCaptioner

ENV_ID = "llm_wrappers/PocketWatch-v0"
REPAIR, DECLINE = 0, 1
GAIN = {"A": -1.5, "B": 3.5, "C": 3.5, "D": -1.5}


def play(env, action, *, seed=None):
    """Play one episode with one first action; return the brand, the rewards and the last state."""
    state, _ = env.reset(seed=seed)
    rewards, over = [], False
    while not over:
        state, reward, over, truncated, _ = env.step(action)
        assert not truncated
        rewards.append(reward)
        action = DECLINE
    return BRANDS[state[3]].name, rewards, state


def facts_of(env, observation, info):
    batch = batch_of_one(env.observation_space, observation)
    return resolve_captioner(env).facts(batch, batch_infos(info))


class TestEnvironment:
    @pytest.mark.slow
    def test_repair_gains_on_average_what_the_demonstration_says(self):
        env = PocketWatchEnv()
        gains = {name: [] for name in GAIN}
        env.reset(seed=0)
        for _ in range(3000):
            brand, rewards, _ = play(env, REPAIR)
            gains[brand].append(sum(rewards))
            assert rewards[0] != 0
            assert not any(rewards[1:-1])
        for brand, wanted in GAIN.items():
            error = np.std(gains[brand]) / np.sqrt(len(gains[brand]))
            assert np.mean(gains[brand]) == pytest.approx(wanted, abs=4 * error)

    def test_all_brands_come_equally_often_and_events_as_often_as_documented(self):
        env = PocketWatchEnv()
        env.reset(seed=1)
        played = [play(env, DECLINE) for _ in range(2000)]
        counts = [sum(brand == name for brand, *_ in played) for name in GAIN]
        assert all(410 < count < 590 for count in counts)
        delays, jams = np.mean([state[1:3] for *_, state in played], axis=0)
        assert delays == pytest.approx(5.0, abs=0.2)
        assert jams == pytest.approx(2.5, abs=0.15)

    def test_declining_earns_nothing_and_later_actions_do_nothing(self):
        env = PocketWatchEnv()
        assert sum(play(env, DECLINE, seed=0)[1]) == 0
        env.reset(seed=3)
        env.step(DECLINE)
        states = [env.step(REPAIR) for _ in range(49)]
        assert not any(reward for _, reward, *_ in states)
        assert states[-1][0][0] == 0
        assert states[-1][2]

    def test_mask_follows_the_decision(self):
        env = PocketWatchEnv()
        assert env.action_masks().tolist() == [False, True]
        observation, info = env.reset(seed=0)
        captioner = env.captioner
        assert env.action_masks().tolist() == [True, True]
        assert captioner.legal_actions(facts_of(env, observation, info)).tolist() == [[True, True]]
        observation, _, _, _, info = env.step(REPAIR)
        assert env.action_masks().tolist() == [False, True]
        assert captioner.legal_actions(facts_of(env, observation, info)).tolist() == [[False, True]]

    @pytest.mark.parametrize("time", [0, -3, 1.5, True, "ten"])
    def test_a_time_that_is_none_is_refused(self, time):
        with pytest.raises(InvalidOptionError, match="whole number of steps from 1"):
            PocketWatchEnv(transport_time=time)

    def test_actions_out_of_turn_are_refused(self):
        env = PocketWatchEnv(transport_time=1)
        with pytest.raises(ResetNeeded):
            env.step(0)
        env.reset(seed=0)
        with pytest.raises(InvalidOptionError, match="action 0 or 1, got 2"):
            env.step(2)
        env.step(0)
        with pytest.raises(ResetNeeded):
            env.step(0)


class TestWords:
    def test_the_captioner_is_found_and_names_the_actions(self):
        captioner = resolve_captioner(gym.make(ENV_ID))
        assert isinstance(captioner, PocketWatchCaptioner)
        assert isinstance(captioner, Captioner)
        assert captioner.description.action_names[REPAIR] == "repair"

    def test_sentences_say_what_is_to_be_decided_and_what_came_of_it(self):
        env = gym.make(ENV_ID)
        before = facts_of(env, *env.reset(seed=0))
        observation, _, _, _, info = env.step(REPAIR)
        after = facts_of(env, observation, info)
        captioner = resolve_captioner(env)
        brand, price = before[0]["brand"], before[0]["price"]
        (offer,) = captioner.state_captions(before)
        assert f"brand {brand} came in" in offer
        assert f"sells for {price:g};" in offer
        assert (
            f"repaired watch of brand {brand} is on its way; step 1"
            in (captioner.state_captions(after)[0])
        )
        assert captioner.transition_captions(before, [REPAIR], after) == [
            f"repair a watch of brand {brand}"
        ]
        assert captioner.transition_captions(after, [REPAIR], after) == ["wait"]
        observation, info = env.reset(seed=0)
        observation, _, _, _, info = env.step(DECLINE)
        declined = facts_of(env, observation, info)
        assert captioner.state_captions(declined)[0].startswith("You declined the watch")

    def test_other_observations_are_refused(self):
        with pytest.raises(InvalidOptionError, match=r"shape \(n, 5\), got \(3,\)"):
            PocketWatchCaptioner().facts(np.zeros(3), {})


class TestJudge:
    @pytest.mark.parametrize("name", ["reference", "oracle"])
    def test_approves_of_what_gains_on_average(self, name):
        captioner = PocketWatchCaptioner()
        judge = resolve_judge(name, description=captioner.description)
        watches = captioner.facts(np.array([[0, 0, 0, brand, 0] for brand in range(4)]), {})
        states = States(watches, captioner.state_captions)
        assert judge.judge(states, [REPAIR] * 4) == [np.sign(gain) for gain in GAIN.values()]
        assert judge.judge(states, [DECLINE] * 4) == [-np.sign(gain) for gain in GAIN.values()]

    def test_a_shorter_way_makes_more_watches_worth_it(self):
        captioner = PocketWatchCaptioner(10)
        judge = resolve_judge("oracle", description=captioner.description)
        watches = captioner.facts(np.array([[0, 0, 0, brand, 0] for brand in range(4)]), {})
        assert judge.judge(States(watches, captioner.state_captions), [REPAIR] * 4) == [1] * 4

    def test_is_silent_after_the_decision(self):
        captioner = PocketWatchCaptioner()
        judge = resolve_judge("oracle", description=captioner.description)
        on_the_way = captioner.facts(np.array([[1, 0, 0, 3, 1]]), {})
        assert judge.judge(States(on_the_way, captioner.state_captions), [REPAIR]) == [0]
