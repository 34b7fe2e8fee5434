"""What `write_guidance` refuses before anybody is asked, and of selectors that break the rules."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from ultra_doubles import cart_pole_model, described, played

from llm_wrappers.errors import (
    GuidanceError,
    GuidanceFileError,
    GuidanceWarning,
    InvalidOptionError,
)
from llm_wrappers.guidance import Trajectory
from llm_wrappers.guidance.critical.finding import CriticalMoment
from llm_wrappers.guidance.critical.table import CriticalState
from llm_wrappers.methods.ultra import LLMSelector, write_guidance
from llm_wrappers.testing import ScriptedLLM

CART = "CartPole-v1"


class Picks:
    def __init__(self, *places):
        self.moments = [CriticalMoment(*place) for place in places]

    def select(self, trajectories, *, per_episode):
        return self.moments


class Left:
    def correct(self, trajectories, moments):
        found = [trajectories[moment.episode].observations[moment.step] for moment in moments]
        return [CriticalState(state, 0) for state in found]


class Nobody:
    def select(self, trajectories, *, per_episode):
        raise AssertionError("asked")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([(2, 0)], "steps of the 2 episodes, got step 0 of episode 2"),
        ([(0, 10_000)], "got step 10000 of episode 0"),
        ([(0, 1), (0, 1)], "no moment twice"),
        ([(0, 1), (0, 2), (0, 3)], "at most per_episode=2 moments"),
    ],
    ids=["no such episode", "no such step", "twice", "too many"],
)
def test_a_selector_that_breaks_its_protocol_is_named(places, message):
    with pytest.raises(GuidanceError, match=message):
        write_guidance(played(CART), selector=Picks(*places), corrector=Left(), per_episode=2)


def test_one_that_keeps_it_is_not():
    selector = Picks((0, 1), (0, 2), (1, 1))
    report = write_guidance(played(CART), selector=selector, corrector=Left(), per_episode=2)
    assert report.corrected == 3


def test_a_file_that_cannot_be_written_is_said_first(tmp_path):
    (tmp_path / "file").touch()
    for out, message in (
        (tmp_path, "got the folder"),
        (tmp_path / "file" / "table.json", "cannot make the folder"),
    ):
        with pytest.raises(GuidanceFileError, match=message):
            write_guidance(played(CART), selector=Nobody(), corrector=Left(), out=out)


def test_folders_on_the_way_to_the_file_are_made(tmp_path):
    out = tmp_path / "new" / "folder" / "table.json"
    write_guidance(played(CART), selector=Picks((0, 1)), corrector=Left(), out=out)
    assert out.is_file()


@pytest.mark.parametrize("part", [None, "camera"])
def test_a_part_that_there_is_not_is_said_first(part):
    observations = {"pole": np.zeros((3, 4))}
    episode = Trajectory(observations, np.zeros(2, int), [1, 1], True, False)
    with pytest.raises(InvalidOptionError, match=r"expected part to be one of .*'pole'"):
        write_guidance([episode], selector=Nobody(), corrector=Left(), part=part)
    plain = Trajectory(np.zeros((3, 4)), np.zeros(2, int), [1, 1], True, False)
    with pytest.raises(InvalidOptionError, match="only for Dict observations"):
        write_guidance([plain], selector=Nobody(), corrector=Left(), part="pole")


def test_scales_of_an_episode_of_pictures_that_is_read_in_blocks(monkeypatch):
    monkeypatch.setattr("llm_wrappers.methods.ultra._history._NUMBERS_AT_ONCE", 100)
    pictures = np.random.default_rng(0).integers(0, 256, (24, 6, 6, 1), dtype=np.uint8)
    episode = Trajectory(pictures, np.zeros(23, int), [0] * 23, True, False)
    report = write_guidance([episode], selector=Picks((0, 1)), corrector=Left())
    expected = pictures[:-1].reshape(23, -1).astype(np.float64).std(axis=0)
    np.testing.assert_allclose(report.critical_states.scales, expected)


@pytest.mark.parametrize("failing", [1, 2])
def test_others_are_only_said_to_be_used_where_there_are_others(failing):
    def model(request):
        text = request.messages[0]["content"]
        fails = failing == 2 or "## Episode 1" in text
        return "I do not know." if fails else cart_pole_model(request)

    selector = LLMSelector(
        ScriptedLLM(model, repairs=0),
        described(CART),
        action_space=gym.make(CART).action_space,
    )
    with pytest.warns(GuidanceWarning, match=f"{failing} of 2 questions") as caught:
        selector.select(played(CART), per_episode=1)
    assert ("the others are used" in str(caught[0].message)) == (failing == 1)
