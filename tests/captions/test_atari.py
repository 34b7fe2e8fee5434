"""The memory of Atari games in the info, and which captioner an environment gets."""

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.captions import Captioner
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import (
    IncompatibleEnvironmentError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.worlds.atari.captioner import AtariRam, AtariRamCaptioner, game_of

pytest.importorskip("ale_py")

from atari_games import game


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

    def test_spec_round_trip(self):
        env = game("Pong")
        again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
        assert isinstance(again, AtariRam)
        assert isinstance(again.captioner, Captioner)

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

    def test_transitions_name_the_action(self):
        captioner = AtariRamCaptioner("pong")
        assert captioner.transition_captions([{}], [2], [{}]) == ["move up"]

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(UnknownNameError, match=r"expected a game among .*'chess'"):
            AtariRamCaptioner("chess")
        with pytest.raises(InvalidOptionError, match=r"one of \[6, 18\] in this game, got 7"):
            AtariRamCaptioner("pong", actions=7)
        with pytest.raises(InvalidOptionError, match=r"uint8 of shape \(n, 128\).*AtariRam"):
            AtariRamCaptioner("pong").facts(np.zeros((1, 3)), {})
