"""The two small frames of Pong, against the pictures of the real game."""

import pickle
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.worlds.atari.captioner import AtariRam
from llm_wrappers.worlds.atari.pong_frames import PongFrameCaptioner, PongFrames

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

    def test_observations_are_fresh(self):
        env, same = frames(), frames()
        observation, other = env.reset(seed=0)[0], same.reset(seed=0)[0]
        for _ in range(5):
            observation[:] = 7
            observation, other = env.step(2)[0], same.step(2)[0]
            np.testing.assert_array_equal(observation, other)

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
    def test_the_checkers_of_gymnasium_and_stable_baselines3_pass(self):
        sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
        env = frames()
        with pytest.warns(UserWarning, match="different from the unwrapped version"):
            check_env(env, skip_render_check=True)
        sb3.check_env(frames())

    def test_the_same_seed_gives_the_same_episode_and_another_one_another(self):
        first, again, other = played(frames()), played(frames()), played(frames(), seed=5)
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_spec_round_trip(self):
        env = frames(obs_type="grayscale")
        again = gym.make(EnvSpec.from_json(env.spec.to_json()))
        assert isinstance(again, PongFrames)
        np.testing.assert_array_equal(played(again, 10), played(env, 10))

    def test_a_pickled_copy_plays_the_same(self):
        env = frames()
        again = pickle.loads(pickle.dumps(env))
        np.testing.assert_array_equal(played(again, 10), played(env, 10))

    def test_a_policy_for_images_learns_from_it(self):
        sb3 = pytest.importorskip("stable_baselines3")
        from stable_baselines3.common.vec_env import is_vecenv_wrapped
        from stable_baselines3.common.vec_env.vec_transpose import VecTransposeImage

        model = sb3.PPO("CnnPolicy", frames(), n_steps=16, batch_size=16, n_epochs=1, seed=0)
        assert is_vecenv_wrapped(model.get_env(), VecTransposeImage)
        before = [weights.detach().clone() for weights in model.policy.parameters()]
        model.learn(16)
        after = model.policy.parameters()
        assert any((old != new).any() for old, new in zip(before, after, strict=True))


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

    def test_many_at_once(self):
        envs = gym.make_vec(
            "ALE/Pong-v5", num_envs=2, vectorization_mode="sync", wrappers=[PongFrames]
        )
        observations, infos = envs.reset(seed=0)
        for _ in range(4):
            observations, *_, infos = envs.step(np.array([2, 3]))
        first, second = resolve_captioner(envs).facts(observations, infos)
        assert first["paddle_y"] < second["paddle_y"]
        envs.close()


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
