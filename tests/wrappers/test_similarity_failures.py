"""A suggester or an encoder that fails costs guidance, and never the run."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from similarity_doubles import (
    EAT,
    NAP,
    WOOD,
    CountingSuggester,
    PlaneEncoder,
    RememberingSuggester,
    rewards_of,
    suggested,
)

from llm_wrappers.errors import AuthenticationError, CacheMissError, GuidanceError, GuidanceWarning
from llm_wrappers.guidance.suggesters import MOST_CHARACTERS, MOST_GOALS

FAILED = "the suggester failed"
NO_VECTOR = "the encoder"


def raising(error: Exception) -> Any:
    def fail(step: int) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    "answer",
    [
        42,
        "collect wood",
        b"collect wood",
        {"collect wood": 1},
        {"collect wood"},
        GuidanceError("x"),
    ],
    ids=["number", "text", "bytes", "dict", "set", "error"],
)
def test_an_answer_that_is_no_list_of_goals_costs_its_state_the_goals(answer: Any) -> None:
    suggester = CountingSuggester(lambda step: answer if step == 1 else ["nap"])
    env = suggested(suggester, novelty=False)
    with pytest.warns(GuidanceWarning, match=FAILED) as caught:
        assert rewards_of(env, [NAP, NAP, NAP]) == [1.0, 0.0, 1.0]
    assert len(caught) == 1
    assert rewards_of(env, [NAP, NAP, NAP]) == [1.0, 0.0, 1.0]
    assert env.stats()["suggester_failures"] == 2


@pytest.mark.parametrize("answers", [None, [], [["nap"], ["nap"]]], ids=["none", "few", "many"])
def test_a_wrong_number_of_answers_costs_the_goals(answers: Any) -> None:
    env = suggested(lambda states: answers)
    with pytest.warns(GuidanceWarning, match=FAILED):
        assert rewards_of(env, [NAP, NAP]) == [0.0, 0.0]
    assert env.stats()["suggester_failures"] == 3


def test_a_suggester_that_raises_costs_the_goals() -> None:
    env = suggested(CountingSuggester(raising(RuntimeError("out of order"))))
    with pytest.warns(GuidanceWarning, match="RuntimeError: out of order"):
        assert rewards_of(env, [NAP, NAP]) == [0.0, 0.0]


def test_a_pure_suggester_that_failed_is_asked_again() -> None:
    broken = [True]

    def answer(step: int) -> list[str]:
        if broken:
            broken.pop()
            raise TimeoutError
        return ["nap"]

    suggester = CountingSuggester(lambda step: answer(0), pure=True)
    env = suggested(suggester)
    with pytest.warns(GuidanceWarning, match="TimeoutError"):
        assert rewards_of(env, [NAP]) == [0.0]
    assert rewards_of(env, [NAP]) == [1.0]
    asked = len(suggester.asked)
    assert rewards_of(env, [NAP]) == [1.0]
    assert len(suggester.asked) == asked


def test_what_the_user_can_mend_is_raised_until_it_has_worked() -> None:
    env = suggested(CountingSuggester(raising(AuthenticationError("no key"))))
    with pytest.raises(AuthenticationError):
        env.reset(seed=0)

    def revoked(step: int) -> list[str]:
        if step:
            raise AuthenticationError("no key any more")
        return ["nap"]

    with pytest.warns(GuidanceWarning, match="no key any more"):
        assert rewards_of(suggested(CountingSuggester(revoked)), [NAP, NAP]) == [1.0, 0.0]


def test_a_replay_that_lacks_an_answer_always_raises() -> None:
    def missing(step: int) -> list[str]:
        if step:
            raise CacheMissError("not recorded")
        return ["nap"]

    env = suggested(CountingSuggester(missing))
    env.reset(seed=0)
    with pytest.raises(CacheMissError):
        env.step(NAP)


def test_a_reset_that_raises_is_counted() -> None:
    suggester = RememberingSuggester(lambda step: ["nap"])
    suggester.reset = raising(KeyError("lost"))  # type: ignore[method-assign]
    env = suggested(suggester)
    with pytest.warns(GuidanceWarning, match="KeyError: 'lost'"):
        assert rewards_of(env, [NAP]) == [1.0]
    assert env.stats()["suggester_failures"] == 1


def test_no_answer_yet_is_no_failure() -> None:
    env = suggested(CountingSuggester(lambda step: None if step == 0 else ["nap"], pure=True))
    assert rewards_of(env, [NAP, NAP]) == [0.0, 1.0]
    assert rewards_of(env, [NAP]) == [0.0]
    stats = env.stats()
    assert (stats["unanswered"], stats["suggester_failures"]) == (2, 0)


def test_goals_that_cannot_be_used_are_dropped_and_the_rest_kept_in_order() -> None:
    goals = ["nap", "", "  ", 7, None, ["eat cow"], "x" * (MOST_CHARACTERS + 1), "nap", "eat cow"]
    env = suggested(lambda states: [goals])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset(seed=0)
    assert env.current_suggestions() == ("nap", "eat cow")
    assert env.stats()["dropped_goals"] == 6


def test_of_too_many_goals_the_first_are_kept() -> None:
    goals = [f"goal {number}" for number in range(MOST_GOALS + 20)]
    env = suggested(lambda states: [goals])
    env.reset(seed=0)
    assert env.current_suggestions() == tuple(goals[:MOST_GOALS])
    assert env.stats()["dropped_goals"] == 20


# --- encoders ---


BAD = {
    "nan": [np.nan, 0.0],
    "infinite": [np.inf, 0.0],
    "zero": [0.0, 0.0],
    "long": [3.0, 4.0],
    "short": [0.3, 0.4],
}


@pytest.mark.parametrize("vector", BAD.values(), ids=BAD)
def test_a_text_without_a_usable_vector_matches_nothing(vector: list[float]) -> None:
    encoder = PlaneEncoder(collect_wood=vector, eat_cow=[1.0, 0.0], nap=[0.0, 1.0])
    env = suggested(["collect wood", "eat cow"], encoder=encoder, novelty=False, threshold=-1.0)
    with pytest.warns(GuidanceWarning, match=f"{NO_VECTOR} returned no finite vector") as caught:
        assert rewards_of(env, [WOOD, EAT, WOOD]) == [0.0, 1.0, 0.0]
    assert len(caught) == 1
    stats = env.stats()
    assert (stats["bad_vectors"], stats["rewarded"]) == (1, 1)
    assert encoder.calls == [["collect wood", "eat cow"]]


class WrongEncoder:
    """Vectors of a form that the test says, and of the right one for some texts."""

    def __init__(self, wrong: Any, *, right: tuple[str, ...] = ()) -> None:
        self.wrong = wrong
        self.right = right
        self.calls = 0

    def encode(self, texts: Any) -> Any:
        self.calls += 1
        if set(texts) <= set(self.right):
            return np.tile(np.float32([1.0, 0.0]), (len(texts), 1))
        if isinstance(self.wrong, Exception):
            raise self.wrong
        return self.wrong(len(texts))


WRONG = {
    "one vector": lambda n: np.ones(2) / np.sqrt(2),
    "too many": lambda n: np.eye(n + 1),
    "integers": lambda n: np.tile([1, 0], (n, 1)),
    "texts": lambda n: ["a"] * n,
    "nothing": lambda n: None,
    "no dimensions": lambda n: np.zeros((n, 0)),
    "raises": OSError("the line is dead"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_encoder_that_fails_pays_nothing_and_gives_up_on_a_text(wrong: Any) -> None:
    encoder = WrongEncoder(wrong)
    env = suggested(["nap"], encoder=encoder, novelty=False)
    with pytest.warns(GuidanceWarning, match=f"{NO_VECTOR} failed for 'nap'") as caught:
        assert rewards_of(env, [NAP] * 6) == [0.0] * 6
    assert len(caught) == 1
    assert env.stats()["encoder_failures"] == encoder.calls == 3


def test_another_dimension_in_flight_costs_only_the_texts_that_have_it() -> None:
    encoder = WrongEncoder(lambda n: np.eye(n, 3), right=("nap",))
    env = suggested(["nap"], encoder=encoder, novelty=False)
    with pytest.warns(GuidanceWarning, match="expected 2 dimensions as before, got 3"):
        assert rewards_of(env, [NAP, WOOD, NAP]) == [1.0, 0.0, 1.0]


def test_a_failure_that_passes_costs_only_the_steps_it_lasted() -> None:
    encoder = WrongEncoder(OSError("hiccup"), right=())
    env = suggested(["nap"], encoder=encoder, novelty=False)
    env.reset(seed=0)
    with pytest.warns(GuidanceWarning, match="hiccup"):
        assert env.step(NAP)[1] == 0.0
    encoder.right = ("nap",)
    assert env.step(NAP)[1] == 1.0


def test_a_goal_that_cannot_be_shown_is_the_zero_vector() -> None:
    encoder = WrongEncoder(OSError("broken"), right=("Your goal is: a goal.", "nap"))
    env = suggested(["nap"], encoder=encoder, observe_goals=True)
    with pytest.warns(GuidanceWarning, match="broken"):
        observation, _ = env.reset(seed=0)
    assert observation["suggestions"].tolist() == [0.0, 0.0]
    assert env.step(NAP)[1] == 1.0


def test_a_missing_key_of_the_encoder_is_raised_at_the_first_use() -> None:
    env = suggested(["nap"], encoder=WrongEncoder(AuthenticationError("no key")))
    env.reset(seed=0)
    with pytest.raises(AuthenticationError):
        env.step(NAP)
