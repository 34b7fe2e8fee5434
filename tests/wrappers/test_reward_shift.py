"""Rewards shifted by judgements: what is judged, how it is weighed, and what never breaks."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers import RewardShiftWrapper
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import GuidanceWarning, InvalidOptionError, UnknownNameError
from llm_wrappers.guidance.judges import ConstantJudge


class Recording:
    """A judge that keeps what it is asked and answers what it is told."""

    def __init__(self, answer=lambda facts, action: 1, *, pure=False, reads=None):
        self.asked, self.answer, self.pure, self.reads = [], answer, pure, reads
        self.begun = 0

    def judge(self, states, actions):
        rows = list(zip(states.facts, actions, strict=True))
        self.asked += [(dict(facts), action) for facts, action in rows]
        return [self.answer(facts, action) for facts, action in rows]

    def reset(self, mask):
        self.begun += int(mask.sum())


def cart_pole(judge, **options):
    return RewardShiftWrapper(gym.make("CartPole-v1"), judge=judge, **options)


def lake(judge, **options):
    env = gym.make("FrozenLake-v1", is_slippery=False)
    return RewardShiftWrapper(env, judge=judge, **options)


def play(env, actions, *, seed=0):
    """Return the steps of an episode, the reset first with a reward of 0."""
    observation, info = env.reset(seed=seed)
    steps = [(observation, 0.0, False, False, info)]
    for action in actions:
        steps.append(env.step(action))
        if steps[-1][2] or steps[-1][3]:
            break
    return steps


class TestTheRule:
    @pytest.mark.parametrize(("judgement", "reward"), [(1, 1.5), (0, 1.0), (-1, 0.5)])
    def test_reward_is_shifted_by_scale_times_judgement(self, judgement, reward):
        *_, (_, got, _, _, info) = play(cart_pole(ConstantJudge(judgement), scale=0.5), [0])
        assert got == reward
        assert info["extrinsic_reward"] == 1.0
        assert info["reward_shift"] == 0.5 * judgement
        assert info["judgement"] == judgement

    def test_the_judge_sees_the_state_before_the_step_and_the_action(self):
        judge = Recording()
        play(lake(judge), [2, 1, 2])
        seen = [(facts["row"], facts["column"], action) for facts, action in judge.asked]
        assert seen[:2] == [(0, 0, 2), (0, 1, 1)]

    def test_what_an_environment_does_to_the_action_is_not_judged(self):
        class Overwriting(gym.ActionWrapper):
            def action(self, action):
                action[:] = 0.0
                return action

        judge = Recording(lambda facts, action: int(np.sign(action[0])))
        pendulum = gym.make("Pendulum-v1")
        speaker = resolve_captioner(pendulum)
        env = RewardShiftWrapper(Overwriting(pendulum), judge=judge, captioner=speaker)
        *_, (_, _, _, _, info) = play(env, [np.array([1.5], np.float32)])
        assert info["judgement"] == 1

    def test_judge_is_told_where_episodes_begin(self):
        judge = Recording()
        env = cart_pole(judge)
        env.reset(seed=0)
        env.reset()
        assert judge.begun == 2

    def test_a_layer_below_keeps_the_extrinsic_reward(self):
        inner = cart_pole(ConstantJudge(1))
        *_, (_, reward, _, _, info) = play(RewardShiftWrapper(inner, judge="constant:1"), [0])
        assert reward == 3.0
        assert info["extrinsic_reward"] == 1.0


class TestOptions:
    def test_schedule_weighs_the_shift(self):
        env = cart_pole(
            ConstantJudge(1), schedule={"kind": "linear", "start": 1.0, "end": 0.0}, scale=2.0
        )
        shifts = []
        for progress in (0.0, 0.5, 1.0):
            env.set_progress(progress)
            shifts.append(play(env, [0])[1][4]["reward_shift"])
        assert shifts == [2.0, 1.0, 0.0]

    @pytest.mark.parametrize(
        ("only", "shifts"), [("negative", [0, 0, -1]), ("positive", [1, 0, 0]), (None, [1, 0, -1])]
    )
    def test_only_one_sign(self, only, shifts):
        answers = iter([1, 0, -1])
        judge = Recording(lambda facts, action: next(answers))
        steps = play(cart_pole(judge, only=only), [0, 1, 0])
        assert [info["reward_shift"] for *_, info in steps[1:]] == shifts

    def test_center_makes_constant_approval_worth_nothing(self):
        steps = play(cart_pole(ConstantJudge(1), center=True), [0, 1, 0, 1])
        # The first one has nothing to be compared with.
        assert [info["reward_shift"] for *_, info in steps[1:]] == [1.0, 0.0, 0.0, 0.0]

    @given(answers=st.lists(st.sampled_from([-1, 0, 1]), min_size=2, max_size=6))
    def test_center_takes_off_the_mean_so_far(self, answers):
        left = iter(answers)
        env = lake(Recording(lambda facts, action: next(left)), center=True)
        steps = play(env, [0] * len(answers))
        means = [np.mean(answers[:count]) if count else 0.0 for count in range(len(answers))]
        shifts = [info["reward_shift"] for *_, info in steps[1:]]
        assert shifts == pytest.approx(np.array(answers) - means)

    def test_consult_every_counts_from_the_start_of_the_episode(self):
        judge = Recording()
        env = cart_pole(judge, consult_every=4)
        for _ in range(2):
            steps = play(env, [0, 1, 0, 1, 0, 1])
            assert [info["judgement"] for *_, info in steps[1:]] == [1, 0, 0, 0, 1, 0]
        assert len(judge.asked) == 4

    def test_consult_probability_is_kept_and_seeded(self):
        judge = Recording()
        env = lake(judge, consult_probability=0.3)

        def judged(seed):
            return [info["judgement"] for *_, info in play(env, [0] * 99, seed=seed)]

        assert judged(1) == judged(1)
        assert judged(1) != judged(2)
        assert 0.15 < np.mean(judged(3)) < 0.45

    def test_consult_probability_follows_its_schedule(self):
        schedule = {"kind": "linear", "start": 1.0, "end": 0.0}
        env = cart_pole(Recording(), consult_probability=schedule)
        assert play(env, [0])[1][4]["judgement"] == 1
        env.set_progress(1.0)
        assert play(env, [0])[1][4]["judgement"] == 0

    @pytest.mark.parametrize(
        "options",
        [
            {"scale": -1.0}, {"scale": float("nan")}, {"scale": True}, {"mode": "other"},
            {"only": "both"}, {"center": 1}, {"center": True, "only": "negative"},
            {"consult_every": 0}, {"consult_every": 1.5}, {"consult_probability": 2.0},
            {"training": 1}, {"audit_against": 3}, {"mode": "potential"},
            {"mode": "potential", "gamma": 1.5, "judge": "reference"},
            {"mode": "potential", "gamma": 0.9, "judge": ConstantJudge(1)},
            {"mode": "potential", "gamma": 0.9, "judge": "reference", "center": True},
            {"mode": "potential", "gamma": 0.9, "judge": "reference", "consult_every": 2},
            {"mode": "potential", "gamma": 0.9, "judge": "reference", "audit_against": "oracle"},
        ],
        ids=lambda options: "-".join(options),
    )  # fmt: skip
    def test_bad_options_are_refused(self, options):
        with pytest.raises((InvalidOptionError, UnknownNameError)):
            cart_pole(**{"judge": "reference", **options})


class TestOff:
    def test_training_false_is_the_bare_environment_without_a_question(self):
        judge = Recording()
        off, bare = (
            play(cart_pole(judge, training=False), [0, 1, 0]),
            play(gym.make("CartPole-v1"), [0, 1, 0]),
        )
        assert [step[1] for step in off] == [step[1] for step in bare]
        assert judge.asked == []

    def test_can_be_switched_in_between(self):
        env = cart_pole(ConstantJudge(1))
        env.reset(seed=0)
        assert env.step(0)[1] == 2.0
        env.set_training(False)
        assert env.step(1)[1] == 1.0
        env.set_training(True)
        assert env.step(0)[1] == 2.0


class TestFailures:
    @pytest.mark.parametrize(
        "answer",
        [
            lambda facts, action: 1 / 0,
            lambda facts, action: 7,
            lambda facts, action: True,
        ],
        ids=["raises", "seven", "bool"],
    )
    def test_a_judge_that_fails_costs_the_judgement_and_is_said_once(self, answer):
        env = cart_pole(Recording(answer))
        with pytest.warns(GuidanceWarning, match="the judge failed") as said:
            steps = play(env, [0, 1, 0])
        assert len(said) == 1
        assert [step[1] for step in steps[1:]] == [1.0, 1.0, 1.0]
        assert env.stats()["judge_failures"] == 3
        assert env.stats()["unjudged"] == 3

    def test_no_judgement_yet_is_neutral_and_no_failure(self):
        env = cart_pole(Recording(lambda facts, action: None))
        assert play(env, [0])[1][1] == 1.0
        assert env.stats()["judge_failures"] == 0
        assert env.audit()["share_unjudged"] == 1.0


class TestAudit:
    def test_shares_and_agreement(self):
        env = cart_pole("noisy:0.3", audit_against="oracle")
        for seed in range(40):
            play(env, [0, 1] * 50, seed=seed)
        audit = env.audit()
        assert audit["judged"] == audit["compared"] > 500
        assert audit["agreement"] == pytest.approx(0.7, abs=0.06)
        assert audit["opposed"] == audit["compared"] - audit["agreed"]
        shares = [audit[f"share_{kind}"] for kind in ("good", "neutral", "bad")]
        assert sum(shares) == pytest.approx(1.0)

    def test_of_nothing_is_none(self):
        audit = cart_pole("oracle", audit_against="oracle").audit()
        assert audit["agreement"] is None
        assert audit["share_good"] is None

    def test_is_in_the_stats_as_numbers(self):
        env = cart_pole("anti-oracle", audit_against="oracle")
        play(env, [0, 1])
        stats = env.all_stats()["RewardShiftWrapper"]
        assert stats["agreement"] == 0.0
        assert json.loads(json.dumps(stats)) == stats


class TestState:
    def test_goes_on_where_it_was(self):
        options = {"center": True, "audit_against": "oracle", "schedule": 0.5}
        first = cart_pole("noisy:0.2", **options)
        play(first, [0, 1, 1, 0])
        first.set_progress(0.25)
        second = cart_pole("noisy:0.2", **options)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert second.state_dict() == first.state_dict()
        one, other = play(first, [0, 1], seed=3), play(second, [0, 1], seed=3)
        assert [step[1] for step in one] == [step[1] for step in other]

    def test_of_another_mode_is_refused(self):
        state = cart_pole("reference", mode="potential", gamma=0.9).state_dict()
        with pytest.raises(InvalidOptionError, match="expected the state of"):
            cart_pole("reference").load_state_dict(state)
