"""Selectors without a language model: what they pick, and what they promise of any episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.guidance.critical.moment import CriticalMoment
from llm_wrappers.guidance.critical.selector import Selector
from llm_wrappers.guidance.critical.selectors import (
    RandomSelector,
    ReturnDropSelector,
    ValueGapSelector,
    importances_of,
    resolve_selector,
)
from llm_wrappers.trajectories.trajectory import Trajectory


def episode(rewards: Any, *, terminated: bool = True) -> Trajectory:
    """Return an episode whose observations are the numbers of the steps."""
    steps = len(rewards)
    observations = np.arange(steps + 1, dtype=np.float64)[:, None]
    return Trajectory(observations, np.zeros(steps), rewards, terminated, not terminated)


def make(kind: str, min_gap: int = 1) -> Selector:
    if kind == "random":
        return RandomSelector(seed=3, min_gap=min_gap)
    if kind == "return-drop":
        return ReturnDropSelector(window=3, min_gap=min_gap)
    return ValueGapSelector(lambda seen: np.sin(seen[:, 0]), gamma=0.9, min_gap=min_gap)


rewards_lists = st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=30)
histories = st.lists(
    st.builds(
        lambda rewards, over: episode(rewards, terminated=over), rewards_lists, st.booleans()
    ),
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
    selector = make(kind, min_gap)
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


@given(histories, st.integers(1, 40))
def test_random_moments_are_as_many_as_were_asked_for(
    history: list[Trajectory], per_episode: int
) -> None:
    moments = RandomSelector().select(history, per_episode=per_episode)
    counts = [sum(m.episode == number for m in moments) for number in range(len(history))]
    assert counts == [min(per_episode, len(trajectory)) for trajectory in history]


def test_random_moments_are_uniform_and_follow_the_seed() -> None:
    history = [episode(np.ones(10))] * 3000
    moments = RandomSelector(seed=1).select(history, per_episode=2)
    shares = np.bincount([moment.step for moment in moments], minlength=10) / len(moments)
    # The standard deviation of a share is 0.004.
    assert np.abs(shares - 0.1).max() < 0.02
    other = RandomSelector(seed=2).select(history, per_episode=2)
    assert [m.step for m in moments] != [m.step for m in other]


def test_a_drop_is_what_came_before_less_what_comes_after() -> None:
    rewards = np.array([2.0, 2.0, 4.0, 1.0, 1.0, 0.0])
    [cut] = ReturnDropSelector(window=2).importances([episode(rewards, terminated=False)])
    assert cut.tolist() == [0.0, 2 - 3.0, 2 - 2.5, 3 - 1.0, 2.5 - 0.5, 1 - 0.0]
    [over] = ReturnDropSelector(window=2).importances([episode(np.ones(4), terminated=True)])
    assert over.tolist() == [0.0, 0.0, 0.0, 0.5]


def test_an_episode_whose_reward_never_falls_has_no_moments_by_drop() -> None:
    selector = ReturnDropSelector(window=4)
    assert selector.select([episode(np.ones(9), terminated=False)], per_episode=3) == []
    found = selector.select([episode(np.ones(9), terminated=True)], per_episode=3)
    assert [moment.step for moment in found] == [6, 7, 8]
    assert "falls by 0.75" in found[-1].rationale


def test_the_window_decides_what_counts_as_a_drop() -> None:
    # One bad reward early, a lasting decline late.
    rewards = np.array([5.0, 5, 5, 0, 5, 5, 5, 5, 5, 2, 2, 2, 2, 2])
    history = [episode(rewards, terminated=False)]
    steps = [
        ReturnDropSelector(window=window).select(history, per_episode=1)[0].step
        for window in (1, 4)
    ]
    assert steps == [3, 9]


def test_the_value_gap_is_what_was_expected_less_what_came() -> None:
    seen: list[Any] = []

    def values(observations: Any) -> Any:
        seen.append(observations)
        return 8.0 - 2.0 * observations[:, 0]

    history = [episode([1.0, 2.0, 3.0], terminated=True)]
    [gaps] = ValueGapSelector(values, gamma=0.5).importances(history)
    # V = 8, 6, 4 and, after the end, 0.
    assert gaps.tolist() == [8 - 1 - 3, 6 - 2 - 2, 4 - 3 - 0]
    [cut] = ValueGapSelector(values, gamma=0.5).importances(
        [episode([1.0, 2, 3], terminated=False)]
    )
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
        ValueGapSelector(answer).select([episode([1.0, 1.0])], per_episode=1)


def test_moments_take_numbers_of_numpy_and_keep_plain_ones() -> None:
    """A selector of one's own is mostly `argmax`."""
    found = CriticalMoment(np.int64(1), np.uint8(2), importance=np.float32(0.5))  # type: ignore
    assert found == CriticalMoment(1, 2, importance=0.5)
    assert [type(value) for value in (found.episode, found.step, found.importance)] == [
        int, int, float,
    ]  # fmt: skip


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
        (lambda: make("random").select([], per_episode=0), "per_episode must be a whole number"),
    ],
)
def test_wrong_options_are_refused(build: Any, problem: str) -> None:
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
    found = importances_of(picks, [episode(np.ones(3)), episode(np.ones(2))], per_episode=7)
    assert [row.tolist() for row in found] == [[0, 0, 0.5], [2, 0]]
    assert picks.asked == [7]


@pytest.mark.parametrize("moment", [CriticalMoment(0, 3), CriticalMoment(1, 0)], ids=str)
def test_moments_outside_of_the_episodes_are_refused(moment: CriticalMoment) -> None:
    with pytest.raises(InvalidOptionError, match="not among the 1 episodes"):
        importances_of(Picks(moment), [episode(np.ones(3))], per_episode=1)


def test_importances_that_do_not_fit_are_refused() -> None:
    selector = make("random")
    selector.importances = lambda history: [np.zeros(2)]  # type: ignore[attr-defined]
    with pytest.raises(InvalidOptionError, match="one array of finite numbers per episode"):
        importances_of(selector, [episode(np.ones(3))], per_episode=1)


def test_names_give_selectors_and_objects_pass() -> None:
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
def test_wrong_names_and_objects_are_refused(
    selector: Any, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        resolve_selector(selector)


PLUGIN = """
class Fixed:
    def __init__(self, rest, context):
        self.rest, self.context = rest, context
    def select(self, trajectories, *, per_episode):
        return []

def fixed(rest, **context):
    return Fixed(rest, context)

def nothing(rest, **context):
    return None
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that registers selectors of its own."""
    (tmp_path / "selector_plugin.py").write_text(PLUGIN)
    info = tmp_path / "selector_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: selector-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[llm_wrappers.selectors]\n"
        "mine = selector_plugin:fixed\n"
        "nothing = selector_plugin:nothing\n"
        "gone = selector_plugin:gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plugin")
def test_packages_register_names_with_and_without_a_colon() -> None:
    bare: Any = resolve_selector("mine", model="m", env="e", description="d", action_space="a")
    assert bare.rest == ""
    assert bare.context == {
        "model": "m", "env": "e", "description": "d", "action_space": "a", "seed": 0
    }  # fmt: skip
    told: Any = resolve_selector("mine:a:b", seed=4)
    assert (told.rest, told.context["seed"]) == ("a:b", 4)
    with pytest.raises(UnknownNameError, match=r"random, return-drop.*, mine.*got 'other'"):
        resolve_selector("other")
    with pytest.raises(UnknownNameError, match=r"cannot be loaded .*install that package again"):
        resolve_selector("gone")
    with pytest.raises(InvalidOptionError, match="entry point of 'nothing' to make a selector"):
        resolve_selector("nothing")
