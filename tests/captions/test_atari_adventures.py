"""Captions of Pitfall and Montezuma's Revenge, against the pictures of the real games."""

import pytest

from llm_wrappers.captions import batch_infos

pytest.importorskip("ale_py")

from atari_games import GREEN, RED, WHITE, game, pixels, play


class TestPitfall:
    def test_the_player_is_where_the_picture_shows_him(self):
        env = game("Pitfall")
        names = env.captioner.description.action_names
        moves = [names.index(name) for name in ("left", "right", "left and fire", "no move")]
        compared, close = 0, 0
        for picture, _, facts, _ in play(env, 500, moves, hold=12):
            rows, columns = pixels(picture, GREEN)
            if len(rows):
                compared += 1
                close += abs((columns.min() + columns.max()) / 2 - facts["x"]) <= 3
                close += abs(109 - rows.min() - facts["height"]) <= 4
        assert compared > 200
        assert close / (2 * compared) > 0.97

    def test_the_first_screen_is_the_known_one(self):
        env = game("Pitfall")
        _, info = env.reset(seed=0)
        (facts,) = env.captioner.facts(None, batch_infos(info))
        assert facts == {
            "screen": 196, "x": 20, "height": 0, "where": "on the ground",
            "obstacle": "a hole with a ladder", "thing": "a log that lies still",
            "thing_x": 125, "wall_below": "right", "scorpion_x": None, "score": 2000,
            "seconds_left": 1200, "lives": 3,
        }  # fmt: skip
        assert env.captioner.state_captions([facts]) == [
            "You are on the ground at x 20, height 0. On this screen there is a hole with a ladder "
            "and a log that lies still at x 125; in the tunnel below there is a brick wall on "
            "the right. You have 2000 points and 20 minutes 0 seconds left."
        ]

    def test_a_hole_leads_into_the_tunnel_and_costs_points(self):
        env = game("Pitfall")
        right = env.captioner.description.action_names.index("right")
        places, scores, rewards = [], [], 0.0
        env.reset(seed=0)
        for _ in range(200):
            _, reward, _, _, info = env.step(right)
            (facts,) = env.captioner.facts(None, batch_infos(info))
            places.append(facts["where"])
            scores.append(facts["score"])
            rewards += reward
        assert list(dict.fromkeys(places))[-1] == "in the tunnel"
        assert facts["height"] == -54
        assert scores[-1] - 2000 == rewards == -100

    def test_other_screens_lives_and_the_clock_agree_with_the_game(self):
        env = game("Pitfall")
        names = env.captioner.description.action_names
        left, jump = names.index("left"), names.index("left and fire")
        env.reset(seed=0)
        screens, clock, scorpions = {}, [], 0
        for step in range(850):
            picture, _, terminated, _, info = env.step(jump if step // 4 % 6 == 0 else left)
            (facts,) = env.captioner.facts(None, batch_infos(info))
            if not terminated:
                assert facts["lives"] in (None, info["lives"])
            clock.append(facts["seconds_left"])
            screens[facts["screen"]] = (facts["obstacle"], facts["thing"])
            assert (facts["scorpion_x"] is None) == (facts["screen"] == 196)
            if (
                step % 50 == 49
                and facts["scorpion_x"] is not None
                and facts["where"] == "on the ground"
            ):
                columns = pixels(picture, WHITE, 160, 182)[1]
                middle = (columns.min() + columns.max()) / 2
                assert middle == pytest.approx(facts["scorpion_x"], abs=3)
                scorpions += 1
        assert scorpions > 3
        assert clock == sorted(clock, reverse=True)
        assert 1200 - clock[-1] == pytest.approx(850 / 60, abs=6)
        assert screens == {
            196: ("a hole with a ladder", "a log that lies still"),
            226: ("a swamp with crocodiles", None),
            113: (
                "a tar pit that opens and closes, with a vine over it",
                "two rolling logs side by side",
            ),
            56: ("quicksand that opens and closes", "a rolling log"),
        }


class TestMontezuma:
    def test_the_player_is_where_the_picture_shows_him(self):
        env = game("MontezumaRevenge")
        names = env.captioner.description.action_names
        moves = [names.index(name) for name in ("left", "right", "up", "down", "right and fire")]
        env.reset(seed=0)
        compared = close = 0
        for picture, _, facts, _ in play(env, 400, moves, hold=12):
            rows, columns = pixels(picture, RED, 20)
            assert facts["room"] == 1
            if len(rows):
                compared += 1
                close += abs((columns.min() + columns.max()) / 2 - facts["x"]) <= 4
                close += abs(rows.max() - facts["y"]) <= 5
        assert compared > 150
        assert close / (2 * compared) > 0.9

    def test_lives_are_those_of_the_emulator(self):
        env = game("MontezumaRevenge", frameskip=4)
        right = env.captioner.description.action_names.index("right")
        _, info = env.reset(seed=0)
        lives = set()
        for _ in range(150):
            (facts,) = env.captioner.facts(None, batch_infos(info))
            assert facts["lives"] == info["lives"]
            assert f"with {facts['lives']} lives" in env.captioner.state_captions([facts])[0]
            lives.add(facts["lives"])
            _, _, over, _, info = env.step(right)
            if over:
                break
        assert len(lives) > 1
