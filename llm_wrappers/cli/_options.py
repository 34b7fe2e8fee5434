"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
import re
from typing import Any, TypeAlias

import gymnasium as gym

from llm_wrappers.errors import require
from llm_wrappers.llm import LLM, Budget

__all__ = [
    "Commands",
    "add_client_options",
    "client_of",
    "count",
    "duration",
    "make_env",
    "whole",
]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def count(text: str) -> int:
    """Return a whole number above zero."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return number


def whole(text: str) -> int:
    """Return a whole number, zero included."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number >= 0, got {text!r}")
    return int(text)


def make_env(env_id: str) -> gym.Env[Any, Any]:
    """Return an environment by its id, also of packages that register theirs when imported."""
    if env_id.startswith(("MiniGrid-", "BabyAI-")):
        require("minigrid", extra="minigrid")
    return gym.make(env_id)


def duration(text: str) -> float:
    """Return the seconds of a duration such as ``30d``.

    >>> duration("1.5h")
    5400.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"expected a number and one of s, m, h, d, w, such as 30d, got {text!r}"
        )
    return float(match[1]) * _SECONDS[match[2]]


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """Add the options with which a client is made."""
    parser.add_argument("--cache", default="answers.sqlite", help="file or Redis URL for answers")
    parser.add_argument("--mode", default="record", choices=["record", "replay", "refresh", "off"])
    parser.add_argument("--api-base", default=None, help="address of a server of your own")
    parser.add_argument("--dollars", type=float, default=None, help="the most to spend")
    parser.add_argument("--calls", type=int, default=None, help="the most requests to send")
    parser.add_argument("--max-tokens", type=count, default=None, help="the longest answer")
    parser.add_argument("--temperature", type=float, default=None)
    parser.add_argument(
        "--schemas", action="store_true", default=None, help="the server takes JSON schemas"
    )
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds per answer")


def client_of(options: argparse.Namespace) -> LLM:
    """Return the client that the options describe."""
    optional = {
        "api_base": options.api_base,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "schemas": options.schemas,
    }
    return LLM(
        options.model,
        cache=options.cache,
        mode=options.mode,
        timeout=options.timeout,
        budget=Budget(dollars=options.dollars, calls=options.calls),
        **{name: value for name, value in optional.items() if value is not None},
    )
