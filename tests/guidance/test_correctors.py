"""Correctors without a language model: what they advise, and how the agent is rated by it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import (
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.critical.corrector import Corrector
from llm_wrappers.guidance.critical.correctors import (
    JudgeCorrector,
    RandomCorrector,
    RuleCorrector,
    resolve_corrector,
)
from llm_wrappers.guidance.critical.critical_states import CriticalStates
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.guidance.critical.selectors import ReturnDropSelector
from llm_wrappers.guidance.judge import FunctionJudge
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.worlds.classic.captioner import cart_pole
from llm_wrappers.wrappers import CriticalStateOverrideWrapper, TrajectoryRecorder

PUSHES = gym.spaces.Discrete(2)
TORQUES = gym.spaces.Box(np.array([-2.0, -np.inf]), np.array([2.0, np.inf]), dtype=np.float64)


def episode(actions: Any, **parts: Any) -> Trajectory:
    steps = len(actions)
    given: dict[str, Any] = {
        "observations": np.arange(steps + 1, dtype=np.float32)[:, None],
        "facts": [{"step": step} for step in range(steps + 1)],
        **parts,
    }
    return Trajectory(
        actions=np.asarray(actions), rewards=np.ones(steps), terminated=True, truncated=False,
        **given,
    )  # fmt: skip


def moments(trajectory: Trajectory) -> list[CriticalMoment]:
    return [CriticalMoment(0, step, rationale="here") for step in range(len(trajectory))]


def correct(corrector: Corrector, trajectory: Trajectory) -> list[Any]:
    return list(corrector.correct([trajectory], moments(trajectory)))


@pytest.fixture(scope="module")
def cartpole() -> list[Trajectory]:
    """Return real episodes of a bad policy: it always pushes right."""
    env = TrajectoryRecorder(gym.make("CartPole-v1"))
    for seed in range(3):
        env.reset(seed=seed)
        while not env.step(1)[2]:
            pass
    return list(env.trajectories())


@pytest.fixture(scope="module")
def description() -> Any:
    return resolve_captioner(gym.make("CartPole-v1")).description


def test_a_rule_advises_by_the_facts_and_rates_the_agent() -> None:
    answers = [1, 0, None]
    rule = RuleCorrector(lambda facts: answers[facts["step"]], PUSHES)
    trajectory = episode([1, 1, 1])
    right, wrong, none = correct(rule, trajectory)
    assert none is None
    assert (right.action, right.reward, right.step, right.episode) == (1, 1.0, 0, 0)
    assert (wrong.action, wrong.reward, wrong.step, wrong.rationale) == (0, -1.0, 1, "here")
    assert wrong.state.tolist() == [1.0]
    assert wrong.state.dtype == np.float32
    assert not np.shares_memory(wrong.state, trajectory.observations)


@pytest.mark.parametrize(
    ("action", "tolerance", "reward"),
    [
        ([0.4, 5.0], 0.1, 1.0),  # a tenth of the range of 4
        ([0.5, 5.0], 0.1, -1.0),
        ([0.5, 5.0], 0.2, 1.0),
        ([0.0, 5.1], 0.1, 1.0),  # without a range in units
        ([0.0, 5.2], 0.1, -1.0),
        ([0.0, 5.0], 0.0, 1.0),
    ],
)
def test_continuous_actions_agree_within_a_share_of_the_range(
    action: list[float], tolerance: float, reward: float
) -> None:
    rule = RuleCorrector(lambda facts: np.array([0.0, 5.0]), TORQUES, tolerance=tolerance)
    assert correct(rule, episode([action]))[0].reward == reward


def test_advice_in_bytes_is_clipped_not_wrapped_and_has_to_be_equal() -> None:
    """As in the table and the wrapper that it is for."""
    levels = gym.spaces.Box(0, 200, (1,), np.uint8)
    near, equal = correct(RuleCorrector(lambda facts: [300], levels), episode([[199], [200]]))
    assert near.action.tolist() == [200]
    assert (near.reward, equal.reward) == (-1.0, 1.0)


def test_continuous_advice_is_clipped() -> None:
    [found] = correct(RuleCorrector(lambda facts: [9.0, 9.0], TORQUES), episode([[2.0, 9.0]]))
    assert found.action.tolist() == [2.0, 9.0]
    assert found.reward == 1.0


def test_a_part_of_a_dict_observation_is_the_state() -> None:
    parts = {"goal": np.zeros((2, 3)), "obs": np.array([[4.0], [5.0]])}
    trajectory = episode([1], observations=parts)
    rule = RuleCorrector(lambda facts: 1, PUSHES, part="obs")
    assert correct(rule, trajectory)[0].state.tolist() == [4.0]
    with pytest.raises(InvalidOptionError, match=r"one of the observation's \['goal', 'obs'\]"):
        correct(RuleCorrector(lambda facts: 1, PUSHES), trajectory)
    with pytest.raises(InvalidOptionError, match="only for Dict observations"):
        correct(rule, episode([1]))
    nested = episode([1], observations=(np.zeros(2), np.zeros(2)))
    with pytest.raises(InvalidOptionError, match="nested observation; flatten"):
        correct(RuleCorrector(lambda facts: 1, PUSHES), nested)


@given(
    st.lists(
        st.lists(st.sampled_from([-1, 0, 1, None]), min_size=4, max_size=4), min_size=1, max_size=6
    ),
    st.data(),
)
def test_the_best_judged_action_is_advised(table: list[list[int | None]], data: Any) -> None:
    actions = data.draw(st.lists(st.integers(0, 3), min_size=len(table), max_size=len(table)))
    asked: list[int] = []

    def judge(states: Any, actions: Any) -> Any:
        asked.append(len(states))
        return [table[f["step"]][a] for f, a in zip(states.facts, actions, strict=True)]

    corrector = JudgeCorrector(FunctionJudge(judge), gym.spaces.Discrete(4))
    found = correct(corrector, episode(actions))
    assert asked == [4 * len(table)]
    for row, mine, each in zip(table, actions, found, strict=True):
        values = [value or 0 for value in row]
        if len(set(values)) == 1:
            assert each is None
            continue
        assert values[each.action] == max(values)
        assert each.reward == (1.0 if values[mine] == max(values) else -1.0)
        assert each.action == (mine if values[mine] == max(values) else values.index(max(values)))


@pytest.mark.parametrize(
    ("said", "action"), [([None, -1], 0), ([None, 0], None), ([None, 1], 1), ([None, None], None)]
)
def test_silence_is_neither_praise_nor_worse_than_blame(said: Any, action: int | None) -> None:
    """The only action that the judge calls harmful was advised once, as the best it knew."""
    judge = FunctionJudge(lambda states, actions: said)
    [found] = correct(JudgeCorrector(judge, PUSHES), episode([1 if action == 0 else 0]))
    assert (found and (found.action, found.reward)) == (None if action is None else (action, -1.0))


def test_a_judge_reads_recorded_captions_or_those_it_is_given() -> None:
    read: list[Any] = []

    def judge(states: Any, actions: Any) -> Any:
        read.append(states.captions)
        return [int(action) for action in actions]

    trajectory = episode([0], captions=["start", "end"])
    correct(JudgeCorrector(FunctionJudge(judge), PUSHES), trajectory)
    worded = JudgeCorrector(
        FunctionJudge(judge), PUSHES, caption=lambda rows: [f"at {row['step']}" for row in rows]
    )
    correct(worded, trajectory)
    correct(JudgeCorrector(FunctionJudge(judge), PUSHES), episode([0]))
    assert read == [("start", "start"), ("at 0", "at 0"), ("", "")]


def test_actions_are_counted_from_where_the_space_starts() -> None:
    space = gym.spaces.Discrete(3, start=5)
    judge = FunctionJudge(lambda states, actions: [1 if a == 7 else 0 for a in actions])
    [found] = correct(JudgeCorrector(judge, space), episode([5]))
    assert (found.action, found.reward) == (7, -1.0)


def test_nothing_to_correct_asks_nobody() -> None:
    def judge(states: Any, actions: Any) -> Any:
        raise AssertionError("was asked")

    assert JudgeCorrector(FunctionJudge(judge), PUSHES).correct([episode([0])], []) == []


def test_random_advice_follows_the_seed_and_place_and_leaves_the_space_alone() -> None:
    space = gym.spaces.Discrete(4, seed=0)
    trajectory = episode(np.zeros(2000, dtype=int))
    found = correct(RandomCorrector(space, seed=1), trajectory)
    shares = np.bincount([each.action for each in found], minlength=4) / len(found)
    assert np.abs(shares - 0.25).max() < 0.05
    # Neither order nor what else is asked changes the advice.
    [alone] = RandomCorrector(space, seed=1).correct([trajectory], [CriticalMoment(0, 7)])
    assert alone is not None
    assert alone.action == found[7].action
    other = correct(RandomCorrector(space, seed=2), trajectory)
    assert [each.action for each in other] != [each.action for each in found]
    assert space.sample() == gym.spaces.Discrete(4, seed=0).sample()


def test_random_torques_are_of_the_space() -> None:
    for found in correct(RandomCorrector(TORQUES, seed=0), episode(np.zeros((20, 2)))):
        assert TORQUES.contains(found.action)


@pytest.mark.parametrize(
    ("build", "error", "problem"),
    [
        (lambda: RuleCorrector(len, gym.spaces.Text(3)), IncompatibleEnvironmentError, "Text"),
        (lambda: RuleCorrector(len, PUSHES, tolerance=-1), InvalidOptionError, "tolerance"),
        (lambda: RuleCorrector(len, PUSHES, tolerance="far"), InvalidOptionError, "tolerance"),  # type: ignore[arg-type]
        (lambda: RuleCorrector(len, TORQUES, tolerance=np.inf), InvalidOptionError, "tolerance"),
        (lambda: RandomCorrector(PUSHES, seed=-1), InvalidOptionError, "seed must be"),
        (lambda: JudgeCorrector(None, TORQUES), IncompatibleEnvironmentError, "Discrete"),  # type: ignore[arg-type]
    ],
)
def test_wrong_options_are_refused(build: Any, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        build()


@pytest.mark.parametrize("advice", [2, 0.5, "left", [0, 1]], ids=repr)
def test_advice_that_is_no_action_is_refused(advice: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"expected an action of Discrete\(2\)"):
        correct(RuleCorrector(lambda facts: advice, PUSHES), episode([0]))


@pytest.mark.parametrize("advice", [[np.nan, 0.0], [0.0], "left"], ids=repr)
def test_advice_that_is_no_torque_is_refused(advice: Any) -> None:
    with pytest.raises(InvalidOptionError, match="expected an action of Box"):
        correct(RuleCorrector(lambda facts: advice, TORQUES), episode([[0.0, 0.0]]))


@pytest.mark.parametrize(
    ("moment", "problem"),
    [(CriticalMoment(1, 0), "the 1 episodes"), (CriticalMoment(0, 2), "which has 2, got step 2")],
    ids=["episode", "step"],
)
def test_moments_of_other_episodes_are_refused(moment: CriticalMoment, problem: str) -> None:
    for corrector in (RuleCorrector(lambda facts: 1, PUSHES), RandomCorrector(PUSHES)):
        with pytest.raises(InvalidOptionError, match=problem):
            corrector.correct([episode([0, 1])], [moment])


def test_episodes_without_facts_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="episode 0 has none; record them with captions"):
        correct(RuleCorrector(lambda facts: 1, PUSHES), episode([0], facts=None))


def test_a_judge_that_answers_too_little_is_refused() -> None:
    judge = FunctionJudge(lambda states, actions: [1])
    with pytest.raises(InvalidOptionError, match=r"expected 4 judgements.*got 1"):
        correct(JudgeCorrector(judge, PUSHES), episode([0, 1]))


def test_the_reference_corrects_a_bad_policy(cartpole: Any, description: Any) -> None:
    picked = ReturnDropSelector(min_gap=2).select(cartpole, per_episode=3)
    corrector = resolve_corrector("reference", description=description, action_space=PUSHES)
    found = [each for each in corrector.correct(cartpole, picked) if each is not None]
    assert len(found) == len(picked) == 9
    for each, moment in zip(found, picked, strict=True):
        facts = cartpole[moment.episode].facts[moment.step]
        assert cart_pole(facts, each.action) == 1
        # The policy always pushed right.
        assert each.reward == (1.0 if each.action == 1 else -1.0)
    # Always pushing right is wrong just before the pole falls to the left.
    assert any(each.reward == -1.0 for each in found)
    table = CriticalStates(found)
    env = CriticalStateOverrideWrapper(gym.make("CartPole-v1"), critical_states=table)
    assert env.reset(seed=0)[0] is not None


def test_names_give_correctors_and_objects_pass(description: Any) -> None:
    env = gym.make("CartPole-v1")
    random = resolve_corrector("random", env=env, seed=3)
    assert isinstance(random, RandomCorrector)
    assert random.seed == 3
    assert resolve_corrector(random) is random
    envs = gym.make_vec("CartPole-v1", num_envs=2)
    for source in ({"env": envs}, {"model": env}, {"action_space": PUSHES}):
        judged = resolve_corrector("judge:anti-oracle", description=description, **source)
        assert isinstance(judged, JudgeCorrector)
    anti = resolve_corrector("judge:anti-oracle", description=description, action_space=PUSHES)
    real = resolve_corrector("judge:reference", description=description, action_space=PUSHES)
    facts = {"pole_angle_deg": 3.0, "pole_velocity_deg_per_s": 0.0}
    trajectory = episode([0], facts=[facts, facts])
    advised = [correct(corrector, trajectory)[0].action for corrector in (anti, real)]
    assert advised == [0, 1]


@pytest.mark.parametrize(
    ("corrector", "options", "error", "problem"),
    [
        ("best", {}, UnknownNameError, "expected one of reference, judge:NAME, random"),
        ("judge", {}, UnknownNameError, "got 'judge'"),
        ("random", {}, InvalidOptionError, "'random' needs action_space=..., got None"),
        ("reference", {"action_space": PUSHES}, InvalidOptionError, "needs description"),
        (RandomCorrector, {}, InvalidOptionError, "got the class RandomCorrector"),
        (3, {}, InvalidOptionError, "got a int"),
    ],
    ids=["best", "judge", "random", "reference", "class", "number"],
)
def test_wrong_names_and_objects_are_refused(
    corrector: Any, options: Any, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        resolve_corrector(corrector, **options)


def test_judges_of_other_environments_are_refused() -> None:
    description = resolve_captioner(gym.make("Acrobot-v1")).description
    with pytest.raises(UnknownNameError, match="not for 'Acrobot-v1'"):
        resolve_corrector("reference", description=description, action_space=PUSHES)
