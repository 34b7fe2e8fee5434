"""What every environment of this package keeps, whatever its world."""

import pickle
import warnings
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import llm_wrappers  # registers the environments
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.testing._difference import difference
from llm_wrappers.worlds import ENV_IDS, REGISTERED_IDS

SMALL = {"area": (16, 16), "size": 24}
OPTIONS = {"llm_wrappers/Crafter-v1": SMALL, "llm_wrappers/EllmCrafter-v1": SMALL}
LENGTHS = {
    "llm_wrappers/RecSimInterestEvolution-v0": "slate_size",
    "llm_wrappers/PocketWatch-v0": "transport_time",
}
WITHOUT_COMPILING = [
    pytest.param(i, marks=[pytest.mark.slow] * ("Craftax" in i)) for i in REGISTERED_IDS
]
every_env = pytest.mark.parametrize("env_id", REGISTERED_IDS)
HERE = Path(__file__).parent


def make(env_id, **options):
    return gym.make(env_id, **OPTIONS.get(env_id, {}), **options)


def play(env, steps=30, seed=3, actions=None):
    """Yield what is returned by a reset and by steps with random actions."""
    space = deepcopy(env.action_space)
    space.seed(5)
    if seed is not None:
        yield env.reset(seed=seed)
    for _ in range(steps):
        returned = env.step(space.sample())
        yield returned
        if returned[2] or returned[3]:
            yield env.reset()


def digest(env_id):
    return sha256(repr([told(part) for part in play(make(env_id))]).encode()).hexdigest()


def told(data):
    """Return nested data with arrays as lists, which are written in full."""
    if isinstance(data, dict):
        return {key: told(value) for key, value in data.items()}
    if isinstance(data, tuple | list):
        return [told(part) for part in data]
    return data.tolist() if isinstance(data, np.ndarray | np.generic) else data


def test_these_are_registered():
    assert set(ENV_IDS) < set(REGISTERED_IDS) <= set(gym.registry)
    assert len(REGISTERED_IDS) == 6
    assert llm_wrappers.__version__


# They play Craftax so much that it takes as long as all others together.
@pytest.mark.parametrize(
    "env_id",
    WITHOUT_COMPILING,
)
def test_the_checkers_of_both_libraries_pass(env_id):
    # Imported here, because another process imports this module to play.
    from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

    env = make(env_id)
    with warnings.catch_warnings():
        # They advise about spaces, which are what the papers have.
        warnings.simplefilter("ignore")
        check_env(env.unwrapped, skip_render_check=True)
        check_env_of_sb3(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("env_id", WITHOUT_COMPILING)
def test_the_spec_makes_the_same_environment(env_id):
    env = make(env_id)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    for first, second in zip(play(env), play(again), strict=True):
        assert difference(first, second, "it") is None


def test_the_same_seed_gives_the_same_play_in_another_process(run_python):
    # Craftax is compiled, from a seed of its own for each step.
    ids = [env_id for env_id in REGISTERED_IDS if "Craftax" not in env_id]
    code = f"import sys; sys.path[:0] = {[str(HERE)]!r}; import test_contract as t; "
    here = [digest(env_id) for env_id in ids]
    assert run_python(f"{code}print(*map(t.digest, {ids!r}))").split() == here
    assert len(set(here)) == len(here)


@every_env
def test_copies_go_on_alike_in_the_middle_of_an_episode(env_id):
    env = make(env_id).unwrapped
    list(play(env, steps=10))
    for other in (deepcopy(env), pickle.loads(pickle.dumps(env))):
        pairs = zip(play(deepcopy(env), seed=None), play(other, seed=None), strict=True)
        assert all(difference(one, two, "it") is None for one, two in pairs)


@every_env
def test_infos_have_the_same_keys_and_nothing_returned_is_used_again(env_id):
    env, other = make(env_id), make(env_id)
    infos = []
    for returned, untouched in zip(play(env), play(other), strict=True):
        assert difference(untouched, returned, "it") is None
        infos.append(returned[-1].keys())
        spoil(returned[0])
        spoil(returned[-1])
    assert all(keys == infos[0] for keys in infos)


def spoil(data):
    """Write into every array, and empty every dict."""
    if isinstance(data, dict):
        for part in data.values():
            spoil(part)
        data.clear()
    elif isinstance(data, np.ndarray):
        data[...] = 0


@every_env
def test_steps_out_of_turn_and_actions_outside_are_refused(env_id):
    env = make(env_id).unwrapped
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    outside = np.full(env.action_space.shape, 10_000)
    for action in (outside, -1 - outside, outside + 0.5, None):
        with pytest.raises(InvalidOptionError, match=r"expected .* got "):
            env.step(action)


@every_env
def test_no_length_is_no_number(env_id):
    name = LENGTHS.get(env_id, "length")
    for value in (0, 2.5, True, "3", None):
        with pytest.raises(InvalidOptionError, match=f"{name} must be a whole number"):
            gym.make(env_id, **{name: value})
