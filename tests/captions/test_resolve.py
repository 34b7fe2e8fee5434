"""Which captioner speaks for which environment."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation, TimeLimit
from gymnasium.wrappers.vector import DictInfoToList

from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.worlds.classic.captioner import ClassicControlCaptioner

GIVEN = GenericCaptioner(spaces.Discrete(2), spaces.Discrete(2), env_id="given")


class Untouchable(gym.Env):
    """An environment that must be neither reset nor stepped."""

    def __init__(self, observation_space=None, **attributes):
        self.observation_space = observation_space or spaces.Discrete(3)
        self.action_space = spaces.Discrete(2)
        vars(self).update(attributes)

    def reset(self, *, seed=None, options=None):
        raise AssertionError("reset")

    def step(self, action):
        raise AssertionError("step")


class Speaking(gym.Wrapper):
    def __init__(self, env, captioner):
        super().__init__(env)
        self.captioner = captioner


def own(name):
    return GenericCaptioner(spaces.Discrete(3), spaces.Discrete(2), env_id=name)


def resolved_id(env, **options):
    return resolve_captioner(env, **options).description.env_id


class TestGiven:
    def test_wins_over_everything(self):
        assert resolve_captioner(Untouchable(captioner=own("own")), GIVEN) is GIVEN
        assert resolve_captioner(gym.make("CartPole-v1"), GIVEN) is GIVEN

    @pytest.mark.parametrize("missing", ["facts", "state_captions", "transition_captions"])
    def test_missing_method_is_named(self, missing):
        methods = {"facts", "state_captions", "transition_captions"} - {missing}
        members = dict.fromkeys(methods, lambda self: None) | {"description": GIVEN.description}
        incomplete = type("Incomplete", (), members)()
        message = rf"^captioner must have the method {missing}\(\), got Incomplete without it"
        with pytest.raises(InvalidOptionError, match=message):
            resolve_captioner(Untouchable(), incomplete)

    def test_description_of_another_type(self):
        class Wrong(GenericCaptioner):
            description = "CartPole"

        wrong = object.__new__(Wrong)
        with pytest.raises(InvalidOptionError, match="description that is an EnvDescription"):
            resolve_captioner(Untouchable(), wrong)

    def test_class_instead_of_an_object(self):
        with pytest.raises(InvalidOptionError, match="got the class ClassicControlCaptioner"):
            resolve_captioner(Untouchable(), ClassicControlCaptioner)

    def test_something_that_is_no_environment(self):
        with pytest.raises(InvalidOptionError, match=r"env must be a gymnasium\.Env or .*got str"):
            resolve_captioner("CartPole-v1")


class TestOwnAttribute:
    def test_of_the_base_below_wrappers(self):
        assert resolved_id(TimeLimit(Untouchable(captioner=own("base")), 5)) == "base"

    def test_of_the_outermost_layer(self):
        env = Speaking(Untouchable(captioner=own("base")), own("outer"))
        assert resolved_id(TimeLimit(env, 5)) == "outer"

    def test_none_is_passed_over(self):
        assert resolved_id(Speaking(Untouchable(captioner=own("base")), None)) == "base"
        assert resolved_id(Speaking(Untouchable(captioner=None), None)) == "Untouchable"

    def test_answer_of_an_environment_that_looks_it_up_itself(self):
        class Proxy(Untouchable):
            def has_wrapper_attr(self, name):
                return name == "captioner"

            def get_wrapper_attr(self, name):
                return own("behind the proxy")

        assert resolved_id(TimeLimit(Proxy(), 5)) == "behind the proxy"

    def test_that_does_not_follow_the_protocol(self):
        env = TimeLimit(Untouchable(captioner="a cat on a mat"), 5)
        message = (
            r"captioner of Untouchable must have the method facts\(\), got str .*pass captioner="
        )
        with pytest.raises(IncompatibleEnvironmentError, match=message):
            resolve_captioner(env)

    def test_of_the_first_environment_of_a_vector(self):
        names = ("first", "second")
        makers = [lambda name=name: Untouchable(captioner=own(name)) for name in names]
        envs = SyncVectorEnv(makers)
        assert resolved_id(envs) == "first"
        assert resolved_id(DictInfoToList(envs)) == "first"

    def test_of_a_vector_layer_comes_first(self):
        envs = SyncVectorEnv([lambda: Untouchable(captioner=own("inner"))])
        envs.captioner = own("vector")
        assert resolved_id(envs) == "vector"
        outer = DictInfoToList(envs)
        outer.captioner = own("outer")
        assert resolved_id(outer) == "outer"


class TestClassicControl:
    @pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])
    def test_by_its_id(self, env_id):
        captioner = resolve_captioner(gym.make(env_id))
        assert isinstance(captioner, ClassicControlCaptioner)
        assert captioner.description.env_id == env_id

    @pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
    def test_as_a_vector(self, mode):
        envs = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode=mode)
        assert isinstance(resolve_captioner(envs), ClassicControlCaptioner)
        assert isinstance(resolve_captioner(DictInfoToList(envs)), ClassicControlCaptioner)

    def test_as_a_vector_without_a_spec(self):
        envs = SyncVectorEnv([lambda: gym.make("CartPole-v1")])
        assert envs.spec is None
        assert isinstance(resolve_captioner(envs), ClassicControlCaptioner)

    def test_in_other_processes(self):
        envs = AsyncVectorEnv([lambda: gym.make("CartPole-v1")], context="spawn")
        captioner = resolve_captioner(envs)
        assert isinstance(captioner, GenericCaptioner)
        assert captioner.description.env_id == "AsyncVectorEnv"
        assert len(captioner.facts(np.zeros((1, 4)), {})[0]) == 4
        envs.close()

    def test_also_where_a_wrapper_left_the_spaces_alone(self):
        env = FlattenObservation(gym.make("CartPole-v1"))
        assert isinstance(resolve_captioner(env), ClassicControlCaptioner)


class TestGeneric:
    def test_for_everything_else(self):
        captioner = resolve_captioner(TimeLimit(Untouchable(), 5))
        assert isinstance(captioner, GenericCaptioner)
        assert captioner.facts(np.array([2, 1]), {}) == [{"obs": 2}, {"obs": 1}]

    def test_uses_the_spaces_of_one_sub_environment(self):
        captioner = resolve_captioner(SyncVectorEnv([Untouchable] * 3))
        assert captioner.facts(np.array([2, 1, 0]), {})[0] == {"obs": 2}
        assert captioner.description.action_names == ("action 0", "action 1")

    def test_what_cannot_be_put_into_words(self):
        env = Untouchable(spaces.Dict(mission=spaces.Text(9)))
        message = "no captioner is known for Untouchable: .*Text at 'mission'.*Pass captioner="
        with pytest.raises(IncompatibleEnvironmentError, match=message):
            resolve_captioner(env)
