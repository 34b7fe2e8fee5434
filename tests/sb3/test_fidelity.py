"""The fidelity score on an environment in which one step decides, and on CartPole."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from fork_doubles import FORK, STEPS, Fork, knowing_policy
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.critical.finding import CriticalMoment, RandomSelector
from llm_wrappers.sb3.baselines.fidelity import FidelityScore, fidelity_scores, seeded_trajectories

EPISODES = 40


class Picks:
    """Picks the same step of each episode, as a language model that sees something there."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.asked: list[int] = []

    def select(self, trajectories: Any, *, per_episode: int) -> Any:
        self.asked.append(per_episode)
        return [CriticalMoment(number, self.step) for number in range(len(trajectories))]


class Weights:
    """Tells an importance for each step itself."""

    def __init__(self, row: Any) -> None:
        self.row = np.asarray(row, dtype=float)

    def select(self, trajectories: Any, *, per_episode: int) -> Any:
        raise AssertionError("was asked for moments")

    def importances(self, trajectories: Any) -> Any:
        return [self.row for _ in trajectories]


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> PPO:
    return knowing_policy()


@pytest.fixture(scope="module")
def episodes(model: PPO) -> Any:
    return seeded_trajectories(model, Fork(), seeds=range(EPISODES), captions=False)


def test_a_selector_that_names_the_decisive_step_scores_higher(model: PPO, episodes: Any) -> None:
    assert [each.rewards.sum() for each in episodes] == [10.0] * EPISODES
    [right] = fidelity_scores(Picks(FORK), model, Fork(), episodes, shares=[0.1])
    [wrong] = fidelity_scores(Picks(7), model, Fork(), episodes, shares=[0.1])
    # A random action is wrong every other time: half of the return is lost, of 40 +- 8 %.
    assert right.change == pytest.approx(5.0, abs=2.0)
    assert right.d_max == wrong.d_max == 10.0
    assert right.score == pytest.approx(math.log(right.change / 10.0) - math.log(0.1))
    assert wrong.change == 0.0
    assert wrong.score == pytest.approx(math.log(0.001 / 10.0) - math.log(0.1))
    assert right.score > wrong.score


def test_the_score_of_a_larger_window_is_lower(model: PPO, episodes: Any) -> None:
    scores = fidelity_scores(Picks(FORK), model, Fork(), episodes)
    assert [found.share for found in scores] == [0.1, 0.2, 0.3, 0.4]
    assert [found.length for found in scores] == [0.1, 0.2, 0.3, 0.4]
    # The fork is in each of these windows, so that longer ones find nothing more.
    numbers = [found.score for found in scores]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] - numbers[3] == pytest.approx(math.log(4.0), abs=0.6)


def test_episodes_in_which_nothing_stands_out_are_counted(model: PPO, episodes: Any) -> None:
    """Their first window is spoiled, which must not pass for a finding of the selector."""

    class Silent(Picks):
        def select(self, trajectories: Any, *, per_episode: int) -> Any:
            return super().select(trajectories[:3], per_episode=per_episode)

    [found] = fidelity_scores(Silent(FORK), model, Fork(), episodes[:5], shares=[0.1], d_max=10.0)
    assert found.unranked == 2
    [found] = fidelity_scores(Picks(FORK), model, Fork(), episodes[:5], shares=[0.1], d_max=10.0)
    assert found.unranked == 0


def test_moments_are_asked_for_once(model: PPO, episodes: Any) -> None:
    picks = Picks(FORK)
    fidelity_scores(picks, model, Fork(), episodes[:2], per_episode=3)
    assert picks.asked == [3]


@pytest.mark.parametrize(
    ("row", "share", "window"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 0, 3, 0], 0.1, [8]),
        ([0, 5, 0, 0, 0, 0, 0, 4, 4, 0], 0.2, [7, 8]),
        ([0, 5, 0, 0, 0, 0, 0, 4, 4, 0], 0.1, [1]),
        ([0.1] * 10, 0.3, [0, 1, 2]),
        ([-1, -2, -3, -1, -1, -9, -9, -9, -9, -9], 0.2, [3, 4]),
        ([0] * 10, 0.01, [0]),
        ([0] * 10, 1.0, list(range(10))),
    ],
)
def test_the_first_window_of_the_highest_mean_importance_is_spoiled(
    row: Any, share: float, window: list[int], model: PPO, episodes: Any
) -> None:
    env = Fork()
    usual = [0] * STEPS
    usual[FORK] = 1
    spoiled: set[int] = set()
    for seed in range(12):
        fidelity_scores(
            Weights(row), model, env, episodes[:1], shares=[share], d_max=10.0, seed=seed
        )
        assert len(env.executed) == STEPS
        pairs = enumerate(zip(env.executed, usual, strict=True))
        spoiled |= {step for step, (done, plain) in pairs if done != plain}
    assert sorted(spoiled) == window


def test_a_given_d_max_saves_replays_and_moves_the_score(model: PPO, episodes: Any) -> None:
    env = Fork()
    [measured] = fidelity_scores(Picks(FORK), model, env, episodes, shares=[0.1])
    assert env.resets == 2 * EPISODES
    [given] = fidelity_scores(Picks(FORK), model, env, episodes, shares=[0.1], d_max=20.0)
    assert env.resets == 3 * EPISODES
    assert given.change == measured.change
    assert measured.score - given.score == pytest.approx(math.log(2.0))
    [more] = fidelity_scores(Picks(FORK), model, env, episodes, shares=[0.1], d_max=20.0, repeats=3)
    assert (given.replays, more.replays) == (EPISODES, 3 * EPISODES)
    assert more.change != given.change


def test_the_seed_repeats_a_measurement_and_the_action_space_is_left_alone(
    model: PPO, episodes: Any
) -> None:
    env = Fork()
    env.action_space.seed(3)
    found = [
        fidelity_scores(Picks(FORK), model, env, episodes, shares=[0.3], seed=seed)
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]
    assert isinstance(found[0][0], FidelityScore)
    assert env.action_space.sample() == gym.spaces.Discrete(2, seed=3).sample()


@pytest.mark.parametrize(
    ("fault", "picked", "place"),
    [("noise", FORK, "step 0"), ("drift", FORK, "the reset"), ("drift", 0, "the reset")],
)
def test_an_environment_that_does_not_repeat_itself_is_refused(
    fault: str, picked: int, place: str, model: PPO, episodes: Any
) -> None:
    env = Fork(**{fault: True})
    problem = f"at {place} of the episode with seed 0"
    with pytest.raises(IncompatibleEnvironmentError, match=problem):
        fidelity_scores(Picks(picked), model, env, episodes, shares=[0.1], d_max=10.0)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"shares": []}, r"shares must be numbers in \(0, 1\]"),
        ({"shares": [0.0]}, "shares must be"),
        ({"shares": [1.5]}, "shares must be"),
        ({"repeats": 0}, "repeats must be a whole number >= 1"),
        ({"per_episode": 0}, "per_episode must be a whole number >= 1"),
        ({"seed": -1}, "seed must be"),
        ({"d_max": 0.0}, "d_max must be a finite number > 0"),
        ({"d_max": math.inf}, "d_max must be"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: Any, problem: str, model: PPO, episodes: Any) -> None:
    with pytest.raises(InvalidOptionError, match=problem):
        fidelity_scores(Picks(FORK), model, Fork(), episodes, **options)


def test_episodes_that_cannot_be_replayed_are_refused(model: PPO) -> None:
    from llm_wrappers.sb3 import record_trajectories

    loose = record_trajectories(model, Fork(), episodes=2, seed=0, captions=False)
    with pytest.raises(InvalidOptionError, match="episode 1 has none; record them with seeded"):
        fidelity_scores(Picks(FORK), model, Fork(), loose)
    with pytest.raises(InvalidOptionError, match="at least one episode"):
        fidelity_scores(Picks(FORK), model, Fork(), [])
    with pytest.raises(InvalidOptionError, match="give a single one"):
        seeded_trajectories(model, make_vec_env(Fork), seeds=[0])  # type: ignore[arg-type]


def test_other_environments_and_selectors_are_refused(model: PPO, episodes: Any) -> None:
    with pytest.raises(InvalidOptionError, match="give a single one"):
        fidelity_scores(Picks(FORK), model, make_vec_env(Fork), episodes)  # type: ignore[arg-type]
    with pytest.raises(IncompatibleEnvironmentError, match=r"with the actions of the model.*Box"):
        fidelity_scores(Picks(FORK), model, gym.make("Pendulum-v1"), episodes)
    with pytest.raises(InvalidOptionError, match="expected a selector: an object with"):
        fidelity_scores(3, model, Fork(), episodes)  # type: ignore[arg-type]


def test_a_name_stands_for_a_selector(model: PPO, episodes: Any) -> None:
    options: dict[str, Any] = {"shares": [0.3], "d_max": 10.0, "seed": 4}
    named, made = (
        fidelity_scores(selector, model, Fork(), episodes, **options)
        for selector in ("random", RandomSelector(seed=4))
    )
    assert named == made


def test_on_cartpole_the_steps_before_the_pole_is_lost_matter_little_when_it_is_lost_anyway() -> (
    None
):
    """A trained policy is spoiled by random actions early, not by those of its last step."""
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=256, batch_size=128, seed=0, device="cpu")
    model.learn(2048)
    env = gym.make("CartPole-v1")
    episodes = seeded_trajectories(model, env, seeds=range(5))
    assert [each.seed for each in episodes] == list(range(5))

    class Ends:
        def __init__(self, last: bool) -> None:
            self.last = last

        def select(self, trajectories: Any, *, per_episode: int) -> Any:
            return [
                CriticalMoment(number, len(each) - 1 if self.last else 0)
                for number, each in enumerate(trajectories)
            ]

    late, early = (
        fidelity_scores(Ends(last), model, env, episodes, shares=[0.2])[0] for last in (True, False)
    )
    assert early.d_max == late.d_max > 0.0
    assert early.score > late.score
    [random] = fidelity_scores(RandomSelector(), model, env, episodes, shares=[0.2])
    assert math.isfinite(random.score)


def test_a_lake_repeats_its_slips_by_the_seed_and_another_lake_is_refused() -> None:
    env = gym.make("FrozenLake-v1", is_slippery=True)
    model = PPO("MlpPolicy", env, n_steps=64, seed=0, device="cpu")
    episodes = seeded_trajectories(model, env, seeds=range(4), captions=False)
    assert episodes[0].observations.dtype.kind == "i"
    scores = fidelity_scores(RandomSelector(), model, env, episodes, shares=[0.5], d_max=1.0)
    assert scores[0].replays == 4
    with pytest.raises(IncompatibleEnvironmentError, match="made with the same options"):
        fidelity_scores(
            Late(), model, gym.make("FrozenLake-v1", is_slippery=False), episodes, shares=[0.1]
        )


class Late:
    """Picks the last step of each episode."""

    def select(self, trajectories: Any, *, per_episode: int) -> Any:
        return [CriticalMoment(number, len(each) - 1) for number, each in enumerate(trajectories)]
