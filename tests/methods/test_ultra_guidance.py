"""From episodes to a saved table of critical states: what is written, refused, said and paid."""

from __future__ import annotations

import json
import re
from pathlib import Path

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import numpy as np
import pytest
from ellm_doubles import PlainHttp
from gymnasium.wrappers import FilterObservation, TimeLimit
from ultra_doubles import (
    cart_pole_model,
    corrections,
    described,
    identification,
    is_selection,
    pendulum_model,
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
from llm_wrappers.llm import LLM, Budget, allow_requests
from llm_wrappers.llm.prompt_template import PromptTemplate
from llm_wrappers.methods.ultra import LLMCorrector, LLMSelector, write_guidance
from llm_wrappers.testing import Fault, LLMServer, ScriptedLLM
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import TrajectoryRecorder

CART = "CartPole-v1"


class Picks:
    """Selects places; asks nobody."""

    def __init__(self, *places):
        self.moments = [CriticalMoment(*place) for place in places]

    def select(self, trajectories, *, per_episode):
        return self.moments


class Left:
    """Advises to push left, or what it is given; asks nobody."""

    def __init__(self, *states):
        self.states = states

    def correct(self, trajectories, moments):
        found = [trajectories[moment.episode].observations[moment.step] for moment in moments]
        return self.states or [CriticalState(state, 0) for state in found]


class Nobody:
    def select(self, trajectories, *, per_episode):
        raise AssertionError("asked")


FIRST = Picks((0, 0), (1, 0))


def asking(llm, env_id=CART):
    """Return a selector and a corrector that ask one model."""
    description, space = described(env_id), gym.make(env_id).action_space
    return {
        "selector": LLMSelector(llm, description),
        "corrector": LLMCorrector(llm, description, space),
    }


def parts(script=cart_pole_model, **options):
    return asking(ScriptedLLM(script, **{"concurrency": 1, **options}))


def still(observations, steps=2):
    return Trajectory(observations, np.zeros(steps, int), [0] * steps, True, False)


class TestWriting:
    def test_a_model_writes_a_table_that_a_wrapper_uses(self, tmp_path):
        out, episodes = tmp_path / "new" / "states.json", played(CART, episodes=3)
        both = parts(model="openai/gpt-x")
        report = write_guidance(episodes, **both, per_episode=4, key="exact", out=out)
        assert (report.episodes, len(report.moments), report.corrected) == (3, 12, 12)
        table = CriticalStates.load(out)
        assert all(entry.rationale.startswith("step ") for entry in table.entries)
        # The same episode again meets exactly its own critical states.
        env = CriticalStateOverrideWrapper(gym.make(CART), critical_states=f"file:{out}", mode="R")
        env.reset(seed=1)
        critical = [env.step(action)[-1]["critical"] for action in episodes[1].actions]
        found = [step for step, is_critical in enumerate(critical) if is_critical]
        assert found == [moment.step for moment in report.moments if moment.episode == 1]
        # The corrector's model reads the analysis of the selector's.
        said = [prompt_of(request) for request in both["corrector"].llm.requests]
        said = [text for text in said if not is_selection(text)]
        assert all("this episode: It often pushes the wrong way.\n" in text for text in said)
        told = table.provenance
        for who, template in (("selector", "ultra/identify"), ("corrector", "ultra/correct")):
            assert told[who]["model"] == "openai/gpt-x"
            version = PromptTemplate.packaged(template).version
            assert told[who]["prompt_sha256"] == {template: version}
        assert told["selector"]["stats"]["selected"] == 12
        assert told["corrector"]["stats"]["corrected"] == 12
        assert told["usage"]["total"]["calls"] == 3 + 12
        assert (told["library_version"], told["complete"]) == (__version__, True)

    @pytest.mark.parametrize("model_selects", [True, False])
    def test_any_selector_goes_with_any_corrector(self, model_selects):
        other = {"corrector": Left()} if model_selects else {"selector": FIRST}
        chosen = {**parts(), **other}
        report = write_guidance(played(CART), **chosen, per_episode=1)
        assert report.corrected == 2
        assert set(report.usage) == {"identify" if model_selects else "correct"}
        who = "corrector" if model_selects else "selector"
        author = type(chosen[who]).__name__
        assert report.critical_states.provenance[who] == {"author": author, "stats": {}}

    def test_pictures_in_a_dict_are_looked_up_by_their_part(self, tmp_path):
        env = FilterObservation(gym.make("MiniGrid-Empty-5x5-v0"), ["image", "direction"])
        recorder = TrajectoryRecorder(TimeLimit(env, 12))
        recorder.reset(seed=0)
        for _ in range(12):
            recorder.step(0)
        (episode,) = recorder.trajectories()
        description, out = resolve_captioner(env).description, tmp_path / "states.json"
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

    def test_counts_are_those_of_this_run_and_other_figures_stay(self):
        class Counting(Picks):
            calls = 0

            def select(self, trajectories, *, per_episode):
                self.calls += 1
                return self.moments

            def stats(self):
                return {"calls": self.calls, "share": 0.5, "kind": "first"}

        both, counting = parts(), Counting((0, 0))
        for _ in range(2):
            report = write_guidance(played(CART), **both, per_episode=2)
            assert report.selector_stats["selected"] == report.corrector_stats["questions"] == 4
            other = write_guidance(played(CART), selector=counting, corrector=Left())
            assert other.selector_stats == {"calls": 1, "share": 0.5, "kind": "first"}
        assert report.usage.total.calls == 0
        assert "selected   1 moments (calls 1)" in str(other)

    @pytest.mark.parametrize(("calls", "warned"), [(1, 3), (2, 2), (4, 1)])
    def test_a_spent_budget_keeps_what_there_is_and_goes_on_later(self, calls, warned, tmp_path):
        cache, out = tmp_path / "answers.sqlite", tmp_path / "states.json"
        poor = parts(cache=cache, budget=Budget(calls=calls))
        with pytest.warns(GuidanceWarning) as said:
            report = write_guidance(played(CART), **poor, per_episode=2, out=out)
        # One of each stage that lacks answers, and one of a table that has no advice.
        assert len(said) == warned
        assert "over budget" in str(said[0].message)
        assert "complete   no: run it again" in str(report)
        assert report.corrected == calls - min(2, calls)
        assert out.exists() == (report.corrected > 0)
        again = parts(cache=cache)
        report = write_guidance(played(CART), **again, per_episode=2, out=out)
        assert (report.complete, report.corrected) == (True, 4)
        assert len(again["selector"].llm.requests) == 6 - calls

    def test_says_what_was_asked_dropped_and_paid(self):
        def model(request):
            if is_selection(prompt_of(request)):
                return identification((0, 1), (0, 99), (5, 5), (0, 2, 7.0))
            return corrections((0, 1, "push left", -2), (0, 2, "jump", 0))

        report = write_guidance(played(CART, episodes=1), **parts(model), per_episode=3)
        text, total = str(report), report.usage.total
        for said in (
            "episodes   1 of ",
            "selected   2 moments (named 4, wrong episode 1, out of range 1, clipped",
            "corrected  1 of them (",
            "unknown action 1",
            "clipped rewards 1",
            "without advice 1",
            "requests   3, answers from the cache: 0",
            "complete   yes",
            f"{total.prompt_tokens} asked, {total.completion_tokens} answered",
        ):
            assert said in text
        assert json.loads(json.dumps(report.as_dict()))["corrected"] == 1


class TestScales:
    """The distances of a table are in standard deviations of all states."""

    def scales(self, *episodes, **options):
        chosen = {"selector": Picks(), "corrector": Left(), **options}
        return write_guidance(episodes, **chosen).critical_states.scales

    @pytest.mark.parametrize("env_id", [CART, "Pendulum-v1"])
    def test_of_played_episodes(self, env_id):
        episodes = played(env_id, episodes=3)
        states = np.concatenate([episode.observations[:-1] for episode in episodes])
        expected = states.std(axis=0, dtype=np.float64)
        np.testing.assert_allclose(self.scales(*episodes), expected, rtol=1e-9)

    def test_of_states_without_a_spread_and_of_parts_of_a_dict(self):
        assert self.scales(still(np.full((4, 2), [0.1, 3.0]), 3)) == (1.0, 1.0)
        both = {"far": np.zeros((3, 1)), "near": np.array([[0.0], [4.0], [9.0]])}
        assert self.scales(still(both), part="near") == (2.0,)

    def test_of_pictures_that_are_read_in_blocks(self, monkeypatch):
        monkeypatch.setattr("llm_wrappers.methods.ultra.history._NUMBERS_AT_ONCE", 100)
        pictures = np.random.default_rng(0).integers(0, 256, (24, 6, 6, 1), dtype=np.uint8)
        expected = pictures[:-1].reshape(23, -1).astype(np.float64).std(axis=0)
        np.testing.assert_allclose(self.scales(still(pictures, 23)), expected)


class TestRefused:
    @pytest.mark.parametrize(
        ("selector", "message"),
        [
            (Picks((2, 0)), "steps of the 2 episodes, got step 0 of episode 2"),
            (Picks((0, 10_000)), "got step 10000 of episode 0"),
            (Picks((0, 1), (0, 1)), "no moment twice"),
            (Picks((0, 1), (0, 2), (0, 3)), "at most per_episode=2 moments"),
        ],
        ids=["no such episode", "no such step", "twice", "too many"],
    )
    def test_a_selector_that_breaks_its_protocol(self, selector, message):
        with pytest.raises(GuidanceError, match=message):
            write_guidance(played(CART), selector=selector, corrector=Left(), per_episode=2)

    def test_a_selector_or_corrector_of_another_kind(self):
        numbers = Picks()
        numbers.moments = [3]
        with pytest.raises(GuidanceError, match="CriticalMoment objects, got 3"):
            write_guidance(played(CART), selector=numbers, corrector=Left())
        with pytest.raises(GuidanceError, match="each of the 2 moments, got 1"):
            write_guidance(played(CART), selector=FIRST, corrector=Left(None))

    def test_a_file_that_cannot_be_written_before_anybody_is_asked(self, tmp_path):
        (tmp_path / "file").touch()
        for out, message in (
            (tmp_path, "got the folder"),
            (tmp_path / "file" / "table.json", "cannot make the folder"),
        ):
            with pytest.raises(GuidanceFileError, match=message):
                write_guidance(played(CART), selector=Nobody(), corrector=Left(), out=out)

    @pytest.mark.parametrize("part", [None, "camera"])
    def test_a_part_that_there_is_not_before_anybody_is_asked(self, part):
        chosen = {"selector": Nobody(), "corrector": Left()}
        with pytest.raises(InvalidOptionError, match=r"expected part to be one of .*'pole'"):
            write_guidance([still({"pole": np.zeros((3, 4))})], part=part, **chosen)
        with pytest.raises(InvalidOptionError, match="only for Dict observations"):
            write_guidance([still(np.zeros((3, 4)))], part="pole", **chosen)

    @pytest.mark.parametrize(
        "options", [{"per_episode": 0}, {"key": "near"}, {"key": "bins:1,1"}], ids=str
    )
    def test_options_before_anybody_is_asked(self, options):
        with pytest.raises(InvalidOptionError, match=r"per_episode|near|4"):
            write_guidance(played(CART), selector=Nobody(), corrector=Left(), **options)


class TestNames:
    def test_are_registered_and_take_what_is_missing_from_the_environment(self):
        env = gym.make(CART)
        context = {"description": described(CART), "action_space": env.action_space}
        for given in (context, {"env": env, "description": None, "action_space": None}):
            finds = resolve_selector("llm:m?temperature=0&overlap=2&instructions=Go", **given)
            corrects = resolve_corrector("llm:m?part=image&batch=4&context_steps=2", **given)
            assert (type(finds), type(corrects)) == (LLMSelector, LLMCorrector)
            assert finds.llm.name == "llm:m?temperature=0"
            assert finds.description == corrects.description == described(CART)
            assert corrects.part == "image"

    @pytest.mark.parametrize(
        ("resolve", "name", "error", "message"),
        [
            (resolve_selector, "llm:m?prompt_tokens=few", InvalidOptionError, "prompt_tokens"),
            (resolve_selector, "llm:m?overlap=1&overlap=2", InvalidOptionError, "given twice"),
            (resolve_corrector, "llm:m?batch=0", InvalidOptionError, "batch"),
            (resolve_selector, "llm:", UnknownNameError, "llm:"),
            (resolve_corrector, "llm:", UnknownNameError, "llm:"),
        ],
    )
    def test_that_cannot_work(self, resolve, name, error, message):
        context = {"description": described(CART), "action_space": gym.spaces.Discrete(2)}
        with pytest.raises(error, match=message):
            resolve(name, **context)

    def test_somebody_has_to_describe_the_environment(self):
        nothing = {"description": None, "action_space": None}
        two = {"description": None, "action_space": gym.spaces.Discrete(2)}
        for resolve, context, message in (
            (resolve_selector, nothing, "description"),
            (resolve_corrector, nothing, "action_space"),
            (resolve_corrector, two, "description"),
        ):
            with pytest.raises(InvalidOptionError, match=message):
                resolve("llm:m", **context)


class TestOverHttp:
    def written(self, server, env_id=CART, out=None, **options):
        given = {"transport": PlainHttp(server.api_base), "repairs": 1, "retries": 1, **options}
        with allow_requests(True), LLM("openai/test", **given) as llm:
            return write_guidance(
                played(env_id), **asking(llm, env_id), per_episode=3, key="exact", out=out
            )

    def test_torques_become_advice_that_a_wrapper_executes(self, tmp_path):
        env_id, out = "Pendulum-v1", tmp_path / "states.json"
        with LLMServer(pendulum_model) as server:
            report = self.written(server, env_id, out=out)
            texts = json.dumps(server.requests)
        # The numbers of the observations are only in the captions.
        assert "observations" not in texts
        assert str(float(played(env_id)[0].observations[0, 0])) not in texts
        first = report.moments[0]
        env = CriticalStateOverrideWrapper(
            gym.make(env_id, max_episode_steps=30), critical_states=f"file:{out}", probability=1.0
        )
        env.reset(seed=first.episode)
        for action in played(env_id)[first.episode].actions[: first.step + 1]:
            info = env.step(action)[4]
        assert info["critical"]
        assert abs(info["executed_action"][0]) == 2.0

    def test_through_litellm_with_an_overloaded_provider(self, tmp_path):
        faults = [Fault.rate_limit(retry_after=0), None, Fault.error(503)]
        reach = {"transport": None, "api_key": "secret", "prices": (1.0, 2.0)}
        out = tmp_path / "states.json"
        with LLMServer(cart_pole_model, faults=faults) as server:
            reach = {**reach, "api_base": server.api_base, "concurrency": 1}
            report = self.written(server, out=out, **reach)
            assert server.count == 8 + 2
            assert {head["authorization"] for head in server.headers} == {"Bearer secret"}
        assert report.moments == write_guidance(played(CART), **parts(), per_episode=3).moments
        total = CriticalStates.load(out).provenance["usage"]["total"]
        assert total["calls"] == 10
        paid = (total["prompt_tokens"] + 2 * total["completion_tokens"]) / 1e6
        assert total["dollars"] == pytest.approx(paid)
        assert f"price      ${total['dollars']:.4g}" in str(report)
        assert "secret" not in out.read_text()

    def test_hostile_advice_is_refused(self, tmp_path):
        def model(body):
            if is_selection(prompt_of(body)):
                return cart_pole_model(body)
            return corrections((0, 1, "__import__('os').abort()", 0))

        with LLMServer(model) as server, pytest.warns(GuidanceWarning, match="was not written"):
            report = self.written(server, out=tmp_path / "none.json")
        assert report.corrected == 0
        assert not (tmp_path / "none.json").exists()


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
