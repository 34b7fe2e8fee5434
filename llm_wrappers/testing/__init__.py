"""The conformance kit and doubles, for tests of wrappers: this package's and your own."""

from llm_wrappers.testing.captioner import check_captioner
from llm_wrappers.testing.conformance_error import ConformanceError, Point
from llm_wrappers.testing.llm_server import Fault, LLMServer
from llm_wrappers.testing.scripted import (
    FailingPlanner,
    ScriptedEnv,
    ScriptedPlanner,
    make_scripted_env,
)
from llm_wrappers.testing.scripted_llm import ScriptedLLM, ScriptedTransport
from llm_wrappers.testing.stack import StackReport, check_stack
from llm_wrappers.testing.vector_wrapper import check_vector_wrapper
from llm_wrappers.testing.wrapper import check_wrapper

__all__ = [
    "ConformanceError",
    "FailingPlanner",
    "Fault",
    "LLMServer",
    "Point",
    "ScriptedEnv",
    "ScriptedLLM",
    "ScriptedPlanner",
    "ScriptedTransport",
    "StackReport",
    "check_captioner",
    "check_stack",
    "check_vector_wrapper",
    "check_wrapper",
    "make_scripted_env",
]
