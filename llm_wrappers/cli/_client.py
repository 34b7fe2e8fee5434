"""The client of a language model, from a command line."""

from __future__ import annotations

import argparse

from llm_wrappers.cli._arguments import count
from llm_wrappers.llm import LLM, Budget

__all__ = ["add_client_options", "client_of"]


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
