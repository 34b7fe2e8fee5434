"""The points of the contract that a stack keeps as a whole, from its words to its resuming."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from llm_wrappers.errors import IncompatibleEnvironmentError
from llm_wrappers.guidance.judge import FunctionJudge
from llm_wrappers.testing._difference import difference
from llm_wrappers.testing._subject import (
    AnyEnv,
    Probe,
    Run,
    Subject,
    added_layers,
    require_alike,
    rollout,
    run_difference,
)
from llm_wrappers.testing.conformance_error import ConformanceError, Point
from llm_wrappers.testing.vector_wrapper import VectorFactory
from llm_wrappers.trajectories.trajectory import Trajectory
from llm_wrappers.wrappers import RewardShiftWrapper, TrajectoryRecorder

__all__ = [
    "check_executed_actions", "check_masks", "check_progress", "check_resume", "check_vector_run",
    "check_words",
]  # fmt: skip

_TOLD = {"progress": ("set_progress", (0.25, 1.0)), "training": ("set_training", (False, True))}


# --- words ---


def check_words(subject: Subject) -> None:
    """Every layer that asks for guidance gets it."""
    base = subject.make_env()
    env = subject.factory(base)
    rollout(env, subject.actions(env), subject.seed)
    _require_words(env, base)


def _require_words(env: Any, base: Any) -> None:
    """Look at the counters of a stack that has run."""
    for layer in added_layers(env, base):
        stats = layer.stats() if hasattr(type(layer), "stats") else {}
        failures = {
            name: count for name, count in stats.items() if name.endswith("failures") and count
        }
        if failures:
            raise ConformanceError(
                Point.STACK_WORDS,
                f"guidance that {type(layer).__name__} can use in each state",
                got=failures,
                advice="does it read what the layers below made of the observation?",
            )
    unguided = _method_of(env, "unguided")
    without = unguided() if unguided is not None else []
    if without:
        raise ConformanceError(Point.STACK_WORDS, "guidance in every layer", got="; ".join(without))


# --- actions ---


def check_executed_actions(subject: Subject) -> None:
    """What stands above sees the action that the environment was given, whoever chose it."""
    probe = Probe(subject.make_env())
    env = subject.factory(probe)
    judged: list[Any] = []

    def judge(states: Any, actions: Sequence[Any]) -> list[int]:
        judged.extend(deepcopy(list(actions)))
        return [0] * len(actions)

    if env.action_space != probe.action_space:
        subject.skip(Point.STACK_ACTIONS, "the stack has another action space")
        return
    try:
        top: Any = RewardShiftWrapper(env, judge=FunctionJudge(judge))
    except IncompatibleEnvironmentError as error:
        subject.skip(Point.STACK_ACTIONS, f"no judge can stand above it: {error}")
        return
    recorder = None
    try:
        top = recorder = TrajectoryRecorder(top)
    except IncompatibleEnvironmentError as error:
        subject.skip(Point.STACK_ACTIONS, f"no recorder can stand above it: {error}")
    top.reset(seed=subject.seed)
    for action in subject.actions(env):
        before = len(probe.calls)
        *_, terminated, truncated, info = top.step(deepcopy(action))
        if len(probe.calls) != before + 1:
            raise _of_actions("one step of the environment for each", len(probe.calls) - before)
        executed = probe.calls[-1].given["action"]
        _require_said(info, executed, action)
        if _differs(judged[-1], executed):
            raise _of_actions(f"a judge above to see the executed action {executed}", judged[-1])
        if terminated or truncated:
            top.reset()
    if recorder is not None:
        _require_recorded(recorder, probe)


def _require_said(info: dict[str, Any], executed: Any, agent: Any) -> None:
    if "executed_action" not in info and _differs(executed, agent):
        raise _of_actions(
            f"info['executed_action'], because {executed} was executed in place of {agent}",
            f"the keys {sorted(info)}",
        )
    if "executed_action" in info and _differs(info["executed_action"], executed):
        raise _of_actions(
            f"info['executed_action'] to be {executed}, which the environment was given",
            info["executed_action"],
        )


def _require_recorded(recorder: TrajectoryRecorder, probe: Probe) -> None:
    captioner = recorder.world_captioner()
    actions = [call.given["action"] for call in probe.calls if not call.is_reset]
    for trajectory in recorder.trajectories():
        executed, actions = actions[: len(trajectory)], actions[len(trajectory) :]
        if _differs(trajectory.actions, np.array(executed)):
            raise _of_actions(
                f"a recorder above to keep the executed actions {executed}", trajectory.actions
            )
        _require_captions(trajectory, captioner, executed)


def _require_captions(trajectory: Trajectory, captioner: Any, executed: Sequence[Any]) -> None:
    facts, said = trajectory.facts, trajectory.transition_captions
    assert facts is not None
    assert said is not None
    expected = captioner.transition_captions(facts[:-1], executed, facts[1:])
    if list(expected) != list(said):
        raise _of_actions(f"transition captions of executed actions, {list(expected)}", list(said))


def _differs(one: Any, other: Any) -> bool:
    return not np.array_equal(np.asarray(one), np.asarray(other))


def _of_actions(expected: str, got: Any) -> ConformanceError:
    return ConformanceError(
        Point.STACK_ACTIONS,
        expected,
        got=got,
        advice="a layer that changes actions must say in info['executed_action'] what it made them",
    )


# --- masks ---


def check_masks(subject: Subject) -> None:
    """Nothing that a layer executes is closed, something is open, and `info` says the same."""
    probe = Probe(subject.make_env())
    env = subject.factory(probe)
    masks = _method_of(env, "action_masks")
    space = env.action_space
    if masks is None or isinstance(space, gym.spaces.Box):
        subject.skip(Point.STACK_MASKS, "the stack has no masks")
        return
    _, info = env.reset(seed=subject.seed)
    mask = _checked_mask(masks(), info, space)
    for action in subject.actions(env):
        *_, terminated, truncated, info = env.step(deepcopy(action))
        executed = probe.calls[-1].given["action"]
        changed = space == probe.action_space and _differs(executed, action)
        if changed and not _is_open(mask, executed, space):
            raise ConformanceError(
                Point.STACK_MASKS,
                f"an action that the masks leave open in place of {action}: {mask.astype(int)}",
                got=executed,
                advice="a layer that changes actions must ask the masks above it too",
            )
        if terminated or truncated:
            _, info = env.reset()
        mask = _checked_mask(masks(), info, space)


def _checked_mask(masks: Any, info: dict[str, Any], space: gym.Space[Any]) -> Any:
    mask = np.asarray(masks, dtype=np.bool_)
    if any(not part.any() for part in _parts(mask, space)):
        raise ConformanceError(
            Point.STACK_MASKS, "action_masks() to leave something open", got=mask.astype(int)
        )
    if "action_mask" in info:
        told = np.asarray(info["action_mask"], dtype=np.bool_)
        found = difference(mask, told, "info['action_mask']")
        require_alike(Point.STACK_MASKS, "info['action_mask'] to be action_masks()", found)
    return mask


def _parts(mask: Any, space: gym.Space[Any]) -> list[Any]:
    if isinstance(space, gym.spaces.MultiDiscrete):
        return np.split(mask, np.cumsum(space.nvec)[:-1])
    return np.split(mask, len(mask) // 2) if isinstance(space, gym.spaces.MultiBinary) else [mask]


def _is_open(mask: Any, action: Any, space: gym.Space[Any]) -> bool:
    start = getattr(space, "start", 0)
    chosen = np.ravel(np.asarray(action) - start).tolist()
    parts = _parts(mask, space)
    return all(bool(part[value]) for part, value in zip(parts, chosen, strict=True))


# --- progress and training ---


def check_progress(subject: Subject) -> None:
    """What is set at the top is set in every layer."""
    base = subject.make_env()
    env = subject.factory(base)
    env.reset(seed=subject.seed)
    _require_progress(env, base)


def _require_progress(env: Any, base: Any) -> None:
    """Set progress and training at the top of a stack, and look for them in its layers."""
    for name, (method, values) in _TOLD.items():
        tell = _method_of(env, method)
        if tell is None:
            continue
        for value in values:
            tell(value)
            for layer in added_layers(env, base):
                state = layer.state_dict() if hasattr(type(layer), "state_dict") else {}
                if state.get(name, value) != value:
                    raise ConformanceError(
                        Point.STACK_PROGRESS,
                        f"{method}({value}) at the top to reach {type(layer).__name__}",
                        got=f"{name} {state[name]} there",
                        advice=f"{method} must hand on what it is told",
                    )


def _method_of(env: Any, name: str) -> Callable[..., Any] | None:
    """Return a method of the outermost layer that has it."""
    if isinstance(env, gym.Env):
        return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None
    # Vector wrappers forward no attributes.
    while not hasattr(env, name) and isinstance(env, gym.vector.VectorWrapper):
        env = env.env
    return getattr(env, name, None)


# --- resuming ---

_ADVICE = "is something that outlives an episode missing in state_dict()?"
_PROGRESS = 0.5


def check_resume(subject: Subject) -> None:
    """The state of the stack, through JSON, makes a new stack go on alike."""
    if _layer_with_state(subject.make()) is None:
        subject.skip(Point.STACK_RESUME, "the stack has no guidance_state()")
        return
    _resume(subject, subject.seed + 1)
    if _goes_on_from_its_stream(subject):
        _resume(subject, None)
    else:
        subject.skip(
            Point.STACK_RESUME,
            "a reset without a seed was left out: the environment draws from more than np_random",
        )


def _resume(subject: Subject, seed: int | None) -> None:
    actions = subject.actions()
    half = len(actions) // 2
    old = Run(subject.make(), subject.readings)
    tell = _method_of(old.env, "set_progress")
    if tell is not None:
        tell(_PROGRESS)
    old.reset(subject.seed)
    list(old.steps(actions[:half]))
    new = Run(subject.make(), subject.readings)
    _hand_on(_layer_with_state(old.env), _layer_with_state(new.env))
    if seed is None:
        _share_stream(old.env, new.env)
    runs = [[run.reset(seed), *run.steps(actions[half:])] for run in (old, new)]
    _require_going_on(runs, f"a run that was saved and loaded, with reset(seed={seed})")


def _require_going_on(runs: list[list[dict[str, Any]]], what: str) -> None:
    found = run_difference(*runs)
    require_alike(Point.STACK_RESUME, f"{what}, to go on as before", found, _ADVICE)


def _hand_on(old: Any, new: Any) -> None:
    """Give one stack the state of another, as a file does."""
    saved = json.loads(json.dumps(old.guidance_state()))
    new.load_guidance_state(saved)
    found = difference(saved, json.loads(json.dumps(new.guidance_state())), "guidance_state()")
    require_alike(Point.STACK_RESUME, "a stack to have the state that was loaded", found, _ADVICE)


def _layer_with_state(env: Any) -> Any:
    """Return the outermost layer that has the state of all layers below, None without one."""
    read: Any = _method_of(env, "guidance_state")
    return None if read is None else read.__self__


def _share_stream(old: AnyEnv, new: AnyEnv) -> None:
    # The environment's own stream is for whoever saves environments; only the guidance is checked.
    new.unwrapped.np_random = deepcopy(old.unwrapped.np_random)


def _goes_on_from_its_stream(subject: Subject) -> bool:
    """Return whether the environment alone, built anew, goes on when it is given its stream."""
    actions = subject.actions(subject.make_env())
    old, new = (Run(subject.make_env(), ()) for _ in range(2))
    old.reset(subject.seed)
    list(old.steps(actions[:5]))
    _share_stream(old.env, new.env)
    runs = [[run.reset(None), *run.steps(actions[5:])] for run in (old, new)]
    return run_difference(*runs) is None


# --- vector stacks ---


def check_vector_run(subject: Subject, vector_factory: VectorFactory, n: int) -> None:
    """A vector stack has words in every layer, is told everywhere, and can be resumed."""
    bases = [
        SyncVectorEnv([subject.make_env] * n, autoreset_mode=AutoresetMode.NEXT_STEP)
        for _ in range(2)
    ]
    stacks: list[Any] = [vector_factory(base) for base in bases]
    space = deepcopy(stacks[0].action_space)
    space.seed(subject.seed)
    batches = [space.sample() for _ in range(subject.steps)]
    half = len(batches) // 2
    _require_progress(stacks[0], bases[0])
    _vector_run(stacks[0], batches[:half], subject.seed)
    _require_words(stacks[0], bases[0])
    layers = [_layer_with_state(stack) for stack in stacks]
    if None not in layers:
        _hand_on(*layers)
        runs = [_vector_run(stack, batches[half:], subject.seed + 1) for stack in stacks]
        _require_going_on(runs, "a vector run that was saved and loaded")
    for stack in stacks:
        stack.close()


def _vector_run(env: Any, batches: list[Any], seed: int) -> list[dict[str, Any]]:
    observations, infos = env.reset(seed=seed)
    seen = [{"observations": observations, "infos": infos}]
    names = ("observations", "rewards", "terminated", "truncated", "infos")
    for batch in batches:
        seen.append(dict(zip(names, env.step(deepcopy(batch)), strict=True)))
    return deepcopy(seen)
