"""ELLM: suggesters that ask a model, in both forms; asking beforehand; the recipe."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.parse import quote

import gymnasium as gym
import numpy as np
import pytest
from ellm_doubles import (
    COW,
    NOTHING,
    TOY,
    TREE,
    PlainHttp,
    caption_in,
    question_in,
    states_of,
    suggestion,
    verdict,
)
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import SubprocVecEnv

import llm_wrappers  # noqa: F401  (registers the environments)
from llm_wrappers.captions import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.cli import main as command
from llm_wrappers.errors import (
    BudgetExceededError,
    CacheMissError,
    GuidanceWarning,
    InvalidOptionError,
    InvalidRequestError,
    UnknownNameError,
)
from llm_wrappers.guidance.states import States
from llm_wrappers.guidance.suggesters import Suggester, resolve_suggester
from llm_wrappers.llm import LLM, Budget, Completion, allow_requests
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods import ellm
from llm_wrappers.testing import Fault, LLMServer, ScriptedLLM
from llm_wrappers.wrappers import CaptionObservationWrapper, SimilarityRewardWrapper, vector

LAKE, MINIGRID = "FrozenLake-v1", "MiniGrid-DoorKey-5x5-v0"
RIGHT = 2


def open_over(script=suggestion, *, llm_options=None, **options):
    options.setdefault("on_miss", "block")
    return ellm.LLMSuggester(ScriptedLLM(script, **(llm_options or {})), TOY, **options)


def closed_over(script=verdict, *, description=TOY, llm_options=None, **options):
    options.setdefault("on_miss", "block")
    llm = ScriptedLLM(script, **(llm_options or {}))
    return ellm.ClosedFormSuggester(llm, description, **options)


def weighed(**logprobs):
    """Return an answer with the log probabilities of its first token."""
    top = [{"token": word, "logprob": value} for word, value in logprobs.items()]
    word = max(logprobs, key=logprobs.get)
    first = {"token": word, "logprob": logprobs[word], "top_logprobs": top}
    return Completion(text=word, logprobs=[first])


class TestBothForms:
    @pytest.mark.parametrize("make", [open_over, closed_over])
    def test_serve_a_process_and_begin_anew_in_another(self, make, tmp_path):
        suggester = make(llm_options={"cache": tmp_path / "answers.sqlite"})
        assert isinstance(suggester, Suggester)
        first = suggester.suggest(states_of(TREE))
        asked = len(suggester.llm.requests)
        assert copy.deepcopy({"suggester": suggester})["suggester"] is suggester
        twin = pickle.loads(pickle.dumps(suggester))
        assert twin.suggest(states_of(TREE)) == first
        assert twin.stats()["cache_hits"] == asked
        # Equal but for blanks is the same state; more states may come at once.
        again = suggester.suggest(states_of(" You see\n  a tree. ", TREE, TREE))
        assert again == [*first, *first, *first]
        assert len(suggester.llm.requests) == asked

    @pytest.mark.parametrize("make", [open_over, closed_over])
    def test_ask_nobody_until_told_to(self, make):
        suggester = make(on_miss="neutral")
        assert suggester.suggest(states_of(TREE)) == [None]
        assert suggester.llm.requests == []
        assert suggester.source.ask_missed() >= 1
        assert suggester.suggest(states_of(TREE))[0][0] == "chop tree"

    @pytest.mark.parametrize(
        ("make", "said"), [(open_over, "lines like '- chop"), (closed_over, "Yes or No")]
    )
    def test_an_unreadable_answer_suggests_nothing_and_is_not_asked_for_again(self, make, said):
        suggester = make(lambda request: "Who knows." + "!" * 100)
        with pytest.warns(GuidanceWarning, match=said) as caught:
            assert suggester.suggest(states_of(TREE, COW)) == [(), ()]
        assert len(caught) == 1
        assert len(str(caught[0].message)) < 300
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert suggester.suggest(states_of(TREE, COW)) == [(), ()]
        stats = suggester.stats()
        assert stats["failures_parse"] == stats["failures"] == len(suggester.llm.requests) > 1


class TestOpenEnded:
    def test_each_state_has_the_goals_of_its_caption_and_is_asked_about_once(self):
        suggester = open_over()
        for _ in range(5):
            found = suggester.suggest(states_of(TREE, COW, TREE))
        assert found == [("chop tree", "rest"), ("eat cow",), ("chop tree", "rest")]
        # The threads that ask do so in any order.
        asked = [caption_in(request) for request in suggester.llm.requests]
        assert sorted(asked) == sorted([TREE, COW])
        assert suggester.stats()["texts"] == 15

    def test_strict_and_max_goals(self):
        chatty = "Well:\n- chop tree\n- rest\n- sleep"
        limited = open_over([chatty], max_goals=2)
        assert limited.suggest(states_of(TREE)) == [("chop tree", "rest")]
        with pytest.warns(GuidanceWarning):
            assert open_over([chatty], strict=True).suggest(states_of(TREE)) == [()]

    def test_a_template_of_ones_own_and_captions_in_another_form(self):
        def unread(facts):
            raise AssertionError("nobody reads these")

        suggester = open_over(
            ["- run"],
            prompt=PromptTemplate("At $env_id: $caption?"),
            caption=lambda facts: ["A bear" for _ in facts],
        )
        assert suggester.suggest(States([{}], unread)) == [("run",)]
        assert question_in(suggester.llm.requests[0]) == "At Toy-v0: A bear?"

    def test_actions_give_the_verbs_where_there_are_no_goals(self):
        cart = EnvDescription(env_id="Cart", rules="", action_names=("push left", "push right"))
        llm = ScriptedLLM(["- push left"])
        ellm.LLMSuggester(llm, cart, on_miss="block").suggest(states_of("It leans."))
        assert "Verbs you may use: push\n" in question_in(llm.requests[0])

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
            open_over(**options)

    def test_no_client(self):
        with pytest.raises(InvalidOptionError, match="client"):
            ellm.LLMSuggester("openai/gpt-5-mini", TOY)


class TestClosedForm:
    def test_each_pair_is_asked_once(self):
        suggester = closed_over()
        for _ in range(2):
            found = suggester.suggest(states_of(TREE, TREE, COW))
            assert found == [("chop tree", "sleep"), ("chop tree", "sleep"), ("sleep",)]
        assert len(suggester.llm.requests) == 2 * len(TOY.goals)

    @pytest.mark.parametrize(
        ("answer", "threshold", "accepted"),
        [
            (weighed(Yes=math.log(0.6), No=math.log(0.4)), 0.5, True),
            (weighed(Yes=math.log(0.6), No=math.log(0.4)), 0.7, False),
            (weighed(Yes=math.log(0.5), No=math.log(0.5)), 0.5, False),
            (weighed(Yes=math.log(0.001), Maybe=math.log(0.9)), 0.99, True),
            ("Yes", 0.99, True),
            ("no", 0.0, False),
        ],
        ids=["more", "too-little", "even", "no-absent", "yes", "no"],
    )
    def test_accepted_above_the_threshold_only(self, answer, threshold, accepted):
        suggester = closed_over([answer], candidates=["sleep"], threshold=threshold)
        assert suggester.suggest(states_of(TREE)) == [("sleep",) if accepted else ()]

    def test_what_is_answered_counts_while_the_rest_is_not(self, tmp_path):
        budget = {"cache": tmp_path / "a.sqlite", "budget": Budget(calls=1), "concurrency": 1}
        suggester = closed_over(llm_options=budget)
        with pytest.warns(GuidanceWarning, match="budget"):
            assert suggester.suggest(states_of(TREE, COW)) == [("chop tree",), None]

    def test_candidates_that_depend_on_the_state(self):
        def near(captions):
            return [["chop tree"] if "tree" in caption else [] for caption in captions]

        suggester = closed_over(candidates=near)
        assert suggester.suggest(states_of(COW, TREE)) == [(), ("chop tree",)]
        assert suggester.suggest(states_of(TREE, TREE)) == [("chop tree",)] * 2
        assert len(suggester.llm.requests) == 1

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"threshold": 1.5}, "threshold"),
            ({"threshold": math.nan}, "threshold"),
            ({"logprobs": "yes"}, "logprobs"),
            ({"candidates": "sleep"}, "pass"),
            ({"candidates": []}, "not empty"),
            ({"candidates": ["sleep", " "]}, "not empty"),
            ({"prompt": PromptTemplate("$caption?")}, "goal"),
            ({"description": EnvDescription(env_id="Cart", rules="")}, "names 0 goals"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_options_that_cannot_work(self, options, says):
        with pytest.raises(InvalidOptionError, match=says):
            closed_over(**options)


class TestNames:
    def test_options_of_an_open_name_do_what_they_say(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        chatty = ScriptedLLM(["Well:\n- a\n- b"], model="openai/test", cache=cache)
        ellm.LLMSuggester(chatty, TOY).prefill([TREE])
        name = f"llm:openai/test?cache={cache}&mode=replay"
        limited = resolve_suggester(f"{name}&max_goals=1", description=TOY)
        assert limited.suggest(states_of(TREE)) == [("a",)]
        assert limited.llm.name == name
        strict = resolve_suggester(f"{name}&strict=true", description=TOY)
        with pytest.warns(GuidanceWarning):
            assert strict.suggest(states_of(TREE)) == [()]
        listing = resolve_suggester(f"{name}&prompt=ellm/open-goals", description=TOY)
        assert listing.suggest(states_of(TREE)) == [None]
        with pytest.raises(CacheMissError):
            resolve_suggester(f"{name}&on_miss=block", description=TOY).suggest(states_of(COW))

    def test_options_of_a_closed_name_do_what_they_say(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        model = ScriptedLLM(verdict, model="openai/test", cache=cache)
        ellm.ClosedFormSuggester(model, TOY, logprobs=False).prefill([TREE])
        name = f'llm-closed:openai/test?cache={cache}&mode=replay&candidates=["sleep"]'
        suggester = resolve_suggester(f"{name}&logprobs=false", description=TOY)
        assert suggester.suggest(states_of(TREE)) == [("sleep",)]
        never = resolve_suggester(f"{name}&logprobs=false&threshold=1.0", description=TOY)
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
    def test_that_cannot_work(self, rest, error, says):
        with pytest.raises(error, match=says):
            resolve_suggester(f"llm:{rest}", description=TOY)


def minigrid(n=None):
    pytest.importorskip("minigrid")
    if n is None:
        return gym.make(MINIGRID)
    return SyncVectorEnv([lambda: gym.make(MINIGRID)] * n, autoreset_mode=AutoresetMode.SAME_STEP)


class TestAskingBeforehand:
    def test_each_state_is_asked_about_once_and_a_budget_can_end_it(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        poor = open_over(llm_options={"cache": cache, "budget": Budget(calls=1)})
        with pytest.raises(BudgetExceededError):
            poor.prefill([TREE, COW])
        suggester = open_over(llm_options={"cache": cache}, on_miss="neutral")
        annotation = suggester.prefill([TREE, COW, TREE, NOTHING])
        assert annotation.suggestions == {
            TREE: ("chop tree", "rest"), COW: ("eat cow",), NOTHING: (),
        }  # fmt: skip
        assert annotation.goals() == {"chop tree": 1, "rest": 1, "eat cow": 1}
        assert "3 states, 2 with suggestions, 1 answers unreadable" in str(annotation)
        assert suggester.suggest(states_of(COW)) == [("eat cow",)]
        assert len(suggester.llm.requests) == 2

    def test_closed_form_questions(self):
        suggester = closed_over(on_miss="neutral")
        annotation = suggester.prefill([TREE, COW, TREE])
        assert annotation.suggestions == {TREE: ("chop tree", "sleep"), COW: ("sleep",)}
        assert suggester.suggest(states_of(TREE)) == [("chop tree", "sleep")]
        assert len(suggester.llm.requests) == 6
        assert closed_over(lambda request: "Hm").prefill([TREE]).unreadable == 3

    def test_the_states_are_those_of_training_on_the_same_path(self):
        env, llm = minigrid(), ScriptedLLM(lambda request: "- pick up the key")
        suggester = ellm.LLMSuggester(llm, resolve_captioner(env).description, on_miss="block")
        annotation = ellm.annotate(suggester, env, states=10_000, steps=120, seed=3)
        asked = [caption_in(request) for request in llm.requests]
        assert sorted(asked) == sorted(annotation.suggestions)
        assert all(caption.startswith("You face") for caption in asked)
        trained = ellm.wrap(env, suggester)
        trained.action_space.seed(3)
        trained.reset(seed=3)
        for _ in range(60):
            trained.step(trained.action_space.sample())
        assert len(llm.requests) == len(asked)
        assert trained.stats()["suggester"]["share_answered"] == 1.0

    def test_seed_steps_and_states_decide_what_is_met(self):
        env = minigrid()
        captions = [ellm.record_captions(env, states=30, seed=seed) for seed in (1, 1, 2)]
        assert captions[0] == captions[1] != captions[2]
        assert len(set(captions[0])) == 30
        assert len(ellm.record_captions(env, states=1_000, steps=1)) == 1
        assert 1 < len(ellm.record_captions(env, states=1_000, steps=50)) <= 50
        for options in ({"states": 0}, {"states": True}, {"steps": 0}, {"steps": 1.5}):
            with pytest.raises(InvalidOptionError, match=next(iter(options))):
                ellm.record_captions(env, **options)

    def test_a_suggester_reads_its_own_captions(self):
        env, llm = minigrid(), ScriptedLLM(lambda request: "- go")
        ways = {"caption": lambda facts: [f"You face {row['direction']}." for row in facts]}
        description = resolve_captioner(env).description
        annotation = ellm.annotate(ellm.LLMSuggester(llm, description, **ways), env, states=4)
        assert sorted(annotation.suggestions) == [
            f"You face {way}." for way in ("east", "north", "south", "west")
        ]
        broken = ellm.LLMSuggester(
            llm, description, caption=lambda facts: [row["no such fact"] for row in facts]
        )
        with pytest.raises(KeyError, match="no such fact"):
            ellm.annotate(broken, env, states=4)


def lake():
    return gym.make(LAKE, is_slippery=False)


@pytest.fixture(scope="module")
def going_right():
    """Return what the captioner says of the first step to the right."""
    env = ellm.wrap(lake(), "none")
    env.reset(seed=0)
    return env.step(RIGHT)[4]["transition_caption"]


class TestRecipe:
    def test_options_reach_the_wrappers(self, going_right):
        def rewards(path=(RIGHT, 0, RIGHT), **options):
            env = ellm.wrap(lake(), [going_right], **options)
            env.reset(seed=0)
            # To the right, back, and to the right again.
            return [env.step(action)[1] for action in path]

        assert rewards() == [1.0, 0.0, 0.0]
        assert rewards(novelty=False) == [1.0, 0.0, 1.0]
        assert rewards(threshold=1.0) == [0.0, 0.0, 0.0]
        assert rewards(schedule=0.25) == [0.25, 0.0, 0.0]
        home = (RIGHT, RIGHT, 1, 1, 1, RIGHT)
        assert rewards(home)[-1] == 0.0
        added = {"reward_free": False, "extrinsic_weight": 3.0, "similarity_weight": 2.0}
        assert rewards(home, **added) == [2.0, 0.0, 0.0, 0.0, 0.0, 3.0]

    def test_reference_guidance_by_default(self):
        env = ellm.wrap(minigrid())
        env.reset(seed=0)
        assert env.current_suggestions()
        assert set(env.current_suggestions()) <= set(resolve_captioner(env).description.goals)
        with pytest.raises(UnknownNameError, match="give a suggester"):
            ellm.wrap(gym.make("CartPole-v1"))

    @pytest.mark.parametrize("n", [None, 3], ids=["single", "vector"])
    @pytest.mark.parametrize(
        ("caption", "goals"), [(False, False), (True, False), (False, True), (True, True)]
    )
    def test_what_the_policy_sees(self, n, caption, goals):
        env = ellm.wrap(minigrid(n), caption_observation=caption, goals_in_observation=goals)
        space = env.observation_space if n is None else env.single_observation_space
        assert ("caption" in space.spaces, "suggestions" in space.spaces) == (caption, goals)
        observation, info = env.reset(seed=0)
        assert observation in env.observation_space
        for _ in range(5):
            observation, reward, _, _, info = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert np.shape(reward) == (() if n is None else (n,))
        assert ("caption_text" in info) == caption
        kinds = (vector.SimilarityRewardWrapper, vector.CaptionObservationWrapper)
        if n is None:
            kinds = (SimilarityRewardWrapper, CaptionObservationWrapper)
        assert isinstance(env, kinds[caption])

    def test_actions_that_fail_pay_nothing_in_ellms_crafter(self):
        pytest.importorskip("crafter")
        for key, paid in (("auto", 0.0), (None, 1.0)):
            env = gym.make("llm_wrappers/EllmCrafter-v1")
            names = resolve_captioner(env).description.action_names
            env = ellm.wrap(env, ["mine diamond"], success_key=key)
            env.reset(seed=0)
            _, reward, _, _, info = env.step(names.index("mine diamond"))
            assert (info["action_success"], reward) == (False, paid)

    def test_an_algorithm_trains_on_the_stack(self, going_right):
        env = ellm.wrap(lake(), [going_right], caption_observation=True, encoder="hashing:32")
        model = DQN("MultiInputPolicy", env, learning_starts=20, buffer_size=500, seed=0)
        model.learn(200)
        assert env.all_stats()["SimilarityRewardWrapper"]["rewarded"] > 0

    def test_the_stack_is_rebuilt_from_its_spec(self):
        env = ellm.wrap(lake(), "fixed:go right", caption_observation=True)
        rebuilt = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
        assert rebuilt.observation_space == env.observation_space
        rebuilt.reset(seed=0)
        assert rebuilt.get_wrapper_attr("current_suggestions")() == ("go right",)

    @pytest.mark.parametrize("option", ["caption_observation", "reward_free"])
    def test_switches_are_true_or_false(self, option):
        with pytest.raises(InvalidOptionError, match=option):
            ellm.wrap(lake(), ["x"], **{option: "yes"})


class TestCommand:
    def write(self, cache, server, *more):
        arguments = ["--env", MINIGRID, "--model", "openai/test", "--api-base", server.api_base]
        with allow_requests(True):
            return command(["write", "ellm", *arguments, "--cache", str(cache), *more])

    def test_fills_the_cache_that_training_reads(self, tmp_path, capsys):
        pytest.importorskip("minigrid")
        cache = tmp_path / "answers.sqlite"
        with LLMServer("- find the key") as server:
            more = ("--states", "12", "--temperature", "0.1", "--prompt", "ellm/open-goals")
            assert self.write(cache, server, *more, "--calls", "5") == 1
            assert "BudgetExceededError" in capsys.readouterr().err
            assert self.write(cache, server, *more) == 0
            asked = [caption_in(body) for body in server.requests]
        assert len(asked) == len(set(asked)) == 12
        out = capsys.readouterr().out
        assert "12 states, 12 with suggestions, 0 answers unreadable" in out
        env = ellm.wrap(minigrid(), f"{out.splitlines()[-1].strip()}&mode=replay")
        env.reset(seed=0)
        assert env.current_suggestions() == ("find the key",)

    def test_unreadable_answers_are_counted(self, tmp_path, capsys):
        pytest.importorskip("minigrid")
        with LLMServer("1. find the key") as server:
            more = ("--states", "500", "--steps", "8", "--strict")
            assert self.write(tmp_path / "answers.sqlite", server, *more) == 0
            assert 1 < server.count <= 8
        out = capsys.readouterr().out
        assert f"{server.count} answers unreadable" in out
        assert out.rstrip().endswith("strict=true")
        assert command(["write", "ellm", "--env", "NoSuch-v0", "--model", "m"]) == 2
        assert "NoSuch" in capsys.readouterr().err


def key_goals(body):
    """Suggest what the agent can do about the key, in the words of the captioner."""
    seen = "yellow key" in caption_in(body)
    return "- go to the key\n- Pick up the key." if seen else "- find the key"


def named(prefix, server, cache, **options):
    """Return the name of a suggester at a server."""
    given = {"api_base": server.api_base, "cache": cache, "on_miss": "block", **options}
    return f"{prefix}:openai/test?" + "&".join(
        f"{key}={quote(str(value), safe='')}" for key, value in given.items()
    )


class TestOverHttp:
    @pytest.fixture(autouse=True)
    def requests_allowed(self):
        with allow_requests(True):
            yield

    def test_an_agent_is_paid_for_what_the_model_suggests(self, tmp_path):
        with LLMServer(key_goals) as server:
            env = ellm.wrap(minigrid(), named("llm", server, tmp_path / "answers.sqlite"))
            env.action_space.seed(0)
            env.reset(seed=0)
            paid = {}
            for _ in range(100):
                _, reward, terminated, truncated, info = env.step(env.action_space.sample())
                paid.setdefault(reward, set()).add(info["matched_goal"])
                if terminated or truncated:
                    env.reset()
            asked = [caption_in(body) for body in server.requests]
            stats = env.stats()["suggester"]
        assert len(asked) == len(set(asked)) == stats["asked"] == stats["answered"] > 5
        assert set(paid) == {0.0, 1.0}
        assert paid[1.0] <= {"find the key", "go to the key", "pick up the key"}

    def test_log_probabilities_decide_and_a_refusal_says_what_to_do(self, tmp_path):
        def weighed_by(body):
            likes = "you sleep?" in question_in(body).rpartition("# Now")[2]
            yes = 0.6 if likes else 0.4
            return {"Yes": math.log(yes), "No": math.log(1 - yes)}

        with LLMServer(weighed_by) as server:
            name = named("llm-closed", server, tmp_path / "one.sqlite")
            # The same answers, judged by other thresholds.
            for threshold, accepted in ((0.5, ("sleep",)), (0.3, TOY.goals), (0.7, ())):
                suggester = resolve_suggester(f"{name}&threshold={threshold}", description=TOY)
                assert suggester.suggest(states_of(TREE, TREE)) == [accepted] * 2
            assert server.count == len(TOY.goals)
            body = server.requests[0]
            assert (body["logprobs"], body["top_logprobs"]) == (True, 5)
        refusal = Fault.error(400, "logprobs is not supported.", kind="invalid_request_error")
        with LLMServer("No", faults=[refusal] * 4) as server:
            name = named("llm-closed", server, tmp_path / "two.sqlite")
            for candidates in ("", '&candidates=["rest"]'):
                suggester = resolve_suggester(f"{name}{candidates}", description=TOY)
                with pytest.raises(InvalidRequestError, match="use logprobs=False"):
                    suggester.suggest(states_of(TREE))
            plain = resolve_suggester(f"{name}&logprobs=false", description=TOY)
            assert plain.suggest(states_of(TREE)) == [()]
            assert "logprobs" not in server.requests[-1]

    @pytest.mark.slow
    def test_workers_ask_about_each_state_once_between_them(self, tmp_path):
        description = resolve_captioner(minigrid()).description
        with LLMServer(key_goals, latency=0.01) as server:
            transport = PlainHttp(server.api_base)
            llm = LLM("openai/test", cache=tmp_path / "a.sqlite", transport=transport)
            suggester = ellm.LLMSuggester(llm, description, on_miss="block")
            environments = SubprocVecEnv(
                [lambda: ellm.wrap(gym.make(MINIGRID), suggester)] * 4, start_method="fork"
            )
            try:
                environments.seed(7)
                environments.reset()
                generator = np.random.default_rng(0)
                rewards = [environments.step(generator.integers(5, size=4))[1] for _ in range(60)]
                stats = [found["suggester"] for found in environments.env_method("stats")]
            finally:
                environments.close()
            asked = [caption_in(body) for body in server.requests]
        assert len(asked) == len(set(asked)) > 10
        assert all(found["neutral"] == found["failures"] == 0 for found in stats)
        assert np.sum(rewards) > 0

    @pytest.mark.slow
    def test_answers_outlive_the_process_that_asked(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        with LLMServer(suggestion) as server:
            suggester = resolve_suggester(named("llm", server, cache), description=TOY)
            first = suggester.suggest(states_of(TREE, COW))
        given = [f"llm:openai/test?cache={cache}&mode=replay", vars(TOY), [TREE, COW]]
        done = subprocess.run(
            [sys.executable, "-c", REPLAY, json.dumps(given)],
            capture_output=True, text=True, check=True,
            env={**os.environ, "LLM_WRAPPERS_ALLOW_REQUESTS": "0"},
        )  # fmt: skip
        assert [tuple(goals) for goals in json.loads(done.stdout)] == first

    def test_the_program_of_the_page_runs(self, tmp_path, monkeypatch, capsys):
        pytest.importorskip("crafter")
        page = (Path(__file__).parents[2] / "docs" / "ellm.md").read_text()
        program, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        monkeypatch.chdir(tmp_path)
        with LLMServer("- chop tree\n- chop grass\n- move left") as server:
            monkeypatch.setenv("OPENAI_API_KEY", "none")
            monkeypatch.setenv("OPENAI_BASE_URL", server.api_base)
            program = program.replace("states=500", "states=15").replace("1_000_000", "16")
            program = program.replace("n_steps=128", "n_steps=16, batch_size=16, n_epochs=1")
            names = {}
            exec(program, names)
            assert server.count == 15
        assert "15 states, 15 with suggestions" in capsys.readouterr().out
        stats = names["env"].all_stats()["SimilarityRewardWrapper"]
        assert stats["steps"] >= 16
        assert (stats["suggester"]["texts"] >= 16, stats["suggester"]["asked"]) == (True, 0)


REPLAY = """
import json, sys
from llm_wrappers.captions import EnvDescription
from llm_wrappers.guidance.states import States
from llm_wrappers.guidance.suggesters import resolve_suggester

name, description, captions = json.loads(sys.argv[1])
suggester = resolve_suggester(name, description=EnvDescription(**description))
print(json.dumps(suggester.suggest(States([{} for _ in captions], lambda facts: captions))))
assert "litellm" not in sys.modules
"""
