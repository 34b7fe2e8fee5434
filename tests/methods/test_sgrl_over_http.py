"""SGRL end to end: a model behind real HTTP writes guidance, and an agent trains with it."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import pytest
from gymnasium.wrappers import FlattenObservation
from http_authoring import author, code_block, model_that_writes
from minigrid.wrappers import ImgObsWrapper

from llm_wrappers.guidance import reference_artefact
from llm_wrappers.methods import sgrl
from llm_wrappers.sandbox import validate_planner

DOOR_KEY = "MiniGrid-DoorKey-5x5-v0"
CRAFTER = "llm_wrappers/Crafter-v1"
REFERENCE = reference_artefact("minigrid-doorkey")
MASKS = REFERENCE.masks
PLANNER = REFERENCE.planner_source
GOOD = code_block(PLANNER)
BROKEN = code_block(PLANNER.replace("def generate(self, facts):", "def generate(self, facts)"))
WRONG = {
    "unknown goal": PLANNER.replace('("find the key", NOW)', '("find the chest", NOW)'),
    "answer": PLANNER.replace('("find the key", NOW)', '("find the key", -NOW)'),
    "no goal": PLANNER.replace('[("find the key", NOW)]', "[]"),
    "raised": PLANNER.replace('facts["facing"] == "key"', 'facts["next_reward"] > 0'),
}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a planner take its time: on a busy machine a good one would count as slow."""
    monkeypatch.setattr(
        "llm_wrappers.methods.sgrl.planner_author.validate_planner",
        partial(validate_planner, most_milliseconds=2000.0),
    )


def door_key(answer: Any, folder: Path) -> Any:
    return author(answer, folder, env_id=DOOR_KEY, states=20)


@pytest.mark.usefixtures("patient")
class TestGoodPlanner:
    def test_is_written_and_an_agent_trains_with_it(self, tmp_path):
        from sb3_contrib import MaskablePPO
        from stable_baselines3.common.env_util import make_vec_env

        from llm_wrappers.sb3 import GuidanceCallback

        found = door_key(model_that_writes([GOOD], MASKS), tmp_path)
        assert (found.status, found.harm) == (0, ())
        # Design, implementation, review and masks.
        assert (found.requests, found.repairs) == (4, 0)
        assert found.files == ("artefact.json", "masks.json", "planner.py")
        assert found.artefact.planner_source == PLANNER
        assert found.artefact.masks == MASKS
        assert found.artefact.provenance.author == "openai/test"
        assert found.artefact.provenance.usage["total"]["calls"] == 4

        def make() -> Any:
            env = ImgObsWrapper(gym.make(DOOR_KEY, disable_env_checker=True))
            return FlattenObservation(sgrl.wrap(env, f"file:{tmp_path / 'out'}"))

        envs = make_vec_env(make, 2, seed=0)
        model = MaskablePPO("MlpPolicy", envs, n_steps=128, n_epochs=1, device="cpu")
        model.learn(512, callback=GuidanceCallback())
        for stats in envs.env_method("all_stats"):
            goals = stats["GoalObservationWrapper"]
            assert goals["failures"] == goals["unknown_goals"] == 0
            assert goals["states"] > 256
            assert sum(count > 0 for count in goals["goal_steps"].values()) >= 3
            assert sum(goals["goal_steps"].values()) == goals["states"]
            assert stats["ActionMaskWrapper"]["masked_share"] == 1.0
            assert stats["ActionMaskWrapper"]["forbidden_actions"] == 0
        # The goal comes first in the flat observation, one in each environment.
        assert envs.reset()[:, : len(MASKS)].sum(axis=1).tolist() == [1.0, 1.0]
        envs.close()


@pytest.mark.usefixtures("patient")
class TestWrongPlanner:
    @pytest.mark.parametrize("kind", ["lint", "answer", "raised"])
    def test_is_repaired_and_counted(self, kind, tmp_path):
        first = BROKEN if kind == "lint" else code_block(WRONG[kind])
        assert first != GOOD
        found = door_key(model_that_writes([first, GOOD], MASKS), tmp_path)
        assert (found.status, found.requests) == (0, 5)
        where = found.artefact.provenance
        assert where.authoring["repairs"] == 1
        assert where.authoring["failures"][kind] == 1
        assert found.artefact.planner_source == PLANNER
        assert "after 1 repairs" in found.printed

    @pytest.mark.parametrize("kind", ["lint", "unknown goal", "no goal"])
    def test_that_stays_wrong_is_refused_with_a_report(self, kind, tmp_path):
        answer = BROKEN if kind == "lint" else code_block(WRONG[kind])
        found = door_key(model_that_writes([answer], MASKS), tmp_path)
        assert (found.status, found.requests) == (1, 4)
        assert found.files == ()
        assert not (tmp_path / "out").exists()
        assert found.failures[kind] == 2
        says = {"lint": "line 21", "unknown goal": "find the chest", "no goal": "list is empty"}
        assert says[kind] in found.complained
        assert "Traceback" not in found.complained


ATTACKS = {
    "runs a command": {"lint"},
    "frame of a generator, called self": {"lint"},
    "format string": {"raised"},
    "forges the answers of other states": {"lint"},
    "changes the facts by another name": {"mutated"},
    "counts its calls in a global list": {"unstable"},
    "doubles a list": {"memory", "given up", "timeout"},
    "calls another that calls it": {"raised"},
    "loops for ever": {"timeout"},
}


class TestHostilePlanner:
    @pytest.fixture
    def planners(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "sandbox"))
        import hostile_planners

        monkeypatch.setenv(hostile_planners.SECRET_VARIABLE, hostile_planners.SECRET)
        return hostile_planners

    @pytest.fixture
    def forbidden(self, tmp_path: Path) -> Path:
        folder = tmp_path / "forbidden"
        folder.mkdir()
        return folder

    @pytest.mark.timeout(200)
    @pytest.mark.parametrize("name", ATTACKS)
    def test_is_refused_and_does_no_harm(self, name, planners, tmp_path, forbidden):
        (case,) = [case for case in planners.HOSTILE if case.name == name]
        source = case.source.replace("@FILE@", str(forbidden / "written"))
        found = author(
            model_that_writes([code_block(source)], {"eat cow": ["noop"]}),
            tmp_path,
            env_id=CRAFTER,
            goals=planners.GOALS,
            states=10,
            forbidden=forbidden,
            secret=planners.SECRET,
        )
        assert found.harm == ()
        assert (found.status, found.files) == (1, ())
        assert set(found.failures) & ATTACKS[name], found.failures
        assert max(found.failures.values()) == 2
        assert "Traceback" not in found.complained

    def test_harm_would_be_seen(self, tmp_path, forbidden, monkeypatch):
        monkeypatch.setenv("CHANGED_BY_A_TEST", "0")

        def harmful(body: Any) -> str:
            (forbidden / "written").write_text("x")
            monkeypatch.setattr(math, "sqrt", abs)
            os.environ["CHANGED_BY_A_TEST"] = "1"
            return "I cannot."

        # What the command says of the refusal stands in for a secret.
        bad = author(
            harmful, tmp_path, env_id=DOOR_KEY, forbidden=forbidden, secret="passes the checks"
        )
        assert {"WROTE", "TAMPERED", "LEAKED"} <= set(bad.harm)
