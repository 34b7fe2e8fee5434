"""Selectors and correctors by name: ``"llm:MODEL?OPTIONS"``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.methods._client_options import client_and_options
from llm_wrappers.methods.ultra.llm_corrector import LLMCorrector
from llm_wrappers.methods.ultra.llm_selector import LLMSelector

__all__ = ["corrector", "selector"]

_OF_THE_SELECTOR = (
    "prompt_tokens", "overlap", "show_every", "episodes_per_question", "instructions",
)  # fmt: skip
_OF_THE_CORRECTOR = ("part", "batch", "context_steps", "instructions")


def selector(
    rest: str,
    *,
    description: EnvDescription | None = None,
    action_space: gym.Space[Any] | None = None,
    model: Any = None,
    env: gym.Env[Any, Any] | None = None,
    seed: int = 0,
) -> LLMSelector:
    """Return the selector that a name ``"llm:MODEL?OPTIONS"`` stands for.

    Args:
        rest: What stands behind ``"llm:"``: a model, and options of `resolve_llm` and of
            `LLMSelector` (`prompt_tokens`, `overlap`, `show_every`, `episodes_per_question`,
            `instructions`).
        description: Of the environment; None for that of `env`.
        action_space: Of the environment; None for that of `env`.
        model: The policy; not used.
        env: Its captioner speaks for episodes recorded without captions; None for none.
        seed: Not used; a client has its own.

    Raises:
        InvalidOptionError: If an option is wrong or given twice, or there is no description.
        UnknownNameError: If there is no model.

    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.")
    >>> selector("openai/gpt-5-mini?prompt_tokens=8000", description=toy).llm.name
    'llm:openai/gpt-5-mini'
    """
    llm, options = client_and_options(rest, _OF_THE_SELECTOR)
    captioner = None if env is None else resolve_captioner(env)
    return LLMSelector(
        llm,
        _description(description, captioner),
        action_space=_action_space(action_space, env),
        captioner=captioner,
        **options,
    )


def corrector(
    rest: str,
    *,
    description: EnvDescription | None = None,
    action_space: gym.Space[Any] | None = None,
    model: Any = None,
    env: gym.Env[Any, Any] | None = None,
    seed: int = 0,
) -> LLMCorrector:
    """Return the corrector that a name ``"llm:MODEL?OPTIONS"`` stands for.

    Args:
        rest: What stands behind ``"llm:"``: a model, and options of `resolve_llm` and of
            `LLMCorrector` (`part`, `batch`, `context_steps`, `instructions`).
        description: Of the environment; None for that of `env`.
        action_space: Of the environment; None for that of `env`.
        model: The policy; not used.
        env: Its captioner speaks for episodes recorded without captions; None for none.
        seed: Not used; a client has its own.

    Raises:
        InvalidOptionError: If an option is wrong or given twice, or there is no description or
            action space.
        IncompatibleEnvironmentError: If actions of this space cannot be advised.
        UnknownNameError: If there is no model.

    >>> toy = EnvDescription(env_id="Toy-v0", rules="Find the key.")
    >>> corrector("ollama/llama3.2", description=toy, action_space=gym.spaces.Discrete(2)).llm.name
    'llm:ollama/llama3.2'
    """
    space = _action_space(action_space, env)
    if space is None:
        raise InvalidOptionError(
            "a corrector that asks a model needs the actions: pass action_space=... or env=..."
        )
    llm, options = client_and_options(rest, _OF_THE_CORRECTOR)
    captioner = None if env is None else resolve_captioner(env)
    return LLMCorrector(
        llm, _description(description, captioner), space, captioner=captioner, **options
    )


def _action_space(
    space: gym.Space[Any] | None, env: gym.Env[Any, Any] | None
) -> gym.Space[Any] | None:
    return env.action_space if space is None and env is not None else space


def _description(description: EnvDescription | None, captioner: Captioner | None) -> EnvDescription:
    if description is not None:
        return description
    if captioner is None:
        raise InvalidOptionError(
            "a model has to be told about the environment: pass description=... or env=..."
        )
    return captioner.description
