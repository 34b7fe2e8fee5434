"""From episodes to a saved table of critical states: report, provenance and names."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest
from gymnasium.wrappers import FilterObservation, TimeLimit
from ultra_doubles import (
    cart_pole_model,
    corrections,
    described,
    identification,
    is_selection,
    played,
    prompt_of,
)

from llm_wrappers import CriticalStateOverrideWrapper, __version__
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import (
    GuidanceError,
    GuidanceFileError,
    GuidanceWarning,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance.critical.correcting import resolve_corrector
from llm_wrappers.guidance.critical.finding import CriticalMoment, resolve_selector
from llm_wrappers.guidance.critical.table import CriticalState, CriticalStates
from llm_wrappers.llm import Budget
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods.ultra import LLMCorrector, LLMSelector, UltraReport, write_guidance
from llm_wrappers.methods.ultra import names as ultra_names
from llm_wrappers.testing import ScriptedLLM
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import TrajectoryRecorder

CART = "CartPole-v1"


class FirstSteps:
    """Selects the first step of each episode; asks nobody."""

    def select(self, trajectories, *, per_episode):
        return [CriticalMoment(number, 0) for number in range(len(trajectories))]


class Nothing:
    """Selects nothing."""

    def select(self, trajectories, *, per_episode):
        return []


class AlwaysLeft:
    """Advises to push left; asks nobody."""

    def __init__(self, states=None):
        self.states = states

    def correct(self, trajectories, moments):
        if self.states is not None:
            return self.states
        return [
            CriticalState(trajectories[m.episode].observations[m.step], 0, 0.5, "", m.episode)
            for m in moments
        ]


def parts(script=cart_pole_model, **options):
    """Return a selector and a corrector that ask one model."""
    llm = ScriptedLLM(script, **{"concurrency": 1, **options})
    space = gym.make(CART).action_space
    return {
        "selector": LLMSelector(llm, described(CART)),
        "corrector": LLMCorrector(llm, described(CART), space),
    }


class TestWriting:
    def test_a_model_writes_a_table_that_a_wrapper_uses(self, tmp_path):
        out, episodes = tmp_path / "states.json", played(CART, episodes=3)
        report = write_guidance(episodes, **parts(), per_episode=4, key="exact", out=out)
        assert isinstance(report, UltraReport)
        assert (report.episodes, len(report.moments), report.corrected) == (3, 12, 12)
        assert report.complete
        table = CriticalStates.load(out)
        assert all(entry.rationale.startswith("step ") for entry in table.entries)
        # The same episode again meets exactly its own critical states.
        env = CriticalStateOverrideWrapper(gym.make(CART), critical_states=f"file:{out}", mode="R")
        env.reset(seed=1)
        critical = [env.step(action)[-1]["critical"] for action in episodes[1].actions]
        found = [step for step, is_critical in enumerate(critical) if is_critical]
        assert found == [moment.step for moment in report.moments if moment.episode == 1]

    def test_the_correctors_model_reads_the_analysis_of_the_selectors(self):
        both = parts()
        write_guidance(played(CART), **both, per_episode=1)
        texts = [prompt_of(request) for request in both["corrector"].llm.requests]
        said = [text for text in texts if not is_selection(text)]
        assert len(said) == 2
        assert all("this episode: It often pushes the wrong way.\n" in text for text in said)

    @pytest.mark.parametrize("model_selects", [True, False])
    def test_any_selector_goes_with_any_corrector(self, model_selects):
        both = parts()
        other = {"corrector": AlwaysLeft()} if model_selects else {"selector": FirstSteps()}
        report = write_guidance(played(CART), **{**both, **other}, per_episode=1)
        assert report.corrected == 2
        purposes = {"identify"} if model_selects else {"correct"}
        assert set(report.usage) == purposes

    @pytest.mark.parametrize("name", ["random", "return-drop"])
    def test_selectors_without_a_model_go_the_same_way(self, name):
        chosen = {**parts(), "selector": resolve_selector(name)}
        report = write_guidance(played(CART), **chosen, per_episode=3)
        assert (len(report.moments), report.corrected) == (6, 6)
        assert "model" not in report.critical_states.provenance["selector"]
        # No analysis of behaviour was asked for, so none is told.
        texts = [prompt_of(request) for request in chosen["corrector"].llm.requests]
        assert not any("An analysis of the behaviour" in text for text in texts)

    def test_pictures_in_a_dict_are_looked_up_by_their_part(self, tmp_path):
        env = FilterObservation(gym.make("MiniGrid-Empty-5x5-v0"), ["image", "direction"])
        recorder = TrajectoryRecorder(TimeLimit(env, 12))
        recorder.reset(seed=0)
        for _ in range(12):
            recorder.step(0)
        (episode,) = recorder.trajectories()
        description = resolve_captioner(env).description
        out = tmp_path / "states.json"
        llm = ScriptedLLM(
            [identification((0, 3), (0, 7)), corrections((0, 3, "forward", 1))], repairs=0
        )
        report = write_guidance(
            [episode],
            selector=LLMSelector(llm, description),
            corrector=LLMCorrector(llm, description, env.action_space, part="image", batch=2),
            key="exact",
            out=out,
        )
        assert report.corrected == 1
        (entry,) = CriticalStates.load(out).entries
        np.testing.assert_array_equal(entry.state, episode.observations["image"][3])
        assert description.action_names[int(entry.action)] == "forward"
        CriticalStateOverrideWrapper(env, critical_states=f"file:{out}")

    def test_nobody_needs_to_be_asked(self):
        report = write_guidance(played(CART), selector=FirstSteps(), corrector=AlwaysLeft())
        assert report.usage.total.calls == 0
        provenance = report.critical_states.provenance
        assert provenance["selector"] == {"author": "FirstSteps", "stats": {}}
        assert provenance["corrector"] == {"author": "AlwaysLeft", "stats": {}}

    def test_a_second_run_asks_nobody(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        first = write_guidance(played(CART), **parts(cache=cache), per_episode=2)
        second = write_guidance(played(CART), **parts([], cache=cache), per_episode=2)
        assert (first.usage.total.calls, second.usage.total.calls) == (6, 0)
        assert second.usage.total.cache_hits == 6
        assert second.moments == first.moments
        np.testing.assert_array_equal(second.critical_states.states, first.critical_states.states)

    def test_counts_are_those_of_this_run(self):
        both = parts()
        for _ in range(2):
            report = write_guidance(played(CART), **both, per_episode=2)
            assert report.selector_stats["selected"] == 4
            assert report.corrector_stats["questions"] == 4
        assert report.usage.total.calls == 0

    def test_counters_that_are_no_counts_are_kept_as_they_are(self):
        class Counting(FirstSteps):
            calls = 0

            def select(self, trajectories, *, per_episode):
                self.calls += 1
                return super().select(trajectories, per_episode=per_episode)

            def stats(self):
                return {"calls": self.calls, "share": 0.5, "kind": "first"}

        chosen = Counting()
        for _ in range(2):
            report = write_guidance(played(CART), selector=chosen, corrector=AlwaysLeft())
            assert report.selector_stats == {"calls": 1, "share": 0.5, "kind": "first"}
        assert "selected   2 moments (calls 1)" in str(report)

    @pytest.mark.parametrize(("calls", "warned"), [(1, 3), (2, 2), (4, 1)])
    def test_a_spent_budget_keeps_what_there_is_and_goes_on_later(self, calls, warned, tmp_path):
        cache, out = tmp_path / "answers.sqlite", tmp_path / "states.json"
        poor = parts(cache=cache, budget=Budget(calls=calls))
        with pytest.warns(GuidanceWarning) as said:
            report = write_guidance(played(CART), **poor, per_episode=2, out=out)
        # One of each stage that lacks answers, and one of a table that has no advice.
        assert len(said) == warned
        assert "over budget" in str(said[0].message)
        assert not report.complete
        assert "complete   no: run it again" in str(report)
        assert report.corrected == calls - min(2, calls)
        assert out.exists() == (report.corrected > 0)
        if out.exists():
            assert CriticalStates.load(out).provenance["complete"] is False
        again = parts(cache=cache)
        report = write_guidance(played(CART), **again, per_episode=2, out=out)
        assert report.complete
        assert report.corrected == 4
        assert len(again["selector"].llm.requests) == 6 - calls

    @pytest.mark.parametrize("env_id", [CART, "Pendulum-v1"])
    def test_distances_are_in_the_spread_of_all_states(self, env_id):
        episodes = played(env_id, episodes=3)
        report = write_guidance(episodes, selector=FirstSteps(), corrector=AlwaysLeft())
        states = np.concatenate([episode.observations[:-1] for episode in episodes])
        np.testing.assert_allclose(
            report.critical_states.scales, states.std(axis=0, dtype=np.float64), rtol=1e-9
        )

    def test_states_without_a_spread_have_the_scale_one(self):
        still = Trajectory(np.full((4, 2), [0.1, 3.0]), np.zeros(3, int), [0] * 3, True, False)
        report = write_guidance([still], selector=FirstSteps(), corrector=AlwaysLeft())
        assert report.critical_states.scales == (1.0, 1.0)

    def test_parts_of_a_dict_have_their_own_spread(self):
        observations = {"far": np.zeros((3, 1)), "near": np.array([[0.0], [4.0], [9.0]])}
        episode = Trajectory(observations, np.zeros(2, int), [0] * 2, True, False)
        llm = ScriptedLLM([])
        chosen = LLMCorrector(llm, described(CART), gym.spaces.Discrete(2), part="near")
        report = write_guidance([episode], selector=Nothing(), corrector=chosen)
        assert report.critical_states.scales == (2.0,)
        assert report.critical_states.part == "near"

    def test_no_advice_is_no_file(self, tmp_path):
        out = tmp_path / "states.json"
        with pytest.warns(GuidanceWarning, match=r"states\.json was not written"):
            report = write_guidance(
                played(CART), **parts([identification()] * 2), out=out, per_episode=1
            )
        assert len(report.critical_states) == 0
        assert not out.exists()

    def test_the_part_is_that_of_the_corrector(self):
        llm = ScriptedLLM([])
        chosen = LLMCorrector(llm, described(CART), gym.spaces.Discrete(2), part="image")
        report = write_guidance([], selector=Nothing(), corrector=chosen)
        assert report.critical_states.part == "image"
        given = write_guidance([], selector=Nothing(), corrector=chosen, part="text")
        assert given.critical_states.part == "text"

    def test_a_selector_or_corrector_of_another_kind_is_refused(self):
        class Numbers:
            def select(self, trajectories, *, per_episode):
                return [3]

        with pytest.raises(GuidanceError, match="CriticalMoment objects, got 3"):
            write_guidance(played(CART), selector=Numbers(), corrector=AlwaysLeft())
        with pytest.raises(GuidanceError, match="each of the 2 moments, got 1"):
            write_guidance(played(CART), selector=FirstSteps(), corrector=AlwaysLeft([None]))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"per_episode": 0}, "per_episode"),
            ({"key": "near"}, "near"),
            ({"key": "bins:1,1"}, "4"),
        ],
        ids=str,
    )
    def test_options_are_checked_before_anybody_is_asked(self, options, message):
        both = parts([])
        with pytest.raises(InvalidOptionError, match=message):
            write_guidance(played(CART), **both, **options)
        assert both["selector"].llm.requests == []


class TestReport:
    def test_says_what_was_asked_dropped_and_paid(self):
        def model(request):
            if is_selection(prompt_of(request)):
                return identification((0, 1), (0, 99), (5, 5), (0, 2, 7.0))
            return corrections((0, 1, "push left", -2), (0, 2, "jump", 0))

        report = write_guidance(played(CART, episodes=1), **parts(model), per_episode=3)
        text = str(report)
        assert "episodes   1 of " in text
        assert "selected   2 moments (named 4, wrong episode 1, out of range 1, clipped" in text
        assert "corrected  1 of them (" in text
        assert "unknown action 1" in text
        assert "clipped rewards 1" in text
        assert "without advice 1" in text
        assert "requests   3, answers from the cache: 0" in text
        assert "complete   yes" in text
        total = report.usage.total
        assert f"{total.prompt_tokens} asked, {total.completion_tokens} answered" in text

    def test_is_plain_data(self):
        report = write_guidance(played(CART), **parts(), per_episode=2)
        found = json.loads(json.dumps(report.as_dict()))
        assert found["corrected"] == 4
        assert found["usage"]["purposes"].keys() == {"identify", "correct"}


class TestProvenance:
    def test_names_model_prompts_version_usage_and_counts(self, tmp_path):
        out = tmp_path / "states.json"
        write_guidance(played(CART), **parts(model="openai/gpt-x"), per_episode=2, out=out)
        told = CriticalStates.load(out).provenance
        for who, template in (("selector", "ultra/identify"), ("corrector", "ultra/correct")):
            version = PromptTemplate.packaged(template).version
            assert told[who]["model"] == "openai/gpt-x"
            assert told[who]["prompt_sha256"] == {template: version}
        assert told["selector"]["stats"]["selected"] == 4
        assert told["corrector"]["stats"]["corrected"] == 4
        assert told["library_version"] == __version__
        assert told["usage"]["total"]["calls"] == 6
        assert (told["episodes"], told["selected"], told["corrected"]) == (2, 4, 4)

    def test_survives_saving_binding_and_pickling(self, tmp_path):
        told = {"author": "hand", "notes": ("a", "b"), "sizes": {"x": 1.5}}
        plain = {"author": "hand", "notes": ["a", "b"], "sizes": {"x": 1.5}}
        table = CriticalStates([CriticalState(np.zeros(4, np.float32), 1)], provenance=told)
        env = gym.make(CART)
        bound = table.bind(env.observation_space, env.action_space)
        bound.save(tmp_path / "states.json")
        loaded = CriticalStates.load(tmp_path / "states.json")
        for found in (table, bound, loaded, pickle.loads(pickle.dumps(loaded))):
            assert found.provenance == plain

    def test_is_none_where_nothing_is_known(self, tmp_path):
        path = tmp_path / "states.json"
        CriticalStates([CriticalState([0.0], 1)]).save(path)
        assert CriticalStates.load(path).provenance is None
        document = json.loads(path.read_text())
        # As tables were saved before there was a provenance.
        del document["provenance"]
        path.write_text(json.dumps(document))
        assert CriticalStates.load(path).provenance is None

    @pytest.mark.parametrize(
        "told", ["me", 3, {"x": np.zeros(1)}, {1: "x"}, {"x": float("nan")}], ids=repr
    )
    def test_has_to_be_json(self, told):
        with pytest.raises(InvalidOptionError, match="provenance must be a dict"):
            CriticalStates([], provenance=told)

    def test_a_file_with_another_one_is_refused(self, tmp_path):
        path = tmp_path / "states.json"
        CriticalStates([CriticalState([0.0], 1)]).save(path)
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "provenance": "me"}))
        with pytest.raises(GuidanceFileError, match="provenance"):
            CriticalStates.load(path)


class TestNames:
    def test_options_of_client_and_selector(self):
        found = ultra_names.selector(
            "openai/gpt-5-mini?temperature=0&instructions=Be+brief.&prompt_tokens=9000&overlap=2"
            "&show_every=3&episodes_per_question=2",
            description=described(CART),
            seed=3,
        )
        assert isinstance(found, LLMSelector)
        assert found.llm.name == "llm:openai/gpt-5-mini?temperature=0"
        assert found.description == described(CART)

    def test_options_of_client_and_corrector(self):
        found = ultra_names.corrector(
            "openai/gpt-5-mini?cache=a.sqlite&part=image&batch=4&context_steps=2",
            description=described(CART),
            env=gym.make(CART),
        )
        assert isinstance(found, LLMCorrector)
        assert found.llm.name == "llm:openai/gpt-5-mini?cache=a.sqlite"
        assert found.part == "image"

    def test_they_are_registered(self):
        context = {"description": described(CART), "action_space": gym.spaces.Discrete(2)}
        found = [
            resolve_selector("llm:m?overlap=2", **context),
            resolve_corrector("llm:m?batch=2", **context),
        ]
        assert [type(one) for one in found] == [LLMSelector, LLMCorrector]

    def test_the_environment_says_what_is_not_given(self):
        env = gym.make(CART)
        assert ultra_names.selector("m", env=env).description == described(CART)
        assert ultra_names.corrector("m", env=env).description == described(CART)

    @pytest.mark.parametrize(
        ("factory", "rest", "error", "message"),
        [
            ("selector", "m?prompt_tokens=few", InvalidOptionError, "prompt_tokens"),
            ("selector", "m?overlap=1&overlap=2", InvalidOptionError, "given twice"),
            ("corrector", "m?batch=0", InvalidOptionError, "batch"),
            ("selector", "", UnknownNameError, "llm:"),
            ("corrector", "", UnknownNameError, "llm:"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_said(self, factory, rest, error, message):
        with pytest.raises(error, match=message):
            getattr(ultra_names, factory)(rest, env=gym.make(CART))

    @pytest.mark.parametrize(
        ("factory", "context", "message"),
        [
            ("selector", {}, "description"),
            ("corrector", {}, "action_space"),
            ("corrector", {"action_space": gym.spaces.Discrete(2)}, "description"),
        ],
        ids=["selector", "corrector", "corrector with actions"],
    )
    def test_somebody_has_to_describe_the_environment(self, factory, context, message):
        with pytest.raises(InvalidOptionError, match=message):
            getattr(ultra_names, factory)("m", **context)


def test_the_program_on_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "ultra.md").read_text()
    (program, *_) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "llm_wrappers.llm.LLM", lambda model, **options: ScriptedLLM(cart_pole_model, **options)
    )
    exec(program, {})
    assert "complete   yes" in capsys.readouterr().out
    assert len(CriticalStates.load(tmp_path / "critical-states.json")) > 0
