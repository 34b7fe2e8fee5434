"""The facts of n sub-environments, of which some begin or end an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.captions.captioner import Captioner, Facts
from llm_wrappers.wrappers._transitions import with_rows
from llm_wrappers.wrappers.vector._episodes import final_observations, take_rows, with_column

__all__ = ["facts_after_reset", "facts_reached", "with_rewards"]


def facts_after_reset(
    captioner: Captioner,
    known: Sequence[Facts] | None,
    observations: Any,
    infos: Mapping[str, Any],
    rows: NDArray[np.intp],
) -> Sequence[Facts]:
    """Return the facts of all n after a reset of some.

    Args:
        captioner: Gives the facts.
        known: The facts of all n before, None for none.
        observations: Of all n.
        infos: In the form of gymnasium.vector; they say nothing of those that were not reset.
        rows: Which were reset.
    """
    if known is None or len(rows) == len(known):
        return captioner.facts(observations, infos)
    changed = captioner.facts(take_rows(observations, rows), take_rows(infos, rows))
    return with_rows(known, rows, changed)


def facts_reached(
    captioner: Captioner,
    space: gym.Space[Any],
    shown: Sequence[Facts],
    infos: Mapping[str, Any],
    rows: NDArray[np.intp],
) -> Sequence[Facts]:
    """Return the facts that a step led to, where some of the n show the next episode already.

    Args:
        captioner: Gives the facts.
        space: Of one observation.
        shown: The facts of all n as they are shown.
        infos: With `final_obs` and `final_info`.
        rows: Where an episode ended.
    """
    last = final_observations(infos, space, rows)
    return with_rows(shown, rows, captioner.facts(last, take_rows(infos["final_info"], rows)))


def with_rewards(
    infos: Mapping[str, Any],
    rewards: NDArray[Any],
    columns: Mapping[str, NDArray[Any]],
    present: NDArray[np.bool_],
) -> dict[str, Any]:
    """Return infos with more entries, and with `extrinsic_reward` unless a layer below set it.

    Args:
        infos: The infos, left as they are.
        rewards: What the layers below paid, shape (n,).
        columns: The entries by name, each of shape (n,).
        present: Which sub-environments have them, shape (n,).
    """
    informed = dict(infos)
    if "extrinsic_reward" not in informed:
        paid = np.asarray(rewards, dtype=np.float64)
        informed = with_column(informed, "extrinsic_reward", paid, present)
    for name, values in columns.items():
        informed = with_column(informed, name, values, present)
    return informed
