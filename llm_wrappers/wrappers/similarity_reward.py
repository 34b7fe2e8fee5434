"""A reward for doing what was suggested (ELLM)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llm_wrappers import checks
from llm_wrappers.captions.captioner import Captioner, Facts, batch_infos
from llm_wrappers.embeddings import Encoder, resolve_encoder
from llm_wrappers.embeddings.similarity import NO_EFFECT, Match, Similarity
from llm_wrappers.errors import IncompatibleEnvironmentError, InvalidOptionError
from llm_wrappers.guidance.goals import resolve_aliases
from llm_wrappers.guidance.suggesters import (
    Suggester,
    SuggesterFunction,
    Suggesting,
    resolve_suggester,
)
from llm_wrappers.parts import Tally
from llm_wrappers.schedules import Schedule
from llm_wrappers.trust import TrustEvidence, refuse_trust, resolve_trusted
from llm_wrappers.wrappers._core import Core, Place, Start, Step, joined, joined_space
from llm_wrappers.wrappers._guided import Guided
from llm_wrappers.wrappers._layer import Layer
from llm_wrappers.wrappers._world import NOBODY

__all__ = ["SimilarityMethods", "SimilarityRewardWrapper", "SimilarityRewards"]

_COMBINE = ("replace", "add")
_NOT_FOR_REPLACE = (
    'with combine="replace" there is nothing to learn from where trust is low; use combine="add"'
)


class SimilarityRewards(Core):
    """Suggests, rewards, remembers; the options are those of `SimilarityRewardWrapper`."""

    def __init__(
        self,
        place: Place,
        *,
        suggester: str | Sequence[str] | Suggester | SuggesterFunction,
        captioner: Captioner | None,
        encoder: str | Encoder,
        threshold: float,
        novelty: bool,
        aliases: Sequence[Sequence[str]] | None,
        success_key: str | None,
        observe_goals: bool,
        key: str,
        info_text: bool,
        training: bool,
        **mix: Any,
    ) -> None:
        n = place.n
        self._set_mix(n, **mix)
        self._success_key = None if success_key is None else checks.text("success_key", success_key)
        self._novelty = checks.flag("novelty", novelty)
        self._aliases = resolve_aliases(aliases)
        voice = place.world.voice(captioner)
        self._similarity = Similarity(
            resolve_encoder(encoder),
            threshold=checks.number("threshold", threshold, least=-1, most=1),
            no_effect=_no_effect(voice.captioner),
        )
        self._suggesting = Suggesting(
            resolve_suggester(suggester, description=voice.captioner.description),
            caption=getattr(voice.captioner, "prompt_captions", voice.captioner.state_captions),
        )
        self._counts = Tally("steps", "rewarded")
        self._suggested: list[tuple[str, ...]] = [()] * n
        self._achieved: list[frozenset[str]] = [frozenset()] * n
        self.remaining: list[tuple[str, ...]] = [()] * n
        self._before: Sequence[Facts] = ()
        self._waiting = NOBODY
        self._says_text = checks.flag("info_text", info_text)
        super().__init__(
            place,
            _told(n, with_text=info_text),
            parts={
                "counts": self._counts, "suggesting": self._suggesting,
                "similarity": self._similarity, "trust": self._evidence,
            },
            voice=voice,
        )  # fmt: skip
        self.needs_ends = self._evidence.trust is not None
        self._key = key
        self._dimensions = 0
        if checks.flag("observe_goals", observe_goals):
            self._dimensions = self._similarity.vectors.dimensions(_goals_text(["a goal"]))
            box = gym.spaces.Box(-1.0, 1.0, (self._dimensions,), np.float32)
            self.space = joined_space(place.observation_space, key, box)
        self.set_training(checks.flag("training", training))
        self.set_progress(self.progress)

    # --- episodes and steps ---

    def begin(self, start: Start) -> None:
        """Forget what was achieved, and have the first goals suggested."""
        super().begin(start)
        assert self.voice is not None
        self._evidence.begin(start.rows)
        for row in start.rows.tolist():
            self._achieved[row] = frozenset()
        fresh = np.zeros(self.n, dtype=np.bool_)
        fresh[start.rows] = True
        self._suggesting.reset(fresh)
        self._before = self.voice.shown()
        # Together with those that go on, because a suggester may ask to see all states at once.
        self._suggest(self._before, np.union1d(self._waiting, start.rows))
        self._waiting = NOBODY

    def step(self, step: Step) -> None:
        """Reward what was suggested before the step, and have the next goals suggested.

        Raises:
            IncompatibleEnvironmentError: If `success_key` is not in the infos.
        """
        assert self.voice is not None
        self.told["similarity_reward"][:] = 0.0
        self._pays = self.training
        if self.training or self._dimensions:
            self._reward(step, self.voice.reached())
        # Nobody acts in the last state of an episode, so that nothing is asked about it unless
        # it is shown.
        over, going_on = NOBODY, step.rows
        if step.any_ended and not self._dimensions:
            ended = step.ended[step.rows]
            over, going_on = step.rows[ended], step.rows[~ended]
        if self._dimensions and len(step.over):
            self._suggest(self.voice.reached(), step.rows)
        elif len(step.begins):
            self._waiting = going_on
        else:
            self._suggest(self.voice.shown(), going_on)
        for row in over.tolist():
            self._suggested[row] = self.remaining[row] = ()
        self._before = self.voice.shown()

    def pay(self, rewards: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return w c r, or v r_ext + w c r."""
        ours = self._own_weight * self._coefficient * self._similarities
        if not self._pays or (self._extrinsic_weight == 1.0 and not np.any(ours)):
            return None
        if self._extrinsic_weight == 0.0:
            # Not 0 times the reward, which is no number where that is infinite.
            return ours
        return self._extrinsic_weight * rewards + ours

    def show(self, observations: Any, row: Any = slice(None)) -> Any:
        """Return observations, with the vectors of what is left to do where that was asked for."""
        if not self._dimensions:
            return observations
        return joined(observations, self._key, self._vectors()[row])

    def set_progress(self, progress: float) -> None:
        """Set the training progress, from which the schedule gives c."""
        super().set_progress(progress)
        self._coefficient = self.scheduled(self._schedule)

    def stats(self) -> dict[str, Any]:
        """Return counters of steps, rewards, suggestions, failures and texts encoded, and c."""
        return {**super().stats(), "coefficient": self._coefficient}

    # --- helpers ---

    def _set_mix(
        self,
        n: int,
        *,
        combine: str,
        similarity_weight: float,
        extrinsic_weight: float,
        schedule: float | Mapping[str, Any] | Schedule,
    ) -> None:
        checks.one_of("combine", combine, _COMBINE)
        self._own_weight = checks.number("similarity_weight", similarity_weight, least=0)
        weight = checks.number("extrinsic_weight", extrinsic_weight, least=0)
        self._extrinsic_weight = weight if combine == "add" else 0.0
        self._schedule = resolve_trusted(schedule)
        if combine == "replace":
            refuse_trust(self._schedule, _NOT_FOR_REPLACE)
        self._evidence = TrustEvidence(n, self._schedule)
        self._similarities = np.zeros(n)

    def _reward(self, step: Step, reached: Sequence[Facts]) -> None:
        assert self.voice is not None
        rows: list[int] = step.rows.tolist()
        captions = self.voice.transitions.of(self._before, step.spoken, reached, rows)
        matches = self._similarity.matches(captions, [self.remaining[row] for row in rows])
        succeeded = self._successes(step)
        similarities = np.zeros(self.n)
        goals = np.full(self.n, "", dtype=object)
        for row, match in zip(rows, matches, strict=True):
            if match.goal and (succeeded is None or succeeded[row]):
                self._reach(row, match)
                goals[row], similarities[row] = match
        self._similarities = similarities
        self.told["similarity_reward"][:] = similarities
        if self._says_text:
            self.told["matched_goal"] = goals
            self.told["transition_caption"][step.rows] = captions
        self._counts["steps"] += len(rows)
        if self._evidence.trust is not None:
            self._evidence.learn(similarities, step.paid, step.rows, step.ended)
            self.set_progress(self.progress)

    def _reach(self, row: int, match: Match) -> None:
        self._counts["rewarded"] += 1
        if self._novelty:
            reached = self._aliases.get(match.goal, frozenset((match.goal,)))
            self._achieved[row] |= reached
            self.remaining[row] = self._left(row)

    def _suggest(self, facts: Sequence[Facts], rows: NDArray[np.intp]) -> None:
        if not (self.training or self._dimensions):
            return
        places: list[int] = rows.tolist()
        for row, goals in zip(places, self._suggesting.goals(facts, places), strict=True):
            self._suggested[row] = goals
            self.remaining[row] = self._left(row)

    def _left(self, row: int) -> tuple[str, ...]:
        achieved = self._achieved[row]
        if not achieved:
            return self._suggested[row]
        return tuple([goal for goal in self._suggested[row] if goal not in achieved])

    def _vectors(self) -> NDArray[np.float32]:
        """Return fresh vectors of the remaining suggestions, shape (n, d); zero for none."""
        texts = [_goals_text(goals) if goals else "" for goals in self.remaining]
        vectors = self._similarity.vectors
        vectors.learn(text for text in texts if text)
        shown = np.zeros((self.n, self._dimensions), dtype=np.float32)
        places = [vectors.row(text) if text else None for text in texts]
        filled = [row for row, place in enumerate(places) if place is not None]
        if filled:
            shown[filled] = vectors.vectors([place for place in places if place is not None])
        return np.clip(shown, -1.0, 1.0)

    def _successes(self, step: Step) -> NDArray[np.bool_] | None:
        """Return where the environment says that the action succeeded; None where nobody asks."""
        if self._success_key is None:
            return None
        succeeded = np.zeros(self.n, dtype=np.bool_)
        infos = step.infos if self.world.is_vector else batch_infos(step.infos)
        going_on = np.setdiff1d(step.rows, step.over)
        for said, rows in ((infos, going_on), (infos.get("final_info", {}), step.over)):
            if len(rows):
                succeeded[rows] = _read_success(said, self._success_key, rows)
        return succeeded


def _told(n: int, *, with_text: bool) -> dict[str, NDArray[Any]]:
    told: dict[str, NDArray[Any]] = {"similarity_reward": np.zeros(n)}
    if with_text:
        told["matched_goal"] = np.full(n, "", dtype=object)
        told["transition_caption"] = np.full(n, "", dtype=object)
    return told


def _goals_text(goals: Sequence[str]) -> str:
    """Return the sentence whose vector shows goals in the observation."""
    return f"Your goal is: {', '.join(goals)}."


def _no_effect(captioner: Captioner) -> frozenset[str]:
    """Return the transition captions that say that nothing happened.

    Raises:
        InvalidOptionError: If the captioner's `no_effect` holds something that is no text.
    """
    named: Any = getattr(captioner, "no_effect", NO_EFFECT)
    if isinstance(named, str) or not all(isinstance(caption, str) for caption in named):
        raise InvalidOptionError(f"a captioner's no_effect must be a set of texts, got {named!r}")
    return frozenset(named)


def _read_success(infos: Mapping[str, Any], key: str, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    present = np.asarray(infos.get(f"_{key}", True))
    there = key in infos and bool(present.all() if present.ndim == 0 else present[rows].all())
    if not there:
        known = sorted(name for name in infos if not name.startswith("_"))
        raise IncompatibleEnvironmentError(
            f"expected info[{key!r}] at every step, because success_key names it, got {known}; "
            "name an entry that this environment has, or leave success_key=None"
        )
    return np.asarray(infos[key])[rows].astype(np.bool_)


class SimilarityMethods(Layer):
    """The options of `SimilarityRewardWrapper`, in front of one environment or of many."""

    core: SimilarityRewards
    batched_methods: ClassVar = frozenset({"current_suggestions"})

    def __init__(
        self,
        env: Any,
        *,
        suggester: str | Sequence[str] | Suggester | SuggesterFunction,
        captioner: Captioner | None = None,
        encoder: str | Encoder = "hashing",
        threshold: float = 0.99,
        combine: str = "replace",
        similarity_weight: float = 1.0,
        extrinsic_weight: float = 1.0,
        schedule: float | Mapping[str, Any] | Schedule = 1.0,
        novelty: bool = True,
        aliases: Sequence[Sequence[str]] | None = None,
        success_key: str | None = None,
        observe_goals: bool = False,
        key: str = "suggestions",
        info_text: bool = True,
        training: bool = True,
    ) -> None:
        self._guide(
            env, SimilarityRewards, suggester=suggester, captioner=captioner, encoder=encoder,
            threshold=threshold, combine=combine, similarity_weight=similarity_weight,
            extrinsic_weight=extrinsic_weight, schedule=schedule, novelty=novelty,
            aliases=aliases, success_key=success_key, observe_goals=observe_goals, key=key,
            info_text=info_text, training=training,
        )  # fmt: skip

    def current_suggestions(self) -> Any:
        """Return the goals suggested for the current state, without those achieved."""
        return self._own(list(self.core.remaining))


class SimilarityRewardWrapper(SimilarityMethods, Guided):
    """Rewards transitions that do what was suggested for the state before them.

    Implements the reward of ELLM (arXiv 2302.06692, algorithm 1): the largest cosine between the
    vectors of the transition's caption and of the suggested goals, if it is above a threshold,
    and 0 otherwise. The goals are those suggested for the state *before* the action, without the
    ones already achieved in this episode; of those above the threshold only the most similar one
    counts as achieved, the first one where several are equally similar.

    ``info`` has the reward of the environment (`extrinsic_reward`), the similarity that was
    rewarded (`similarity_reward`), the goal (`matched_goal`) and the caption
    (`transition_caption`); at a reset, and where nothing matched, 0.0 and the empty string.

    A suggester or an encoder that fails does not stop training: such states have no goals, such
    texts are similar to none; both are counted in `stats` and a warning is issued once.

    A vector version exists: `llm_wrappers.wrappers.vector.SimilarityRewardWrapper`.

    Args:
        env: The environment.
        suggester: A suggester; a function from `States` to one list of goals per state; a list of
            goals; or a name: ``"reference:crafter"``, ``"planner:NAME"``, ``"oracle"``,
            ``"uniform:K"``, ``"novelty"``, ``"fixed:collect wood|eat cow"``, ``"none"``.
        captioner: Puts states and transitions into words; None for the environment's own, or a
            generic one. Its `no_effect`, a set of texts, names the captions that match nothing.
        encoder: ``"hashing"``, another name, or an object with ``encode(texts)`` that returns
            unit vectors. With ``"hashing"`` only nearly equal texts pass the default threshold.
        threshold: What the cosine must be above, in [-1, 1]; 0.99 is what ELLM's code uses for
            Crafter. Cosines are rounded to six decimals, so nothing passes 1.
        combine: ``"replace"`` gives w c r, as ELLM does in pretraining; ``"add"`` gives
            v r_ext + w c r, where r_ext is the reward of the layers below.
        similarity_weight: w, at least 0.
        extrinsic_weight: v, at least 0; read with ``combine="add"`` only.
        schedule: c: a number, a dict such as ``{"kind": "linear", "start": 1.0, "end": 0.0}``, or
            a callable of the training progress, which `set_progress` sets; with
            ``{"kind": "adaptive"}`` and ``combine="add"`` it falls where reaching suggestions does
            not pay, see `AdaptiveTrust`.
        novelty: Whether a goal pays only once per episode.
        aliases: Groups of goals that are achieved together; None for the two pairs of ELLM's code
            (attack and eat cow, make and place crafting table), ``[]`` for none.
        success_key: An entry of ``info`` that must be true for a reward, such as
            ``"action_success"``; None to ask for none.
        observe_goals: Whether the observation shows the vector of the remaining suggestions, as
            one sentence; a Box becomes ``Dict(obs=..., suggestions=...)``. Zero for none.
        key: The key of that vector.
        info_text: Whether the goal and the caption are in ``info``; some trainers (TorchRL,
            `NumpyToTorch`) cannot take texts there.
        training: False lets the rewards of the layers below pass, for evaluation, and asks nobody
            but for what the observation shows.

    Raises:
        InvalidOptionError: If an option is outside what is documented.
        UnknownNameError: If a name is not known.
        GuidanceFileError: If a file is missing or is no planner.

    >>> import gymnasium as gym
    >>> from llm_wrappers.captions.generic import GenericCaptioner
    >>> lake = gym.make("FrozenLake-v1", is_slippery=False)
    >>> env = SimilarityRewardWrapper(
    ...     lake,
    ...     suggester=["took action 2: obs changed from 0 to 1"],
    ...     captioner=GenericCaptioner(lake.observation_space, lake.action_space),
    ... )
    >>> observation, info = env.reset(seed=0)
    >>> observation, reward, terminated, truncated, info = env.step(2)
    >>> reward, info["extrinsic_reward"], info["matched_goal"]
    (1.0, 0.0, 'took action 2: obs changed from 0 to 1')
    """
