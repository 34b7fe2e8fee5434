"""Names of guidance, resolved in one place."""

import json

import pytest
from gymnasium import spaces

from llm_wrappers import MaskBank
from llm_wrappers.errors import (
    GuidanceError,
    GuidanceFileError,
    InvalidOptionError,
    UnknownNameError,
)
from llm_wrappers.guidance import (
    FunctionPlanner,
    GuidanceArtefact,
    PlannerProgram,
    Provenance,
    reference_artefact,
    register_source,
    resolve,
    resolve_masks,
    resolve_planner,
    save_artefact,
)
from llm_wrappers.guidance.ablations import (
    EqualPlanner,
    NoPlanner,
    RandomPlanner,
    ShuffledPlanner,
    SinglePlanner,
)
from llm_wrappers.sandbox import MontyRuntime
from llm_wrappers.worlds.crafter.rules import ACTIONS, describe

CRAFTER, CRAFTAX = "llm_wrappers/Crafter-v1", "llm_wrappers/CraftaxClassic-v1"
GOALS = ("go left", "go right")
SOURCE = """\
class OptimizedGoalGenerator:
    def generate(self, facts):
        return [("go left", 1.0)]
"""
MASKS = {"go left": [0], "go right": ["right"]}
ARTEFACT = GuidanceArtefact(
    provenance=Provenance(author="hand", environment="Toy-v0"), planner_source=SOURCE, masks=MASKS
)


def planner_of(name, env_id="Toy-v0"):
    return resolve_planner(name, env_id=env_id, goals=GOALS)


def masks_of(name, env_id="Toy-v0"):
    return resolve_masks(name, env_id=env_id, goals=GOALS, actions=["left", "right"])


@pytest.fixture
def folder(tmp_path):
    return save_artefact(ARTEFACT, tmp_path / "artefact")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Put an artefact of this test's own in the place of what ships for Crafter."""
    monkeypatch.setattr(resolve, "_data_folder", lambda name: tmp_path / name)
    return save_artefact(ARTEFACT, tmp_path / "crafter")


class TestPlanner:
    def test_an_object_is_taken_as_it_is(self):
        planner = NoPlanner()
        assert planner_of(planner) is planner

    def test_a_function_is_a_planner(self):
        planner = planner_of(lambda facts: [[("go left", 1.0)] for _ in facts])
        assert isinstance(planner, FunctionPlanner)
        assert planner.plan([{}]) == [[("go left", 1.0)]]

    def test_what_is_no_planner_is_refused(self):
        with pytest.raises(InvalidOptionError, match="expected a planner"):
            planner_of(3)

    def test_none_and_random(self):
        assert isinstance(planner_of("none"), NoPlanner)
        planner = planner_of("random")
        assert isinstance(planner, RandomPlanner)
        assert planner.goals == GOALS

    def test_single(self):
        for name, goal in (("single", "go right"), ("single:go left", "go left")):
            planner = planner_of(name)
            assert isinstance(planner, SinglePlanner)
            assert planner.goal == goal

    def test_single_with_a_goal_that_there_is_not(self):
        with pytest.raises(UnknownNameError, match=r"\['go left', 'go right'\], got 'fly'"):
            planner_of("single:fly")

    def test_a_single_goal_can_have_a_colon(self):
        planner = resolve_planner("single:go: left", env_id="", goals=["go: left", "stay"])
        assert planner.goal == "go: left"

    def test_a_file(self, folder):
        planner = planner_of(f"file:{folder / 'planner.py'}")
        assert isinstance(planner, MontyRuntime)
        assert planner.plan([{}]) == [[("go left", 1.0)]]

    def test_code_of_a_file_does_not_run_here_unless_it_is_trusted(self, tmp_path):
        canary = tmp_path / "canary"
        planner = tmp_path / "planner.py"
        planner.write_text(f"open({str(canary)!r}, 'w').close()\n{SOURCE}")
        (answer,) = planner_of(f"file:{planner}").plan([{}])
        assert isinstance(answer, GuidanceError)
        assert not canary.exists()
        assert isinstance(planner_of(f"trusted:{planner}"), PlannerProgram)
        assert canary.exists()

    @pytest.mark.parametrize("name", ["guarded:", "shuffled:guarded:", "equal:guarded:"])
    def test_the_guard_is_gone_and_its_name_says_what_to_write(self, name, folder):
        said = 'no boundary against its author, and is gone; write "file:PATH" .* or "trusted:PATH"'
        with pytest.raises(UnknownNameError, match=said):
            planner_of(f"{name}{folder}")
        with pytest.raises(InvalidOptionError, match=said):
            ARTEFACT.planner("guarded")

    def test_masks_of_a_guarded_folder_say_so_too(self, folder):
        with pytest.raises(UnknownNameError, match=r"^'guarded:.* is gone; write"):
            resolve_masks(f"guarded:{folder}", env_id="", goals=GOALS, actions=[])

    def test_a_trusted_folder(self, folder):
        planner = planner_of(f"trusted:{folder}")
        assert isinstance(planner, PlannerProgram)
        assert planner.plan([{}]) == [[("go left", 1.0)]]

    def test_a_folder(self, folder):
        assert planner_of(f"file:{folder}").source == SOURCE

    def test_a_changed_planner_is_taken_from_the_file_but_not_from_the_folder(self, folder):
        (folder / "planner.py").write_text(SOURCE + "# changed\n")
        assert planner_of(f"file:{folder / 'planner.py'}").source.endswith("# changed\n")
        with pytest.raises(GuidanceFileError, match=r"is not the planner that artefact\.json"):
            planner_of(f"file:{folder}")

    def test_a_reference(self, shipped):
        assert planner_of("reference:crafter").source == SOURCE

    def test_shuffled(self, shipped, folder):
        for name, env_id in (("shuffled", CRAFTER), (f"shuffled:file:{folder}", "Toy-v0")):
            planner = planner_of(name, env_id)
            assert isinstance(planner, ShuffledPlanner)
            assert planner.plan([{}]) == [[("go right", 1.0)]]

    def test_equal(self, shipped, folder):
        for name, env_id in (("equal", CRAFTER), (f"equal:file:{folder}", "Toy-v0")):
            planner = planner_of(name, env_id)
            assert isinstance(planner, EqualPlanner)
            assert planner.plan([{}]) == [[("go left", 1.0)]]

    def test_the_oracle_of_an_environment_is_a_file_beside_its_reference(self, shipped):
        (shipped / "oracle.py").write_text(SOURCE + "# the oracle\n")
        assert planner_of("oracle", CRAFTER).source.endswith("# the oracle\n")

    @pytest.mark.parametrize("name", ["oracle", "shuffled", "equal"])
    @pytest.mark.parametrize("env_id", ["Toy-v0", ""])
    def test_what_needs_a_reference_says_where_there_is_one(self, name, env_id):
        with pytest.raises(UnknownNameError) as caught:
            planner_of(name, env_id)
        message = str(caught.value)
        assert message.startswith(f"{name!r} needs reference guidance, which ships for [")
        assert CRAFTAX in message
        assert (env_id or "this environment") in message


class TestMasks:
    def test_a_dict_is_taken_as_it_is(self):
        assert masks_of(MASKS) is MASKS

    def test_none_and_random(self):
        assert masks_of("none") == {}
        assert set(masks_of("random")) == set(GOALS)
        assert {action for row in masks_of("random").values() for action in row} <= {
            "left",
            "right",
        }

    def test_a_file(self, tmp_path):
        (tmp_path / "masks.json").write_text(json.dumps(MASKS))
        assert masks_of(f"file:{tmp_path / 'masks.json'}") == MASKS

    def test_a_folder(self, folder):
        assert masks_of(f"file:{folder}") == MASKS

    def test_a_reference_whose_planner_is_not_executed(self, shipped):
        save_artefact(ARTEFACT.model_copy(update={"planner_source": "1 / 0"}), shipped)
        assert masks_of("reference:crafter") == MASKS

    def test_shuffled(self, shipped, folder):
        exchanged = {"go left": ["right"], "go right": [0]}
        assert masks_of("shuffled", CRAFTER) == exchanged
        assert masks_of(f"shuffled:file:{folder}") == exchanged

    def test_a_folder_without_masks(self, tmp_path):
        save_artefact(ARTEFACT.model_copy(update={"masks": None}), tmp_path)
        with pytest.raises(UnknownNameError, match=r"has no masks\.json"):
            masks_of(f"file:{tmp_path}")

    def test_the_oracle_plans_but_does_not_mask(self):
        with pytest.raises(UnknownNameError, match="got 'oracle'"):
            masks_of("oracle", CRAFTER)


@pytest.mark.parametrize("resolved", [planner_of, masks_of])
class TestUnknown:
    @pytest.mark.parametrize(
        "name",
        ["", "referenze:crafter", "reference", "none:1", "llm:openai/gpt-5-mini", "planner.py"],
    )
    def test_a_name_that_nothing_resolves(self, resolved, name):
        with pytest.raises(UnknownNameError, match="expected one of reference:NAME") as caught:
            resolved(name)
        assert f"; got {name!r} as " in str(caught.value)

    @pytest.mark.parametrize("name", ["reference:", "reference:cartpole", "reference:../guidance"])
    def test_a_reference_that_does_not_ship(self, resolved, name):
        with pytest.raises(
            UnknownNameError,
            match=r"among \['craftax-classic', 'crafter', 'minigrid-doorkey'\], got",
        ):
            resolved(name)

    @pytest.mark.parametrize("name", ["file:nowhere", "file:nowhere.py", "file:nowhere.json"])
    def test_a_file_that_is_missing(self, resolved, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(GuidanceFileError, match="nowhere"):
            resolved(name)

    def test_shuffled_passes_on_what_is_unknown(self, resolved):
        with pytest.raises(UnknownNameError, match="got 'magic'"):
            resolved("shuffled:magic")


def test_a_registered_source_gives_planners_and_masks(monkeypatch):
    for registry in (resolve._PLANNERS, resolve._MASKS):
        monkeypatch.setattr(registry, "_names", dict(registry._names))
    asked = []
    register_source("llm", lambda rest: asked.append(rest) or ARTEFACT)
    assert planner_of("llm:openai/gpt-5:mini").source == SOURCE
    assert masks_of("llm:openai/gpt-5:mini") == MASKS
    assert isinstance(planner_of("shuffled:llm:x"), ShuffledPlanner)
    assert asked == ["openai/gpt-5:mini", "openai/gpt-5:mini", "x"]
    with pytest.raises(UnknownNameError, match="none, llm:NAME; got 'llm'"):
        planner_of("llm")


@pytest.mark.parametrize(
    ("env_id", "name"),
    [(CRAFTER, "crafter"), (CRAFTAX, "craftax-classic")],
)
class TestWhatShips:
    def test_was_made_by_hand_for_this_environment(self, env_id, name):
        provenance = reference_artefact(name).provenance
        assert (provenance.author, provenance.environment) == ("hand", env_id)

    def test_has_a_planner_and_masks_that_fit(self, env_id, name):
        goals = describe(name).goals
        planner = resolve_planner(f"reference:{name}", env_id=env_id, goals=goals)
        assert isinstance(planner, PlannerProgram)
        masks = resolve_masks(f"reference:{name}", env_id=env_id, goals=goals, actions=ACTIONS)
        assert set(masks) <= set(goals)
        MaskBank(masks, spaces.Discrete(len(ACTIONS)), action_names=ACTIONS)
