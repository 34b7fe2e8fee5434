"""Structured answers in general: whatever stands in them and around them, and however long."""

import gc
import json
import re
import time

import pytest
from answer_models import Goal, Goals, Kind, Node, Plan, Step
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidAnswerError
from llm_wrappers.llm.structured import parse_answer, repair_message

# However slow the machine is at the moment.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["{", "}", '"', "\\", '{"goal": "x"}', "\u22125", "```\n", "\n</think>\n", "\ufeff", "]"]
)
whole = st.integers(-(10**30), 10**30)
steps = st.builds(
    Step,
    name=texts,
    kind=st.sampled_from(Kind),
    order=st.sampled_from(["first", "last"]),
    count=whole,
    weight=st.floats(allow_nan=False, allow_infinity=False),
    done=st.booleans(),
    note=st.none() | texts,
)
plans = st.builds(
    Plan,
    steps=st.lists(steps, max_size=3),
    masks=st.dictionaries(texts, st.lists(whole, max_size=3), max_size=3),
    best=st.tuples(whole, texts),
    tags=st.sets(texts, max_size=3),
)
words = st.text(st.characters(codec="utf-8", exclude_characters='{}[]"`~<>\\'), max_size=20)
oddities = st.sampled_from(
    [
        "{x}", "{ x", "x }", "[see]", "[1]", "[0, 1)", "(0, 1]", "]", "}", "[ and", "{ or",
        '5" pipe', '"so"', "it's", "C:\\", "\\[", '{"other": 1}', "{}", "{{goal}}", '["a"]',
        "[ANSWER]", "\n- ", "**", "<b>", "`x`", "{a: 1}", "x = {1, 2}", "f(x) = [x]", "\u2212",
        "\ufeff",
    ]
)  # fmt: skip
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
prose = st.lists(words | oddities, max_size=6).map(" ".join)
indents = st.sampled_from([None, 0, 2, "\t"])


@given(plans, prose, prose, indents, st.booleans())
@settings(examples, max_examples=60)
def test_what_stands_in_a_fence_is_read_as_it_was(plan, before, after, indent, ensure_ascii):
    answer = json.dumps(plan.model_dump(mode="json"), indent=indent, ensure_ascii=ensure_ascii)
    assert parse_answer(f"{before}\n```json\n{answer}\n```\n{after}", Plan) == plan


@given(plans, prose, prose, indents, st.booleans())
@settings(examples, max_examples=60)
def test_what_stands_in_prose_is_read_as_it_was(plan, before, after, indent, ensure_ascii):
    answer = json.dumps(plan.model_dump(mode="json"), indent=indent, ensure_ascii=ensure_ascii)
    # A brace before that closes later would make the answer a part of something else; after an odd
    # quote, a brace in a text of the answer may be what closes it.
    texts_in_it = "".join(_STRING.findall(answer)) if before.count('"') % 2 else ""
    assume(not ("{" in before and "}" in after + texts_in_it))
    assert parse_answer(f"{before} and so {answer} {after}", Plan) == plan


def test_an_answer_that_an_open_brace_and_an_odd_quote_hide_is_refused_and_not_guessed():
    answer = Plan(steps=[], masks={}, best=(0, "}"), tags=set()).model_dump_json()
    with pytest.raises(InvalidAnswerError, match="no valid JSON"):
        parse_answer(f'{{ x 5" pipe and so {answer}', Plan)


@given(plans, st.data())
@settings(examples, max_examples=60)
def test_an_answer_that_is_cut_off_is_never_another_answer(plan, data):
    text = json.dumps(plan.model_dump(mode="json"))
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(InvalidAnswerError):
        parse_answer(text[:cut], Plan)


names = st.text("abc \u2212,:'", max_size=5)
trees = st.recursive(
    st.builds(Node, name=names),
    lambda inner: st.builds(Node, name=names, children=st.lists(inner, max_size=3)),
)


@given(trees, st.data())
@settings(examples, max_examples=60)
def test_a_part_of_a_damaged_answer_is_never_taken_for_the_answer(tree, data):
    text = json.dumps(tree.model_dump(mode="json"))
    if data.draw(st.booleans()):
        place = data.draw(st.sampled_from([i for i, sign in enumerate(text) if sign in '",:']))
        damaged = text[:place] + text[place + 1 :]
    else:
        place = data.draw(st.integers(1, len(text) - 1))
        damaged = text[:place] + data.draw(st.sampled_from('",:x')) + text[place:]
    try:
        read = parse_answer(damaged, Node)
    except InvalidAnswerError:
        return
    assert read == Node.model_validate_json(damaged)


fragments = st.sampled_from(
    ["{", "}", "[", "]", '"', "\\", ",", ":", " ", "\n", "```", "<think>", "</think>", "1", "-",
     "\u2212", "+", "NaN", "1e999", '{"goal":', '"weight"', '"x"', "null", "//", "\ufeff", "\ud800"]
)  # fmt: skip


@given(st.text(st.characters()) | st.lists(fragments, max_size=40).map("".join))
@example("{" * 5000)
@settings(examples, max_examples=100)
def test_arbitrary_text_fits_or_is_refused(text):
    for model in (Goal, Goals):
        try:
            assert isinstance(parse_answer(text, model), model)
        except InvalidAnswerError as error:
            refused = error
            assert refused.text == text
            assert repair_message(refused).encode()


HOSTILE = {
    "[": "[", "{": "{", "{quote": '{"', "{key": '{"a":', '["[",': '["[",', '",': '",', "[]": "[]",
    "{}": "{}", "quote": '"', "backslash": "\\", "]": "]", "{[": "{[", "[}": "[}", "{ {": "{ {",
    "1,": "1,", "fence": "```\n", "think": "<think>", "think-line": "\n<think>",
    "</think>": "</think>\t", "broken": '{"a" 1}', "{x}": "{x}", "escaped": '\\"', "number": "1",
    "minus": "\u2212", "space": " ", "line": "\n", "list-in-list": "[1,", "letters": "a",
}  # fmt: skip


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.slow
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("beginning", ["", '{"goal": "'], ids=["bare", "string"])
def test_hostile_text_takes_time_in_proportion_to_its_length(unit, beginning):
    def seconds(length):
        text = beginning + unit * (length // len(unit))
        started = time.process_time()
        with pytest.raises(InvalidAnswerError):
            parse_answer(text, Goal)
        return time.process_time() - started

    short, long = seconds(5_000), seconds(40_000)
    # Eight times the length takes 64 times as long, if it is quadratic.
    assert long < 24 * short + 0.3
