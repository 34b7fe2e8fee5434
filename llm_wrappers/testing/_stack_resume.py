"""A stack that is built again, and loads its state, goes on as if it had not been interrupted."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from gymnasium.vector import AutoresetMode, SyncVectorEnv

from llm_wrappers.testing._difference import difference
from llm_wrappers.testing._rollout import AnyEnv, Run, run_difference
from llm_wrappers.testing._stack_points import method_of, require_progress, require_words
from llm_wrappers.testing._subject import Subject, fail
from llm_wrappers.testing.conformance_error import Point
from llm_wrappers.testing.vector_wrapper import VectorFactory

__all__ = ["check_resume", "check_vector_run"]

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
    _tell_progress(old.env)
    old.reset(subject.seed)
    list(old.steps(actions[:half]))
    new = Run(subject.make(), subject.readings)
    _hand_on(_layer_with_state(old.env), _layer_with_state(new.env))
    if seed is None:
        _share_stream(old.env, new.env)
    runs = [[run.reset(seed), *run.steps(actions[half:])] for run in (old, new)]
    _require_alike(runs, f"a run that was saved and loaded, with reset(seed={seed})")


def _require_alike(runs: list[list[dict[str, Any]]], what: str) -> None:
    found = run_difference(*runs)
    if found is not None:
        raise fail(Point.STACK_RESUME, f"{what}, to go on as before", found, _ADVICE)


def _tell_progress(env: AnyEnv) -> None:
    if env.has_wrapper_attr("set_progress"):
        env.get_wrapper_attr("set_progress")(_PROGRESS)


def _hand_on(old: Any, new: Any) -> None:
    """Give one stack the state of another, as a file does."""
    saved = json.loads(json.dumps(old.guidance_state()))
    new.load_guidance_state(saved)
    found = difference(saved, json.loads(json.dumps(new.guidance_state())), "guidance_state()")
    if found is not None:
        raise fail(Point.STACK_RESUME, "a stack to have the state that was loaded", found, _ADVICE)


def _layer_with_state(env: Any) -> Any:
    """Return the outermost layer that has the state of all layers below, None without one."""
    read: Any = method_of(env, "guidance_state")
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
    require_progress(stacks[0], bases[0])
    _vector_run(stacks[0], batches[:half], subject.seed)
    require_words(stacks[0], bases[0])
    layers = [_layer_with_state(stack) for stack in stacks]
    if None not in layers:
        _hand_on(*layers)
        runs = [_vector_run(stack, batches[half:], subject.seed + 1) for stack in stacks]
        _require_alike(runs, "a vector run that was saved and loaded")
    for stack in stacks:
        stack.close()


def _vector_run(env: Any, batches: list[Any], seed: int) -> list[dict[str, Any]]:
    observations, infos = env.reset(seed=seed)
    seen = [{"observations": observations, "infos": infos}]
    names = ("observations", "rewards", "terminated", "truncated", "infos")
    for batch in batches:
        seen.append(dict(zip(names, env.step(deepcopy(batch)), strict=True)))
    return deepcopy(seen)
