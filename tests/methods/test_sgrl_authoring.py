"""A model writes planner and masks: what passes, what is sent back, what is refused."""

from __future__ import annotations

import json

import gymnasium as gym
import pytest
from sgrl_replies import (
    BROKEN,
    GOALS,
    GOOD,
    HALF_A_CHARACTER,
    MASKS,
    NO_CODE,
    UNKNOWN_GOAL,
)

from llm_wrappers.captions import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.cli import main as command
from llm_wrappers.errors import AuthoringError, InvalidOptionError
from llm_wrappers.guidance.artefact import load_artefact
from llm_wrappers.llm import allow_requests
from llm_wrappers.methods import sgrl
from llm_wrappers.methods.sgrl.planner_author import describe_facts
from llm_wrappers.testing import LLMServer, ScriptedLLM


@pytest.fixture
def env():
    env = gym.make("CartPole-v1")
    yield env
    env.close()


@pytest.fixture
def states(env):
    return sgrl.record_states(env, states=40)


def write_planner(env, states, answers, **options):
    llm = ScriptedLLM(["the design", "the first version", *answers])
    description = resolve_captioner(env).description
    return llm, sgrl.write_planner(llm, description, states, goals=GOALS, **options)


class TestStates:
    def test_are_distinct_and_reproducible(self, env):
        first = sgrl.record_states(env, states=60, seed=3)
        assert first == sgrl.record_states(env, states=60, seed=3)
        assert first != sgrl.record_states(env, states=60, seed=4)
        assert len({tuple(sorted(state.items())) for state in first}) == 60

    @pytest.mark.parametrize("states", [0, -1, 2.5, True])
    def test_a_wrong_number_is_refused(self, env, states):
        with pytest.raises(InvalidOptionError):
            sgrl.record_states(env, states=states)

    def test_are_described_by_what_was_seen(self):
        text = describe_facts(
            [
                {"a": True, "b": 1, "c": None, "d": ("x",), "e": 0.5, "f": None},
                {"a": False, "b": 7, "c": "tree", "d": ("y", "x"), "e": -2.0, "f": None},
            ]
        )
        assert text.splitlines() == [
            "- `a`: True or False",
            "- `b`: whole number, 1 to 7",
            "- `c`: text, one of 'tree', or None",
            "- `d`: tuple of 'x', 'y'",
            "- `e`: number, -2 to 0.5",
            "- `f`: None in all situations so far",
        ]


class TestPlanner:
    def test_is_designed_implemented_and_revised(self, env, states):
        llm, draft = write_planner(env, states, [GOOD])
        assert draft.ok
        assert draft.rounds == 0
        assert [len(request.messages) for request in llm.requests] == [1, 3, 5]
        design = llm.requests[0].messages[0]["content"]
        for part in ("push left", "- go right", "`pole_angle_deg`: number", "slides on a track"):
            assert part in design
        assert set(draft.prompt_sha256) == {
            "sgrl/design",
            "sgrl/implementation",
            "sgrl/reflection",
        }
        assert llm.usage["plan"].calls == 3

    @pytest.mark.parametrize(
        ("answer", "kind", "told"),
        [
            (BROKEN, "lint", "line 5"),
            (UNKNOWN_GOAL, "unknown goal", "jump"),
            (NO_CODE, "no code", "code block"),
            (HALF_A_CHARACTER, "lint", "line 8"),
        ],
        ids=["broken", "unknown-goal", "no-code", "surrogate"],
    )
    def test_what_is_wrong_is_sent_back(
        self, env, states, answer, kind, told, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        llm, draft = write_planner(env, states, [answer, GOOD])
        assert draft.ok
        assert draft.rounds == 1
        assert kind in draft.failures
        repair = llm.requests[-1].messages[-1]["content"]
        assert told in repair
        assert "# The contract" in repair
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("repairs", [0, 2])
    def test_is_refused_after_the_last_repair(self, env, states, repairs):
        with pytest.raises(AuthoringError, match="passes the checks") as caught:
            write_planner(env, states, [BROKEN] * (repairs + 1), repairs=repairs)
        assert caught.value.draft.failures["lint"] == repairs + 1
        assert "line 5" in str(caught.value)

    def test_needs_goals_and_states(self, env, states):
        description = resolve_captioner(env).description
        with pytest.raises(InvalidOptionError, match="goals="):
            sgrl.write_planner(ScriptedLLM([]), description, states)
        with pytest.raises(InvalidOptionError, match="states"):
            sgrl.write_planner(ScriptedLLM([]), description, [], goals=GOALS)


class TestMasks:
    description = EnvDescription(
        env_id="Toy-v0", rules="Balance.", action_names=("push left", "push right"),
        goals=("go left", "go right", "wait"),
    )  # fmt: skip

    def test_names_are_read_leniently_and_strange_ones_dropped(self):
        waits = '{"masks": [{"goal": "wait", "actions": ["sleep"]}]}'
        llm = ScriptedLLM([MASKS, waits])
        draft = sgrl.write_masks(llm, self.description)
        assert draft.masks == {"go left": ["push left"], "go right": ["push right"]}
        assert draft.unknown_actions == ["jump", "sleep"]
        assert draft.unknown_goals == ["fly"]
        assert draft.without_mask == ["wait"]
        assert llm.usage["mask"].calls == 2

    def test_needs_named_actions(self):
        nameless = EnvDescription(env_id="Toy-v0", rules="", goals=("go",))
        with pytest.raises(InvalidOptionError, match="named actions"):
            sgrl.write_masks(ScriptedLLM([]), nameless)


class TestWriting:
    def test_saves_what_passed_with_what_it_took(self, env, tmp_path):
        llm = ScriptedLLM(["design", "first", BROKEN, GOOD, MASKS], model="scripted/model")
        sgrl.write_guidance(env, llm, tmp_path / "guidance", goals=GOALS, states=40)
        saved = load_artefact(tmp_path / "guidance")
        assert saved.planner_source is not None
        assert "OptimizedGoalGenerator" in saved.planner_source
        assert saved.masks == {"go left": ["push left"], "go right": ["push right"]}
        assert saved.provenance.authoring["checked_states"] > 0
        where = saved.provenance
        assert where.author == "scripted/model"
        assert where.authoring["repairs"] == 1
        assert where.authoring["failures"] == {"lint": 1}
        assert where.authoring["unknown_actions"] == ["jump"]
        assert where.usage["purposes"]["plan"]["calls"] == 4
        assert set(where.prompt_sha256) == {
            "sgrl/design", "sgrl/implementation", "sgrl/reflection", "sgrl/repair", "sgrl/masks",
        }  # fmt: skip

    def test_what_does_not_pass_is_not_saved(self, env, tmp_path):
        llm = ScriptedLLM(["design", "first", BROKEN, BROKEN])
        with pytest.raises(AuthoringError):
            sgrl.write_guidance(env, llm, tmp_path / "guidance", goals=GOALS, states=20, repairs=1)
        assert not (tmp_path / "guidance").exists()


def answer_of(body):
    """Answer as a model would, by what the last message asks for."""
    asked = body["messages"][-1]["content"]
    if "goal analyst" in body["messages"][0]["content"]:
        return MASKS
    if "The module was checked" in asked:
        return GOOD
    return BROKEN if "as its reviewer" in asked else "Left when it leans left."


class TestCommand:
    def write(self, folder, address, *more):
        return command(
            [
                "write", "sgrl", "--env", "CartPole-v1", "--model", "openai/test",
                "--api-base", address, "--goals", *GOALS, "--states", "30",
                "--cache", str(folder / "answers.sqlite"), "--out", str(folder / "out"), *more,
            ]
        )  # fmt: skip

    def test_over_http_once_and_then_from_the_cache(self, tmp_path, capsys):
        with LLMServer(answer=answer_of) as server, allow_requests(True):
            assert self.write(tmp_path, server.api_base) == 0
            assert server.count == 5
            assert "after 1 repairs" in capsys.readouterr().out
            assert self.write(tmp_path, server.api_base) == 0
            assert server.count == 5
        assert command(["show", str(tmp_path / "out")]) == 0
        shown = capsys.readouterr().out
        assert "openai/test" in shown
        assert "go left: push left" in shown
        assert command(["check", str(tmp_path / "out"), "--states", "30"]) == 0
        assert "100% of the goals named" in capsys.readouterr().out

    @pytest.mark.parametrize("repairs", [0, 1])
    def test_what_never_passes_has_status_1(self, tmp_path, capsys, repairs):
        with LLMServer(answer=BROKEN) as server, allow_requests(True):
            assert self.write(tmp_path, server.api_base, "--repairs", str(repairs)) == 1
            assert server.count == 3 + repairs
        assert "AuthoringError" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["write", "sgrl", "--env", "NoSuch-v0", "--model", "m", "--out", "x"], "NoSuch"),
            (["check", "no-such-folder"], "no-such-folder"),
            (["show", "no-such-folder"], "no-such-folder"),
        ],
        ids=["env", "check", "show"],
    )
    def test_what_is_wrong_is_said_in_a_line(self, arguments, says, capsys):
        assert command(arguments) == 2
        err = capsys.readouterr().err
        assert says in err
        assert "Traceback" not in err

    def test_check_finds_what_somebody_changed(self, env, tmp_path, capsys):
        llm = ScriptedLLM(["design", "first", GOOD, MASKS])
        sgrl.write_guidance(env, llm, tmp_path, goals=GOALS, states=20)
        masks = json.loads((tmp_path / "masks.json").read_text())
        masks["go left"] = ["jump"]
        (tmp_path / "masks.json").write_text(json.dumps(masks))
        assert command(["check", str(tmp_path), "--states", "20"]) == 1
        assert "jump" in capsys.readouterr().out
