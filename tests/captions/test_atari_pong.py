"""Captions of Pong, against the pictures that the real game draws."""

import re

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.captions import batch_infos
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.worlds.atari.captioner import AtariRamCaptioner
from llm_wrappers.wrappers import RewardShiftWrapper

pytest.importorskip("ale_py")

from atari_games import GREEN, ORANGE, WHITE, game, pixels, play


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

    def test_the_motion_of_the_paddles_is_that_of_the_picture(self):
        for name, colour in (("paddle", GREEN), ("opponent", ORANGE)):
            last, compared = None, 0
            for picture, _, facts, _ in play(game("Pong", frameskip=4), 300, range(6), seed=2):
                rows, _ = pixels(picture, colour, 34, 194)
                whole = rows.min() if len(set(rows)) == 16 else None
                if None not in (last, whole, facts[f"{name}_dy"]):
                    # The picture is drawn a frame before the memory is read.
                    assert facts[f"{name}_dy"] == pytest.approx(int(whole) - int(last), abs=8)
                    compared += whole != last
                last = whole
            assert compared > 30

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

    def test_facts_are_enough_to_play(self):
        def lost(policy):
            env = game("Pong", frameskip=4)
            _, info = env.reset(seed=0)
            for _ in range(500):
                (facts,) = env.captioner.facts(None, batch_infos(info))
                *_, info = env.step(policy(facts))
            return facts["opponent_score"] - facts["score"]

        def follow(facts):
            ball = facts["ball_y"]
            if ball is None or abs(ball - facts["paddle_y"]) < 4:
                return 0
            return 3 if ball > facts["paddle_y"] else 2

        assert lost(follow) < lost(lambda facts: 0) - 3

    def test_rewards_are_shifted_by_what_the_memory_says(self):
        def follows(states, actions):
            def rate(facts, action):
                if facts["ball_y"] is None:
                    return 0
                wanted = 3 if facts["ball_y"] > facts["paddle_y"] else 2
                return 1 if action == wanted else -1

            return [
                rate(facts, action) for facts, action in zip(states.facts, actions, strict=True)
            ]

        env = RewardShiftWrapper(game("Pong", frameskip=4), judge=follows)
        env.reset(seed=0)
        seen = {env.step(2 + step % 2)[4]["judgement"] for step in range(80)}
        assert seen == {-1, 0, 1}
        assert env.stats()["judge_failures"] == 0
