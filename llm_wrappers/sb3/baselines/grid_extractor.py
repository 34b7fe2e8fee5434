"""Features of a symbolic grid, looked at through the goal."""

from __future__ import annotations

from collections.abc import Mapping

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError

__all__ = ["GridExtractor"]

_CRAFTAX_CLASSIC = (7, 9, 21)


class GridExtractor(BaseFeaturesExtractor):
    """Embeds each tile of a symbolic grid, and compares it with what the agent is after.

    A flat network has to learn for each tile and each goal anew that a tree on the left means
    going left. Here one linear layer embeds every tile, and a query from everything that is not a
    tile (inventory, vital signs and, where there is one, the goal) says how relevant each tile is;
    the features are the relevance of each tile, the embeddings and the rest. The encoder of SGRL
    (arXiv 2509.22008) is not published: this one is our choice, and works without a goal too.

    Args:
        observation_space: A flat Box that begins with the grid, or a Dict with one under ``"obs"``
            and flat boxes under its other keys, such as the goal.
        grid: Rows, columns and values per tile; the default is that of Craftax-Classic.
        embedding: The size of a tile's embedding.
        heads: How many queries are compared with each tile.

    Raises:
        IncompatibleEnvironmentError: If the observation is not flat or smaller than the grid.
        InvalidOptionError: If a size is below 1.

    >>> space = spaces.Box(0.0, 1.0, (1345,))
    >>> GridExtractor(space)(th.zeros(2, 1345)).shape
    torch.Size([2, 1534])
    """

    def __init__(
        self,
        observation_space: spaces.Space[object],
        *,
        grid: tuple[int, int, int] = _CRAFTAX_CLASSIC,
        embedding: int = 16,
        heads: int = 8,
    ) -> None:
        rows, columns, kinds = grid
        if min(rows, columns, kinds, embedding, heads) < 1:
            raise InvalidOptionError(
                f"sizes must be >= 1, got grid={grid}, embedding={embedding}, heads={heads}"
            )
        tiles = rows * columns
        sizes = _flat_sizes(observation_space)
        if sizes["obs"] < tiles * kinds:
            raise IncompatibleEnvironmentError(
                f"expected an observation of at least {tiles * kinds} numbers that begins with a "
                f"grid of {grid}, got {sizes['obs']}"
            )
        context = sum(sizes.values()) - tiles * kinds
        super().__init__(observation_space, tiles * (embedding + heads) + context)
        self._keys = [key for key in sizes if key != "obs"]
        self._shape = (tiles, kinds)
        self.embed = nn.Linear(kinds, embedding)
        self.query = nn.Linear(context, embedding * heads)
        self._heads = heads

    def forward(self, observations: th.Tensor | Mapping[str, th.Tensor]) -> th.Tensor:
        """Return the features, shape (n, features)."""
        if isinstance(observations, th.Tensor):
            flat, others = observations, []
        else:
            flat = observations["obs"]
            others = [observations[key] for key in self._keys]
        tiles, kinds = self._shape
        seen = flat[:, : tiles * kinds].reshape(-1, tiles, kinds)
        context = th.cat([flat[:, tiles * kinds :], *others], dim=1)
        embedded = self.embed(seen)
        queries = self.query(context).reshape(len(flat), -1, self._heads)
        relevance = th.tanh(th.bmm(embedded, queries))
        return th.cat([relevance.flatten(1), th.relu(embedded).flatten(1), context], dim=1)


def _flat_sizes(space: spaces.Space[object]) -> dict[str, int]:
    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {"obs": space}
    if "obs" not in parts:
        raise IncompatibleEnvironmentError(
            f"expected a Dict with the grid under 'obs', got the keys {sorted(parts)}"
        )
    for key, part in parts.items():
        if not isinstance(part, spaces.Box) or len(part.shape) != 1:
            raise IncompatibleEnvironmentError(
                f"expected flat Box observations, got {part} under {key!r}"
            )
    return {key: int(part.shape[0]) for key, part in parts.items() if part.shape is not None}
