"""Structured answers: reading them out of what models say, and never guessing."""

import gc
import json
import re
import subprocess
import sys
import time
from enum import Enum
from typing import Literal

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel

from llm_wrappers.errors import InvalidAnswerError, InvalidOptionError
from llm_wrappers.llm.structured import (
    answer_schema,
    parse_answer,
    repair_message,
    schema_instructions,
)


class Goal(BaseModel):
    goal: str
    weight: float = 1.0


class Node(BaseModel):
    name: str
    children: list["Node"] = []


class Kind(Enum):
    TOOL = "tool"
    FOOD = "food"


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    order: Literal["first", "last"]
    count: int
    weight: float
    done: bool
    note: str | None


class Plan(BaseModel):
    steps: list[Step]
    masks: dict[str, list[int]]
    best: tuple[int, str]
    tags: set[str]


class Goals(RootModel[list[Goal]]):
    pass


class Numbers(RootModel[list[int]]):
    pass


# --- what is read -------------------------------------------------------------------------------

FORMS = {
    "plain": '{"goal": "water"}',
    "fence": '```\n{"goal": "water"}\n```',
    "fence-with-language": '```json\n{"goal": "water"}\n```',
    "fence-in-one-line": '```json {"goal": "water"}```',
    "fence-of-tildes": '~~~json\n{"goal": "water"}\n~~~',
    "indented-fence": '1. So:\n   ```json\n   {"goal": "water"}\n   ```',
    "unclosed-fence": '```json\n{"goal": "water"}',
    "fence-between-prose": 'Sure!\n```json\n{"goal": "water"}\n```\nThis is {best}.',
    "prose-with-braces": 'use {x} like so: {"goal": "water"}',
    "prose-with-lone-braces": 'between { and [, or ] and }: {"goal": "water"}',
    "prose-with-an-interval": 'a number in [0, 1): {"goal": "water"} or in (0, 1]',
    "prose-with-a-stray-quote": 'a 5" pipe {"goal": "water"} and 6" more',
    "prose-with-quoted-braces": 'between "{" and "}": {"goal": "water"} is "{x}"',
    "prose-with-escapes": 'C:\\dir\\ "x\\" {"goal": "water"} \\{ \\',
    "prose-with-placeholder-json": 'The form is {"goal": ...}. So {"goal": "water"}',
    "apostrophes": "it's {'x'} and I'd say {\"goal\": \"water\"}, wouldn't you?",
    "square-brackets-around": '[Answer: {"goal": "water"}]',
    "markers": '[ANSWER] {"goal": "water"} [/ANSWER]',
    "footnote": '{"goal": "water"} [1] [2nd] [see above]',
    "tags": '<answer>{"goal": "water"}</answer>',
    "backticks": 'I choose `{"goal": "water"}`.',
    "quoted": 'I choose "{"goal": "water"}".',
    "boxed": '$\\boxed{{"goal": "water"}}$',
    "doubled-braces": '{{"goal": "water"}}',
    "boxed-in-lines": '\\boxed{\n{"goal": "water"}\n}',
    "latex-display": '\\[ {"goal": "water"} \\]',
    "byte-order-mark": '\ufeff{"goal": "water"}\ufeff',
    "odd-spaces": '{\u00a0"goal"\u202f:\u2003"water"\u200b}\u00a0',
    "line-breaks-of-windows": '{\r\n"goal": "water"\r\n}\r\n',
    "line-separators": '{\u2028"goal": "water"\u2029}',
    "several": '{"goal": "wood"} then {"goal": "water"}',
    "several-glued": '{"goal": "wood"}{"goal": "water"}',
    "several-fences": '```json\n{"goal": "wood"}\n```\nNo:\n```json\n{"goal": "water"}\n```',
    "unfit-after": '{"goal": "water"} and {"other": 1} and [{"goal": "x"}]',
    "broken-before": '{"goal": "wood" "weight": 1} rather {"goal": "water"}',
    "lone-begin-before-a-fence": 'It begins with {"goal":\n```json\n{"goal": "water"}\n```',
    "braces-around-a-fence": 'With { so:\n```json\n{"goal": "water"}\n```\nand then } again',
    "thinking": '<think>{"goal": "wood"}</think>{"goal": "water"}',
    "thinking-in-lines": '<think>\n{"goal": "wood"} {\n</think>\n\n{"goal": "water"}',
    "thinking-twice": '<think>{</think>\n<think>[</think>\n{"goal": "water"}',
    "thinking-after-mark": '\ufeff <think>{</think>{"goal": "water"}',
    "thinking-without-begin": 'Maybe {"goal": "wood", or\n</think>\n{"goal": "water"}',
    "thinking-in-long": '<thinking>{</thinking>{"goal": "water"}',
    "extra-keys": '{"goal": "water", "why": "thirst"}',
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_the_answer_is_found_in_what_models_write_around_it(text):
    assert parse_answer(text, Goal) == Goal(goal="water")


@pytest.mark.parametrize(
    "content",
    [
        "a } b", "{", '"}', '{"goal": "wood"}', "[1", "\u22125 and \u00a0 and +5", "```json", "\\",
        "</think>", "<think>x</think>", "a\u2028b", "\ufeff", "// no comment", "NaN",
        "'", "\U0001f4a7",
    ],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("form", ["{}", "So {{x}}:\n```json\n{}\n```\n", '5" of {}, yes'])
def test_strings_are_left_as_they_are(content, form):
    for ensure_ascii in (True, False):
        answer = json.dumps({"goal": content}, ensure_ascii=ensure_ascii)
        assert parse_answer(form.format(answer), Goal).goal == content


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("\u22120.5", -0.5), ("\u20113", -3.0), ("\u20133", -3.0), ("\uff0d3", -3.0),
        ("1e\u22123", 0.001), ("+0.5", 0.5), ("+1e+2", 100.0), ("-0.5", -0.5),
    ],
    ids=ascii,
)  # fmt: skip
def test_signs_of_numbers_may_be_typographic(number, value):
    assert parse_answer(f'{{"goal": "\u2212+1", "weight": {number}}}', Goal) == Goal(
        goal="\u2212+1", weight=value
    )


def test_an_array_is_an_answer_too():
    assert parse_answer('Goals:\n[{"goal": "a"}, {"goal": "b"}]', Goals).root[1].goal == "b"
    assert parse_answer("[4] is wrong, I say [1, \u22122, 3]", Numbers).root == [1, -2, 3]
    assert parse_answer("nothing fits: []", Numbers).root == []


# --- what is not guessed ------------------------------------------------------------------------

# A piece of each of them would fit, and would be another answer.
BROKEN = {
    "cut-off": '{"name": "root", "children": [{"name": "a"}, {"name": "b"}',
    "cut-off-in-a-fence": '```json\n{"name": "root", "children": [{"name": "a"},\n```\n',
    "comma-missing": '{"name": "root" "children": [{"name": "a"}]}',
    "colon-and-list-missing": '{"name": "root" "child": {"name": "a"}}',
    "comma-missing-and-cut-off": '{"name": "root" "child": {"name": "a"}, "x": [',
    "quote-inside": '{"name": "5" pipe", "child": {"name": "a"}}',
    "quotes-inside": '{"name": "the "old" root", "child": {"name": "a"}}',
    "comment-first": '{ // the root\n "name": "root", "child": {"name": "a"}}',
    "comment-first-and-cut-off": '{ // the root\n "name": "root", "child": {"name": "a"}',
    "single-quotes": "{'name': 'root', 'child': {\"name\": \"a\"}}",
    "single-quotes-cut-off": "{'name': 'root', 'child': {\"name\": \"a\"}",
    "bare-keys": '{name: "root", child: {"name": "a"}}',
    "closer-mismatch": '{"name": "root", "children": [{"name": "a"}}',
    "list-cut-off": '[{"name": "root"}, {"name": "a"}',
    "list-broken": '[{"name": "root"} {"name": "a"}]',
    "list-with-numbers": '[1, 2, {"name": "a"}',
    "list": '[{"name": "a"}]',
    "wrapped": '{"answer": {"name": "a"}}',
    "in-a-string": '{"answer": "{\\"name\\": \\"a\\"}"}',
    "not-a-number": '{"name": "root", "weight": NaN, "children": [{"name": "a"}]}',
    "infinite": '{"name": "root", "weight": -Infinity}',
    "infinite-by-exponent": '{"name": "root", "weight": 1e999}',
    "sum": '{"name": "root", "weight": 1+2}',
    "difference": '{"name": "root", "weight": 1\u22122}',
    "key-twice": '{"name": "root", "name": "a"}',
    "number-too-long": '{"name": "root", "weight": ' + "1" * 5000 + "}",
    "draft-then-cut-off": '{"name": "a"} Better: {"name": "b", "children": [',
    "draft-then-broken": '{"name": "a"} Better: {"name": "b" "children": []}',
    "draft-then-nan": '{"name": "a"} Better: {"name": "b", "weight": NaN}',
    "draft-then-single-quotes": "{\"name\": \"a\"} Better: {'name': 'b'}",
    "still-thinking": '<think>Perhaps {"name": "a"}',
    "only-thought": '<think>Perhaps {"name": "a"}</think> I do not know.',
    "only-thought-without-begin": 'Perhaps {"name": "a"}\n</think>\nI do not know.',
    "prose": "I do not know.",
    "nothing": "",
    "number": "5",
    "string": '"root"',
    "half-a-pair": '{"name": "\\ud83d"}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer_is_not_repaired_by_guessing(text):
    with pytest.raises(InvalidAnswerError) as failure:
        parse_answer(text, Node)
    assert failure.value.text == text
    assert str(failure.value).startswith("the answer does not fit Node:\n- ")


def test_too_deep_nesting_is_refused_whatever_the_recursion_limit():
    deep = '{"name": "a", "children": [' * 60 + "]}" * 60
    with pytest.raises(InvalidAnswerError, match="at most 100 nested levels, got 120"):
        parse_answer(deep, Node)
    shallow = '{"name": "a", "children": [' * 49 + "]}" * 49
    assert parse_answer(shallow, Node).name == "a"


def test_a_high_recursion_limit_does_not_end_in_a_crash():
    program = (
        "import sys; sys.setrecursionlimit(10**9)\n"
        "from pydantic import BaseModel\n"
        "from llm_wrappers.llm.structured import parse_answer\n"
        "from llm_wrappers.errors import InvalidAnswerError\n"
        "class Goal(BaseModel): goal: str\n"
        "n = 100_000\n"
        "for text in ('['*n + ']'*n, '{\"a\":' + '['*n + '}', '{\"a\":'*n + '1' + '}'*n):\n"
        "    try: parse_answer(text, Goal)\n"
        "    except InvalidAnswerError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["refused"] * 3, done.stderr


# --- what is said about it ----------------------------------------------------------------------


def problems(text, model):
    with pytest.raises(InvalidAnswerError) as failure:
        parse_answer(text, model)
    return str(failure.value).splitlines()


def test_each_field_is_named_with_what_was_expected_and_got():
    text = json.dumps(
        {
            "steps": [
                {"name": 5, "kind": "toy", "order": "first", "count": "many", "weight": 1,
                 "done": True, "colour": "red"}
            ],
            "masks": {"go left": [0, "x"]},
            "best": [1],
        }
    )  # fmt: skip
    assert problems(text, Plan) == [
        "the answer does not fit Plan:",
        "- steps[0].name: expected a valid string, got 5",
        "- steps[0].kind: expected 'tool' or 'food', got \"toy\"",
        "- steps[0].count: expected a valid integer, unable to parse string as an integer, "
        'got "many"',
        "- steps[0].note: expected this field, got nothing",
        "- steps[0].colour: expected no such field",
        "- masks.go left[1]: expected a valid integer, unable to parse string as an integer, "
        'got "x"',
        "- best[1]: expected this field, got nothing",
        "- tags: expected this field, got nothing",
    ]


def test_long_lists_and_long_values_are_cut():
    lines = problems(json.dumps([{"goal": ["x" * 1000]}] * 20), Goals)
    assert len(lines) == 10
    assert all(len(line) < 150 for line in lines)
    assert lines[-1] == "- and 12 more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I do not know.", 'expected a JSON object or array, got "I do not know."'),
        ('{"goal": "a" "b"}', 'Expecting \',\' delimiter near \'{"goal": "a" "b"}\''),
        ('{"goal": "a", ', 'breaks off: "{\\"goal\\": \\"a\\", "'),
        ('{"weight": NaN}', "expected finite numbers, got NaN"),
        ('{"weight": 1e999}', "expected finite numbers, got 1e999"),
        ('{"goal": "a", "goal": "b"}', "expected each key once, got 'goal' more than once"),
    ],
)
def test_broken_json_is_described(text, said):
    assert said in "\n".join(problems(text, Goal))


# --- schemas ------------------------------------------------------------------------------------


def test_a_schema_keeps_the_order_of_the_fields_and_is_plain_json():
    schema = answer_schema(Plan)
    assert list(schema["properties"]) == ["steps", "masks", "best", "tags"]
    assert schema["required"] == ["steps", "masks", "best", "tags"]
    assert json.loads(json.dumps(schema)) == schema
    assert answer_schema(Plan) == schema
    assert answer_schema(Plan) is not schema


@pytest.mark.slow
def test_a_schema_is_the_same_in_every_process():
    program = (
        "import json\n"
        "from typing import Literal\n"
        "from pydantic import BaseModel\n"
        "from llm_wrappers.llm.structured import answer_schema\n"
        "class Answer(BaseModel):\n"
        "    tags: set[Literal['a', 'b', 'c']]\n"
        "    best: dict[str, int] | None = None\n"
        "print(json.dumps(answer_schema(Answer)))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


class Endless(BaseModel):
    number: float = Field(json_schema_extra={"maximum": float("inf")})


class Unfinished(BaseModel):
    later: "NeverDefined"  # noqa: F821


class Calls(BaseModel):
    function: type


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (None, "class Verdict"),
        (dict, "class Verdict"),
        ({"type": "object"}, "class Verdict"),
        (Goal(goal="x"), "class Verdict"),
        (BaseModel, "class Verdict"),
        (list[Goal], "class Verdict"),
        (RootModel[int], "has the type 'integer'; make it a field"),
        (RootModel[Literal["a", "b"]], "has the type 'string'"),
        (RootModel[Kind], "has the type 'string'"),
        (Endless, "Endless"),
        (Unfinished, "Unfinished"),
        (Calls, "Calls"),
    ],
    ids=["none", "type", "dict", "instance", "base", "list", "integer", "literal", "enum",
         "infinite", "unfinished", "class"],
)  # fmt: skip
def test_what_is_no_schema_is_refused(schema, said):
    with pytest.raises(InvalidOptionError, match=said):
        answer_schema(schema)


def test_the_instructions_hold_the_schema_in_the_order_of_its_fields():
    text = schema_instructions(answer_schema(Goal))
    assert json.loads(text[text.index("{") :]) == answer_schema(Goal)
    assert text.index('"goal"') < text.index('"weight"')
    assert parse_answer(f'{text}\nSo: {{"goal": "x"}}', Goal).goal == "x"


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
