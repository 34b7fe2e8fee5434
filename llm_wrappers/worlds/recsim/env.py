"""RecSim's interest evolution under the Gymnasium API, and how RecSim itself is run."""

# ruff: noqa: NPY002 - the old numbers of numpy are what RecSim draws from

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeAlias

import gymnasium
import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.errors import InvalidOptionError, require
from llm_wrappers.worlds.recsim.captioner import TOPICS, InterestEvolutionCaptioner

__all__ = ["InterestEvolutionEnv", "InterestEvolutionSession", "OwnRandomNumbers", "recsim_module"]


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


_SEEDS = 2**32
# The largest values that RecSim names for a response.
_LONGEST_MINUTES, _HIGHEST_QUALITY = 100.0, 100.0

Observation: TypeAlias = "dict[str, NDArray[Any]]"


class InterestEvolutionEnv(gym.Env[dict[str, Any], NDArray[np.int64]]):
    """Recommends slates of videos to one user (RecSim's interest evolution) under Gymnasium.

    RecSim is Ie et al., 2019 (arXiv 1909.04847); this task is the one of SlateQ (Ie et al., 2019,
    arXiv 1905.12767). A user with 200 minutes sees a slate in each step and watches one of its
    videos, or none. The videos that interest the user most are watched most, but time grows with
    quality: a trashy video of 4 minutes costs up to 7 minutes of the session, a good one less than
    1, a slate from which nothing is watched half a minute. Interest in the topic of what was
    watched moves. The reward is the time watched, in minutes; the session is `terminated` when the
    time is used up, after about 400 slates at most.

    Users, videos, choices and rewards are RecSim's own code (``recsim-no-tf`` 0.2.3). Three things
    are ours. The same seed and actions give the same observations, rewards and infos in any
    process, and the global random numbers of numpy are left alone. A document that is on a slate
    more than once is shown once, at its first place, and the slate is that much shorter (RecSim
    would count it each time, and make a click on it likelier). Each episode has new candidates,
    also with ``resample_documents=False``, which keeps them *within* an episode.

    The observation is a dict of float32 arrays, and `clicked` of int8:

    - `user`: interest in each of the 20 topics, from -1 to 1, shape (20,);
    - `documents`: the topic of each candidate, one-hot, shape (num_candidates, 20);
    - `shown`: the topic of what was shown last, one-hot, in its order, shape (slate_size, 20);
    - `clicked`: whether each of these was watched, shape (slate_size,);
    - `watch_time`: for how many minutes, shape (slate_size,);
    - `quality`: the quality of each, shape (slate_size,).

    Places of the slate where nothing was shown are 0, and so are all of them at reset. The quality
    of the candidates is not observed, but most of it is known from their topics, see
    `llm_wrappers.worlds.recsim.captioner.TOPIC_QUALITY`. RecSim's `liked` is left out, as it is
    always 0. An action is a slate: `slate_size` positions in `documents`.

    Args:
        slate_size: The number of documents on a slate, from 1 to `num_candidates`.
        num_candidates: The number of documents to choose from, at least 1.
        resample_documents: Whether there are new candidates after each slate; False keeps them
            for the whole episode.
        privileged: Whether to add to `info` what the agent cannot see: `time_budget`, the minutes
            left, and `document_quality` of each candidate. For analysis, not for training.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        DependencyNotInstalled: If RecSim is not installed.

    >>> env = InterestEvolutionEnv(slate_size=2, num_candidates=5)
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space, observation["documents"].argmax(axis=1).tolist()
    (MultiDiscrete([5 5]), [19, 9, 7, 15, 17])
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        *,
        slate_size: int = 3,
        num_candidates: int = 10,
        resample_documents: bool = True,
        privileged: bool = False,
    ) -> None:
        num_candidates = checks.whole("num_candidates", num_candidates, least=1)
        slate_size = checks.whole("slate_size", slate_size, least=1, most=num_candidates)
        checks.flag("resample_documents", resample_documents)
        checks.flag("privileged", privileged)
        recsim_module("environments.interest_evolution")
        self._slate_size, self._num_candidates = slate_size, num_candidates
        self._resample_documents, self._privileged = resample_documents, privileged
        parts: dict[str, spaces.Space[Any]] = {
            "user": _box(-1.0, 1.0, TOPICS),
            "documents": _box(0.0, 1.0, num_candidates, TOPICS),
            "shown": _box(0.0, 1.0, slate_size, TOPICS),
            "clicked": spaces.MultiBinary(slate_size),
            "watch_time": _box(0.0, _LONGEST_MINUTES, slate_size),
            "quality": _box(-_HIGHEST_QUALITY, _HIGHEST_QUALITY, slate_size),
        }
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.MultiDiscrete([num_candidates] * slate_size)
        self._session: InterestEvolutionSession | None = None

    @property
    def captioner(self) -> Captioner:
        """How this environment speaks."""
        return InterestEvolutionCaptioner(self._slate_size, self._num_candidates)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin the session of a new user, with new documents.

        Args:
            seed: Seeds `np_random`; None continues its stream.
            options: Not used.
        """
        super().reset(seed=seed, options=options)
        of_user, of_documents, of_choices = self.np_random.integers(_SEEDS, size=3).tolist()
        session = InterestEvolutionSession(
            self._slate_size,
            self._num_candidates,
            self._resample_documents,
            (of_user, of_documents, of_choices),
        )
        self._session = session
        return self._observed(session, self._nothing_shown()), self._info(session)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Show a slate, and see what the user makes of it.

        Args:
            action: Positions in `documents`, shape (slate_size,); those that repeat are shown once.

        Raises:
            ResetNeeded: If there was no reset before, or the session is over.
            InvalidOptionError: If the action is no such array.
        """
        session = self._session
        if session is None or session.over:
            raise ResetNeeded("the session is over or never began: call reset() before step()")
        slate = np.asarray(action)
        if not self.action_space.contains(slate):
            raise InvalidOptionError(
                f"expected a slate of {self._slate_size} whole numbers from 0 to "
                f"{self._num_candidates - 1}, got {action!r}"
            )
        documents = list(dict.fromkeys(slate.tolist()))
        features = session.features[documents]
        responses = session.show(documents)
        seen = self._nothing_shown()
        for place, response in enumerate(responses):
            seen["shown"][place] = features[place]
            seen["clicked"][place] = response.clicked
            seen["watch_time"][place] = response.watch_time
            seen["quality"][place] = response.quality
        reward = float(sum(response.watch_time for response in responses if response.clicked))
        return self._observed(session, seen), reward, session.over, False, self._info(session)

    def _nothing_shown(self) -> Observation:
        return {
            "shown": np.zeros((self._slate_size, TOPICS), np.float32),
            "clicked": np.zeros(self._slate_size, np.int8),
            "watch_time": np.zeros(self._slate_size, np.float32),
            "quality": np.zeros(self._slate_size, np.float32),
        }

    def _observed(self, session: InterestEvolutionSession, seen: Observation) -> Observation:
        return {"user": session.interests, "documents": session.features, **seen}

    def _info(self, session: InterestEvolutionSession) -> dict[str, Any]:
        if not self._privileged:
            return {}
        return {"time_budget": session.time_budget, "document_quality": session.qualities}


def _box(low: float, high: float, *shape: int) -> spaces.Box:
    return spaces.Box(low, high, shape, np.float32)
