"""Query timing: when a state may be asked about."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.llm.live.timing import Every, EveryStep, OnChange, every, resolve_timing

texts = st.lists(st.sampled_from(["tree", "water", "cow"]), max_size=12)


def asked_steps(timing, seen):
    before = [None, *seen]
    return [step for step, text in enumerate(seen) if timing(text, before[step], step)]


@given(texts)
def test_every_step_asks_always(seen):
    assert asked_steps(EveryStep(), seen) == list(range(len(seen)))


@given(texts)
def test_on_change_asks_at_the_start_and_when_the_text_changes(seen):
    asked = asked_steps(OnChange(), seen)
    assert [seen[step] for step in asked] == [
        text for step, text in enumerate(seen) if step == 0 or seen[step - 1] != text
    ]


@given(texts, st.integers(1, 20))
def test_every_k_asks_at_the_start_and_then_k_steps_apart(seen, k):
    assert asked_steps(every(k), seen) == list(range(0, len(seen), k))


@given(st.sampled_from([EveryStep(), OnChange()]) | st.builds(Every, st.integers(1, 10**12)))
def test_a_policy_survives_its_name_in_json_and_pickle(timing):
    assert resolve_timing(json.loads(json.dumps(str(timing)))) == timing
    assert pickle.loads(pickle.dumps(timing)) == timing


@pytest.mark.parametrize(
    ("name", "timing"),
    [("every_step", EveryStep()), ("on_change", OnChange()), ("every:3", Every(3))],
)
def test_names(name, timing):
    assert resolve_timing(name) == timing
    assert str(timing) == name


def test_a_function_is_a_policy():
    def odd(text, previous, step):
        return step % 2 == 1

    assert resolve_timing(odd) is odd


@pytest.mark.parametrize("name", ["sometimes", "every", "Every:3", "", "on_change:2", "every_3"])
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(UnknownNameError, match="every_step, on_change, every:K") as caught:
        resolve_timing(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "timing", ["every:0", "every:-1", "every:x", "every:", "every: 3", "every:²", "every:1.5"]
)
def test_a_k_that_is_no_number_of_steps_is_refused(timing):
    with pytest.raises(InvalidOptionError, match="whole number"):
        resolve_timing(timing)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None])
def test_every_refuses_what_is_no_number_of_steps(k):
    with pytest.raises(InvalidOptionError, match="k must be a whole number >= 1"):
        every(k)


@pytest.mark.parametrize("timing", [None, 3, OnChange, ["every_step"]], ids=repr)
def test_what_is_no_policy_is_refused(timing):
    with pytest.raises(InvalidOptionError, match="expected a timing"):
        resolve_timing(timing)
