"""Worlds are found by their folders and by entry points, and looked up by name."""

from importlib.metadata import EntryPoint
from importlib.resources import files

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers import known_worlds, worlds
from llm_wrappers.captions.generic import GenericCaptioner
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import UnknownNameError
from llm_wrappers.guidance import States, load_artefact, reference_artefact, resolve_planner
from llm_wrappers.guidance.judges.names import resolve_judge, resolve_potential
from llm_wrappers.guidance.resolve import REFERENCES
from llm_wrappers.known_worlds import Known, guidance_folder, load
from llm_wrappers.worlds import Environment, World, register_envs, register_world
from llm_wrappers.worlds.crafter.variants import CRAFTAX, craftax_files

REFERENCE = ("crafter", "craftax-classic", "minigrid-doorkey")
PONDS = ("Pond-v0", "llm_wrappers_test/Pond-v0")


class Pond(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}


def known_pond(layers, env_id):
    if env_id not in PONDS:
        return None
    return GenericCaptioner(Pond.observation_space, Pond.action_space, env_id="a pond")


def swims(facts, action):
    return 1 if action == 1 else -1


def depth(facts):
    return facts["obs_0"]


def register():
    pond = Environment(
        env_id=PONDS[1], entry_point=f"{__name__}:Pond", judge=f"{__name__}:swims",
        potential=f"{__name__}:depth",
    )  # fmt: skip
    register_world(World(name="pond", environments=(pond,), captioner=f"{__name__}:known_pond"))


@pytest.fixture
def own_worlds(monkeypatch):
    """Whatever is registered in a test is gone after it."""
    monkeypatch.setattr(known_worlds, "_WORLDS", dict(known_worlds._WORLDS))
    yield
    gym.registry.pop(PONDS[1], None)


@pytest.fixture
def installed(own_worlds, monkeypatch):
    """Return a function that makes an entry point look installed."""

    def install(value):
        entry = EntryPoint("pond", value, "llm_wrappers.worlds")
        monkeypatch.setattr(worlds, "entry_points", lambda group: [entry])

    return install


class TestAWorldOfAnotherPackage:
    def test_is_known_by_its_entry_point(self, installed):
        installed(f"{__name__}:register")
        register_envs()
        env = gym.make(PONDS[1])
        description = resolve_captioner(env).description
        assert description.env_id == "a pond"
        states = States([{"obs_0": 3.0}], lambda facts: [])
        named = type(description)(env_id=PONDS[1], rules="")
        assert resolve_judge("reference", description=named).judge(states, [1]) == [1]
        # Without an exact one the reference is the oracle.
        assert resolve_judge("anti-oracle", description=named).judge(states, [1]) == [-1]
        assert resolve_potential("reference", description=named).values(states) == [3.0]

    def test_that_cannot_be_loaded_leaves_the_others_alone(self, installed):
        installed("no_such_module:register")
        with pytest.warns(UserWarning, match="'pond' is registered for no_such_module:register"):
            register_envs()
        assert "llm_wrappers/Crafter-v1" in Known("entry_point")

    def test_is_asked_before_those_of_this_package(self, own_worlds):
        register_world(World(name="mine", captioner=f"{__name__}:known_everything"))
        assert resolve_captioner(gym.make("CartPole-v1")).description.env_id == "everything"

    def test_with_a_broken_reference_says_which(self, own_worlds):
        register_world(World(name="mine", captioner=f"{__name__}:nothing"))
        with pytest.raises(UnknownNameError, match=r"'.*:nothing', which cannot be loaded"):
            resolve_captioner(gym.make("CartPole-v1"))

    def test_brings_reference_guidance(self, own_worlds):
        pond = Environment(env_id=PONDS[0], guidance="pond")
        folder = "llm_wrappers.worlds.minigrid:reference"
        register_world(World(name="pond", environments=(pond,), guidance={"pond": folder}))
        assert REFERENCES[PONDS[0]] == "pond"
        assert reference_artefact("pond") == reference_artefact("minigrid-doorkey")
        assert resolve_planner("shuffled", env_id=PONDS[0], goals=["a", "b"])


def known_everything(layers, env_id):
    space = gym.spaces.Discrete(2)
    return GenericCaptioner(space, space, env_id="everything")


def test_every_reference_can_be_loaded():
    for part in ("judge", "judged_actions", "oracle", "potential"):
        assert Known(part)
        assert all(map(load, Known(part).values()))
    for name in set(Known("guidance").values()):
        assert guidance_folder(name).is_dir()


def test_no_world_is_imported_before_it_is_asked_for(run_python):
    loaded = run_python("import llm_wrappers, sys; print(*sys.modules)").split()
    assert "llm_wrappers.worlds.crafter" in loaded
    assert not {"llm_wrappers.worlds.crafter.env", "llm_wrappers.captions"} & set(loaded)


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_guidance_is_package_data(name):
    folder = guidance_folder(name)
    package = f"llm_wrappers.worlds.{folder.parent.name}"
    shipped = {each.name for each in (files(package) / "reference").iterdir() if each.is_file()}
    assert {"artefact.json", "planner.py", "masks.json"} <= shipped
    assert load_artefact(folder).provenance.author == "hand"
    assert (files("llm_wrappers.worlds.household") / "places.json").is_file()


def test_unknown_reference_guidance_is_refused():
    with pytest.raises(UnknownNameError, match=r"expected reference guidance among \['craftax-"):
        reference_artefact("checkers")


def test_craftax_guidance_is_what_crafters_gives():
    """If this fails: python -m llm_wrappers.worlds.crafter.variants."""
    shipped = {path.name: path.read_bytes() for path in guidance_folder(CRAFTAX).glob("*.*")}
    assert shipped == {name: text.encode() for name, text in craftax_files().items()}
