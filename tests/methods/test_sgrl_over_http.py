"""SGRL end to end: a model behind real HTTP writes guidance, and an agent trains with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import pytest
from gymnasium.wrappers import FlattenObservation
from http_authoring import author, code_block, model_that_writes
from minigrid.wrappers import ImgObsWrapper
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_util import make_vec_env

from llm_wrappers.guidance import reference_artefact
from llm_wrappers.methods import sgrl
from llm_wrappers.sandbox import validate_planner
from llm_wrappers.sb3 import GuidanceCallback

DOOR_KEY = "MiniGrid-DoorKey-5x5-v0"
REFERENCE = reference_artefact("minigrid-doorkey")


def test_guidance_is_written_and_an_agent_trains_with_it(tmp_path, monkeypatch):
    # A planner may take its time: on a busy machine a good one would count as slow.
    monkeypatch.setattr(
        "llm_wrappers.methods.sgrl.planner_author.validate_planner",
        partial(validate_planner, most_milliseconds=2000.0),
    )
    model = model_that_writes([code_block(REFERENCE.planner_source)], REFERENCE.masks)
    found = author(model, tmp_path, env_id=DOOR_KEY, states=20)
    # Design, implementation, review and masks.
    assert (found.status, found.harm, found.requests, found.repairs) == (0, (), 4, 0)
    assert found.files == ("artefact.json", "masks.json", "planner.py")
    assert found.artefact.planner_source == REFERENCE.planner_source
    assert found.artefact.masks == REFERENCE.masks
    assert found.artefact.provenance.author == "openai/test"
    assert found.artefact.provenance.usage["total"]["calls"] == 4

    def make():
        env = ImgObsWrapper(gym.make(DOOR_KEY, disable_env_checker=True))
        return FlattenObservation(sgrl.wrap(env, f"file:{tmp_path / 'out'}"))

    envs = make_vec_env(make, 2, seed=0)
    model = MaskablePPO("MlpPolicy", envs, n_steps=128, n_epochs=1, device="cpu")
    model.learn(512, callback=GuidanceCallback())
    for stats in envs.env_method("all_stats"):
        goals, masks = stats["GoalObservationWrapper"], stats["ActionMaskWrapper"]
        assert goals["failures"] == goals["unknown_goals"] == 0
        assert sum(count > 0 for count in goals["goal_steps"].values()) >= 3
        assert sum(goals["goal_steps"].values()) == goals["states"] > 256
        assert (masks["masked_share"], masks["forbidden_actions"]) == (1.0, 0)
    # The goal comes first in the flat observation, one in each environment.
    assert envs.reset()[:, : len(REFERENCE.masks)].sum(axis=1).tolist() == [1.0, 1.0]
    envs.close()


@pytest.mark.timeout(200)
def test_a_hostile_planner_is_refused_and_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "sandbox"))
    import hostile_planners

    monkeypatch.setenv(hostile_planners.SECRET_VARIABLE, hostile_planners.SECRET)
    forbidden = tmp_path / "forbidden"
    forbidden.mkdir()
    (case,) = [case for case in hostile_planners.HOSTILE if case.name == "runs a command"]
    source = case.source.replace("@FILE@", str(forbidden / "written"))
    found = author(
        model_that_writes([code_block(source)], {"eat cow": ["noop"]}),
        tmp_path,
        env_id=DOOR_KEY,
        goals=hostile_planners.GOALS,
        states=10,
        forbidden=forbidden,
        secret=hostile_planners.SECRET,
    )
    assert (found.status, found.files, found.harm) == (1, (), ())
    assert found.failures == {"lint": 2}
    assert "Traceback" not in found.complained
