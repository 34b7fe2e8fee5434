"""Games of Atari in words, from memory: checked against the picture."""

import gymnasium as gym
import numpy as np
import pytest
from atari_games import GREEN, RED, WHITE, game, pixels, play

from llm_wrappers.captions import batch_infos
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import (
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.worlds.atari.captioner import AtariRam, AtariRamCaptioner, game_of

pytest.importorskip("ale_py")


class TestWrapper:
    def test_the_info_has_both_memories_and_they_are_fresh(self):
        env = game("Pong")
        _, info = env.reset(seed=0)
        np.testing.assert_array_equal(info["ram"], info["previous_ram"])
        last = info["ram"].copy()
        for _ in range(5):
            info["ram"][:] = 0
            info["previous_ram"][:] = 0
            *_, info = env.step(0)
            np.testing.assert_array_equal(info["previous_ram"], last)
            np.testing.assert_array_equal(info["ram"], env.unwrapped.ale.getRAM())
            last = info["ram"].copy()
        _, info = env.reset()
        np.testing.assert_array_equal(info["ram"], info["previous_ram"])

    def test_pictures_and_rewards_pass_through(self):
        first, second = game("Pong"), game("Pong").env
        np.testing.assert_array_equal(first.reset(seed=3)[0], second.reset(seed=3)[0])
        for action in (2, 3, 0, 2):
            one, two = first.step(action), second.step(action)
            np.testing.assert_array_equal(one[0], two[0])
            assert one[1:4] == two[1:4]

    def test_many_at_once(self):
        envs = gym.make_vec(
            "ALE/Pong-v5", num_envs=2, vectorization_mode="sync", wrappers=[AtariRam]
        )
        observations, infos = envs.reset(seed=0)
        for _ in range(3):
            observations, *_, infos = envs.step(np.array([2, 3]))
        first, second = resolve_captioner(envs).facts(observations, infos)
        assert first["paddle_y"] < second["paddle_y"]
        envs.close()

    def test_another_game_has_no_captioner_and_another_environment_no_memory(self):
        assert game("Breakout").captioner is None
        with pytest.raises(IncompatibleEnvironmentError, match=r"Atari environment of ale-py"):
            AtariRam(gym.make("CartPole-v1"))


class TestNames:
    @pytest.mark.parametrize(
        ("env_id", "name"),
        [
            ("ALE/Pong-v5", "pong"), ("PongNoFrameskip-v4", "pong"), ("Pong-v4", "pong"),
            ("Pong-ramDeterministic-v0", "pong"), ("ALE/Pitfall-v5", "pitfall"),
            ("ALE/Pitfall2-v5", ""), ("ALE/MontezumaRevenge-v5", "montezuma_revenge"),
            ("CartPole-v1", ""), ("", ""),
        ],
    )  # fmt: skip
    def test_games_of_ids(self, env_id, name):
        assert game_of(env_id) == name

    def test_pixels_alone_get_no_captioner_of_the_game(self):
        env = gym.make("ALE/Pong-v5")
        assert isinstance(resolve_captioner(env), GenericCaptioner)

    def test_the_full_set_of_actions_has_the_names_of_the_joystick(self):
        env = game("Pong", full_action_space=True)
        names = env.captioner.description.action_names
        assert len(names) == env.action_space.n == 18
        meanings = env.unwrapped.get_action_meanings()
        assert [name.replace(" and ", "").replace(" ", "").upper() for name in names[1:]] == (
            meanings[1:]
        )

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(UnknownNameError, match=r"expected a game among .*'chess'"):
            AtariRamCaptioner("chess")
        with pytest.raises(InvalidOptionError, match=r"one of \[6, 18\] in this game, got 7"):
            AtariRamCaptioner("pong", actions=7)
        with pytest.raises(InvalidOptionError, match=r"uint8 of shape \(n, 128\).*AtariRam"):
            AtariRamCaptioner("pong").facts(np.zeros((1, 3)), {})


pytest.importorskip("ale_py")

YELLOW = (232, 204, 99)


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

    def placed(self, x, y):
        """Return the running game with the player put somewhere."""
        env = game("MontezumaRevenge")
        env.reset(seed=0)
        self.after(env, 0, 30)
        self.put(env, x, y)
        return env

    def put(self, env, x, y):
        env.unwrapped.ale.setRAM(42, x)
        env.unwrapped.ale.setRAM(43, y)

    def after(self, env, action, frames):
        """Hold an action; return the last picture, the facts and the reward of all frames."""
        total = 0.0
        for _ in range(frames):
            picture, reward, *_, info = env.step(action)
            total += reward
        (facts,) = env.captioner.facts(None, batch_infos(info))
        return picture, facts, total

    def test_the_skull_of_the_first_room_is_where_the_picture_shows_it(self):
        env = self.placed(77, 235)
        for _ in range(40):
            picture, facts, _ = self.after(env, 0, 5)
            columns = pixels(picture, WHITE, 160, 182)[1]
            assert (columns.min() + columns.max()) / 2 == pytest.approx(facts["skull_x"], abs=2)
        assert f"A skull rolls at x {facts['skull_x']}." in env.captioner.state_captions([facts])[0]

    def test_a_skull_that_hit_the_player_is_gone(self):
        env = self.placed(70, 150)
        picture, facts, _ = self.after(env, 0, 90)
        assert facts["lives"] == 5
        assert facts["skull_x"] is None
        assert len(pixels(picture, WHITE, 160, 182)[0]) == 0
        assert "skull" not in env.captioner.state_captions([facts])[0]

    @pytest.mark.parametrize(
        ("door", "start", "action", "other_room"), [("right", 115, 3, 2), ("left", 38, 4, 0)]
    )
    def test_a_key_is_picked_up_and_opens_a_door(self, door, start, action, other_room):
        env = self.placed(20, 192)
        _, facts, _ = self.after(env, 0, 10)
        assert facts["key_here"] is True
        assert facts["keys"] == 0
        self.after(env, 1, 3)  # a jump
        _, facts, reward = self.after(env, 0, 50)
        assert reward == facts["score"] == 100
        assert (facts["key_here"], facts["keys"]) == (False, 1)
        assert facts["closed_doors"] == ("left", "right")
        (caption,) = env.captioner.state_captions([facts])
        assert "You carry 1 key." in caption
        assert "Closed doors: left and right." in caption
        self.put(env, start, 235)
        rewards = 0.0
        while facts["room"] == 1:
            _, facts, reward = self.after(env, action, 1)
            rewards += reward
            if rewards and facts["room"] == 1:
                assert facts["closed_doors"] == tuple({"left", "right"} - {door})
                assert facts["keys"] == 0
        assert rewards == 300
        assert facts["room"] == other_room
        assert facts["key_here"] is facts["closed_doors"] is facts["skull_x"] is None
        assert "You carry nothing." in env.captioner.state_captions([facts])[0]

    @pytest.mark.parametrize(
        ("bits", "name", "value", "words"),
        [
            (0b1, "hammer", True, "a hammer"),
            (0b10, "keys", 1, "1 key"),
            (0b11110, "keys", 4, "4 keys"),
            (0b100000, "swords", 1, "1 sword"),
            (0b1100000, "swords", 2, "2 swords"),
            (0b10000000, "torch", True, "a torch"),
            (0b10100010, "keys", 1, "1 key and 1 sword and a torch"),
        ],
    )
    def test_what_is_carried_is_what_the_picture_shows(self, bits, name, value, words):
        env = self.placed(77, 235)
        env.unwrapped.ale.setRAM(65, bits)
        picture, facts, _ = self.after(env, 0, 2)
        assert facts[name] == value
        assert f"You carry {words}." in env.captioner.state_captions([facts])[0]
        columns = sorted(set(pixels(picture, YELLOW, 26, 46)[1]))
        shown = sum(column - 1 not in columns for column in columns)
        assert shown == bits.bit_count()

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
