"""Finding critical moments without a language model, and correcting them."""

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
from llm_wrappers.guidance.critical.correcting import (
    Corrector,
    JudgeCorrector,
    RandomCorrector,
    RuleCorrector,
    resolve_corrector,
)
from llm_wrappers.guidance.critical.finding import (
    CriticalMoment,
    RandomSelector,
    ReturnDropSelector,
    Selector,
    ValueGapSelector,
    importances_of,
    resolve_selector,
)
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.guidance.judge import FunctionJudge
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.worlds.classic.captioner import cart_pole
from llm_wrappers.wrappers import CriticalStateOverrideWrapper, TrajectoryRecorder


def paid(rewards: Any, *, terminated: bool = True) -> Trajectory:
    """Return an episode whose observations are the numbers of the steps."""
    steps = len(rewards)
    observations = np.arange(steps + 1, dtype=np.float64)[:, None]
    return Trajectory(observations, np.zeros(steps), rewards, terminated, not terminated)


def selector_of(kind: str, min_gap: int = 1) -> Selector:
    if kind == "random":
        return RandomSelector(seed=3, min_gap=min_gap)
    if kind == "return-drop":
        return ReturnDropSelector(window=3, min_gap=min_gap)
    return ValueGapSelector(lambda seen: np.sin(seen[:, 0]), gamma=0.9, min_gap=min_gap)


rewards_lists = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30)
histories = st.lists(
    st.builds(lambda rewards, over: paid(rewards, terminated=over), rewards_lists, st.booleans()),
    max_size=4,
)


@given(
    histories,
    st.sampled_from(["random", "return-drop", "value-gap"]),
    st.integers(1, 40),
    st.integers(1, 5),
)
def test_moments_are_few_in_order_of_different_steps_and_apart(
    history: list[Trajectory], kind: str, per_episode: int, min_gap: int
) -> None:
    selector = selector_of(kind, min_gap)
    moments = selector.select(history, per_episode=per_episode)
    assert moments == selector.select(history, per_episode=per_episode)
    places = [(moment.episode, moment.step) for moment in moments]
    assert places == sorted(set(places))
    importances = importances_of(selector, history, per_episode=per_episode)
    for number, trajectory in enumerate(history):
        steps = [step for place, step in places if place == number]
        assert len(steps) <= per_episode
        assert all(step < len(trajectory) for step in steps)
        assert (np.diff(steps) >= min_gap).all()
        assert [m.importance for m in moments if m.episode == number] == [
            importances[number][step] for step in steps
        ]
        # What was left out is less important, or too near to what was taken.
        if steps and min_gap == 1:
            left = np.delete(importances[number], steps)
            assert len(steps) < per_episode or (left <= importances[number][steps].min()).all()


def test_random_moments_are_uniform_and_follow_the_seed() -> None:
    history = [paid(np.ones(10))] * 3000
    moments = RandomSelector(seed=1).select(history, per_episode=2)
    shares = np.bincount([moment.step for moment in moments], minlength=10) / len(moments)
    # The standard deviation of a share is 0.004.
    assert np.abs(shares - 0.1).max() < 0.02
    other = RandomSelector(seed=2).select(history, per_episode=2)
    assert [m.step for m in moments] != [m.step for m in other]


def test_a_drop_is_what_came_before_less_what_comes_after() -> None:
    rewards = np.array([2.0, 2.0, 4.0, 1.0, 1.0, 0.0])
    [cut] = ReturnDropSelector(window=2).importances([paid(rewards, terminated=False)])
    assert cut.tolist() == [0.0, 2 - 3.0, 2 - 2.5, 3 - 1.0, 2.5 - 0.5, 1 - 0.0]
    [over] = ReturnDropSelector(window=2).importances([paid(np.ones(4), terminated=True)])
    assert over.tolist() == [0.0, 0.0, 0.0, 0.5]


def test_the_value_gap_is_what_was_expected_less_what_came() -> None:
    seen: list[Any] = []

    def values(observations: Any) -> Any:
        seen.append(observations)
        return 8.0 - 2.0 * observations[:, 0]

    history = [paid([1.0, 2.0, 3.0], terminated=True)]
    [gaps] = ValueGapSelector(values, gamma=0.5).importances(history)
    # V = 8, 6, 4 and, after the end, 0.
    assert gaps.tolist() == [8 - 1 - 3, 6 - 2 - 2, 4 - 3 - 0]
    [cut] = ValueGapSelector(values, gamma=0.5).importances([paid([1.0, 2, 3], terminated=False)])
    assert cut.tolist() == [4, 2, 4 - 3 - 1]
    [scaled] = ValueGapSelector(values, gamma=0.5, reward_scale=2.0).importances(history)
    assert scaled.tolist() == [3, 0, -2]
    picked = ValueGapSelector(values, gamma=0.5, reward_scale=2.0).select(history, per_episode=3)
    assert [moment.step for moment in picked] == [0]
    assert np.shares_memory(seen[0], history[0].observations)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda seen: np.zeros(len(seen) - 1), r"3 finite numbers.*shape \(2,\)"),
        (lambda seen: np.full(len(seen), np.nan), "3 finite numbers"),
    ],
    ids=["too few", "nan"],
)
def test_a_critic_that_answers_nonsense_is_told(answer: Any, problem: str) -> None:
    with pytest.raises(InvalidOptionError, match=problem):
        ValueGapSelector(answer).select([paid([1.0, 1.0])], per_episode=1)


@pytest.mark.parametrize(
    ("build", "problem"),
    [
        (lambda: CriticalMoment(np.float64(1), 0), "episode must be a whole number"),  # type: ignore
        (lambda: CriticalMoment(0, np.int64(-1)), "step must be a whole number"),  # type: ignore
        (lambda: CriticalMoment(0, True), "step must be a whole number"),
        (lambda: CriticalMoment(0, 0, importance=np.inf), "importance must be a finite number"),
        (lambda: RandomSelector(seed=-1), "seed must be a whole number >= 0, got -1"),
        (lambda: RandomSelector(min_gap=0), "min_gap must be a whole number >= 1, got 0"),
        (lambda: ReturnDropSelector(window=True), "window must be a whole number >= 1, got True"),
        (lambda: ReturnDropSelector(min_gap=1.5), "min_gap"),  # type: ignore[arg-type]
        (lambda: ValueGapSelector(None), "values must be a function"),  # type: ignore[arg-type]
        (lambda: ValueGapSelector(len, gamma=1.1), r"gamma must be a number in \[0, 1\]"),  # type: ignore
        (lambda: ValueGapSelector(len, gamma="0.9"), r"gamma must be a number in \[0, 1\]"),  # type: ignore
        (lambda: ValueGapSelector(len, reward_scale=0.0), "reward_scale"),  # type: ignore[arg-type]
        (lambda: ValueGapSelector(len, min_gap=0), "min_gap"),  # type: ignore[arg-type]
        (
            lambda: selector_of("random").select([], per_episode=0),
            "per_episode must be a whole number",
        ),
    ],
)
def test_wrong_options_of_selectors_are_refused(build: Any, problem: str) -> None:
    with pytest.raises(InvalidOptionError, match=problem):
        build()


class Picks:
    """A selector that says nothing but its moments, as a language model does."""

    def __init__(self, *moments: CriticalMoment) -> None:
        self.moments = moments
        self.asked: list[int] = []

    def select(self, trajectories: Any, *, per_episode: int) -> Any:
        self.asked.append(per_episode)
        return self.moments


def test_moments_alone_count_at_their_steps_and_nowhere_else() -> None:
    picks = Picks(CriticalMoment(0, 2, importance=0.5), CriticalMoment(1, 0, importance=2.0))
    found = importances_of(picks, [paid(np.ones(3)), paid(np.ones(2))], per_episode=7)
    assert [row.tolist() for row in found] == [[0, 0, 0.5], [2, 0]]
    assert picks.asked == [7]


def test_importances_that_do_not_fit_are_refused() -> None:
    selector = selector_of("random")
    selector.importances = lambda history: [np.zeros(2)]  # type: ignore[attr-defined]
    with pytest.raises(InvalidOptionError, match="one array of finite numbers per episode"):
        importances_of(selector, [paid(np.ones(3))], per_episode=1)


def test_names_give_selectors() -> None:
    random = resolve_selector("random", seed=5)
    assert isinstance(random, RandomSelector)
    assert random.seed == 5
    assert resolve_selector(random) is random
    drop, wide = resolve_selector("return-drop"), resolve_selector("return-drop:25")
    assert isinstance(drop, ReturnDropSelector)
    assert isinstance(wide, ReturnDropSelector)
    assert (drop.window, wide.window) == (10, 25)


@pytest.mark.parametrize(
    ("selector", "error", "problem"),
    [
        ("best", UnknownNameError, "expected one of random, return-drop.*got 'best'"),
        ("random:3", UnknownNameError, "got 'random:3'"),
        ("return-drop:x", InvalidOptionError, "whole number, got 'x'"),
        ("return-drop:", InvalidOptionError, "expected return-drop:WINDOW, got 'return-drop:'"),
        ("return-drop:0", InvalidOptionError, "window must be"),
        (RandomSelector, InvalidOptionError, "got the class RandomSelector; call it first"),
        (3, InvalidOptionError, "got a int"),
    ],
)
def test_wrong_selectors_are_refused(selector: Any, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        resolve_selector(selector)


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
    untouched = gym.spaces.Discrete(4, seed=0)
    assert [space.sample() for _ in range(20)] == [untouched.sample() for _ in range(20)]


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
def test_wrong_options_of_correctors_are_refused(
    build: Any, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        build()


@pytest.mark.parametrize("advice", [2, 0.5, "left", [0, 1]], ids=repr)
def test_advice_that_is_no_action_is_refused(advice: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"expected an action of Discrete\(2\)"):
        correct(RuleCorrector(lambda facts: advice, PUSHES), episode([0]))


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
def test_wrong_correctors_are_refused(
    corrector: Any, options: Any, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        resolve_corrector(corrector, **options)
