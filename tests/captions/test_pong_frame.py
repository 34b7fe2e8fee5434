"""Captions of Pong from two small frames, against those from the memory of the real game."""

import functools
import re

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.worlds.atari.captioner import AtariRam
from llm_wrappers.worlds.atari.pong_frames import PongFrameCaptioner, PongFrames

ale_py = pytest.importorskip("ale_py")
gym.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)

SHARED = (
    "ball_x", "ball_y", "ball_dx", "ball_dy", "paddle_y", "paddle_dy", "opponent_y", "opponent_dy",
)  # fmt: skip


def at_random(facts, random):
    return int(random.integers(6))


def following(facts, random):
    if facts["ball_y"] is None or abs(facts["ball_y"] - facts["paddle_y"]) < 4:
        return 0
    return 3 if facts["ball_y"] > facts["paddle_y"] else 2


@functools.cache
def told(policy, steps=450):
    """Return what memory and frames tell of the same steps of some play."""
    below = AtariRam(gym.make("ALE/Pong-v5"))
    env, random = PongFrames(below), np.random.default_rng(0)
    pairs = []
    observation, info = env.reset(seed=0)
    for _ in range(steps):
        (memory,) = below.captioner.facts(None, batch_infos(info))
        (frame,) = env.captioner.facts(observation[None], {})
        pairs.append((memory, frame))
        observation, _, terminated, truncated, info = env.step(policy(memory, random))
        if terminated or truncated:
            observation, info = env.reset()
    return pairs


both_policies = pytest.mark.parametrize("policy", [at_random, following])


@both_policies
class TestAgainstTheMemory:
    @pytest.mark.parametrize("name", SHARED)
    def test_numbers_agree_within_three_pixels(self, policy, name):
        pairs = [(memory[name], frame[name]) for memory, frame in told(policy)]
        off = [abs(told - read) for told, read in pairs if None not in (told, read)]
        assert len(off) > 200
        assert max(off) <= 3
        assert np.mean(off) < 1

    def test_towards_and_away_agree_wherever_both_know(self, policy):
        moving = [
            (memory["ball_towards_you"], frame["ball_towards_you"])
            for memory, frame in told(policy)
            if memory["ball_towards_you"] is not None
        ]
        known = [(told, read) for told, read in moving if read is not None]
        assert {told for told, _ in known} == {False, True}
        assert np.mean([told == read for told, read in known]) >= 0.99
        assert len(known) >= 0.95 * len(moving)

    def test_a_ball_is_seen_where_one_is_in_play(self, policy):
        pairs = [(memory["ball_in_play"], frame["ball_in_play"]) for memory, frame in told(policy)]
        assert set(pairs) >= {(True, True), (False, False)}
        assert (False, True) not in pairs  # never one that is not there
        assert np.mean([told == read for told, read in pairs]) > 0.98

    def test_sentences_differ_in_nothing_but_pixels_and_score(self, policy):
        captioner, compared = PongFrameCaptioner(), 0
        for memory, frame in told(policy):
            if any((memory[name] is None) != (frame[name] is None) for name in SHARED):
                continue
            if any(np.sign(memory[name] or 0) != np.sign(frame[name] or 0) for name in SHARED):
                continue
            memory = {name: value for name, value in memory.items() if "score" not in name}
            one, other = captioner.state_captions([memory, frame])
            assert _without_numbers(one) == _without_numbers(other)
            compared += 1
        assert compared > 400


def _without_numbers(sentence):
    return re.sub(r"-?\d+", "", sentence).replace("pixels", "pixel")


class TestFrames:
    def drawn(self, *boxes, before=((30, 38, 8, 10),)):
        """Return a pair of frames; boxes are (top, bottom, left, right)."""
        frames = np.zeros((1, 80, 80, 2), np.uint8)
        for channel, drawn in enumerate((before, boxes)):
            for top, bottom, left, right in drawn:
                frames[0, top:bottom, left:right, channel] = 255
        return frames

    def facts(self, *boxes, **before):
        return PongFrameCaptioner().facts(self.drawn(*boxes, **before), {})[0]

    def test_nothing_is_drawn(self):
        facts = self.facts()
        assert facts["ball_in_play"] is False
        assert {facts[name] for name in SHARED} == {None}
        assert PongFrameCaptioner().state_captions([facts]) == [
            "There is no ball in play. Your paddle is out of sight, the opponent's out of sight."
        ]

    def test_a_ball_that_was_not_in_sight_has_no_motion(self):
        facts = self.facts((20, 22, 30, 31))
        assert (facts["ball_x"], facts["ball_y"]) == (60, 75)
        assert facts["ball_dx"] is facts["ball_dy"] is facts["ball_towards_you"] is None

    def test_the_first_picture_of_an_episode_tells_of_no_ball(self):
        assert self.facts((20, 22, 30, 31), before=())["ball_in_play"] is False
        env = PongFrames(gym.make("ALE/Pong-v5"))
        (facts,) = env.captioner.facts(env.reset(seed=0)[0][None], {})
        assert facts["ball_in_play"] is False
        assert facts["paddle_y"] == pytest.approx(104, abs=1)
        assert facts["paddle_dy"] is None

    def test_the_motion_of_a_paddle_is_told(self):
        facts = self.facts((20, 28, 70, 72), before=((26, 34, 70, 72),))
        assert (facts["paddle_dy"], facts["opponent_dy"]) == (-12, None)
        (sentence,) = PongFrameCaptioner().state_captions([facts])
        assert "Your paddle is at y 83, moving 12 pixels up per step, the opp" in sentence

    @pytest.mark.parametrize(
        ("rows", "middle"), [((0, 3), 33), ((0, 8), 43), ((30, 38), 103), ((78, 80), 199)]
    )
    def test_a_paddle_that_the_edge_hides_in_part_is_whole(self, rows, middle):
        assert self.facts((*rows, 70, 72))["paddle_y"] == middle
        assert self.facts((*rows, 8, 10))["opponent_y"] == middle

    def test_a_ball_in_the_column_of_a_paddle_is_told_from_it(self):
        facts = self.facts((30, 38, 70, 72), (50, 52, 71, 72))
        assert (facts["ball_x"], facts["ball_y"], facts["paddle_y"]) == (142, 135, 103)

    def test_a_ball_behind_the_paddle_is_in_play(self):
        assert self.facts((50, 52, 76, 77))["ball_x"] == 152

    def test_a_ball_that_flies_through_a_paddle_is_out_of_sight(self):
        assert self.facts((30, 38, 70, 72), (33, 35, 70, 71))["ball_in_play"] is False

    def test_what_is_not_zero_is_drawn(self):
        frames = self.drawn((20, 22, 30, 31), (30, 38, 70, 72))
        captioner = PongFrameCaptioner()
        for scaled in (frames / 255.0, frames > 0, frames.astype(np.int64)):
            assert captioner.facts(scaled, {}) == captioner.facts(frames, {})

    @pytest.mark.parametrize("shape", [(80, 80, 2), (1, 2, 80, 80), (1, 80, 80)])
    def test_another_shape_is_refused(self, shape):
        with pytest.raises(InvalidOptionError, match=r"shape \(n, 80, 80, 2\), got .*PongFrames"):
            PongFrameCaptioner().facts(np.zeros(shape), {})


class TestDescription:
    def test_it_is_a_captioner_with_the_rules_of_the_game_and_no_score(self):
        captioner = PongFrameCaptioner()
        assert isinstance(captioner, Captioner)
        assert "table tennis" in captioner.description.rules
        assert "score is not in the picture" in captioner.description.facts
        assert captioner.transition_captions([{}], [2], [{}]) == ["move up"]

    def test_an_impossible_number_of_actions_is_refused(self):
        with pytest.raises(InvalidOptionError, match=r"one of \[6, 18\]"):
            PongFrameCaptioner(actions=7)
