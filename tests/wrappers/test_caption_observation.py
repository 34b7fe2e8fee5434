"""What each option of the caption wrapper does, and what happens when the encoder fails."""

from __future__ import annotations

import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from wrapper_doubles import counting_env, episodes

from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.embeddings import HashingEncoder
from llm_wrappers.errors import GuidanceError, GuidanceWarning, InvalidOptionError, UnknownNameError
from llm_wrappers.testing import make_scripted_env
from llm_wrappers.wrappers import CaptionObservationWrapper, vector

CRAFTAX = "llm_wrappers/CraftaxClassic-v1"


class Recording:
    """Hashed vectors; it notes what it was asked, and fails on texts with a certain word."""

    def __init__(self, fails: str = "never") -> None:
        self.asked: list[list[str]] = []
        self._fails = fails

    def encode(self, texts: Any) -> Any:
        self.asked.append(list(texts))
        if any(self._fails in text for text in texts):
            raise RuntimeError("out of memory")
        return HashingEncoder(16).encode(texts)


def test_the_vector_is_that_of_the_caption_of_the_state_shown() -> None:
    env = CaptionObservationWrapper(counting_env(), encoder="hashing:16")
    captioner = GenericCaptioner(env.env.observation_space, env.env.action_space)
    texts = set()
    for observation, info in episodes(env, [0] * 12):
        facts = captioner.facts(observation["obs"][None], {})
        assert info["caption_text"] == captioner.state_captions(facts)[0]
        expected = HashingEncoder(16).encode([info["caption_text"]])[0]
        np.testing.assert_array_equal(observation["caption"], expected)
        assert observation in env.observation_space
        texts.add(info["caption_text"])
    assert len(texts) == 11


def test_a_dict_gains_a_key_and_key_names_it() -> None:
    base = gym.spaces.Dict(pixels=gym.spaces.Box(0, 255, (4, 4, 3), np.uint8))
    env = CaptionObservationWrapper(make_scripted_env(observation_space=base), key="words")
    observation, info = env.reset(seed=0)
    assert set(observation) == set(env.observation_space) == {"pixels", "words"}
    assert set(base) == {"pixels"}
    assert env.observation_space["words"] == gym.spaces.Box(-1.0, 1.0, (256,), np.float32)
    assert "caption_text" in info


def test_encoder_is_a_name_or_an_object() -> None:
    given = CaptionObservationWrapper(counting_env(), encoder=HashingEncoder(16)).reset(seed=0)[0]
    named = CaptionObservationWrapper(counting_env(), encoder="hashing:16").reset(seed=0)[0]
    np.testing.assert_array_equal(given["caption"], named["caption"])


def test_captioner_gives_the_words() -> None:
    env = make_scripted_env()
    captioner = GenericCaptioner(env.observation_space, env.action_space, include_infos=True)
    _, info = CaptionObservationWrapper(env, captioner=captioner).reset(seed=0)
    assert "steps" in info["caption_text"]
    assert (
        "steps"
        not in CaptionObservationWrapper(make_scripted_env()).reset(seed=0)[1]["caption_text"]
    )


def test_a_text_is_encoded_once_and_those_of_a_vector_step_together() -> None:
    encoder = Recording()
    episodes(CaptionObservationWrapper(counting_env(5), encoder=encoder), [0] * 20)
    assert len(encoder.asked) == 1 + 6
    encoder = Recording()
    envs = vector.CaptionObservationWrapper(
        gym.vector.SyncVectorEnv([make_scripted_env] * 4), encoder=encoder
    )
    envs.reset(seed=0)
    for _ in range(3):
        envs.step([0, 1, 2, 0])
    assert [len(texts) for texts in encoder.asked] == [1, 4, 4, 4, 4]


# --- what went wrong ---


def test_an_encoder_that_fails_in_mid_episode_stops_nothing() -> None:
    """The zero vector is shown, the text stays, it is counted and said once."""
    env = CaptionObservationWrapper(counting_env(), encoder=Recording(fails="3"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            env.reset(seed=0)
            for step in range(1, 7):
                observation, reward, _, _, info = env.step(0)
                assert observation["caption"].any() == (step != 3)
                assert "3" in info["caption_text"] or step != 3
                assert reward == 1.0
    assert [warning.category for warning in caught] == [GuidanceWarning]
    assert re.search("RuntimeError: out of memory.*zero vector", str(caught[0].message))
    assert env.stats() == {"states": 14, "failures": 2}


def test_one_caption_that_fails_leaves_the_others_their_vectors() -> None:
    envs = vector.CaptionObservationWrapper(
        gym.vector.SyncVectorEnv([lambda: counting_env(2), lambda: counting_env(9)]),
        encoder=Recording(fails="3"),
    )
    envs.reset(seed=0)
    envs.step([0, 0])
    envs.step([0, 0])
    with pytest.warns(GuidanceWarning, match="the encoder failed"):
        observations, *_ = envs.step([0, 0])
    assert observations["caption"].any(axis=1).tolist() == [True, False]
    assert envs.stats()["failures"] == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"encoder": "one-hot"}, UnknownNameError, "got 'one-hot', which only tells the goals"),
        (
            {"encoder": 3},
            InvalidOptionError,
            "an object with encode(texts) or its name; got a int",
        ),
        ({"captioner": object()}, InvalidOptionError, "captioner must have"),
        ({"key": ""}, InvalidOptionError, "key must be a non-empty string, got ''"),
        ({"key": "obs"}, InvalidOptionError, "choose another with key=..."),
    ],
    ids=["one-hot", "number", "captioner", "empty key", "taken key"],
)
def test_a_wrong_option_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    for env, wrapper in (
        (make_scripted_env(), CaptionObservationWrapper),
        (gym.vector.SyncVectorEnv([make_scripted_env]), vector.CaptionObservationWrapper),
    ):
        with pytest.raises(error, match=re.escape(message)):
            wrapper(env, **options)


def test_an_encoder_without_unit_vectors_is_refused_at_once() -> None:
    class Zero:
        def encode(self, texts: Any) -> Any:
            return np.zeros((len(texts), 4))

    with pytest.raises(GuidanceError, match="expected vectors of length 1 from Zero"):
        CaptionObservationWrapper(make_scripted_env(), encoder=Zero())


# --- in use ---


@pytest.mark.slow
def test_craftax_says_what_it_sees_and_layers_above_hear_it() -> None:
    envs = vector.CaptionObservationWrapper(gym.make_vec(CRAFTAX, num_envs=3), encoder="hashing:64")
    observations, infos = envs.reset(seed=0)
    assert all(text.startswith("You see ") for text in infos["caption_text"])
    assert observations["caption"].shape == (3, 64)
    assert observations in envs.observation_space
    assert envs.env_description().goals[0] == "collect wood"
    assert envs.all_stats()["CaptionObservationWrapper"]["states"] == 3
    envs.close()
