"""Reading values from a command line."""

from __future__ import annotations

import argparse
import re
from typing import Any, TypeAlias

import gymnasium as gym

from llm_wrappers.errors import require

__all__ = ["Commands", "count", "duration", "make_env", "whole"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def count(text: str) -> int:
    """Return a whole number above zero.

    >>> count("12")
    12
    """
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return number


def whole(text: str) -> int:
    """Return a whole number, zero included.

    >>> whole("0")
    0
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number >= 0, got {text!r}")
    return int(text)


def make_env(env_id: str) -> gym.Env[Any, Any]:
    """Return an environment by its id, also of packages that register theirs when imported.

    >>> make_env("CartPole-v1").spec.id
    'CartPole-v1'
    """
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
