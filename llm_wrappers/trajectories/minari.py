"""Trajectories to and from Minari, Farama's format for offline data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from llm_wrappers.errors import InvalidOptionError, require
from llm_wrappers.trajectories.trajectory import Trajectory, Tree, check_space

__all__ = ["from_minari", "to_minari"]

_METADATA = "llm_wrappers_metadata"
# Minari keeps one info per state; before the first action there is nothing to say.
_NO_ACTION_YET = ""


def to_minari(
    trajectories: Iterable[Trajectory],
    dataset_id: str,
    *,
    env: gym.Env[Any, Any] | str | None = None,
    observation_space: gym.Space[Any] | None = None,
    action_space: gym.Space[Any] | None = None,
    **options: Any,
) -> Any:
    """Save trajectories as a new local Minari dataset, and return it.

    Nothing is lost: images are kept as they are and not as JPEG. Captions and facts become infos
    (``caption``, ``transition_caption``, ``facts`` as JSON), and the metadata go with each episode.
    Minari saves where ``MINARI_DATASETS_PATH`` says, else in the home folder.

    Args:
        trajectories: Of one environment; all are held in memory while they are saved.
        dataset_id: Such as ``"cartpole/ppo-v0"``.
        env: The environment or its id; gives the spaces.
        observation_space: The space of one observation; needed without `env`.
        action_space: The space of one action; needed without `env`.
        options: What else `minari.create_dataset_from_buffers` takes. Minari warns where
            ``author``, ``author_email``, ``algorithm_name`` or ``code_permalink`` are missing.

    Raises:
        DependencyNotInstalled: If Minari is not installed.
        InvalidOptionError: If there is nothing to save, or Minari refuses the arguments; a dataset
            that exists is never overwritten.
        IncompatibleEnvironmentError: If a space has parts that a trajectory cannot have.
    """
    minari = _minari()
    spaces = _spaces(env, observation_space, action_space)
    episodes = list(trajectories)
    if not episodes:
        raise InvalidOptionError("expected at least one trajectory to save, got none")
    buffers = [_buffer(minari, index, episode, *spaces) for index, episode in enumerate(episodes)]
    if isinstance(env, str) or (env is not None and env.spec is not None):
        options.setdefault("eval_env", env)
    try:
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            env=env,
            observation_space=spaces[0],
            action_space=spaces[1],
            data_format="hdf5",
            jpeg_encoding=False,
            **options,
        )
    except ValueError as error:
        raise InvalidOptionError(f"Minari cannot make the dataset: {error}") from error
    notes = [{_METADATA: json.dumps(episode.metadata)} for episode in episodes]
    dataset.storage.update_episode_metadata(notes)
    return dataset


def from_minari(dataset: Any) -> Iterator[Trajectory]:
    """Yield the episodes of a Minari dataset as trajectories.

    Of a dataset that `to_minari` saved they are equal to the ones that were saved. Infos that
    others wrote are left out.

    Args:
        dataset: A `minari.MinariDataset`, or the id of one that is on this machine.

    Raises:
        DependencyNotInstalled: If Minari is not installed.
        InvalidOptionError: If there is no dataset of this name.
        IncompatibleEnvironmentError: If a space has parts that a trajectory cannot have.
    """
    minari = _minari()
    if isinstance(dataset, str):
        try:
            dataset = minari.load_dataset(dataset)
        except FileNotFoundError as error:
            raise InvalidOptionError(
                f"expected a Minari dataset on this machine, got {dataset!r}: {error}; "
                "minari.download_dataset fetches one"
            ) from error
    spaces = (dataset.observation_space, dataset.action_space)
    check_space(spaces[0], "observations")
    check_space(spaces[1], "actions")
    indices = list(dataset.episode_indices)
    notes = dataset.storage.get_episode_metadata(indices)
    for episode, note in zip(dataset.iterate_episodes(indices), notes, strict=True):
        yield _trajectory(episode, note, *spaces)


def _minari() -> Any:
    minari = require("minari", extra="minari")
    require("h5py", extra="minari")
    return minari


def _spaces(
    env: gym.Env[Any, Any] | str | None, observation_space: Any, action_space: Any
) -> tuple[gym.Space[Any], gym.Space[Any]]:
    if isinstance(env, str):
        env = gym.make(env)
    if env is not None:
        observation_space = observation_space or env.observation_space
        action_space = action_space or env.action_space
    if observation_space is None or action_space is None:
        raise InvalidOptionError("expected env, or observation_space and action_space, got neither")
    check_space(observation_space, "observations")
    check_space(action_space, "actions")
    return observation_space, action_space


def _buffer(
    minari: Any,
    index: int,
    episode: Trajectory,
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
) -> Any:
    ends = np.zeros(len(episode), dtype=np.bool_)
    terminations, truncations = ends.copy(), ends.copy()
    terminations[-1], truncations[-1] = episode.terminated, episode.truncated
    return minari.data_collector.EpisodeBuffer(
        id=index,
        seed=episode.seed,
        observations=_for_minari(observation_space, episode.observations),
        actions=_for_minari(action_space, episode.actions),
        rewards=episode.rewards,
        terminations=terminations,
        truncations=truncations,
        infos=_infos(episode),
    )


def _infos(episode: Trajectory) -> dict[str, list[str]] | None:
    infos = {}
    if episode.captions is not None:
        infos["caption"] = list(episode.captions)
    if episode.transition_captions is not None:
        infos["transition_caption"] = [_NO_ACTION_YET, *episode.transition_captions]
    if episode.facts is not None:
        infos["facts"] = [json.dumps(facts) for facts in episode.facts]
    return infos or None


def _for_minari(space: gym.Space[Any], tree: Any) -> Any:
    """Return a tree as Minari takes it: texts as lists."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _for_minari(part, tree[key]) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_for_minari(*pair) for pair in zip(space.spaces, tree, strict=True))
    return tree.tolist() if isinstance(space, gym.spaces.Text) else tree


def _from_minari(space: gym.Space[Any], data: Any) -> Tree:
    """Return a tree in the order of its space, because HDF5 sorts names."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _from_minari(part, data[key]) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_from_minari(*pair) for pair in zip(space.spaces, data, strict=True))
    return np.asarray(data)


def _trajectory(
    episode: Any,
    note: Mapping[str, Any],
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
) -> Trajectory:
    infos = episode.infos or {}
    ours = _METADATA in note
    said = _texts(infos, "transition_caption") if ours else None
    facts = _texts(infos, "facts") if ours else None
    return Trajectory(
        observations=_from_minari(observation_space, episode.observations),
        actions=_from_minari(action_space, episode.actions),
        rewards=episode.rewards,
        terminated=episode.terminations[-1],
        truncated=episode.truncations[-1],
        captions=_texts(infos, "caption") if ours else None,
        transition_captions=None if said is None else said[1:],
        facts=None if facts is None else [json.loads(text) for text in facts],
        seed=note.get("seed"),
        metadata=json.loads(note[_METADATA]) if ours else {},
    )


def _texts(infos: Mapping[str, Any], name: str) -> list[str] | None:
    if name not in infos:
        return None
    return [text.decode() if isinstance(text, bytes) else text for text in infos[name]]
