"""`llm-wrappers check`, `show`, `calibrate`, and what guided play adds while a model writes."""

from __future__ import annotations

import json

import gymnasium as gym
import minigrid  # noqa: F401  (registers the environments)
import pytest

from llm_wrappers.cli import main as command
from llm_wrappers.errors import AuthoringError
from llm_wrappers.guidance import (
    GuidanceArtefact,
    Provenance,
    load_artefact,
    reference_artefact,
    save_artefact,
)
from llm_wrappers.methods import sgrl
from llm_wrappers.methods.sgrl import MaskAudit
from llm_wrappers.testing import ScriptedLLM

DOOR_KEY = "MiniGrid-DoorKey-5x5-v0"
REFERENCE = reference_artefact("minigrid-doorkey")

# It divides by zero at one place of a corridor.
PLANNER = """
class OptimizedGoalGenerator:
    def generate(self, facts):
        if facts["where"] == LAST:
            return [("open", 1.0 / (facts["where"] - LAST))]
        return [("go on", 1.0), ("open", 0.5)]
"""


def source(last):
    return PLANNER.replace("LAST", str(last))


def save(folder, planner=REFERENCE.planner_source, masks=REFERENCE.masks, env=DOOR_KEY):
    provenance = Provenance(author="hand", environment=env)
    artefact = GuidanceArtefact(provenance=provenance, planner_source=planner, masks=masks)
    return str(save_artefact(artefact, folder))


def check(capsys, folder, *more):
    status = command(["check", folder, "--states", "30", *more])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out


class TestCheck:
    def test_prints_the_audit_and_what_play_did_not_reach(self, tmp_path, capsys):
        status, out = check(capsys, save(tmp_path))
        assert status == 0
        assert out.endswith("everything holds\n")
        assert "guided play:" in out
        assert "the planner failed in 0.0%" in out
        assert "over-strict: 0 of" in out
        assert "contradictions: 0 states" in out
        assert "proposed, and not seen to be reached in" in out
        assert "find the key" in out.split("not seen to be reached", 1)[1].splitlines()[0]

    def test_over_strict_masks_are_reported_and_change_no_status(self, tmp_path, capsys):
        masks = {**REFERENCE.masks, "pick up the key": ["done"]}
        folder = save(tmp_path, planner=None, masks=masks)
        status, out = check(capsys, folder, "--states", "200")
        assert status == 0
        (line,) = [line for line in out.splitlines() if line.startswith("  pick up the key")]
        assert "(100.0%)" in line

    def test_masks_without_a_planner_are_held_against_random_play(self, tmp_path, capsys):
        status, out = check(capsys, save(tmp_path, planner=None), "--states", "300")
        assert status == 0
        assert "guided play" not in out
        assert "never proposed" not in out
        assert "over-loose: n/a" in out
        assert "over-strict: 0 of" in out

    def test_what_does_not_hold_is_not_played(self, tmp_path, capsys):
        masks = {**REFERENCE.masks, "find the key": ["fly"]}
        status, out = check(capsys, save(tmp_path, masks=masks))
        assert status == 1
        assert "fly" in out
        assert "mask audit" not in out

    def test_a_state_that_only_guided_play_meets_is_found(self, tmp_path, capsys, corridor):
        masks = {"go on": ["on"], "open": ["on"]}
        status, out = check(capsys, save(tmp_path, source(35), masks, corridor), "--states", "8")
        assert status == 1
        random_play, guided_play = out.split("guided play:")
        assert "ZeroDivisionError" not in random_play
        assert "ZeroDivisionError" in guided_play
        assert "something is wrong" in guided_play
        failed = float(guided_play.split("the planner failed in ")[1].split("%")[0])
        assert 0 < failed < 50


class TestShow:
    def test_prints_a_stored_audit(self, tmp_path, capsys):
        folder = save(tmp_path)
        audit = sgrl_audit()
        manifest = json.loads((tmp_path / "artefact.json").read_text())
        manifest["provenance"]["authoring"] = {"repairs": 1, "mask_audit": audit.as_dict()}
        (tmp_path / "artefact.json").write_text(json.dumps(manifest))
        assert command(["show", folder]) == 0
        out = capsys.readouterr().out
        assert str(audit) in out
        assert "repairs" in out
        assert "{" not in out

    def test_an_audit_that_is_none_is_said_in_a_line(self, tmp_path, capsys):
        folder = save(tmp_path)
        manifest = json.loads((tmp_path / "artefact.json").read_text())
        manifest["provenance"]["authoring"] = {"mask_audit": {"goals": 3}}
        (tmp_path / "artefact.json").write_text(json.dumps(manifest))
        assert command(["show", folder]) == 2
        err = capsys.readouterr().err
        assert "MaskAudit" in err
        assert len(err.splitlines()) == 1


def sgrl_audit():
    from llm_wrappers.methods.sgrl.mask_audit import audit_masks
    from llm_wrappers.methods.sgrl.play import record_episodes

    env = gym.make(DOOR_KEY, disable_env_checker=True)
    name = "reference:minigrid-doorkey"
    episodes = record_episodes(env, steps=100, guided_by=name)
    return audit_masks(name, episodes, env=env, planner=name)


class Corridor(gym.Env):
    """Forty places in a row; only the right one of two actions leads on, the other back to 0."""

    observation_space = gym.spaces.Discrete(40)
    action_space = gym.spaces.Discrete(2)

    def __init__(self):
        self.captioner = Places()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self.place, {}

    def step(self, action):
        self.place = min(self.place + 1, 39) if action == 1 else 0
        return self.place, 0.0, self.place == 39, False, {}


class Places:
    """Says where one is."""

    def __init__(self):
        from llm_wrappers.captions import EnvDescription

        self.description = EnvDescription(
            env_id="Corridor-v0",
            rules="Go on to the end.",
            action_names=("back", "on"),
            goals=("go on", "open"),
        )

    def facts(self, observations, infos):
        return [{"where": int(where)} for where in observations]

    def state_captions(self, facts):
        return [f"You are at {row['where']}." for row in facts]

    def transition_captions(self, before, actions, after):
        return ["go on" if new["where"] > old["where"] else "" for old, new in
                zip(before, after, strict=True)]  # fmt: skip


@pytest.fixture
def corridor():
    """Return the id of a corridor, registered for one test."""
    gym.register("CorridorOfForty-v0", entry_point=Corridor, disable_env_checker=True)
    yield "CorridorOfForty-v0"
    del gym.registry["CorridorOfForty-v0"]


MASKS = '{"masks": [{"goal": "go on", "actions": ["on"]}, {"goal": "open", "actions": ["on"]}]}'


def block(last):
    return f"```python{source(last)}```"


class TestWriting:
    """The planner divides by zero at a place that random play does not come to."""

    def write(self, folder, answers, **options):
        llm = ScriptedLLM(["design", "first", *answers], model="scripted/model")
        sgrl.write_guidance(Corridor(), llm, folder, states=8, **options)
        return llm, load_artefact(folder)

    def test_what_guided_play_finds_is_repaired(self, tmp_path):
        llm, saved = self.write(tmp_path, [block(35), MASKS, block(99)])
        assert saved.provenance.authoring["repairs"] == 1
        assert saved.provenance.authoring["failures"] == {"raised": 1}
        repair = llm.requests[-1].messages[-1]["content"]
        assert "ZeroDivisionError" in repair
        assert '"where": 35' in repair
        assert "99" in saved.planner_source
        # The audit is of the version that was saved.
        audit = MaskAudit.from_dict(saved.provenance.authoring["mask_audit"])
        assert audit.goals["go on"].reached > 0
        assert audit.over_strict == 0.0
        assert audit.goals["open"].planned > 0
        assert audit.over_loose is None
        assert audit.fallbacks == 0

    def test_without_guided_play_it_is_not_found(self, tmp_path):
        _, saved = self.write(tmp_path, [block(35), MASKS], guided_play=False)
        assert saved.provenance.authoring["repairs"] == 0
        assert "mask_audit" not in saved.provenance.authoring
        assert saved.masks == {"go on": ["on"], "open": ["on"]}

    def test_what_is_never_repaired_is_not_saved(self, tmp_path):
        with pytest.raises(AuthoringError, match="ZeroDivisionError"):
            self.write(tmp_path / "out", [block(35), MASKS], repairs=0)
        assert not (tmp_path / "out").exists()


def test_calibrate_plays_and_prints_a_threshold(capsys):
    arguments = ["calibrate", "--env", DOOR_KEY, "--steps", "60", "--seed", "3"]
    assert command(arguments) == 0
    first = capsys.readouterr().out
    assert "encoder: hashing:256" in first
    assert "9 goals, " in first
    assert "  ~  " in first
    assert "threshold 0.9" in first
    command(arguments)
    assert capsys.readouterr().out == first


def test_calibrate_takes_goals_encoder_and_matches(capsys):
    arguments = ["calibrate", "--env", "CartPole-v1", "--encoder", "hashing:64", "--steps", "40"]
    goals = ["--goals", "keep the pole up", "go left"]
    assert command([*arguments, *goals]) == 0
    shown = capsys.readouterr().out
    assert "encoder: hashing:64" in shown
    assert "2 goals, " in shown
    caption = next(line for line in shown.splitlines() if "  ~  " in line).split("  ")[2]
    assert command([*arguments, *goals, "--match", "go left", caption]) == 0
    assert "of 1 matches missed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "CartPole-v1"], "CartPole-v1 describes no goals: pass them with --goals"),
        (["--env", "CartPole-v1", "--encoder", "word2vec"], "expected one of one-hot, hashing"),
        (["--env", "Nowhere-v1"], "Nowhere"),
        (
            ["--env", "CartPole-v1", "--goals", "up", "--match", "up", "fly"],
            "a goal and a caption given, got ('up', 'fly')",
        ),
    ],
)
def test_a_mistake_in_calibrate_is_said_in_one_line(arguments, message, capsys):
    assert command(["calibrate", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
