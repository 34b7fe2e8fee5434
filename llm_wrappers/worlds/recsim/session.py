"""One session of one user with RecSim's own simulator."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_wrappers.worlds.recsim.library import OwnRandomNumbers, recsim_module

__all__ = ["InterestEvolutionSession"]


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
