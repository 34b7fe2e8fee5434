"""Judges and potentials by name, found by their entry points."""

from __future__ import annotations

import pytest

from llm_wrappers.captions import EnvDescription
from llm_wrappers.errors import CacheMissError, InvalidOptionError, UnknownNameError
from llm_wrappers.guidance.judges.names import resolve_judge, resolve_potential
from llm_wrappers.guidance.states import States
from llm_wrappers.methods import lmgt
from llm_wrappers.methods.lmgt._scoring import StateAndAction
from llm_wrappers.methods.lmgt.names import caption_judge, vision_judge
from llm_wrappers.testing import ScriptedLLM

TOY = EnvDescription(env_id="Toy-v0", rules="Find the key.", action_names=("stay", "go"))
NEAR = "The key is near."


class TestNames:
    def test_options_of_client_and_judge(self):
        name = (
            "llm:openai/gpt-5-mini?prompt=few-shot&knowledge=rules&on_miss=block&temperature=0"
            '&examples=[["You hold the key.","stay",-1]]&retry_failed_after=5'
        )
        found = resolve_judge(name, description=TOY)
        assert type(found) is lmgt.LLMJudge
        assert found.llm.name == "llm:openai/gpt-5-mini?temperature=0"
        assert found._scoring.source.on_miss == "block"
        prompt = found._prompt(StateAndAction("go", caption=NEAR))
        assert "Find the key." in prompt
        assert "You hold the key." in prompt

    def test_a_potential_and_a_text_as_knowledge(self):
        name = "llm:openai/gpt-5-mini?knowledge=Keys+are+yellow.&on_miss=background"
        found = resolve_potential(name, description=TOY)
        assert type(found) is lmgt.LLMPotential
        assert "Keys are yellow." in found._prompt(NEAR)
        assert found._scoring.source.on_miss == "background"

    def test_judges_that_look(self, tmp_path):
        with ScriptedLLM(["yes"], cache=tmp_path / "answers.sqlite") as other:
            other.ask("Is the cache there?")
        rest = (
            "openai/gpt-5-mini?prompt=role&knowledge=rules&on_miss=block&mode=replay"
            f"&cache={tmp_path / 'answers.sqlite'}"
        )
        picture = States([{"frame": "iVBORw0K"}], list)
        for make, words in ((vision_judge, "You are a coach"), (caption_judge, "Describe")):
            with pytest.raises(CacheMissError, match=words):
                make(rest, description=TOY).judge(picture, [1])

    @pytest.mark.parametrize(
        ("rest", "error", "message"),
        [
            ("m?prompt=tale", InvalidOptionError, "zero-shot"),
            ("m?prompt=role&prompt=role", InvalidOptionError, "twice"),
            ("m?prompt=few-shot", InvalidOptionError, "examples"),
            ("", UnknownNameError, "expected an LLM"),
        ],
    )
    def test_names_that_cannot_work(self, rest, error, message):
        with pytest.raises(error, match=message):
            resolve_judge(f"llm:{rest}", description=TOY)
