"""Prompt templates: filled completely or not at all."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.llm.prompt_template import PromptTemplate

names = st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=8)


@given(st.dictionaries(names, st.text(), min_size=1, max_size=4))
@settings(deadline=None)
def test_what_is_filled_in_stays_as_it_is(values):
    template = PromptTemplate("|".join(f"${{{name}}}" for name in values))
    assert template.fill(**values) == "|".join(values.values())


def test_json_and_code_need_no_escaping_but_dollars_do():
    assert PromptTemplate('{"a": {"b": 1}} % {} $$5').fill() == '{"a": {"b": 1}} % {} $5'
    with pytest.raises(InvalidOptionError, match=r"\$\$"):
        PromptTemplate("it costs $5").fill()


@pytest.mark.parametrize("values", [{}, {"game": "chess", "rules": "many"}, {"rules": "many"}])
def test_a_blank_too_few_or_a_value_too_many_is_said(values):
    with pytest.raises(InvalidOptionError, match="game"):
        PromptTemplate("Play $game.").fill(**values)


def test_the_version_changes_with_the_text_and_only_with_it():
    first, same, other = (PromptTemplate(text) for text in ("a $b", "a $b", "a $b."))
    assert first.version == same.version != other.version


@pytest.mark.parametrize("name", ["no/such", "../errors", ""])
def test_an_unknown_template_is_said(name):
    with pytest.raises(UnknownNameError):
        PromptTemplate.packaged(name)
