"""The `llm-wrappers` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gymnasium.error import Error as GymnasiumError

from llm_wrappers._version import __version__
from llm_wrappers.cli import cache, demo, guidance, write
from llm_wrappers.errors import GuidanceError, LLMError, UserError

__all__ = ["main"]

_FAILED = 1
_USER_ERROR = 2
_INTERRUPTED = 130
_CLOSED_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: The command line without the program's name; None for that of the process.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read this, `head` for example, has enough. Python would complain when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except (UserError, GymnasiumError) as error:
        print(f"llm-wrappers: {error}", file=sys.stderr)
        return _USER_ERROR
    except (LLMError, GuidanceError) as error:
        print(f"llm-wrappers: {type(error).__name__}: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llm-wrappers",
        description="LLM guidance for reinforcement learning, as Gymnasium wrappers.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True)
    demo.add_command(commands)
    cache.add_command(commands)
    write.add_command(commands)
    guidance.add_commands(commands)
    return parser
