"""What somebody else's wrapper made of the world is read through, or refused by name."""

import pickle

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorWrapper
from gymnasium.wrappers import vector as vector_wrappers
from gymnasium.wrappers.vector import DictInfoToList
from sb3_contrib.common.wrappers import TimeFeatureWrapper
from stable_baselines3.common.atari_wrappers import MaxAndSkipEnv
from stable_baselines3.common.monitor import Monitor

from llm_wrappers.captions import Captioner, batch_infos
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.layers import SeenThrough
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.methods.lmgt import FrameCaptioner
from llm_wrappers.worlds.classic.captioner import ClassicControlCaptioner
from llm_wrappers.worlds.crafter.captioner import CrafterFamilyCaptioner
from llm_wrappers.worlds.toy_text.blackjack import BlackjackCaptioner
from llm_wrappers.worlds.toy_text.frozen_lake import FrozenLakeCaptioner

gym.register_envs(ale_py)


def cart(**options):
    return gym.make("CartPole-v1", **options)


def carts():
    return gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")


def facts_of(env, captioner, seed=0):
    """Return the facts of the first state, which `captioner` is told as `env` shows it."""
    observation, info = env.reset(seed=seed)
    space = getattr(env, "single_observation_space", env.observation_space)
    if isinstance(env, gym.Env):
        batch = gym.vector.utils.create_empty_array(space, 1)
        observation = gym.vector.utils.concatenate(space, [observation], batch)
        info = batch_infos(info)
    return captioner.facts(observation, info)


def refused(env):
    with pytest.raises(IncompatibleEnvironmentError) as caught:
        resolve_captioner(env)
    return str(caught.value)


class Scaled(gym.Wrapper):
    """Changes observations in `step` and `reset`, within a space that looks the same."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = env.observation_space


CHANGING = {
    "NormalizeObservation": wrappers.NormalizeObservation,
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 4),
    "TimeAwareObservation": wrappers.TimeAwareObservation,
    "TransformObservation": lambda env: wrappers.TransformObservation(env, lambda o: o * 0, None),
    "DelayObservation": lambda env: wrappers.DelayObservation(env, 1),
    "MaxAndSkipObservation": lambda env: wrappers.MaxAndSkipObservation(env, 2),
    "MaxAndSkipEnv": lambda env: MaxAndSkipEnv(env, 2),
    "TimeFeatureWrapper": TimeFeatureWrapper,
    "ReshapeObservation": lambda env: wrappers.ReshapeObservation(env, (2, 2)),
    "Scaled": Scaled,
}
STILL = [
    lambda env: wrappers.TimeLimit(env, 9),
    wrappers.RecordEpisodeStatistics,
    wrappers.NormalizeReward,
    Monitor,
    lambda env: wrappers.StickyAction(env, 0.1),
    wrappers.FlattenObservation,
]


class TestKnownWorlds:
    @pytest.mark.parametrize("name", CHANGING)
    def test_the_wrapper_is_named_with_the_line_that_works(self, name):
        assert refused(CHANGING[name](cart())) == (
            f"{name} changes the observation that CartPole-v1 is described from: put guidance "
            f"inside it, as in {name}(RewardShiftWrapper(env, ...)); or pass captioner="
            "GenericCaptioner(env.observation_space, env.action_space) to speak of what it shows"
        )

    def test_the_innermost_is_named(self):
        env = wrappers.TransformObservation(cart(), np.negative, cart().observation_space)
        env = wrappers.FrameStackObservation(wrappers.TimeLimit(env, 9), 2)
        assert refused(env).startswith("TransformObservation changes")

    @pytest.mark.parametrize("wrap", STILL)
    def test_others_are_passed_over(self, wrap):
        assert isinstance(resolve_captioner(wrap(cart())), ClassicControlCaptioner)

    @pytest.mark.parametrize("name", CHANGING)
    def test_both_lines_that_are_named_work(self, name):
        env = CHANGING[name](cart())
        given = GenericCaptioner(env.observation_space, env.action_space)
        assert resolve_captioner(env, given) is given
        assert isinstance(resolve_captioner(env.env), ClassicControlCaptioner)

    def test_a_wrapper_that_writes_into_the_space_below_is_named(self):
        class Writing(gym.Wrapper):
            def __init__(self, env):
                env.observation_space = spaces.Box(-1, 1, (9,))
                super().__init__(env)

        for wrap in STILL[:-2]:
            env = wrappers.TimeLimit(Writing(wrap(cart())), 9)
            assert refused(env).startswith("Writing changes the observation that CartPole-v1")


class TestVectors:
    @pytest.mark.parametrize(
        ("name", "wrap"),
        [
            ("NormalizeObservation", vector_wrappers.NormalizeObservation),
            (
                "TransformObservation",
                lambda e: vector_wrappers.TransformObservation(e, np.negative),
            ),
            (
                "RescaleObservation",
                lambda e: vector_wrappers.RescaleObservation(
                    SyncVectorEnv([lambda: gym.make("MountainCar-v0")]),
                    np.float32(0),
                    np.float32(1),
                ),
            ),
        ],
    )
    def test_of_gymnasium(self, name, wrap):
        message = refused(vector_wrappers.RecordEpisodeStatistics(wrap(carts())))
        assert message.startswith(f"{name} changes the observation that ")
        assert f"as in {name}(RewardShiftWrapper(envs, ...))" in message
        assert (
            "GenericCaptioner(envs.single_observation_space, envs.single_action_space)" in message
        )

    def test_single_ones_inside(self):
        message = refused(SyncVectorEnv([lambda: wrappers.NormalizeObservation(cart())] * 2))
        assert "as in NormalizeObservation(RewardShiftWrapper(env, ...))" in message
        assert "envs.single_observation_space" in message

    def test_in_other_processes(self):
        envs = gym.make_vec(
            "CartPole-v1", num_envs=1, vectorization_mode="async",
            wrappers=[wrappers.RecordEpisodeStatistics, wrappers.TimeAwareObservation],
        )  # fmt: skip
        message = refused(envs)
        envs.close()
        assert "wrappers=[RecordEpisodeStatistics, TimeAwareObservation] of make_vec" in message

    def test_others_are_passed_over(self):
        for wrap in (
            vector_wrappers.RecordEpisodeStatistics, vector_wrappers.NormalizeReward,
            vector_wrappers.FlattenObservation, DictInfoToList,
        ):  # fmt: skip
            assert isinstance(resolve_captioner(wrap(carts())), ClassicControlCaptioner)


class TestReadThrough:
    @pytest.mark.parametrize(
        ("env_id", "kind"),
        [
            ("FrozenLake-v1", FrozenLakeCaptioner),
            ("Blackjack-v1", BlackjackCaptioner),
            ("Taxi-v4", GenericCaptioner),
        ],
    )
    def test_flat_observations(self, env_id, kind):
        env = wrappers.FlattenObservation(gym.make(env_id))
        plain = gym.make(env_id)
        captioner = resolve_captioner(env)
        assert isinstance(captioner, SeenThrough)
        assert isinstance(captioner, Captioner)
        assert isinstance(captioner.inner, kind)
        expected = resolve_captioner(plain)
        assert captioner.description == expected.description
        for seed in range(5):
            facts = facts_of(env, captioner, seed)
            assert facts == facts_of(plain, expected, seed)
            assert captioner.state_captions(facts) == expected.state_captions(facts)
            assert captioner.transition_captions(facts, [1], facts) == (
                expected.transition_captions(facts, [1], facts)
            )

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "Taxi-v4"])
    def test_numbers_of_another_type(self, env_id, dtype):
        env = wrappers.DtypeObservation(gym.make(env_id), dtype)
        plain = gym.make(env_id)
        assert facts_of(env, resolve_captioner(env)) == facts_of(plain, resolve_captioner(plain))

    def test_one_around_the_other(self):
        env = wrappers.DtypeObservation(
            wrappers.FlattenObservation(gym.make("Blackjack-v1")), np.float32
        )
        captioner = pickle.loads(pickle.dumps(resolve_captioner(env)))
        plain = gym.make("Blackjack-v1")
        assert facts_of(env, captioner) == facts_of(plain, resolve_captioner(plain))

    def test_what_a_captioner_need_not_have_is_still_there(self):
        minigrid = pytest.importorskip("minigrid.wrappers")
        plain = minigrid.ImgObsWrapper(gym.make("MiniGrid-DoorKey-5x5-v0"))
        env = wrappers.FlattenObservation(plain)
        captioner, expected = resolve_captioner(env), resolve_captioner(plain)
        facts = facts_of(env, captioner)
        assert facts == facts_of(plain, expected)
        assert np.array_equal(captioner.legal_actions(facts), expected.legal_actions(facts))
        assert not hasattr(captioner, "prompt_captions")

    @pytest.mark.parametrize(
        ("dtype", "fits"), [(np.int8, True), (np.uint16, True), (np.float16, False)]
    )
    def test_not_where_a_type_may_lose_something(self, dtype, fits):
        told = Lone()
        told.observation_space = spaces.Discrete(16)
        told.captioner = GenericCaptioner(told.observation_space, told.action_space)
        with np.errstate(over="ignore"):  # in the bounds that Gymnasium makes
            env = wrappers.DtypeObservation(told, dtype)
        if fits:
            assert isinstance(resolve_captioner(env), SeenThrough)
        else:
            assert refused(env).startswith("DtypeObservation changes the observation")

    def test_not_where_another_wrapper_is_below(self):
        env = wrappers.FlattenObservation(wrappers.FrameStackObservation(cart(), 2))
        assert refused(env).startswith("FrameStackObservation changes")


class Unknown(gym.Env):
    observation_space = spaces.Dict(
        where=spaces.Box(-1, 1, (2,), np.float32), what=spaces.Discrete(3)
    )
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"where": np.array([0.5, -0.5], np.float32), "what": 2}, {}


class Told(Unknown):
    """Has a captioner of its own, which reads observations unless it says otherwise."""

    def __init__(self, **attributes):
        self.captioner = GenericCaptioner(self.observation_space, self.action_space, env_id="own")
        vars(self.captioner).update(attributes)


class TestUnknownWorlds:
    def test_other_observations_are_spoken_of_as_they_are_shown(self):
        env = wrappers.FlattenObservation(wrappers.FrameStackObservation(Lone(), 2))
        captioner = resolve_captioner(env)
        assert facts_of(env, captioner)[0] == {
            "obs_0_0": 0.5, "obs_0_1": 0.25, "obs_1_0": 0.5, "obs_1_1": 0.25,
        }  # fmt: skip

    @pytest.mark.parametrize(
        "wrap",
        [
            wrappers.NormalizeObservation,
            lambda env: wrappers.FrameStackObservation(wrappers.NormalizeObservation(env), 2),
            lambda env: vector_wrappers.NormalizeObservation(SyncVectorEnv([lambda: env])),
        ],
    )
    def test_numbers_that_drift_are_refused(self, wrap):
        message = refused(wrap(Lone()))
        assert message.startswith("NormalizeObservation changes the observation that Lone is")


class Lone(gym.Env):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([0.5, 0.25], np.float32), {}


class TestOwnCaptioners:
    def test_that_read_observations(self):
        env = Scaled(wrappers.TimeLimit(Told(), 9))
        message = refused(env)
        assert message.startswith("Scaled changes the observation that own is described from")
        assert message.endswith(
            "set reads_observations = False on a captioner that reads infos alone"
        )
        assert resolve_captioner(env.env) is env.unwrapped.captioner

    def test_that_read_infos_alone(self):
        env = Told(reads_observations=False)
        for wrap in (Scaled, lambda env: wrappers.FrameStackObservation(Scaled(env), 3)):
            assert resolve_captioner(wrap(env)) is env.captioner

    def test_of_a_layer_speak_for_that_layer(self):
        class Speaking(Scaled):
            def __init__(self, env):
                super().__init__(env)
                self.captioner = GenericCaptioner(env.observation_space, env.action_space)

        env = Speaking(wrappers.NormalizeObservation(Lone()))
        assert resolve_captioner(wrappers.TimeLimit(env, 9)) is env.captioner
        assert refused(wrappers.FrameStackObservation(env, 2)).startswith("FrameStackObs")

    def test_the_crafter_family_reads_infos_alone(self):
        assert not CrafterFamilyCaptioner("crafter").reads_observations
        assert not FrameCaptioner(CrafterFamilyCaptioner("crafter")).reads_observations
        assert FrameCaptioner(BlackjackCaptioner()).reads_observations

    def test_the_memory_of_atari_is_in_the_info(self):
        from llm_wrappers.worlds.atari.captioner import AtariRam

        env = wrappers.FrameStackObservation(AtariRam(gym.make("ALE/Pong-v5")), 2)
        captioner = resolve_captioner(env)
        observation, info = env.reset(seed=0)
        assert captioner.facts(observation[None], batch_infos(info))[0]["score"] == 0
        env.close()
        memory = gym.make("ALE/Pong-v5", obs_type="ram")
        assert refused(Scaled(memory)).startswith("Scaled changes the observation that ALE/Pong-v5")
        memory.close()


class TestActions:
    @pytest.mark.parametrize(
        ("env_id", "name", "wrap"),
        [
            ("Pendulum-v1", "RescaleAction",
             lambda e: wrappers.RescaleAction(e, np.float32(-1), np.float32(1))),
            ("Pendulum-v1", "ClipAction", wrappers.ClipAction),
            ("MountainCarContinuous-v0", "DiscretizeAction",
             lambda e: wrappers.DiscretizeAction(e, bins=3)),
            ("CartPole-v1", "TransformAction",
             lambda e: wrappers.TransformAction(e, lambda a: 1 - a, e.action_space)),
        ],
    )  # fmt: skip
    def test_that_mean_something_else_are_refused(self, env_id, name, wrap):
        message = refused(wrappers.TimeLimit(wrap(gym.make(env_id)), 9))
        assert message.startswith(f"{name} changes the actions that {env_id} is described with")
        assert f"as in {name}(RewardShiftWrapper(env, ...))" in message

    def test_of_many(self):
        envs = gym.make_vec("Pendulum-v1", num_envs=2, vectorization_mode="sync")
        message = refused(vector_wrappers.RescaleAction(envs, np.float32(-1), np.float32(1)))
        assert message.startswith("RescaleAction changes the actions that Pendulum-v1")


class Ours(gym.Wrapper):
    """Stands for a wrapper of this package."""

    def world_captioner(self):
        return resolve_captioner(self.env)


class OursOfMany(VectorWrapper):
    def world_captioner(self):
        return resolve_captioner(self.env)


def ours_in_the_middle():
    return wrappers.NormalizeObservation(Ours(wrappers.TimeLimit(cart(), 9)))


class TestLayersOfOurs:
    def test_the_first_one_answers_whatever_is_around_it(self):
        env = wrappers.FrameStackObservation(ours_in_the_middle(), 2)
        for layer in (env, Ours(env), Scaled(Ours(Ours(env)))):
            captioner = resolve_captioner(layer)
            assert isinstance(captioner, ClassicControlCaptioner)

    def test_of_many(self):
        envs = vector_wrappers.NormalizeObservation(OursOfMany(carts()))
        assert isinstance(resolve_captioner(envs), ClassicControlCaptioner)
        envs = vector_wrappers.NormalizeObservation(SyncVectorEnv([ours_in_the_middle] * 2))
        assert isinstance(resolve_captioner(envs), ClassicControlCaptioner)

    def test_in_other_processes(self):
        envs = AsyncVectorEnv([ours_in_the_middle] * 2)
        captioner = resolve_captioner(vector_wrappers.NormalizeObservation(envs))
        envs.close()
        assert isinstance(captioner, ClassicControlCaptioner)
        mixed = AsyncVectorEnv([ours_in_the_middle, lambda: wrappers.NormalizeObservation(cart())])
        captioner = resolve_captioner(mixed)
        mixed.close()
        assert isinstance(captioner, GenericCaptioner)
