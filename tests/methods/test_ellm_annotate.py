"""Asking about the states of an environment beforehand."""

import gymnasium as gym
import pytest
from ellm_doubles import caption_in, states_of

from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.methods import ellm
from llm_wrappers.testing import ScriptedLLM

MINIGRID = "MiniGrid-DoorKey-5x5-v0"


@pytest.fixture
def env():
    pytest.importorskip("minigrid")
    environment = gym.make(MINIGRID)
    yield environment
    environment.close()


def scripted(**options):
    return ScriptedLLM(lambda request: "- pick up the key\n- open the door", **options)


def test_each_state_met_is_asked_about_once(env):
    llm = scripted()
    annotation = ellm.annotate(llm, env, states=40)
    asked = [caption_in(request) for request in llm.requests]
    assert len(asked) == len(set(asked)) == len(annotation.suggestions) == 40
    assert set(asked) == set(annotation.suggestions)
    assert all(caption.startswith("You face") for caption in asked)
    assert annotation.goals() == {"pick up the key": 40, "open the door": 40}


def test_the_seed_decides_what_is_met(env):
    captions = [ellm.record_captions(env, states=30, seed=seed) for seed in (1, 1, 2)]
    assert captions[0] == captions[1] != captions[2]


def test_steps_bound_the_play(env):
    assert len(ellm.record_captions(env, states=1_000, steps=1)) == 1
    assert 1 < len(ellm.record_captions(env, states=1_000, steps=50)) <= 50


def test_the_answers_are_those_that_training_looks_up(env, tmp_path):
    cache = tmp_path / "answers.sqlite"
    captioner = resolve_captioner(env)
    options = {"prompt": "ellm/open-goals"}
    writer = ellm.LLMSuggester(scripted(cache=cache), captioner.description, **options)
    captions = list(ellm.annotate(writer, env, states=10).suggestions)
    reader_llm = scripted(cache=cache)
    reader = ellm.LLMSuggester(reader_llm, captioner.description, **options)
    states = states_of(*captions)
    assert reader.suggest(states) == [("pick up the key", "open the door")] * 10
    assert reader_llm.requests == []


def test_closed_form_questions(env):
    llm = ScriptedLLM(lambda request: "Yes")
    goals = ["find the key", "open the door"]
    suggester = ellm.ClosedFormSuggester(
        llm, resolve_captioner(env).description, candidates=goals, logprobs=False
    )
    annotation = ellm.annotate(suggester, env, states=5)
    assert annotation.goals() == dict.fromkeys(goals, 5)
    assert len(llm.requests) == 10


def test_a_suggester_reads_its_own_captions(env):
    llm = scripted()
    suggester = ellm.LLMSuggester(
        llm,
        resolve_captioner(env).description,
        caption=lambda facts: [f"You face {row['direction']}." for row in facts],
    )
    annotation = ellm.annotate(suggester, env, states=4)
    ways = ("east", "north", "south", "west")
    assert sorted(annotation.suggestions) == [f"You face {way}." for way in ways]
    assert len(llm.requests) == 4


def test_captions_that_cannot_be_made_are_said(env):
    def broken(facts):
        return [row["no such fact"] for row in facts]

    description = resolve_captioner(env).description
    suggester = ellm.LLMSuggester(scripted(), description, caption=broken)
    with pytest.raises(KeyError, match="no such fact"):
        ellm.annotate(suggester, env, states=4)


def test_training_on_the_same_path_meets_no_other_states(env):
    llm = scripted()
    suggester = ellm.LLMSuggester(llm, resolve_captioner(env).description, on_miss="block")
    ellm.annotate(suggester, env, states=10_000, steps=120, seed=3)
    asked = len(llm.requests)
    trained = ellm.wrap(env, suggester)
    trained.action_space.seed(3)
    trained.reset(seed=3)
    for _ in range(60):
        trained.step(trained.action_space.sample())
    assert len(llm.requests) == asked
    assert trained.stats()["suggester"]["share_answered"] == 1.0


@pytest.mark.parametrize(
    "options", [{"states": 0}, {"states": True}, {"steps": 0}, {"steps": 1.5}], ids=str
)
def test_options_that_cannot_work(options):
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        ellm.record_captions(gym.make("CartPole-v1"), **options)
