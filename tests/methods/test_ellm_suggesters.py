"""ELLM's open-ended suggester over a scripted model, and the names of both forms."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
from ellm_doubles import (
    COW,
    NOTHING,
    TOY,
    TREE,
    caption_in,
    question_in,
    states_of,
    suggestion,
    verdict,
)

from llm_wrappers.captions import EnvDescription
from llm_wrappers.errors import (
    BudgetExceededError,
    CacheMissError,
    GuidanceWarning,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.states import States
from llm_wrappers.guidance.suggesters import Suggester, resolve_suggester
from llm_wrappers.llm import Budget
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods.ellm import ClosedFormSuggester, LLMSuggester
from llm_wrappers.methods.ellm.llm_suggester import closed_form, open_ended
from llm_wrappers.testing import ScriptedLLM


def suggester_over(script=suggestion, *, llm_options=None, **options):
    options.setdefault("on_miss", "block")
    return LLMSuggester(ScriptedLLM(script, **(llm_options or {})), TOY, **options)


class TestOpenEnded:
    def test_each_state_has_the_goals_of_its_caption(self):
        suggester = suggester_over()
        assert isinstance(suggester, Suggester)
        assert suggester.suggest(states_of(TREE, COW)) == [("chop tree", "rest"), ("eat cow",)]

    def test_distinct_states_are_asked_about_once(self):
        suggester = suggester_over()
        for _ in range(5):
            suggester.suggest(states_of(TREE, COW, TREE))
        # The threads that ask do so in any order.
        asked = [caption_in(request) for request in suggester.llm.requests]
        assert sorted(asked) == sorted([TREE, COW])
        assert suggester.stats()["texts"] == 15

    def test_equal_but_for_blanks_is_the_same_state(self):
        suggester = suggester_over()
        suggester.suggest(states_of(TREE))
        suggester.suggest(states_of(" You see\n  a tree. "))
        assert len(suggester.llm.requests) == 1

    def test_an_unreadable_answer_suggests_nothing_and_is_not_asked_for_again(self):
        suggester = suggester_over()
        with pytest.warns(GuidanceWarning, match="got 'I am not sure.'"):
            assert suggester.suggest(states_of(NOTHING)) == [()]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert suggester.suggest(states_of(NOTHING)) == [()]
        assert len(suggester.llm.requests) == 1
        assert suggester.stats()["failures_parse"] == suggester.stats()["failures"] == 1

    def test_unreadable_answers_are_counted_each_and_said_once(self):
        suggester = suggester_over(lambda request: "No idea." + "!" * 100)
        with pytest.warns(GuidanceWarning) as said:
            suggester.suggest(states_of(TREE, COW))
        assert len(said) == 1
        assert len(str(said[0].message)) < 300
        assert suggester.stats()["failures_parse"] == 2

    def test_on_miss_neutral_asks_nobody_until_told_to(self):
        suggester = suggester_over(on_miss="neutral")
        assert suggester.suggest(states_of(TREE)) == [None]
        assert suggester.llm.requests == []
        assert suggester.source.ask_missed() == 1
        assert suggester.suggest(states_of(TREE)) == [("chop tree", "rest")]

    def test_strict_and_max_goals(self):
        chatty = "Well:\n- chop tree\n- rest\n- sleep"
        assert suggester_over([chatty], max_goals=2).suggest(states_of(TREE)) == [
            ("chop tree", "rest")
        ]
        with pytest.warns(GuidanceWarning):
            assert suggester_over([chatty], strict=True).suggest(states_of(TREE)) == [()]

    def test_a_template_of_ones_own(self):
        template = PromptTemplate("At $env_id: $caption?")
        suggester = suggester_over(["- run"], prompt=template)
        assert suggester.suggest(states_of("A bear")) == [("run",)]
        assert question_in(suggester.llm.requests[0]) == "At Toy-v0: A bear?"

    def test_captions_in_another_form(self):
        suggester = suggester_over(caption=lambda facts: [COW for _ in facts])
        assert suggester.suggest(states_of(TREE)) == [("eat cow",)]

    def test_actions_give_the_verbs_where_there_are_no_goals(self):
        cart = EnvDescription(env_id="Cart", rules="", action_names=("push left", "push right"))
        llm = ScriptedLLM(["- push left"])
        LLMSuggester(llm, cart, on_miss="block").suggest(states_of("It leans."))
        assert "Verbs you may use: push\n" in question_in(llm.requests[0])

    def test_pickles_with_its_client_and_begins_with_an_empty_memory(self, tmp_path):
        llm_options = {"cache": tmp_path / "answers.sqlite"}
        suggester = suggester_over(llm_options=llm_options)
        suggester.suggest(states_of(TREE))
        twin = pickle.loads(pickle.dumps(suggester))
        assert twin.suggest(states_of(TREE)) == [("chop tree", "rest")]
        assert len(twin.llm.requests) == 1
        assert twin.stats()["cache_hits"] == 1

    def test_is_never_copied_in_one_process(self):
        suggester = suggester_over()
        assert copy.deepcopy({"suggester": suggester})["suggester"] is suggester

    @pytest.mark.parametrize(
        ("options", "error", "says"),
        [
            ({"strict": "yes"}, InvalidOptionError, "strict"),
            ({"max_goals": 0}, InvalidOptionError, "max_goals"),
            ({"max_goals": True}, InvalidOptionError, "max_goals"),
            ({"on_miss": "wait"}, InvalidOptionError, "on_miss"),
            ({"prompt": "ellm/none"}, UnknownNameError, "ellm/none"),
            ({"prompt": PromptTemplate("Hello")}, InvalidOptionError, "caption"),
            ({"prompt": PromptTemplate("$caption $mood")}, InvalidOptionError, "mood"),
            ({"retry_failed_after": -1}, InvalidOptionError, "retry_failed_after"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_options_that_cannot_work(self, options, error, says):
        with pytest.raises(error, match=says):
            suggester_over(**options)

    def test_no_client(self):
        with pytest.raises(InvalidOptionError, match="client"):
            LLMSuggester("openai/gpt-5-mini", TOY)


class TestPrefill:
    def test_asks_each_state_once_and_says_what_came(self):
        suggester = suggester_over(on_miss="neutral")
        annotation = suggester.prefill([TREE, COW, TREE, NOTHING])
        assert annotation.suggestions == {
            TREE: ("chop tree", "rest"),
            COW: ("eat cow",),
            NOTHING: (),
        }
        assert annotation.unreadable == 1
        assert annotation.goals() == {"chop tree": 1, "rest": 1, "eat cow": 1}
        assert "3 states, 2 with suggestions, 1 answers unreadable" in str(annotation)
        assert suggester.suggest(states_of(COW)) == [("eat cow",)]
        assert len(suggester.llm.requests) == 3

    def test_goes_on_where_a_budget_ended_it(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        first = suggester_over(llm_options={"cache": cache, "budget": Budget(calls=1)})
        with pytest.raises(BudgetExceededError):
            first.prefill([TREE, COW])
        second = suggester_over(llm_options={"cache": cache})
        assert len(second.prefill([TREE, COW]).suggestions) == 2
        assert len(second.llm.requests) == 1


class TestNames:
    def test_open_ended(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        rest = (
            f"openai/test?cache={cache}&temperature=0.1&on_miss=background"
            "&prompt=ellm/open-goals&strict=true&max_goals=3"
        )
        suggester = resolve_suggester(f"llm:{rest}", description=TOY)
        assert isinstance(suggester, LLMSuggester)
        llm = suggester.llm
        assert llm.name == f"llm:openai/test?cache={cache}&temperature=0.1"
        assert suggester.source.on_miss == "background"
        assert suggester.source.stats()["asked"] == 0

    def test_options_of_a_name_do_what_they_say(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        chatty = ScriptedLLM(["Well:\n- a\n- b"], model="openai/test", cache=cache)
        LLMSuggester(chatty, TOY).prefill([TREE])
        name = f"openai/test?cache={cache}&mode=replay"
        limited = open_ended(f"{name}&max_goals=1", description=TOY)
        assert limited.suggest(states_of(TREE)) == [("a",)]
        strict = open_ended(f"{name}&strict=true", description=TOY)
        with pytest.warns(GuidanceWarning):
            assert strict.suggest(states_of(TREE)) == [()]
        with pytest.raises(CacheMissError):
            open_ended(f"{name}&on_miss=block", description=TOY).suggest(states_of(COW))

    def test_closed_form(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        model = ScriptedLLM(verdict, model="openai/test", cache=cache)
        ClosedFormSuggester(model, TOY, logprobs=False).prefill([TREE])
        rest = f'openai/test?cache={cache}&mode=replay&candidates=["sleep"]&logprobs=false'
        suggester = resolve_suggester(f"llm-closed:{rest}", description=TOY)
        assert isinstance(suggester, ClosedFormSuggester)
        assert suggester.suggest(states_of(TREE)) == [("sleep",)]
        never = closed_form(f"{rest}&threshold=1.0", description=TOY)
        assert never.suggest(states_of(TREE)) == [()]

    @pytest.mark.parametrize(
        ("rest", "error", "says"),
        [
            ("", UnknownNameError, "llm:"),
            ("?on_miss=block", UnknownNameError, "llm:"),
            ("m?on_miss=block&on_miss=neutral", InvalidOptionError, "twice"),
            ("m?on_miss", InvalidOptionError, "equals"),
            ("m?on_miss=wait", InvalidOptionError, "on_miss"),
            ("m?max_goals=few", InvalidOptionError, "max_goals"),
            ("m?api_key=x", InvalidOptionError, "api_key"),
        ],
        ids=["empty", "no-model", "twice", "no-value", "policy", "number", "key"],
    )
    def test_names_that_cannot_work(self, rest, error, says):
        with pytest.raises(error, match=says):
            open_ended(rest, description=TOY)


def test_facts_without_captions_are_never_read():
    """The captions of the states are not made where others are used."""

    def fail(facts):
        raise AssertionError("nobody reads these")

    suggester = suggester_over(caption=lambda facts: [TREE])
    assert suggester.suggest(States([{}], fail)) == [("chop tree", "rest")]
