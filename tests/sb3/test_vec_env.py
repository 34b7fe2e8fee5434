"""What SB3 sees through `as_vec_env`: the same data as through its own DummyVecEnv."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import AlreadyPendingCallError, ClosedEnvironmentError
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from hypothesis import given, settings
from hypothesis import strategies as st
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import DQN, PPO, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize
from vec_doubles import MODES, Masker, NativeEnv, ToyEnv, make_cartpole, make_toy, pop_episodes

from llm_wrappers import RewardShiftWrapper
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3._bridging import info_rows
from llm_wrappers.sb3.vec_env import as_vec_env

BOX = gym.spaces.Box(-1, 1, (2,))


def step_often(vec_env: VecEnv) -> None:
    for _ in range(21):
        vec_env.step(np.zeros(vec_env.num_envs, int))


def assert_same(expected: Any, got: Any, where: str = "") -> None:
    if isinstance(expected, dict):
        assert isinstance(got, dict), where
        assert set(expected) == set(got), where
        for key in expected:
            assert_same(expected[key], got[key], f"{where}/{key}")
    elif isinstance(expected, np.ndarray):
        assert isinstance(got, np.ndarray), where
        assert expected.dtype == got.dtype, where
        np.testing.assert_array_equal(expected, got, err_msg=where)
    elif isinstance(expected, list):
        assert len(expected) == len(got), where
        for index, pair in enumerate(zip(expected, got, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    else:
        assert expected == got, where


def assert_same_rollout(expected: VecEnv, got: VecEnv, steps: int) -> None:
    expected.seed(7)
    got.seed(7)
    assert_same(expected.reset(), got.reset(), "reset")
    assert_same(expected.reset_infos, got.reset_infos, "reset_infos")
    actions = np.random.default_rng(1)
    timeouts, ends = 0, 0
    for step in range(steps):
        action = actions.integers(0, expected.action_space.n, expected.num_envs)
        one, two = expected.step(action), got.step(action)
        assert len(pop_episodes(two[3])) == two[2].sum()
        for name, left, right in zip(("obs", "rewards", "dones", "infos"), one, two, strict=True):
            assert_same(left, right, f"step {step} {name}")
        assert_same(expected.reset_infos, got.reset_infos, f"step {step} reset_infos")
        assert two[1].dtype == np.float32
        assert two[2].dtype == np.bool_
        timeouts += sum(info["TimeLimit.truncated"] for info in two[3])
        ends += int(two[2].sum())
    assert ends > timeouts > 0, "the rollout must see both kinds of end"
    expected.close()
    got.close()


# --- the data ---


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [make_cartpole, make_toy])
@pytest.mark.parametrize("n", [1, 4])
def test_a_sync_vector_env_gives_the_data_of_dummy_vec_env(make: Any, mode: Any, n: int) -> None:
    envs = SyncVectorEnv([make] * n, autoreset_mode=mode)
    assert_same_rollout(DummyVecEnv([make] * n), as_vec_env(envs), steps=90)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_an_async_vector_env_gives_the_data_of_dummy_vec_env(mode: Any, context: str) -> None:
    envs = AsyncVectorEnv([make_toy] * 2, autoreset_mode=mode, context=context)
    assert_same_rollout(DummyVecEnv([make_toy] * 2), as_vec_env(envs), steps=40)


def test_an_async_vector_env_without_shared_memory_works_where_gymnasium_resets_it_right() -> None:
    options: Any = {"shared_memory": False, "autoreset_mode": AutoresetMode.SAME_STEP}
    envs = AsyncVectorEnv([make_toy] * 2, context="fork", **options)
    assert_same_rollout(DummyVecEnv([make_toy] * 2), as_vec_env(envs), steps=30)

    # In NEXT_STEP its workers forget that they were reset, and would reset a second time.
    envs = AsyncVectorEnv([make_toy], shared_memory=False, context="fork")
    with pytest.raises(IncompatibleEnvironmentError, match="shared_memory"):
        as_vec_env(envs)
    envs.close()


def test_vector_observation_wrappers_reach_the_terminal_observation() -> None:
    def flat(observations: Any) -> Any:
        return observations * 2

    envs: Any = SyncVectorEnv([make_cartpole] * 3)
    envs = gym.wrappers.vector.TransformObservation(envs, flat)

    def make() -> gym.Env[Any, Any]:
        return gym.wrappers.TransformObservation(make_cartpole(), flat, None)

    assert_same_rollout(DummyVecEnv([make] * 3), as_vec_env(envs), steps=100)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_returned_belongs_to_the_caller(mode: Any) -> None:
    class Vandal(VectorWrapper):
        def step(self, actions: Any) -> Any:
            taken = actions.copy()
            actions[:] = 0
            return self.env.step(taken)

    vec_env = as_vec_env(Vandal(SyncVectorEnv([make_toy] * 2, copy=False, autoreset_mode=mode)))
    obs = vec_env.reset()
    assert isinstance(obs, dict)
    kept = {key: value.copy() for key, value in obs.items()}
    for _ in range(20):
        actions = np.array([1, 2])
        _, rewards, dones, infos = vec_env.step(actions)
        assert_same(kept, obs)
        assert type(infos[0]["steps"]) is type(infos[0]["TimeLimit.truncated"] + 0) is int
        assert type(infos[1]["rare"]) is float
        assert type(infos[0]["map"]) is np.ndarray
        rewards[:], dones[:] = -1, True
        for info in infos:
            info["map"][:] = 99
            info["tags"].clear()
            info["steps"] = -1
            if "terminal_observation" in info:
                info["terminal_observation"]["state"][:] = 99
        assert actions.tolist() == [1, 2]
    obs["image"][:] = 0


def test_episode_statistics_of_gymnasium_arrive_with_the_last_step() -> None:
    envs = SyncVectorEnv([make_cartpole] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    statistics = gym.wrappers.vector.RecordEpisodeStatistics(envs)
    vec_env = as_vec_env(statistics)
    vec_env.seed(0)
    vec_env.reset()
    lengths = []
    for _ in range(40):
        _, _, dones, infos = vec_env.step(np.ones(2, int))
        assert ["episode" in info for info in infos] == dones.tolist()
        lengths += [info["episode"]["l"] for info in infos if "episode" in info]
    assert lengths == list(statistics.length_queue)
    assert len(lengths) > 3


# --- environments that cannot be bridged ---


def test_the_native_cartpole_is_refused_with_the_line_to_write_instead() -> None:
    envs = gym.make_vec("CartPole-v1", num_envs=3)
    line = 'gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")'
    with pytest.raises(IncompatibleEnvironmentError, match=re.escape(line)):
        as_vec_env(envs)


def test_one_native_environment_needs_no_partial_reset() -> None:
    vec_env = as_vec_env(gym.make_vec("CartPole-v1", num_envs=1))
    vec_env.seed(0)
    obs = vec_env.reset()
    ends = 0
    for _ in range(60):
        obs, rewards, dones, infos = vec_env.step(np.array([1]))
        assert rewards[0] == 1.0, "the dummy step of NEXT_STEP must not be seen"
        if dones[0]:
            ends += 1
            assert isinstance(obs, np.ndarray)
            assert np.abs(obs).max() <= 0.05
            assert np.abs(infos[0]["terminal_observation"]).max() > 0.2
    assert ends > 3


def test_a_native_environment_that_honours_the_mask_is_bridged() -> None:
    vec_env = as_vec_env(NativeEnv(3, honours_mask=True))
    vec_env.reset()
    seen = [vec_env.step(np.zeros(3, int)) for _ in range(5)]
    assert [obs[:, 0].tolist() for obs, *_ in seen] == [
        [1, 1, 1],
        [2, 2, 2],
        [0, 3, 3],
        [1, 0, 4],
        [2, 1, 0],
    ]
    assert seen[2][3][0]["terminal_observation"].tolist() == [3]
    assert seen[4][3][2]["terminal_observation"].tolist() == [5]
    assert [info["TimeLimit.truncated"] for info in seen[2][3]] == [True, False, False]
    assert all(rewards.tolist() == [1, 1, 1] for _, rewards, *_ in seen)


def test_a_native_environment_that_ignores_the_mask_is_found_out_at_the_first_end() -> None:
    vec_env = as_vec_env(NativeEnv(3, honours_mask=False))
    vec_env.reset()
    vec_env.step(np.zeros(3, int))
    vec_env.step(np.zeros(3, int))
    with pytest.raises(IncompatibleEnvironmentError, match=r"reset_mask.*\[1, 2\].*SAME_STEP"):
        vec_env.step(np.zeros(3, int))


def test_a_native_same_step_environment_may_batch_its_final_observations() -> None:
    class Native(NativeEnv):
        def __init__(self) -> None:
            super().__init__(2, honours_mask=True)
            self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
            self.single_observation_space = gym.spaces.Dict(x=self.single_observation_space)

        def reset(self, **kwargs: Any) -> Any:
            obs, info = super().reset(**kwargs)
            return {"x": obs}, info

        def step(self, actions: Any) -> Any:
            last, *_ = super().step(actions)
            infos = {"final_obs": {"x": last}, "steps": self.steps.astype(int)}
            rewards, done = self.rewards.copy(), self.done.copy()
            obs = self.reset(options={"reset_mask": done})[0] if done.any() else {"x": last}
            return obs, rewards, done, np.zeros(2, bool), infos

    vec_env = as_vec_env(Native())
    vec_env.reset()
    for _ in range(3):
        obs, _, dones, infos = vec_env.step(np.zeros(2, int))
    assert dones.tolist() == [True, False]
    assert obs["x"].tolist() == [[0], [3]]
    assert infos[0].pop("terminal_observation")["x"].tolist() == [3]
    assert [total["l"] for total in pop_episodes(infos)] == [3]
    # Without `final_info` what the environment says is about the step.
    assert infos == [{"steps": 3, "TimeLimit.truncated": False}] * 2
    assert vec_env.reset_infos[0] == {}


def test_a_final_observation_that_a_wrapper_forgot_to_convert_is_refused() -> None:
    class Forgets(VectorWrapper):
        def __init__(self, env: Any) -> None:
            super().__init__(env)
            self.single_observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)

        def reset(self, **kwargs: Any) -> Any:
            obs, info = self.env.reset(**kwargs)
            return obs[:, :2], info

        def step(self, actions: Any) -> Any:
            obs, *rest = self.env.step(actions)
            return obs[:, :2], *rest

    envs = SyncVectorEnv([make_cartpole] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    vec_env = as_vec_env(Forgets(envs))
    vec_env.reset()
    with pytest.raises(IncompatibleEnvironmentError, match=r"\(2,\).*\(4,\)"):
        step_often(vec_env)


def native(**changes: Any) -> NativeEnv:
    envs = NativeEnv(2, honours_mask=True)
    for name, value in changes.items():
        setattr(envs, name, value)
    return envs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {}}, r"autoreset_mode.*got None"),
        ({"single_action_space": gym.spaces.Dict(a=gym.spaces.Discrete(2))}, "action space"),
        ({"single_observation_space": gym.spaces.Tuple([gym.spaces.Discrete(2)])}, "observation s"),
        ({"single_observation_space": gym.spaces.Dict(words=gym.spaces.Text(5))}, "observation s"),
        (
            {"single_observation_space": gym.spaces.Dict(a=gym.spaces.Dict(x=BOX))},
            "observation space",
        ),
    ],
)
def test_what_sb3_cannot_use_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IncompatibleEnvironmentError, match=message):
        as_vec_env(native(**changes))


def test_infos_and_final_observations_in_another_form_are_refused() -> None:
    envs: Any = gym.wrappers.vector.DictInfoToList(SyncVectorEnv([make_toy] * 2))
    with pytest.raises(IncompatibleEnvironmentError, match="DictInfoToList"):
        as_vec_env(envs).reset()
    vec_env = as_vec_env(native(metadata={"autoreset_mode": AutoresetMode.SAME_STEP}))
    vec_env.reset()
    with pytest.raises(IncompatibleEnvironmentError, match="final_obs"):
        step_often(vec_env)


@pytest.mark.parametrize(
    "name", ["NormalizeObservation", "NormalizeReward", "RecordEpisodeStatistics"]
)
def test_wrappers_that_forget_everything_in_a_partial_reset_are_refused(name: str) -> None:
    wrapper: Any = getattr(gym.wrappers.vector, name)
    with pytest.raises(IncompatibleEnvironmentError, match=rf"{name}.*Vec(Normalize|Monitor)"):
        as_vec_env(wrapper(SyncVectorEnv([make_cartpole] * 2)))
    as_vec_env(wrapper(SyncVectorEnv([make_cartpole])))


def test_single_environments_and_vec_envs_are_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidOptionError, match="DummyVecEnv"):
        as_vec_env(make_toy())
    with pytest.raises(InvalidOptionError, match="already"):
        as_vec_env(DummyVecEnv([make_toy]))
    with pytest.raises(InvalidOptionError, match="int"):
        as_vec_env(3)


def test_the_same_environment_several_times_is_refused() -> None:
    env = make_toy()
    with pytest.raises(InvalidOptionError, match="2 different sub-environments"):
        as_vec_env(SyncVectorEnv([lambda: env] * 2))


# --- seeds and options ---


def test_a_seed_is_used_once() -> None:
    vec_env = as_vec_env(SyncVectorEnv([make_toy] * 2))
    assert vec_env.seed(3) == [3, 4]
    first = vec_env.reset()
    second = vec_env.reset()
    vec_env.seed(3)
    assert_same(first, vec_env.reset())
    assert not np.array_equal(first["image"], second["image"])
    chosen = vec_env.seed(None)
    assert isinstance(chosen[0], int)
    assert chosen[1] == chosen[0] + 1


def test_options_are_used_once_and_are_the_same_for_all() -> None:
    vec_env = as_vec_env(SyncVectorEnv([make_toy] * 2))
    vec_env.set_options({"start": 5.0})
    assert vec_env.reset()["state"][:, 0].tolist() == [5.0, 5.0]
    assert vec_env.reset()["state"][:, 0].tolist() == [0.0, 0.0]
    vec_env.set_options([{"start": 2.0}, {"start": 2.0}])
    assert vec_env.reset()["state"][:, 0].tolist() == [2.0, 2.0]
    with pytest.raises(InvalidOptionError, match="same options"):
        vec_env.set_options([{"start": 2.0}, {"start": 3.0}])
    with pytest.raises(InvalidOptionError, match="2 "):
        vec_env.set_options([{"start": 2.0}])
    with pytest.raises(InvalidOptionError, match="reset_mask"):
        vec_env.set_options({"reset_mask": np.array([True, False])})


# --- methods and attributes ---


def test_batched_methods_are_split_and_others_are_called_once() -> None:
    masker = Masker(SyncVectorEnv([make_toy] * 3))
    vec_env = as_vec_env(gym.wrappers.vector.ClipReward(masker, -1, 1))
    assert is_masking_supported(vec_env)
    assert get_action_masks(vec_env).tolist() == [[False, True, True]] * 3
    assert len(vec_env.env_method("action_masks", indices=[2])) == 1
    assert vec_env.env_method("set_progress", 0.5) == [0.5] * 3
    assert masker.calls == 1
    assert vec_env.get_attr("progress", indices=0) == [0.5]
    vec_env.set_attr("progress", 0.75)
    assert masker.progress == 0.75
    with pytest.raises(InvalidOptionError, match="shared by all"):
        vec_env.set_attr("progress", 1.0, indices=[0])
    with pytest.raises(IncompatibleEnvironmentError, match=r"wrong_size.*3"):
        vec_env.env_method("wrong_size")


def test_a_wrapper_that_forwards_every_attribute_owns_none_of_them() -> None:
    class Forwards(VectorWrapper):
        def __getattr__(self, name: str) -> Any:
            return getattr(self.env, name)

    vec_env = as_vec_env(Forwards(Masker(SyncVectorEnv([make_toy] * 2))))
    assert get_action_masks(vec_env).shape == (2, 3)
    assert as_vec_env(Forwards(SyncVectorEnv([make_toy]))).has_attr("weight")
    assert not as_vec_env(Forwards(SyncVectorEnv([make_toy]))).has_attr("env_fns")


def test_methods_of_sub_environments_are_reached() -> None:
    vec_env = as_vec_env(SyncVectorEnv([make_toy] * 3))
    vec_env.reset()
    assert get_action_masks(vec_env).shape == (3, 3)
    assert vec_env.env_method("set_weight", 2.0, indices=[1]) == ["weight 2.0"]
    assert vec_env.get_attr("weight") == [1.0, 2.0, 1.0]
    vec_env.set_attr("weight", 3.0, indices=2)
    assert vec_env.get_attr("weight", indices=[2, 1]) == [3.0, 2.0]
    assert callable(vec_env.get_attr("set_weight")[0])
    assert vec_env.get_attr("action_space")[0] == gym.spaces.Discrete(3)
    assert not vec_env.has_attr("no_such_thing")
    for call in (vec_env.get_attr, vec_env.env_method):
        with pytest.raises(AttributeError, match="no_such_thing"):
            call("no_such_thing")


def test_a_native_environment_has_the_attributes_of_the_vector_env() -> None:
    vec_env = as_vec_env(Masker(NativeEnv(2, honours_mask=True)))
    assert vec_env.get_attr("gravity") == [9.8, 9.8]
    assert vec_env.get_attr("observation_space")[0].shape == (1,)
    assert vec_env.has_attr("spec")
    assert vec_env.get_attr("num_envs") == [2, 2]
    assert not vec_env.has_attr("no_such_thing")
    with pytest.raises(AttributeError, match="no_such_thing"):
        vec_env.set_attr("no_such_thing", 1)


def test_env_is_wrapped_looks_at_both_levels() -> None:
    vec_env = as_vec_env(Masker(SyncVectorEnv([lambda: Monitor(make_toy()), make_toy])))
    assert vec_env.env_is_wrapped(Masker) == [True, True]
    assert vec_env.env_is_wrapped(Monitor) == [True, False]
    assert vec_env.env_is_wrapped(Monitor, indices=[1]) == [False]
    assert as_vec_env(NativeEnv(2, honours_mask=True)).env_is_wrapped(Monitor) == [False, False]


def test_rendering() -> None:
    envs = SyncVectorEnv([lambda: ToyEnv(render_mode="rgb_array")] * 2)
    vec_env = as_vec_env(envs)
    assert vec_env.render_mode == "rgb_array"
    vec_env.reset()
    assert [image.shape for image in vec_env.get_images()] == [(4, 4, 3)] * 2
    tiled = vec_env.render()
    assert tiled is not None
    assert tiled.shape == (8, 4, 3)
    assert len(vec_env.env_method("render")) == 2
    blind = as_vec_env(SyncVectorEnv([make_toy] * 2))
    with pytest.warns(UserWarning, match="rgb_array"):
        assert blind.get_images() == [None, None]


def test_the_environments_below_can_be_had_and_are_closed_once() -> None:
    closed = []

    class Counts(VectorWrapper):
        def close(self, **kwargs: Any) -> None:
            closed.append(1)
            super().close(**kwargs)

    envs = SyncVectorEnv([make_toy] * 2)
    vec_env = as_vec_env(Counts(envs))
    assert vec_env.envs == list(envs.envs)
    assert vec_env.vector_env.env is envs
    assert VecNormalize(vec_env, norm_obs=False).envs == vec_env.envs
    vec_env.close()
    vec_env.close()
    assert closed == [1]
    stepped_as_one = as_vec_env(NativeEnv(2, honours_mask=True))
    assert not hasattr(stepped_as_one, "envs")
    with pytest.raises(AttributeError, match=r"env_method, or vector_env"):
        _ = stepped_as_one.envs


# --- in other processes ---


class Shy(gym.Wrapper[Any, Any, Any, Any]):
    """Its text raises, as that of MiniGrid's environments does before a reset."""

    def __str__(self) -> str:
        raise ValueError("not reset yet")


class MyMonitor(Monitor):
    """A monitor by another name."""


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_sub_environments_in_other_processes_are_reached(context: str) -> None:
    make = [lambda: Shy(MyMonitor(Shy(make_toy()))), lambda: Shy(make_toy())]
    vec_env = as_vec_env(AsyncVectorEnv(make, context=context))
    assert vec_env.env_is_wrapped(Shy) == [True, True]
    assert vec_env.env_is_wrapped(Monitor) == [True, False]
    assert vec_env.env_is_wrapped(Monitor, indices=[1, 0]) == [False, True]
    assert vec_env.env_is_wrapped(gym.wrappers.TimeLimit) == [False, False]
    vec_env.reset()
    assert get_action_masks(vec_env).tolist() == [[True, True, True]] * 2
    assert vec_env.env_method("set_weight", 2.0) == ["weight 2.0"] * 2
    vec_env.set_attr("weight", [4.0])
    assert vec_env.get_attr("weight", indices=1) == [[4.0]]
    assert vec_env.env_method("set_weight", 3.0, indices=[1]) == ["weight 3.0"]
    vec_env.set_attr("weight", 5.0, indices=0)
    assert vec_env.get_attr("weight", indices=[1, 0]) == [3.0, 5.0]
    # Asking for what is missing must not take the workers down.
    assert not vec_env.has_attr("no_such_thing")
    with pytest.raises(AttributeError, match="no_such_thing"):
        vec_env.env_method("no_such_thing")
    vec_env.set_attr("weight", 1.0)
    vec_env.step(np.array([1, 1]))
    vec_env.close()


@pytest.mark.filterwarnings("ignore:.*(ERROR|WARN):UserWarning")
def test_workers_are_asked_one_by_one_as_the_environment_asks_them_all() -> None:
    envs = AsyncVectorEnv([make_toy] * 3, context="fork")
    vec_env = as_vec_env(envs)
    vec_env.reset()
    envs.step_async(np.zeros(3, int))
    with pytest.raises(AlreadyPendingCallError, match=r"step_async: call step_wait\(\)"):
        vec_env.env_method("set_weight", 1.0, indices=[0])
    envs.step_wait()
    # What a method raises is raised here, and its worker has ended, as in `AsyncVectorEnv.call`.
    with pytest.raises(TypeError, match="too_many"):
        vec_env.env_method("set_weight", 1.0, too_many=1, indices=[1])
    assert vec_env.env_method("set_weight", 2.0, indices=[2, 0]) == ["weight 2.0"] * 2
    with pytest.raises(ClosedEnvironmentError, match=r"workers \[1\].*build it anew"):
        vec_env.env_method("set_weight", 2.0)
    envs.close(terminate=True)
    with pytest.raises(ClosedEnvironmentError, match="close"):
        vec_env.env_method("set_weight", 2.0, indices=[0])


class ToGoal(BitFlippingEnv):
    """An environment with goals, whose rewards HER asks for."""

    def __init__(self) -> None:
        super().__init__(n_bits=3, continuous=False)


@pytest.mark.slow
def test_her_trains_with_sub_environments_in_other_processes() -> None:
    vec_env = as_vec_env(AsyncVectorEnv([ToGoal] * 2, context="fork"))
    model = DQN(
        "MultiInputPolicy", vec_env, replay_buffer_class=HerReplayBuffer, buffer_size=500,
        learning_starts=20, batch_size=8, device="cpu", seed=0,
    )  # fmt: skip
    model.learn(64)
    assert model.replay_buffer is not None
    assert model.replay_buffer.size() == 32
    vec_env.close()


def make_shifted() -> gym.Env[Any, Any]:
    return RewardShiftWrapper(Monitor(make_cartpole()), judge="constant:1")


@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
def test_evaluation_reports_what_the_monitor_inside_was_paid(vector: Any) -> None:
    options = {"context": "fork"} if vector is AsyncVectorEnv else {}
    vec_env = as_vec_env(vector([make_shifted] * 2, **options))
    model = PPO("MlpPolicy", vec_env, seed=0, device="cpu")
    # A warning of a missing monitor would be an error here.
    returns, lengths = evaluate_policy(model, vec_env, 4, return_episode_rewards=True)
    assert returns == lengths
    vec_env.close()


# --- episodes, counted where nobody below does ---


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_episodes_are_counted_where_nobody_below_does(mode: Any, kind: str) -> None:
    vector: Any = SyncVectorEnv if kind == "sync" else AsyncVectorEnv
    options = {} if kind == "sync" else {"context": "fork"}
    expected = DummyVecEnv([lambda: Monitor(make_toy())] * 2)
    got = as_vec_env(vector([make_toy] * 2, autoreset_mode=mode, **options))
    expected.seed(3)
    got.seed(3)
    found = 0
    for _ in range(3):
        expected.reset()
        got.reset()  # in the middle of an episode: what was played of it is forgotten
        for step in range(20):
            action = np.array([step % 3, 1])
            one, two = pop_episodes(expected.step(action)[3]), pop_episodes(got.step(action)[3])
            for left, right in zip(one, two, strict=True):
                found += 1
                assert type(right["r"]) is float
                assert type(right["l"]) is int
                assert type(right["t"]) is float
                assert (left["r"], left["l"]) == (right["r"], right["l"])
    assert found > 10
    got.close()


class TwoLives(gym.Wrapper[Any, Any, Any, Any]):
    """Ends an episode after each step, as a lost life does; the monitor inside goes on."""

    def reset(self, **kwargs: Any) -> Any:
        if getattr(self, "_over", True):
            self._seen = self.env.reset(**kwargs)
        return self._seen

    def step(self, action: Any) -> Any:
        seen, reward, terminated, truncated, info = self.env.step(action)
        self._over = terminated or truncated
        self._seen = seen, {}
        return seen, reward, True, False, info


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_monitor_below_decides_when_an_episode_is_over(kind: str) -> None:
    vector: Any = SyncVectorEnv if kind == "sync" else AsyncVectorEnv
    options = {} if kind == "sync" else {"context": "fork"}
    makes = [lambda: TwoLives(Monitor(make_cartpole())), lambda: TwoLives(make_cartpole())]
    vec_env = as_vec_env(vector(makes, autoreset_mode=AutoresetMode.SAME_STEP, **options))
    vec_env.reset()
    lengths: list[list[int]] = [[], []]
    for _ in range(25):
        infos = vec_env.step(np.ones(2, int))[3]
        for row, info in zip(lengths, infos, strict=True):
            row += [info["episode"]["l"]] if "episode" in info else []
    assert lengths[1] == [1] * 25
    assert 1 <= len(lengths[0]) < 5
    assert min(lengths[0]) > 5
    vec_env.close()


def test_a_vec_monitor_around_the_bridge_has_the_last_word() -> None:
    vec_env = VecMonitor(as_vec_env(SyncVectorEnv([make_toy] * 2)), info_keywords=("drawn",))
    vec_env.reset()
    finished: list[Any] = []
    for _ in range(25):
        finished += pop_episodes(vec_env.step(np.ones(2, int))[3])
    assert finished
    assert all(episode["drawn"] == episode["l"] for episode in finished)


class PaysInColumns(VectorWrapper):
    """Rewards of shape (n, 1), as some environments have them."""

    def step(self, actions: Any) -> Any:
        seen, rewards, *rest = self.env.step(actions)
        return seen, rewards[:, None], *rest


def test_rewards_in_a_column_are_rewards_of_each() -> None:
    envs: Any = SyncVectorEnv([make_cartpole] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    vec_env = as_vec_env(PaysInColumns(envs))
    vec_env.reset()
    finished: list[Any] = []
    for _ in range(25):
        _, rewards, _, infos = vec_env.step(np.ones(2, int))
        assert rewards.tolist() == [1.0, 1.0]
        finished += pop_episodes(infos)
    assert finished
    assert all(episode["r"] == episode["l"] for episode in finished)


# --- the conversion of infos ---

LEAVES = {
    "int": st.integers(-(2**40), 2**40),
    "float": st.floats(allow_nan=False, width=32),
    "bool": st.booleans(),
    "float32": st.floats(allow_nan=False, width=32).map(np.float32),
    "bool_": st.booleans().map(np.bool_),
    "text": st.text(max_size=4),
    "none": st.none(),
    "list": st.lists(st.integers(0, 9), max_size=3),
    "tuple": st.tuples(st.integers(0, 9), st.text(max_size=2)),
    "array": st.lists(st.integers(0, 255), min_size=3, max_size=3).map(
        lambda values: np.array(values, np.uint8)
    ),
    "grid": st.floats(0, 1, width=32).map(lambda value: np.full((2, 1, 2), value, np.float32)),
}
KEYS = st.text("abcdefgh.-é", min_size=1, max_size=4)
SCHEMAS: Any = st.recursive(
    st.dictionaries(KEYS, st.sampled_from(sorted(LEAVES)), max_size=5),
    lambda inner: st.dictionaries(KEYS, inner | st.sampled_from(sorted(LEAVES)), max_size=4),
    max_leaves=4,
)


@st.composite
def env_infos(draw: Any) -> list[dict[str, Any]]:
    """Infos of 1 to 4 environments: each key has one type, and any environment may lack it."""

    def one(schema: dict[str, Any]) -> dict[str, Any]:
        return {
            key: one(kind) if isinstance(kind, dict) else draw(LEAVES[kind])
            for key, kind in schema.items()
            if draw(st.integers(0, 3))
        }

    schema = draw(SCHEMAS)
    return [one(schema) for _ in range(draw(st.integers(1, 4)))]


def as_python(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_python(inner) for key, inner in value.items()}
    return value.item() if isinstance(value, np.generic) else value


@given(env_infos())
@settings(deadline=None)
def test_info_rows_undo_the_encoding_of_gymnasium(rows: list[dict[str, Any]]) -> None:
    encoder: Any = VectorEnv()
    encoder.num_envs = len(rows)
    infos: dict[str, Any] = {}
    for i, row in enumerate(rows):
        infos = encoder._add_info(infos, row, i)
    got = info_rows(infos, len(rows))
    assert_same([as_python(row) for row in rows], got)


def test_columns_without_masks_with_underscores_or_of_another_length() -> None:
    shared = {"x": np.array([1.5, 2.5])}
    infos = {"_private": np.array([1, 2]), "shared": shared, "word": ["a", "b"]}
    assert info_rows(infos, 2) == [
        {"_private": 1, "shared": {"x": 1.5}, "word": "a"},
        {"_private": 2, "shared": {"x": 2.5}, "word": "b"},
    ]
    with pytest.raises(IncompatibleEnvironmentError, match=r"'x'.*2 sub-environments.*\(3,\)"):
        info_rows({"x": np.zeros(3)}, 2)
