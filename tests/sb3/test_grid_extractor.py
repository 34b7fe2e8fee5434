"""The features extractor for symbolic grids."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.sb3 import GridExtractor

GRID = (3, 3, 4)
TILES, KINDS = 9, 4
REST, GOALS = 2, 3


def box(size):
    return spaces.Box(0.0, 1.0, (size,), np.float32)


def with_goal():
    return spaces.Dict({"obs": box(TILES * KINDS + REST), "goal": box(GOALS)})


def observation(kinds, rest=(0.0, 0.0), goal=0):
    """Return one observation whose tiles show these kinds, as the extractor takes it."""
    tiles = th.nn.functional.one_hot(th.tensor(kinds), KINDS).float().flatten()
    return {
        "obs": th.cat([tiles, th.tensor(rest)])[None],
        "goal": th.nn.functional.one_hot(th.tensor([goal]), GOALS).float(),
    }


def test_a_flat_observation_and_one_with_a_goal_have_the_sizes_they_announce():
    flat = GridExtractor(box(TILES * KINDS + REST), grid=GRID, embedding=5, heads=2)
    guided = GridExtractor(with_goal(), grid=GRID, embedding=5, heads=2)
    assert flat(th.zeros(7, TILES * KINDS + REST)).shape == (7, flat.features_dim)
    features = guided({"obs": th.zeros(7, TILES * KINDS + REST), "goal": th.zeros(7, GOALS)})
    assert features.shape == (7, guided.features_dim)
    assert guided.features_dim == flat.features_dim + GOALS


def test_the_same_kind_of_tile_is_as_relevant_wherever_it_is():
    extractor = GridExtractor(with_goal(), grid=GRID, embedding=5, heads=2)
    features = extractor(observation([1, 0, 0, 0, 2, 0, 0, 0, 1]))
    relevance = features[0, : TILES * 2].reshape(TILES, 2)
    assert th.equal(relevance[0], relevance[8])
    assert not th.equal(relevance[0], relevance[4])


def test_the_goal_and_the_rest_change_what_is_relevant():
    extractor = GridExtractor(with_goal(), grid=GRID, embedding=5, heads=2)
    kinds = [1, 0, 0, 0, 2, 0, 0, 0, 1]
    reference = extractor(observation(kinds))[0, : TILES * 2]
    other_goal = extractor(observation(kinds, goal=1))[0, : TILES * 2]
    other_rest = extractor(observation(kinds, rest=(1.0, 0.0)))[0, : TILES * 2]
    assert not th.allclose(reference, other_goal)
    assert not th.allclose(reference, other_rest)


def test_the_context_passes_through_unchanged():
    extractor = GridExtractor(with_goal(), grid=GRID)
    features = extractor(observation([0] * TILES, rest=(0.25, 0.75), goal=2))
    assert features[0, -(REST + GOALS) :].tolist() == [0.25, 0.75, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (box(TILES * KINDS - 1), "at least 36 numbers"),
        (spaces.Box(0, 1, (4, 4)), "expected flat Box observations"),
        (spaces.Dict({"pixels": box(100)}), "under 'obs'"),
        (spaces.Dict({"obs": box(100), "goal": spaces.Discrete(3)}), "under 'goal'"),
    ],
)
def test_an_observation_without_a_flat_grid_is_refused(space, message):
    with pytest.raises(IncompatibleEnvironmentError, match=message):
        GridExtractor(space, grid=GRID)


@pytest.mark.parametrize("option", [{"embedding": 0}, {"heads": 0}, {"grid": (0, 3, 4)}])
def test_sizes_below_one_are_refused(option):
    with pytest.raises(InvalidOptionError, match="sizes must be >= 1"):
        GridExtractor(with_goal(), **{"grid": GRID, **option})
