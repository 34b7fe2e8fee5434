"""Judges without a model, each played on the real environment."""

import itertools
import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions import EnvDescription, batch_infos
from llm_wrappers.captions.batches import batch_of_one
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import GuidanceFileError, InvalidOptionError, UnknownNameError
from llm_wrappers.guidance.judge import FunctionJudge, Judge
from llm_wrappers.guidance.judges import (
    ConstantJudge,
    NegatedJudge,
    NoisyJudge,
    TableJudge,
    resolve_judge,
)
from llm_wrappers.guidance.stable_random import stable_uniform
from llm_wrappers.guidance.states import States
from llm_wrappers.known_worlds import Known, load
from llm_wrappers.worlds.toy_text.blackjack import BlackjackOracle, blackjack_values
from llm_wrappers.worlds.toy_text.frozen_lake import FrozenLakeOracle


def states(*facts):
    return States(list(facts), lambda rows: [str(row) for row in rows])


def described(env_id):
    return EnvDescription(env_id=env_id, rules="")


def candidates(env):
    if isinstance(env.action_space, gym.spaces.Discrete):
        return [np.int64(index) for index in range(env.action_space.n)]
    high = float(env.action_space.high[0])
    return [np.array([share * high], np.float32) for share in (-1.0, -0.4, 0.0, 0.4, 1.0)]


def mean_return(env_id, judge, *, episodes, random=0.0, **options):
    """Return the mean return of acting by the best judged action, ties to the first."""
    env = gym.make(env_id, **options)
    captioner = resolve_captioner(env)
    judge = resolve_judge(judge, description=captioner.description)
    choices, total = candidates(env), 0.0
    for seed in range(episodes):
        (observation, info), over = env.reset(seed=seed), False
        while not over:
            batch = batch_of_one(env.observation_space, observation)
            facts = list(captioner.facts(batch, batch_infos(info)))
            values = judge.judge(states(*facts * len(choices)), choices)
            observation, reward, ended, cut, info = env.step(choices[int(np.argmax(values))])
            total += float(reward)
            over = ended or cut
    env.close()
    return total / episodes


class TestReference:
    def test_cart_pole_stays_up(self):
        assert mean_return("CartPole-v1", "reference", episodes=2) > 450
        assert mean_return("CartPole-v1", "anti-oracle", episodes=2) < 20

    def test_pendulum_swings_up(self):
        assert mean_return("Pendulum-v1", "reference", episodes=2) > -500
        assert mean_return("Pendulum-v1", "anti-oracle", episodes=2) < -1000

    @pytest.mark.parametrize("env_id", ["MountainCar-v0", "MountainCarContinuous-v0"])
    def test_the_car_gets_up_the_mountain(self, env_id):
        env = gym.make(env_id)
        captioner = resolve_captioner(env)
        judge = resolve_judge("reference", description=captioner.description)
        observation, info = env.reset(seed=1)
        choices, terminated = candidates(env), False
        for _ in range(250):
            batch = batch_of_one(env.observation_space, observation)
            facts = list(captioner.facts(batch, batch_infos(info)))
            values = judge.judge(states(*facts * len(choices)), choices)
            best = max(values)
            # Standing still is judged 0 all over: then any push will do.
            action = (
                choices[-1] if best == 0 else choices[len(values) - 1 - values[::-1].index(best)]
            )
            observation, _, terminated, _, info = env.unwrapped.step(action)
            if terminated:
                break
        assert terminated

    def test_frozen_lake_names_the_goal_and_the_holes(self):
        rule = load(Known("judge")["FrozenLake-v1"])
        facts = {"tile_left": "hole", "tile_down": "ice", "tile_right": "goal", "tile_up": "edge"}
        assert [rule(facts, action) for action in range(4)] == [-1, 0, 1, 0]

    def test_blackjack_rule_is_good_and_not_perfect(self):
        oracle, rule = BlackjackOracle(), load(Known("judge")["Blackjack-v1"])
        hands = [
            {"player_sum": total, "dealer_card": card, "usable_ace": ace}
            for total, card, ace in itertools.product(range(12, 22), range(1, 11), (False, True))
        ]
        exact = oracle.judge(states(*hands), [1] * len(hands))
        judged = [rule(hand, 1) for hand in hands]
        agreement = np.mean(np.array(judged) == np.array(exact))
        assert 0.9 < agreement < 1.0

    def test_an_environment_without_a_rule_is_named(self):
        with pytest.raises(UnknownNameError, match=r"ships for .* and not for 'Toy-v0'"):
            resolve_judge("reference", description=described("Toy-v0"))


class TestExact:
    def test_blackjack_value_is_the_known_optimum(self):
        cards = (*range(1, 11), 10, 10, 10)
        total = 0.0
        for first, second, dealer in itertools.product(cards, repeat=3):
            hand, ace = first + second, 1 in (first, second)
            total += max(blackjack_values(hand + 10 * ace, dealer, ace))
        assert total / 13**3 == pytest.approx(-0.0466, abs=1e-4)

    @pytest.mark.slow
    def test_blackjack_play_agrees_with_the_value(self):
        # The standard error of 4,000 hands is 0.015.
        assert mean_return("Blackjack-v1", "oracle", episodes=4000) == pytest.approx(
            -0.047, abs=0.05
        )

    def test_both_decisions_are_opposites(self):
        hand = {"player_sum": 16, "dealer_card": 6, "usable_ace": False}
        assert BlackjackOracle().judge(states(hand, hand), [0, 1]) == [1, -1]
        assert BlackjackOracle().judge(states({**hand, "player_sum": 25}), [0]) == [0]

    def test_frozen_lake_play_beats_the_slippery_ice(self):
        assert mean_return("FrozenLake-v1", "oracle", episodes=80) > 0.5

    def test_frozen_lake_of_ones_own(self):
        env = gym.make("FrozenLake-v1", desc=["SF", "HG"], is_slippery=False)
        judged = FrozenLakeOracle(env=env).judge(states(*[{"row": 0, "column": 0}] * 4), range(4))
        assert list(judged) == [-1, -1, 1, -1]
        with pytest.raises(InvalidOptionError, match="expected a FrozenLake"):
            FrozenLakeOracle(env=gym.make("CartPole-v1"))


class TestAblations:
    ROWS = tuple({"x": index} for index in range(600))

    def test_constant(self):
        assert resolve_judge("constant:-1", description=None).judge(states({}), [0]) == [-1]
        assert resolve_judge("none", description=None).judge(states({}), [0]) == [0]
        with pytest.raises(InvalidOptionError, match=r"-1, 0 or \+1, got 2"):
            ConstantJudge(2)

    def test_negated(self):
        inner = FunctionJudge(lambda states, actions: [1, -1, 0, None])
        assert NegatedJudge(inner).judge(states(*[{}] * 4), [0] * 4) == [-1, 1, 0, None]

    @given(share=st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    def test_noisy_turns_that_share(self, share):
        judge = NoisyJudge(ConstantJudge(1), share)
        values = judge.judge(states(*self.ROWS), [0] * len(self.ROWS))
        assert values == judge.judge(states(*self.ROWS), [0] * len(self.ROWS))
        assert values.count(-1) / len(values) == pytest.approx(share, abs=0.06)

    def test_noise_depends_on_seed_and_action(self):
        def judged(seed, action):
            judge = NoisyJudge(ConstantJudge(1), 0.5, seed=seed)
            return judge.judge(states(*self.ROWS), [action] * len(self.ROWS))

        assert judged(0, 0) != judged(1, 0)
        assert judged(0, 0) != judged(0, 1)

    @pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
    def test_a_share_outside_is_refused(self, share):
        with pytest.raises(InvalidOptionError, match=r"in \[0, 1\]"):
            NoisyJudge(ConstantJudge(1), share)


class TestStableRandom:
    def test_is_the_same_in_another_process(self):
        code = (
            "from llm_wrappers.guidance.stable_random import stable_uniform\n"
            "print(repr(stable_uniform(3, {'b': 1, 'a': (2, None)}, 'x')))"
        )
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert float(shown.stdout) == stable_uniform(3, {"a": (2, None), "b": 1}, "x")

    def test_arrays_count_by_their_numbers(self):
        assert stable_uniform(0, np.array([1.0])) == stable_uniform(0, [1.0])
        assert stable_uniform(0, np.int64(3)) == stable_uniform(0, 3)

    def test_is_uniform(self):
        numbers = [stable_uniform(0, index) for index in range(2000)]
        assert 0.47 < np.mean(numbers) < 0.53
        assert 0.0 <= min(numbers) < 0.01
        assert 0.99 < max(numbers) < 1.0


class TestTable:
    ENTRIES = (({"sum": 20, "ace": False}, 0, 1), ({"sum": 20, "ace": False}, 1, -1))

    def test_round_trip(self, tmp_path):
        table = TableJudge(self.ENTRIES, reads=("sum", "ace"))
        table.save(tmp_path / "table.json")
        loaded = resolve_judge(f"file:{tmp_path / 'table.json'}", description=None)
        row = {"ace": False, "sum": 20, "other": "x"}
        asked = states(row, row, row)
        assert loaded.judge(asked, [np.int64(0), 1, 2]) == [1, -1, None]
        assert len(loaded) == 2

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense", "cannot read"),
            ("[]", "expected a table of judgements"),
            (json.dumps({"format": "llm_wrappers/judgements", "version": 9}), "expected version 1"),
            (
                json.dumps(
                    {"format": "llm_wrappers/judgements", "version": 1, "facts": ["a"],
                     "entries": [[1, 2, 3, 1]]}
                ),
                "malformed",
            ),
            (
                json.dumps(
                    {"format": "llm_wrappers/judgements", "version": 1, "facts": ["a"],
                     "entries": [[1, 0, 5]]}
                ),
                r"-1, 0 or \+1, got 5",
            ),
        ],
    )  # fmt: skip
    def test_a_broken_file_is_named(self, tmp_path, text, message):
        path = tmp_path / "table.json"
        path.write_text(text)
        with pytest.raises(GuidanceFileError, match=message):
            TableJudge.load(path)
        with pytest.raises(GuidanceFileError, match="cannot read"):
            TableJudge.load(tmp_path / "missing.json")

    def test_a_state_without_the_fact_is_named(self):
        table = TableJudge(self.ENTRIES, reads=("sum", "ace"))
        with pytest.raises(GuidanceFileError, match="lacks 'ace'"):
            table.judge(states({"sum": 20}), [0])


class TestNames:
    def test_objects_and_functions_pass(self):
        judge = ConstantJudge(0)
        assert resolve_judge(judge, description=None) is judge
        assert isinstance(resolve_judge(lambda states, actions: [0], description=None), Judge)

    @pytest.mark.parametrize("judge", [ConstantJudge, 3, None])
    def test_what_judges_nothing_is_refused(self, judge):
        with pytest.raises(InvalidOptionError, match="expected a judge"):
            resolve_judge(judge, description=None)

    @pytest.mark.parametrize("name", ["", "orakel", "nobody:x"])
    def test_unknown_names_list_the_known(self, name):
        with pytest.raises(UnknownNameError, match="expected one of reference, oracle"):
            resolve_judge(name, description=described("CartPole-v1"))

    @pytest.mark.parametrize("name", ["noisy:much", "constant:"])
    def test_numbers_are_numbers(self, name):
        with pytest.raises(InvalidOptionError, match="expected a number"):
            resolve_judge(name, description=described("CartPole-v1"))
