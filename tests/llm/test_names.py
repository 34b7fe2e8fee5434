"""Names of clients: what a spec can hold."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.llm import LLM, Budget, resolve_llm
from llm_wrappers.testing import ScriptedLLM


def test_a_name_holds_every_option_of_a_client():
    llm = LLM(
        "openai/gpt-5-mini",
        cache="an answers file.sqlite",
        mode="replay",
        concurrency=32,
        retries=1,
        repairs=0,
        timeout=5,
        remember_failures=0,
        max_entries=100,
        prices=(0.25, 2.0),
        schemas=True,
        budget=Budget(calls=3, tokens=10, dollars=0.5, requests_per_minute=60, name="thesis"),
        api_base="http://127.0.0.1:8000/v1",
        api_key_env="MY_KEY",
        temperature=0.5,
        stop=["a", "b"],
        reasoning_effort="low",
        user="7",
    )
    other = resolve_llm(llm.name)
    assert json.loads(json.dumps(llm.name)) == other.name == llm.name
    options = "cache mode concurrency retries repairs timeout params remember_failures max_entries"
    for option in [*options.split(), "prices", "schemas", "budget", "connection"]:
        assert getattr(other, option) == getattr(llm, option), option


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
values = st.one_of(
    texts, st.integers(-9, 9), st.floats(-9, 9), st.booleans(), st.lists(texts, max_size=3)
)


@pytest.mark.parametrize("name", ["", "llm:", "gpt-5-mini", "reference:crafter", 3, None])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UnknownNameError, match="llm:openai/gpt-5-mini"):
        resolve_llm(name)


@pytest.mark.parametrize(
    ("query", "match"),
    [
        ("api_key=sk-canary", "may not stand in a name"),
        ("transport=x", "may not stand in a name"), ("mode=replay&mode=off", "twice"),
        ("mode", "expected options"), ("calls=5", "budget=NAME"),
        ("calls=-1&budget=x&cache=a.sqlite", "calls"), ("mode=write", "mode"),
        ("concurrency=many", "concurrency"), ("budget=mine&calls=2", "cache"),
    ],
)  # fmt: skip
def test_wrong_options_in_a_name_are_refused(query, match):
    with pytest.raises(InvalidOptionError, match=match) as caught:
        resolve_llm(f"llm:openai/gpt-5-mini?{query}")
    if "api_key" in query:
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "llm",
    [
        lambda: ScriptedLLM([]), lambda: LLM("m", budget=Budget(calls=1)),
        lambda: LLM("m", api_key="sk-1"), lambda: LLM("m", extra_headers={"X-Key": "1"}),
    ],
    ids=["transport", "unnamed-budget", "api-key", "headers"],
)  # fmt: skip
def test_what_has_no_form_in_a_name_says_so(llm):
    with pytest.raises(InvalidOptionError):
        _ = llm().name


paths = texts.filter(lambda text: "://" not in text and "\0" not in text and text.strip())


@given(model=paths, cache=paths, budget=paths)
@settings(deadline=None)
def test_texts_that_look_like_numbers_or_options_round_trip(model, cache, budget):
    llm = LLM(model, cache=cache, budget=Budget(calls=1, name=budget))
    other = resolve_llm(llm.name)
    assert (other.model, other.cache, other.budget) == (llm.model, llm.cache, llm.budget)


@pytest.mark.parametrize("url", ["redis://:pw-canary@host/0", "redis://host/0?password=pw-canary"])
def test_the_password_of_a_cache_never_stands_in_a_name(url):
    with pytest.raises(InvalidOptionError, match="password"):
        _ = LLM("m", cache=url).name
    with pytest.raises(InvalidOptionError, match="password") as caught:
        resolve_llm(f"llm:m?cache={quote(url, safe='')}")
    assert "canary" not in str(caught.value)
    assert LLM("m", cache="redis://host:6380/1").name == "llm:m?cache=redis://host:6380/1"


@pytest.mark.parametrize(
    "name", ["llm:m?api_key=sk-canary&mode", "llm:m?mode=off&mode=off&x=sk-canary", "m?k=sk-canary"]
)
def test_a_wrong_name_is_not_repeated_with_what_may_be_a_key(name):
    with pytest.raises((InvalidOptionError, UnknownNameError)) as caught:
        resolve_llm(name)
    assert "canary" not in str(caught.value)
