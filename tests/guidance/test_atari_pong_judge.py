"""The rule for Pong, written by hand: what it says, and what play by it earns."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions import batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import UnknownNameError
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.worlds.atari.captioner import AtariRam
from llm_wrappers.worlds.atari.pong import atari_pong, reference_action
from llm_wrappers.worlds.atari.pong_frames import PongFrames
from llm_wrappers.wrappers import RewardShiftWrapper

ale_py = pytest.importorskip("ale_py")
gym.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)

ACTIONS = range(6)
STAY, UP, DOWN = 0, 2, 3


def state(**changed):
    """Return the facts of a ball that comes straight at a paddle in the middle of the field."""
    facts = {
        "ball_in_play": True, "ball_x": 80, "ball_y": 110, "ball_dx": 4, "ball_dy": 0,
        "ball_towards_you": True, "paddle_y": 112, "paddle_dy": 0,
    }  # fmt: skip
    return {**facts, **changed}


AWAY = {"ball_dx": -4, "ball_towards_you": False}
NOTHING = dict.fromkeys(("ball_x", "ball_y", "ball_dx", "ball_dy", "ball_towards_you"))


class TestAction:
    @pytest.mark.parametrize(
        ("changed", "action"),
        [
            ({}, STAY),
            ({"ball_y": 60}, UP),
            ({"ball_y": 160}, DOWN),
            # 15 steps to the paddle; from row 160 the lower wall turns the ball back up to row 112.
            ({"ball_x": 79, "ball_y": 160, "ball_dy": 7.2}, STAY),
            ({"ball_x": 79, "ball_y": 60, "ball_dy": -7.2, "paddle_y": 140}, UP),
            ({"paddle_y": 100, "paddle_dy": 0}, DOWN),
            ({"paddle_y": 100, "paddle_dy": 20}, STAY),  # it coasts there
            ({"paddle_y": 112, "paddle_dy": 20}, UP),  # it would coast past it
            ({"paddle_y": 112, "paddle_dy": None}, STAY),
            ({**AWAY, "ball_y": 40, "paddle_y": 60}, DOWN),
            ({**NOTHING, "paddle_y": 160}, UP),
            ({**NOTHING, "paddle_y": None, "paddle_dy": None}, STAY),
            ({"ball_x": 150, "ball_y": 160}, DOWN),  # past the paddle
        ],
    )
    def test_it_goes_where_the_ball_will_arrive(self, changed, action):
        assert reference_action(state(**changed)) == action

    @given(
        st.integers(0, 139), st.integers(34, 190), st.integers(1, 12), st.integers(-12, 12),
        st.integers(34, 194),
    )  # fmt: skip
    def test_it_agrees_with_a_ball_that_is_moved_step_by_step(self, x, y, dx, dy, paddle):
        row, speed, column = float(y), dy / 64, float(x)
        while column < 139:
            row, column = row + speed, column + dx / 64
            if not 34 <= row <= 190:
                speed = -speed
        off = row + 2 - paddle
        action = reference_action(
            state(ball_x=x, ball_y=y, ball_dx=dx, ball_dy=dy, paddle_y=paddle)
        )
        if abs(abs(off) - 7) > 0.5:  # small steps miss the exact row
            assert action == (STAY if abs(off) < 7 else DOWN if off > 0 else UP)


class TestJudge:
    def test_the_reference_action_is_right_and_all_others_are_wrong(self):
        assert [atari_pong(state(ball_y=60), action) for action in ACTIONS] == [
            -1,
            -1,
            1,
            -1,
            1,
            -1,
        ]
        assert [atari_pong(state(ball_y=160), action) for action in ACTIONS] == [
            -1, -1, -1, 1, -1, 1,
        ]  # fmt: skip
        assert [atari_pong(state(), action) for action in ACTIONS] == [1, 1, -1, -1, -1, -1]

    @pytest.mark.parametrize("changed", [AWAY, NOTHING])
    def test_nothing_is_judged_while_no_ball_comes(self, changed):
        assert {atari_pong(state(**changed), action) for action in ACTIONS} == {0}

    def test_an_action_that_it_does_not_know_is_not_judged(self):
        assert atari_pong(state(ball_y=60), 6) == 0

    def test_an_action_of_numpy_is_one(self):
        assert atari_pong(state(ball_y=60), np.int64(2)) == 1


def returned(wrapper, choose, *, episodes=2, steps=800):
    """Return the sum of points per episode, of the first steps of each game."""
    env = wrapper(gym.make("ALE/Pong-v5", max_episode_steps=steps))
    captioner, totals = resolve_captioner(env), []
    for seed in range(episodes):
        (observation, info), over, total = env.reset(seed=seed), False, 0.0
        while not over:
            (facts,) = captioner.facts(observation[None], batch_infos(info))
            observation, reward, terminated, truncated, info = env.step(choose(captioner, facts))
            total += reward
            over = terminated or truncated
        totals.append(total)
    return totals


def best_judged(captioner, facts):
    judge = resolve_judge("reference", description=captioner.description)
    values = judge.judge(States([facts] * 6, lambda rows: []), list(ACTIONS))
    return int(np.argmax(values))


@pytest.fixture(scope="module")
def random_play():
    random = np.random.default_rng(0)
    return returned(AtariRam, lambda *_: int(random.integers(6)))


class TestPlay:
    @pytest.mark.parametrize("wrapper", [AtariRam, PongFrames])
    def test_play_by_the_judge_beats_random_play_clearly(self, wrapper, random_play):
        assert max(random_play) < -12
        assert min(returned(wrapper, best_judged)) > -5

    def test_play_by_the_reference_action_does_as_well(self, random_play):
        played = returned(AtariRam, lambda _, facts: reference_action(facts), episodes=1)
        assert played[0] > max(random_play) + 10

    @pytest.mark.parametrize("wrapper", [AtariRam, PongFrames])
    def test_the_reward_is_shifted_by_it(self, wrapper):
        env = RewardShiftWrapper(wrapper(gym.make("ALE/Pong-v5")), judge="reference", scale=0.5)
        env.reset(seed=0)
        random, shifts = np.random.default_rng(0), set()
        for _ in range(100):
            _, reward, *_, info = env.step(int(random.integers(6)))
            shifts.add(reward - info["extrinsic_reward"])
        assert shifts == {-0.5, 0.0, 0.5}
        assert env.stats()["judge_failures"] == 0


def test_other_actions_than_it_knows_are_refused() -> None:
    env = gym.make("ALE/Pong-v5", obs_type="ram", full_action_space=True)
    with pytest.raises(UnknownNameError, match="make the environment without full_action_space"):
        resolve_judge("reference", description=resolve_captioner(env).description)
