"""How deep in the tree of achievements an episode got."""

from pathlib import Path

import crafter
import pytest
from ruamel.yaml import YAML

from llm_wrappers.demo.depth import DEPTHS, achievement_depth

RULES = YAML(typ="safe").load(Path(crafter.__file__).parent / "data.yaml")


def depth_by_the_rules(name: str) -> int:
    """Return the depth of an achievement from Crafter's own rule file."""
    verb, thing = name.split("_", 1)
    if verb == "collect":
        (rule,) = [r for r in RULES["collect"].values() if thing in r["receive"]]
        return 1 + max((depth_by_the_rules(f"make_{tool}") for tool in rule["require"]), default=0)
    if verb in ("make", "place"):
        rule = RULES[verb][thing]
        needed = [f"collect_{item}" for item in rule["uses"]]
        needed += [f"place_{block}" for block in rule.get("nearby", [])]
        return 1 + max(map(depth_by_the_rules, needed))
    # Only what was placed can be eaten; cows, zombies and sleep are there from the start.
    return 1 + depth_by_the_rules("place_plant") if name == "eat_plant" else 1


def test_the_depths_follow_from_the_rules_of_the_game() -> None:
    assert set(DEPTHS) == set(RULES["achievements"])
    assert dict(DEPTHS) == {name: depth_by_the_rules(name) for name in DEPTHS}
    assert DEPTHS["collect_diamond"] == max(DEPTHS.values()) == 8


@pytest.mark.parametrize(
    ("counts", "depth"),
    [
        ({}, 0),
        ({"collect_wood": 0}, 0),
        ({"collect_wood": 1, "eat_cow": 5}, 1),
        ({"collect_wood": 1, "collect_diamond": 1}, 8),
    ],
)
def test_an_episode_is_as_deep_as_its_deepest_achievement(counts: dict, depth: int) -> None:
    assert achievement_depth(counts) == depth
