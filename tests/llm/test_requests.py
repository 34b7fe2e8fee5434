"""What is sent: the most that it can cost, and schemas in the strict form of OpenAI."""

import enum
import socket
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from llm_wrappers.errors import PromptTooLongError
from llm_wrappers.llm.brake import allow_requests
from llm_wrappers.llm.provider.litellm_transport import LiteLLMTransport, litellm
from llm_wrappers.llm.provider.requests import response_format, strict_schema
from llm_wrappers.llm.request import Request, as_messages

UNKNOWN = "openai/test-model"
KNOWN = "openai/gpt-4o-mini"  # 128,000 tokens of prompt, 16,384 of answer; $0.15 and $0.60


@pytest.fixture(autouse=True)
def _requests_allowed():
    with allow_requests(True):
        yield


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    litellm()
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def cost(prompt="Where is the water?", model=UNKNOWN, prices=None, schema=None, **params):
    request = Request(
        model=model, messages=as_messages(prompt), params=params, answer_schema=schema
    )
    return LiteLLMTransport(prices=prices).worst_case(request)


class TestTokens:
    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_the_answer_counts_with_its_limit(self, name):
        assert cost(**{name: 500}).tokens - cost(**{name: 100}).tokens == 400

    def test_or_with_the_most_that_the_model_can_say(self):
        assert cost(model=KNOWN).tokens - cost(model=KNOWN, max_tokens=100).tokens == 16284

    def test_the_prompt_counts_with_a_margin(self):
        words = "word " * 1000
        assert 1400 <= cost(words, max_tokens=1).tokens <= 1600

    def test_the_schema_counts(self):
        schema = {"type": "object", "properties": {"goal": {"type": "string"}}}
        assert cost(schema=schema).tokens > cost().tokens + 10

    def test_an_image_counts_without_being_fetched(self, no_network):
        parts = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/image.png"}},
        ]
        assert cost([{"role": "user", "content": parts}], max_tokens=1).tokens > 3000

    @given(st.text(max_size=300), st.integers(1, 5000))
    @settings(deadline=None, max_examples=50)
    def test_it_is_never_less_than_what_the_tokenizer_counts(self, prompt, limit):
        counted = litellm().token_counter(model="", text=prompt)
        assert cost(prompt, max_tokens=limit).tokens >= counted + limit


class TestDollars:
    def test_of_litellms_list(self):
        worst = cost(model=KNOWN, max_tokens=1000)
        prompt = worst.tokens - 1000
        assert worst.dollars == pytest.approx(prompt * 0.15e-6 + 1000 * 0.6e-6)

    @pytest.mark.parametrize("model", [UNKNOWN, KNOWN])
    def test_of_the_caller(self, model):
        worst = cost(model=model, prices=(1.0, 10.0), max_tokens=100)
        assert worst.dollars == pytest.approx((worst.tokens - 100 + 100 * 10) / 1e6)

    def test_the_highest_of_several(self, monkeypatch):
        facts = {
            "input_cost_per_token": 1e-6,
            "input_cost_per_token_above_200k_tokens": 2e-6,
            "output_cost_per_token": 1e-5,
            "output_cost_per_token_flex": 9.0,
        }
        monkeypatch.setitem(litellm().model_cost, "test-model", facts)
        worst = cost(max_tokens=100)
        assert worst.dollars == pytest.approx((worst.tokens - 100) * 2e-6 + 100 * 1e-5)


class TestTooLong:
    def test_a_prompt_far_over_the_window_is_refused(self):
        with pytest.raises(
            PromptTooLongError, match=r"about 3\d{5} tokens, .* holds 128000"
        ) as caught:
            cost("word " * 300_000, model=KNOWN)
        assert KNOWN in str(caught.value)


@pytest.mark.parametrize(
    "model", ["replicate/meta/llama-2-70b-chat", "groq/llama-3.3-70b-versatile", "command-r"]
)
def test_no_tokenizer_is_fetched(model, no_network):
    assert cost(model=model).tokens > 0


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: int = Field(ge=0, le=9)
    y: float


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Plan(BaseModel):
    """What to do next."""

    goal: str = Field(description="One of the goals.")
    where: Point
    path: list[Point] = Field(min_length=1, max_length=3)
    colour: Colour = Field(Colour.RED, description="Of the paint.")
    note: str | None = None
    weight: float = 1.5
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Tree(BaseModel):
    name: str
    children: list["Tree"]


def objects_in(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for inner in schema.values():
            yield from objects_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects_in(inner)


def keywords_in(schema):
    """All keywords, but not the names of properties and definitions."""
    if isinstance(schema, list):
        for inner in schema:
            yield from keywords_in(inner)
    elif isinstance(schema, dict):
        for name, inner in schema.items():
            yield name
            named = name in ("properties", "$defs")
            yield from keywords_in(list(inner.values()) if named else inner)


@pytest.mark.parametrize("model", [Plan, Tree, Point])
def test_every_object_is_closed_and_every_property_required(model):
    strict = strict_schema(model.model_json_schema())
    found = list(objects_in(strict))
    assert found
    for schema in found:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
    assert {"default", "oneOf", "discriminator", "allOf"}.isdisjoint(keywords_in(strict))


def test_nothing_of_the_meaning_is_lost():
    strict = strict_schema(Plan.model_json_schema())
    properties = strict["properties"]
    assert strict["description"] == "What to do next."
    assert properties["goal"]["description"] == "One of the goals."
    assert properties["where"] == {"$ref": "#/$defs/Point"}
    assert (properties["path"]["minItems"], properties["path"]["maxItems"]) == (1, 3)
    assert properties["note"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert properties["weight"]["description"] == "Default: 1.5."
    assert properties["colour"] == {
        "anyOf": [{"$ref": "#/$defs/Colour"}],
        "description": "Of the paint. Default: red.",
    }
    assert properties["pet"]["anyOf"] == [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]
    assert strict["$defs"]["Point"]["properties"]["x"]["maximum"] == 9
    assert strict["$defs"]["Colour"]["enum"] == ["red", "blue"]


class Free(BaseModel):
    shares: dict[str, float]


class Lazy(BaseModel):
    goals: list[str] = Field(default_factory=list)


class Short(BaseModel):
    goal: str = Field(max_length=10)


class Pair(BaseModel):
    pair: tuple[int, str]


class Extra(BaseModel, extra="allow"):
    goal: str


@pytest.mark.parametrize("model", [Free, Lazy, Short, Pair, Extra])
def test_what_has_no_strict_form_is_sent_as_it_is(model):
    schema = model.model_json_schema()
    assert strict_schema(schema) is None
    sent = response_format(schema)["json_schema"]
    assert sent == {"name": model.__name__, "schema": schema, "strict": False}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [{"type": "object", "properties": {}}]},
        {"type": "object", "properties": {"a": {"type": "string", "format": "path"}}},
        {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": True}, "required": ["a"]},
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": True}},
            "required": ["a"],
        },
        {},
    ],
)
def test_other_schemas_without_a_strict_form(schema):
    assert strict_schema(schema) is None
