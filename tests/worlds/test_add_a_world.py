"""The page "Add a world": its code runs, and what it promises holds."""

import doctest
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from llm_wrappers import known_worlds
from llm_wrappers.testing import check_captioner

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-world.md"


@pytest.fixture
def foraging(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setattr(known_worlds, "_WORLDS", dict(known_worlds._WORLDS))
    import foraging

    yield foraging
    gym.registry.pop(foraging.ENV_ID, None)
    sys.modules.pop("foraging")


@pytest.mark.usefixtures("foraging")
def test_the_page_runs():
    tests = doctest.DocTestParser().get_doctest(PAGE.read_text(), {}, PAGE.name, str(PAGE), 0)
    result = doctest.DocTestRunner().run(tests)
    assert result.attempted > 8
    assert result.failed == 0


def test_the_world_is_short_and_sound(foraging):
    assert len(Path(foraging.__file__).read_text().splitlines()) < 200
    foraging.register()
    env = gym.make(foraging.ENV_ID)
    assert check_captioner(env.unwrapped.captioner, env, idle=6, steps=200) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("foraging")
def test_its_guidance_beats_ppo(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import add_a_world

    rows = add_a_world.compare(range(3), 20_000)
    ppo, sgrl = (
        [row["berries, all episodes"] for row in rows if row["arm"] == arm]
        for arm in add_a_world.ARMS
    )
    assert min(sgrl) > 3 * max(ppo)
