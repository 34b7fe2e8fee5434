"""Who finds and who corrects critical states in an environment: objects, names, or a model."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import gymnasium as gym

from llm_wrappers.captions.captioner import Captioner
from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.captions.resolve import resolve_captioner
from llm_wrappers.errors import InvalidOptionError
from llm_wrappers.guidance.critical.correcting import Corrector, resolve_corrector
from llm_wrappers.guidance.critical.finding import Selector, resolve_selector
from llm_wrappers.llm import LLM, resolve_llm
from llm_wrappers.methods._asking import client_and_options
from llm_wrappers.methods.ultra.llm_corrector import LLMCorrector
from llm_wrappers.methods.ultra.llm_selector import LLMSelector

__all__ = ["corrector", "resolve_guides", "selector"]

_OF_THE_SELECTOR = (
    "prompt_tokens", "overlap", "show_every", "episodes_per_question", "instructions",
)  # fmt: skip
_OF_THE_CORRECTOR = ("part", "batch", "context_steps", "instructions")


def resolve_guides(
    env: Any,
    *,
    llm: LLM | str | None = None,
    selector: str | Selector | None = None,
    corrector: str | Corrector | None = None,
    model: Any = None,
    part: str | None = None,
    captioner: Captioner | None = None,
    seed: int = 0,
) -> tuple[Selector, Corrector]:
    """Return who finds critical states in episodes of an environment, and who corrects them.

    Args:
        env: An environment or a vector environment.
        llm: A client or its name; does what is not given below.
        selector: An object or a name.
        corrector: An object or a name.
        model: The model that played the episodes, for names that need it.
        part: The part of a Dict observation by which states are looked up.
        captioner: None for the environment's own.
        seed: Of what is drawn or trained.

    Raises:
        InvalidOptionError: If nobody finds or nobody corrects.
        UnknownNameError: If a name is not known.

    >>> finds, corrects = resolve_guides(
    ...     gym.make("CartPole-v1"), selector="random", corrector="reference"
    ... )
    """
    if llm is None and None in (selector, corrector):
        raise InvalidOptionError(
            "expected somebody who finds and corrects critical states, got none: give "
            'llm="llm:MODEL?cache=FILE", or both selector= and corrector='
        )
    many = isinstance(env, gym.vector.VectorEnv)
    space = env.single_action_space if many else env.action_space
    description = resolve_captioner(env, captioner).description
    client = resolve_llm(llm) if isinstance(llm, str) else llm
    if selector is None and client is not None:
        selector = LLMSelector(client, description, action_space=space, captioner=captioner)
    if corrector is None and client is not None:
        corrector = LLMCorrector(client, description, space, part=part, captioner=captioner)
    context: dict[str, Any] = {
        "description": description, "action_space": space, "model": model, "env": env,
        "seed": seed,
    }  # fmt: skip
    assert selector is not None
    assert corrector is not None
    if isinstance(corrector, str) and part is not None:
        corrector += ("&" if "?" in corrector else "?") + f"part={quote_plus(part)}"
    return resolve_selector(selector, **context), resolve_corrector(corrector, **context)


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

    The options are those of `resolve_llm` and of `LLMSelector`. What is not given of the
    environment is taken from `env`, whose captioner speaks for episodes recorded without captions.

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
    """Return the corrector that a name ``"llm:MODEL?OPTIONS"`` stands for, as `selector` does.

    Raises:
        InvalidOptionError: If there is no description or action space.

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
