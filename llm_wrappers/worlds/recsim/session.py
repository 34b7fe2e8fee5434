"""One session of one user with RecSim's own simulator, and how RecSim is imported."""

# ruff: noqa: NPY002 - the old numbers of numpy are what RecSim draws from

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from llm_wrappers.errors import require

__all__ = ["InterestEvolutionSession", "OwnRandomNumbers", "recsim_module"]


def recsim_module(name: str) -> ModuleType:
    """Import a module of RecSim, with Gymnasium in the place of the old gym.

    RecSim takes no more than `spaces` and the base class `Env` from gym, which Gymnasium has too.
    gym itself prints that it is unmaintained when it is imported, and need not be installed. A gym
    that was imported before is left where it is.
    """
    with _gymnasium_as_gym():
        return require(f"recsim.{name}", extra="recsim")


class OwnRandomNumbers:
    """Random numbers of one simulation, lent to numpy's global functions while it runs.

    RecSim draws choices of users from ``numpy.random``, which the whole process shares. Within
    `lent` these functions continue the stream of this object; afterwards they continue theirs, as
    if nothing had been drawn. Not for several threads at a time.

    Args:
        seed: Where the stream begins, from 0 to 2**32 - 1.

    >>> numbers = OwnRandomNumbers(3)
    >>> with numbers.lent():
    ...     first = np.random.rand()
    >>> with numbers.lent():
    ...     second = np.random.rand()
    >>> [first, second] == np.random.RandomState(3).rand(2).tolist()
    True
    """

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed).get_state()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let ``numpy.random`` draw from this stream."""
        theirs = np.random.get_state()
        np.random.set_state(self._state)
        try:
            yield
        finally:
            self._state = np.random.get_state()
            np.random.set_state(theirs)


@contextmanager
def _gymnasium_as_gym() -> Iterator[None]:
    if "gym" in sys.modules:
        yield
        return
    sys.modules["gym"] = gymnasium
    try:
        yield
    finally:
        del sys.modules["gym"]


class InterestEvolutionSession:
    """A user of RecSim's interest evolution, from the first slate to the end of the time.

    The user, the documents and the choices have streams of random numbers of their own. (RecSim
    gives users and documents the same seed, and takes choices from the global numbers of numpy.)

    Args:
        slate_size: The number of documents on a slate.
        num_candidates: The number of documents to choose from.
        resample_documents: Whether there are new candidates after each slate.
        seeds: Of the user, the documents and the choices, from 0 to 2**32 - 1 each.

    Raises:
        DependencyNotInstalled: If RecSim is not installed.
    """

    def __init__(
        self,
        slate_size: int,
        num_candidates: int,
        resample_documents: bool,
        seeds: tuple[int, int, int],
    ) -> None:
        of_user, of_documents, of_choices = seeds
        rules = recsim_module("environments.interest_evolution")
        user = rules.IEvUserModel(
            slate_size,
            choice_model_ctor=recsim_module("choice_model").MultinomialProportionalChoiceModel,
            response_model_ctor=rules.IEvResponse,
            user_state_ctor=rules.IEvUserState,
            seed=of_user,
        )
        self._simulator: Any = recsim_module("simulator.environment").SingleUserEnvironment(
            user,
            rules.UtilityModelVideoSampler(doc_ctor=rules.IEvVideo, seed=of_documents),
            num_candidates,
            slate_size,
            resample_documents=resample_documents,
        )
        self._simulator.reset()
        self._choices = OwnRandomNumbers(of_choices)

    def show(self, slate: list[int]) -> list[Any]:
        """Show different candidates, and return RecSim's response to each, in the same order."""
        with self._choices.lent():
            _, _, responses, _ = self._simulator.step(slate)
        return list(responses)

    @property
    def over(self) -> bool:
        """Whether the user has no time left."""
        return bool(self._simulator.user_model.is_terminal())

    @property
    def interests(self) -> NDArray[np.float32]:
        """The interest of the user in each topic, from -1 to 1, shape (topics,)."""
        return np.array(self._simulator.user_model.create_observation(), np.float32)

    @property
    def time_budget(self) -> float:
        """The minutes that the user has left."""
        return float(self._user_state.time_budget)

    @property
    def features(self) -> NDArray[np.float32]:
        """The topic of each candidate as a one-hot row, shape (candidates, topics)."""
        return np.array([video.features for video in self._videos], np.float32)

    @property
    def qualities(self) -> NDArray[np.float32]:
        """The quality of each candidate, shape (candidates,)."""
        return np.array([video.quality for video in self._videos], np.float32)

    @property
    def _user_state(self) -> Any:
        # The simulator has no public name for it.
        return self._simulator.user_model._user_state

    @property
    def _videos(self) -> list[Any]:
        videos: list[Any] = self._simulator.candidate_set.get_all_documents()
        return videos

    def __getstate__(self) -> dict[str, Any]:
        # Apart, because RecSim has to be imported in our way before it is unpickled.
        return {"simulator": pickle.dumps(self._simulator), "choices": self._choices}

    def __setstate__(self, state: dict[str, Any]) -> None:
        recsim_module("environments.interest_evolution")
        self._simulator = pickle.loads(state["simulator"])
        self._choices = state["choices"]
