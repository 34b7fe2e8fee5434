"""ULTRA's two questions over real HTTP, answered by models of different quality."""

from __future__ import annotations

import json

import gymnasium as gym
import pytest
from ellm_doubles import PlainHttp
from ultra_doubles import (
    cart_pole_model,
    corrections,
    described,
    identification,
    is_selection,
    pendulum_model,
    played,
    prompt_of,
    steps_of,
    wrongly_pushed,
)

from llm_wrappers import CriticalStateOverrideWrapper
from llm_wrappers.errors import GuidanceWarning
from llm_wrappers.guidance.critical.table import CriticalStates
from llm_wrappers.llm import LLM, Budget, allow_requests
from llm_wrappers.methods.ultra import LLMCorrector, LLMSelector, write_guidance
from llm_wrappers.testing import Fault, LLMServer

CART, PENDULUM = "CartPole-v1", "Pendulum-v1"
PER_EPISODE = 3


@pytest.fixture(autouse=True)
def requests_allowed():
    with allow_requests(True):
        yield


def written(server, *, env_id=CART, episodes=2, out=None, **options):
    """Return the report of guidance that a model behind a server writes."""
    given = {"transport": PlainHttp(server.api_base), "repairs": 1, "retries": 1, **options}
    space = gym.make(env_id).action_space
    with LLM("openai/test", **given) as llm:
        return write_guidance(
            played(env_id, episodes=episodes),
            selector=LLMSelector(llm, described(env_id)),
            corrector=LLMCorrector(llm, described(env_id), space),
            per_episode=PER_EPISODE,
            out=out,
        )


def of_quality(change):
    """Return the good model with its selections changed: from its states to an answer."""

    def model(body):
        text = cart_pole_model(body)
        if not is_selection(prompt_of(body)):
            return text
        good = json.loads(text.partition("```json\n")[2].removesuffix("\n```"))["states"]
        best = sorted(good, key=lambda state: -state["importance"])[:PER_EPISODE]
        rows = [(state["episode"], state["step"], state["importance"]) for state in best]
        return change(rows)

    return model


def selected(report):
    return [(moment.episode, moment.step) for moment in report.moments]


@pytest.fixture(scope="module")
def good():
    """What a good model selects and advises."""
    with LLMServer(cart_pole_model) as server, allow_requests(True):
        return written(server)


class TestGoodModel:
    def test_selects_and_corrects_from_the_text_alone(self, good):
        for number, trajectory in enumerate(played(CART)):
            wrong, _ = wrongly_pushed(trajectory)
            steps = [step for episode, step in selected(good) if episode == number]
            assert len(steps) == PER_EPISODE
            assert set(steps) <= set(wrong)
        for entry in good.critical_states.entries:
            assert int(entry.action) == (entry.state[3] > 0)
        # Two selections and three corrections for each episode.
        assert good.usage.total.calls == 2 + 6
        assert good.usage["identify"].calls == 2

    def test_torques_become_advice_that_a_wrapper_executes(self, tmp_path):
        out = tmp_path / "states.json"
        with LLMServer(pendulum_model) as server:
            report = written(server, env_id=PENDULUM, out=out)
        assert report.corrector_stats["clipped_actions"] == report.corrected == 6
        env = CriticalStateOverrideWrapper(
            gym.make(PENDULUM), critical_states=CriticalStates.load(out), probability=1.0
        )
        (first, *_) = (step for episode, step in selected(report) if episode == 0)
        env.reset(seed=0)
        for action in played(PENDULUM)[0].actions[: first + 1]:
            *_, info = env.step(action)
        assert info["critical"]
        assert abs(info["executed_action"][0]) == 2.0

    def test_nothing_but_the_episodes_is_sent(self, good):
        with LLMServer(cart_pole_model) as server:
            written(server)
            texts = json.dumps(server.requests)
        assert "observations" not in texts
        # The numbers of the observations are only in the captions.
        assert str(float(played(CART)[0].observations[0, 0])) not in texts

    def test_a_second_run_sends_nothing(self, tmp_path):
        cache = tmp_path / "answers.sqlite"
        with LLMServer(cart_pole_model) as server:
            first = written(server, cache=cache)
            assert server.count == 8
            second = written(server, cache=cache)
            assert server.count == 8
        assert selected(first) == selected(second)
        assert second.usage.total.calls == 0

    def test_questions_are_asked_side_by_side(self):
        with LLMServer(cart_pole_model, latency=0.1) as server:
            written(server, episodes=4, concurrency=4)
            assert server.max_concurrent >= 3

    def test_a_spent_budget_goes_on_where_it_was(self, good, tmp_path):
        cache = tmp_path / "answers.sqlite"
        with LLMServer(cart_pole_model) as server:
            with pytest.warns(GuidanceWarning, match="over budget"):
                some = written(server, cache=cache, budget=Budget(calls=5), concurrency=1)
            assert (server.count, some.corrected) == (5, 3)
            rest = written(server, cache=cache)
            assert server.count == 8
        assert selected(rest) == selected(good)
        assert rest.complete

    def test_through_litellm_with_an_overloaded_provider(self, good, tmp_path):
        faults = [Fault.rate_limit(retry_after=0), None, Fault.error(503)]
        reach = {"transport": None, "api_key": "secret", "prices": (1.0, 2.0)}
        with LLMServer(cart_pole_model, faults=faults) as server:
            out = tmp_path / "states.json"
            report = written(server, out=out, api_base=server.api_base, concurrency=1, **reach)
            assert server.count == 8 + 2
            assert {head["authorization"] for head in server.headers} == {"Bearer secret"}
        assert selected(report) == selected(good)
        total = CriticalStates.load(out).provenance["usage"]["total"]
        assert total["calls"] == 10
        tokens = total["prompt_tokens"], total["completion_tokens"]
        assert tokens[0] > 1000
        assert total["dollars"] == pytest.approx((tokens[0] + 2 * tokens[1]) / 1e6)
        assert f"price      ${total['dollars']:.4g}" in str(report)
        assert "secret" not in out.read_text()


class TestOtherQualities:
    @pytest.mark.parametrize(
        ("change", "kind", "number"),
        [
            (lambda rows: identification(*rows, (rows[0][0], 10_000)), "out_of_range", 2),
            (lambda rows: identification(*rows, (77, 1)), "wrong_episode", 2),
            (lambda rows: identification(*rows, rows[0]), "duplicate", 2),
            (lambda rows: identification(*rows, (rows[0][0], 10**300)), "out_of_range", 2),
            (lambda rows: identification(*rows, (rows[0][0], 0, 10**400)), "not_finite", 2),
            (lambda rows: identification(*rows, (rows[0][0], 1, 0)), "too_many", 2),
            (lambda rows: f"Well.\n{identification(*rows)}\nThat is all.", "wrong_episode", 0),
        ],
        ids=[
            "out of range", "wrong episode", "named twice", "huge step", "huge importance",
            "too many", "prose around",
        ],
    )  # fmt: skip
    def test_what_cannot_be_used_is_dropped_and_the_rest_kept(self, change, kind, number, good):
        with LLMServer(of_quality(change)) as server:
            report = written(server)
            assert server.count == 8
        assert selected(report) == selected(good)
        assert report.selector_stats[kind] == number
        assert report.complete

    def test_broken_json_is_repaired(self, good):
        broken = of_quality(lambda rows: identification(*rows)[:-1])

        def model(body):
            # The turn that asks for a correction is the third.
            return cart_pole_model(body) if len(body["messages"]) > 2 else broken(body)

        with LLMServer(model) as server:
            report = written(server)
            assert server.count == 8 + 2
        assert selected(report) == selected(good)

    def test_a_model_that_cannot_write_json_costs_only_its_part(self, good):
        def model(body):
            return "I would brake." if "Episode 1:" in prompt_of(body) else cart_pole_model(body)

        with LLMServer(model) as server:
            with pytest.warns(GuidanceWarning, match=r"1 of 2 questions \(identify\)"):
                report = written(server)
            # A selection and its repair more, three corrections less.
            assert server.count == 8 + 1 - 3
        assert selected(report) == [place for place in selected(good) if place[0] == 0]
        assert not report.complete

    def test_hostile_advice_is_refused(self, tmp_path):
        def model(body):
            if is_selection(prompt_of(body)):
                return cart_pole_model(body)
            ((episode, step),) = (row[:2] for row in steps_of(prompt_of(body)) if row[-1])
            return corrections(
                (episode, step, "__import__('os').abort()", 0), (episode, step + 1, "push left", 9)
            )

        with LLMServer(model) as server, pytest.warns(GuidanceWarning, match="was not written"):
            report = written(server, out=tmp_path / "none.json")
        assert report.corrected == 0
        stats = report.corrector_stats
        assert (stats["unknown_action"], stats["not_asked"], stats["without_advice"]) == (6, 6, 6)
