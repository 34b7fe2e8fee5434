"""Structured answers: reading them out of what models say, and never guessing."""

import json
import subprocess
import sys
from typing import Literal

import pytest
from answer_models import Goal, Goals, Kind, Node, Plan
from pydantic import BaseModel, Field, RootModel

from llm_wrappers.errors import InvalidAnswerError, InvalidOptionError
from llm_wrappers.llm.structured import (
    answer_schema,
    parse_answer,
    schema_instructions,
)


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
