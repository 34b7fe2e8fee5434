"""Pong in words, from memory and from frames, and its judge."""

import functools
import re
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from atari_games import GREEN, ORANGE, WHITE, game, pixels, play
from gymnasium.envs.registration import EnvSpec
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions import batch_infos
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError, UnknownNameError
from llm_wrappers.guidance.judges import resolve_judge
from llm_wrappers.guidance.states import States
from llm_wrappers.worlds.atari.captioner import AtariRam, AtariRamCaptioner
from llm_wrappers.worlds.atari.pong import atari_pong, reference_action
from llm_wrappers.worlds.atari.pong_frames import PongFrameCaptioner, PongFrames

pytest.importorskip("ale_py")


class TestPong:
    def test_the_ball_is_where_the_picture_shows_it(self):
        seen, right = 0, 0
        for picture, _, facts, _ in play(game("Pong"), 600, range(6)):
            rows, columns = pixels(picture, WHITE, 34, 194)
            if len(rows) == 0 or not facts["ball_in_play"]:
                continue
            seen += 1
            # The picture is drawn a frame before the memory is read.
            right += abs(columns.min() - facts["ball_x"]) <= 3
            right += abs(rows.min() - facts["ball_y"]) <= 4
        assert seen > 200
        assert right / (2 * seen) > 0.97

    def test_a_picture_without_a_ball_means_that_none_is_in_play(self):
        seen = [
            (len(pixels(picture, WHITE, 34, 194)[0]) > 0, facts["ball_in_play"])
            for picture, _, facts, _ in play(game("Pong"), 600, range(6))
        ]
        assert np.mean([drawn == told for drawn, told in seen]) > 0.98
        assert {(False, False), (True, True)} <= set(seen)

    def test_the_paddles_are_where_the_picture_shows_them(self):
        for name, colour in (("paddle_y", GREEN), ("opponent_y", ORANGE)):
            compared = 0
            for picture, _, facts, _ in play(game("Pong"), 400, range(6), seed=1):
                rows, columns = pixels(picture, colour, 34, 194)
                if len(set(rows)) != 16:  # hidden in part behind the edge
                    continue
                compared += 1
                assert abs((rows.min() + rows.max()) / 2 - facts[name]) <= 8
                assert set(columns) == set(range(*((140, 144), (16, 20))[colour != GREEN]))
            assert compared > 50

    def test_the_motion_is_that_of_the_picture(self):
        last, compared = None, 0
        for picture, _, facts, _ in play(game("Pong", frameskip=4), 400, range(6)):
            rows, columns = pixels(picture, WHITE, 34, 194)
            where = (columns.min(), rows.min()) if len(rows) else None
            moved = facts["ball_dx"] is not None and last is not None and where is not None
            if moved and abs(facts["ball_dx"]) > 1 and 40 < where[0] < 120:
                compared += 1
                assert np.sign(where[0] - last[0]) == np.sign(facts["ball_dx"])
                assert facts["ball_towards_you"] == (facts["ball_dx"] > 0)
            last = where
        assert compared > 60

    def test_the_memory_right_after_a_reset_holds_no_ball_and_no_opponent(self):
        env = gym.make("ALE/Pong-v5", obs_type="ram")
        memory, _ = env.reset(seed=0)
        assert memory[54] != 0  # it is not empty
        (facts,) = resolve_captioner(env).facts(memory[None], {"previous_ram": memory[None]})
        assert facts["ball_in_play"] is False
        assert facts["ball_x"] is facts["ball_dx"] is facts["opponent_y"] is None
        (sentence,) = resolve_captioner(env).state_captions([facts])
        assert sentence == (
            "There is no ball in play. Your paddle is at y 104, the opponent's out of sight. "
            "The score is 0 to 0."
        )

    def test_motion_cannot_be_told_from_one_moment(self):
        env = gym.make("ALE/Pong-v5", obs_type="ram")
        captioner = resolve_captioner(env)
        assert isinstance(captioner, AtariRamCaptioner)
        env.reset(seed=0)
        for _ in range(60):
            observation, *_ = env.step(0)
        (facts,) = captioner.facts(observation[None], {})
        assert facts["ball_in_play"]
        assert facts["ball_dx"] is None
        assert facts["ball_towards_you"] is facts["paddle_dy"] is facts["opponent_dy"] is None
        assert "moving" not in captioner.state_captions([facts])[0]

    def test_a_point_is_no_motion(self):
        last = None
        for _, _, facts, _ in play(game("Pong", frameskip=4), 300, [2], hold=1):
            score = (facts["score"], facts["opponent_score"])
            if last is not None and score != last:
                assert facts["ball_dx"] is None
                return
            last = score
        pytest.fail("nobody scored")

    def test_actions_are_named_by_what_they_do(self):
        env = game("Pong", frameskip=4)
        names = resolve_captioner(env).description.action_names
        for name, sign in (("move up", -1), ("move down", 1)):
            env.reset(seed=0)
            moves = []
            for _ in range(30):
                *_, info = env.step(names.index(name))
                (facts,) = env.captioner.facts(None, batch_infos(info))
                moves.append(facts["paddle_y"])
            assert np.sign(moves[-1] - moves[0]) == sign

    def test_every_number_can_be_read_back_from_the_sentence(self):
        pattern = re.compile(
            r"The ball is at x (-?\d+), y (-?\d+)(?:, moving (.*?))?\. "
            r"Your paddle is at y (-?\d+)(?:, moving .*?)?, "
            r"the opponent's at y (-?\d+)(?:, moving .*?)?\. "
            r"The score is (\d+) to (\d+)\."
        )
        read = 0
        env = game("Pong", frameskip=4)
        for *_, facts, _ in play(env, 400, range(6)):
            (sentence,) = env.captioner.state_captions([facts])
            if not facts["ball_in_play"]:
                assert sentence.startswith("There is no ball in play.")
                continue
            match = pattern.fullmatch(sentence.replace(", not moving", ""))
            x, y, motion, paddle, opponent, score, other = match.groups()
            numbers = [int(text) for text in (x, y, paddle, opponent, score, other)]
            names = ("ball_x", "ball_y", "paddle_y", "opponent_y", "score", "opponent_score")
            assert numbers == [facts[name] for name in names]
            if facts["ball_dx"] is not None:
                motion = motion or ""
                read += 1
                parts = re.findall(r"(\d+) pixels? (\w+)", motion)
                words = {word: int(number) for number, word in parts}
                assert words.get("right", 0) - words.get("left", 0) == facts["ball_dx"]
                assert words.get("down", 0) - words.get("up", 0) == facts["ball_dy"]
                assert ("towards you" in motion) == (facts["ball_dx"] > 0)
                assert ("away from you" in motion) == (facts["ball_dx"] < 0)
        assert read > 100


ale_py = pytest.importorskip("ale_py")
gym.register_envs(ale_py)
ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)

BACKGROUND, FIRST_BACKGROUND = (144, 72, 17), (109, 118, 43)


def frames(**options):
    return PongFrames(gym.make("ALE/Pong-v5", **options))


def played(env, steps=40, seed=0):
    """Return the observations of some random play, the one of the reset first."""
    random = np.random.default_rng(seed)
    observations = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observations.append(env.step(int(random.integers(6)))[0])
    return observations


class TestObservation:
    def test_what_is_drawn_is_what_is_not_background(self):
        env = gym.make("ALE/Pong-v5")
        pictures, pairs = played(env), played(frames())
        for step, (picture, pair) in enumerate(zip(pictures, pairs, strict=True)):
            background = BACKGROUND if step else FIRST_BACKGROUND
            drawn = (picture[35:195:2, ::2] != background).any(-1)
            np.testing.assert_array_equal(pair[..., 1], 255 * drawn)
        assert 0 < drawn.sum() < 100

    def test_grey_pictures_give_the_same_frames(self):
        colour, grey = played(frames()), played(frames(obs_type="grayscale"))
        np.testing.assert_array_equal(colour, grey)

    def test_the_first_channel_is_the_frame_before(self):
        pairs = played(frames())
        assert not pairs[0][..., 0].any()
        assert pairs[0][..., 1].any()
        for before, after in pairwise(pairs):
            np.testing.assert_array_equal(before[..., 1], after[..., 0])
        assert any((pair[..., 0] != pair[..., 1]).any() for pair in pairs[1:])

    def test_a_reset_in_the_middle_forgets_the_frame_before(self):
        env = frames()
        played(env)
        observation, _ = env.reset()
        assert not observation[..., 0].any()

    def test_rewards_and_infos_pass_through(self):
        outer, inner = frames(), gym.make("ALE/Pong-v5")
        assert outer.reset(seed=1)[1] == inner.reset(seed=1)[1]
        total = 0.0
        for _ in range(150):
            mine, theirs = outer.step(3), inner.step(3)
            assert mine[1:] == theirs[1:]
            total += mine[1]
        assert total < 0


class TestEnvironment:
    def test_spec_round_trip(self):
        env = frames(obs_type="grayscale")
        again = gym.make(EnvSpec.from_json(env.spec.to_json()))
        assert isinstance(again, PongFrames)
        np.testing.assert_array_equal(played(again, 10), played(env, 10))


class TestCaptioner:
    @pytest.mark.parametrize(("full", "count"), [(False, 6), (True, 18)])
    def test_it_is_found_and_names_the_actions(self, full, count):
        env = gym.wrappers.TimeLimit(frames(full_action_space=full), 10)
        captioner = resolve_captioner(env)
        assert isinstance(captioner, PongFrameCaptioner)
        assert captioner.description.env_id == "ALE/Pong-v5"
        assert len(captioner.description.action_names) == count

    def test_the_outer_of_two_speaks(self):
        game = gym.make("ALE/Pong-v5")
        assert isinstance(resolve_captioner(PongFrames(AtariRam(game))), PongFrameCaptioner)
        assert not isinstance(resolve_captioner(AtariRam(frames())), PongFrameCaptioner)
        assert not isinstance(resolve_captioner(AtariRam(frames())), GenericCaptioner)


class TestErrors:
    @pytest.mark.parametrize(
        ("env_id", "options", "message"),
        [
            ("CartPole-v1", {}, r"expected pictures of Pong, uint8 of shape \(210, 160, 3\)"),
            ("ALE/Pong-v5", {"obs_type": "ram"}, r"got Box\(0, 255, \(128,\), uint8\); make"),
            ("ALE/Breakout-v5", {}, r"expected Pong with discrete actions, got ALE/Breakout-v5"),
            ("ALE/Pong-v5", {"continuous": True}, r"discrete actions, got ALE/Pong-v5 with Box"),
        ],
    )
    def test_another_environment_is_refused(self, env_id, options, message):
        with pytest.raises(IncompatibleEnvironmentError, match=message):
            PongFrames(gym.make(env_id, **options))

    def test_changed_pictures_are_refused(self):
        grey = gym.wrappers.GrayscaleObservation(gym.make("ALE/Pong-v5"))
        with pytest.raises(IncompatibleEnvironmentError, match="below those that change"):
            PongFrames(grey)


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

    def test_a_ball_that_flies_through_a_paddle_is_out_of_sight(self):
        assert self.facts((30, 38, 70, 72), (33, 35, 70, 71))["ball_in_play"] is False

    @pytest.mark.parametrize("shape", [(80, 80, 2), (1, 2, 80, 80), (1, 80, 80)])
    def test_another_shape_is_refused(self, shape):
        with pytest.raises(InvalidOptionError, match=r"shape \(n, 80, 80, 2\), got .*PongFrames"):
            PongFrameCaptioner().facts(np.zeros(shape), {})


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
    @pytest.mark.parametrize(
        "wrapper", [AtariRam, pytest.param(PongFrames, marks=pytest.mark.slow)]
    )
    def test_play_by_the_judge_beats_random_play_clearly(self, wrapper, random_play):
        assert max(random_play) < -12
        assert min(returned(wrapper, best_judged)) > -5


def test_other_actions_than_it_knows_are_refused() -> None:
    env = gym.make("ALE/Pong-v5", obs_type="ram", full_action_space=True)
    with pytest.raises(UnknownNameError, match="make the environment without full_action_space"):
        resolve_judge("reference", description=resolve_captioner(env).description)
