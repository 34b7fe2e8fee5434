"""The pages on adding a judge or a method hold what they promise."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import gymnasium as gym
import pytest

from llm_wrappers.guidance.judges import resolve_judge

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return what makes an installed module of the programs on a page."""

    def install(page):
        text = (DOCS / page).read_text(encoding="utf-8")
        programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        name = page.replace("-", "_").removesuffix(".md")
        (tmp_path / f"{name}.py").write_text("\n\n".join(programs))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        for group, entry in re.findall(r'```toml\n\[project.entry-points."(.*?)"\]\n(.*?)\n', text):
            (info / "entry_points.txt").write_text(
                f"[{group}]\n{entry.replace('my_package', name).replace(chr(34), '')}\n"
            )
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module(name)

    return install


def test_a_judge(package, capsys):
    page = package("add-a-judge.md")
    assert "against the oracle" in capsys.readouterr().out
    for env in (page.env, page.same):
        env.reset(seed=0)
        assert env.step(1)[4]["judgement"] in (-1, 0)
    description = page.env.env_description()
    assert resolve_judge("cautious:15", description=description).most == 15
    assert page.lw.RewardShiftWrapper(gym.make("Blackjack-v1"), judge="cautious").spec is not None


def test_a_method(package):
    page = package("add-a-method.md")
    page.test_conformance()
    page.test_twin()
    env = page.NewnessWrapper(gym.make("FrozenLake-v1", is_slippery=False), bonus=0.5)
    env.reset(seed=0)
    # To the right, against the wall above, and back.
    assert [env.step(action)[1] for action in (2, 3, 0)] == [0.5, 0.0, 0.0]
    assert env.stats()["new_captions"] == 1
