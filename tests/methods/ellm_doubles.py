"""What a model suggests in a small world of trees, cows and beds; doubles for tests of ELLM."""

from __future__ import annotations

import json
import urllib.request
from types import MappingProxyType

from llm_wrappers.captions import EnvDescription
from llm_wrappers.guidance.states import States
from llm_wrappers.llm import Completion, Cost

TREE, COW, NOTHING = "You see a tree.", "You see a cow.", "You see nothing."
TOY = EnvDescription(
    env_id="Toy-v0",
    rules="You live in a small world.",
    action_names=("chop tree", "eat cow", "sleep"),
    goals=("chop tree", "eat cow", "sleep"),
)
ANSWERS = MappingProxyType(
    {
        TREE: "- Chop tree.\n- rest",
        COW: "- eat cow",
        NOTHING: "I am not sure.",
    }
)


def states_of(*captions):
    """Return states that say what is wanted."""
    return States([{"place": i} for i in range(len(captions))], lambda facts: captions)


def question_in(body_or_request):
    """Return the last message."""
    if isinstance(body_or_request, dict):
        return body_or_request["messages"][-1]["content"]
    return body_or_request.messages[-1]["content"]


def caption_in(body_or_request):
    """Return the caption that a prompt asks about."""
    return question_in(body_or_request).rpartition("# Now")[2].strip().splitlines()[0]


def suggestion(body_or_request):
    """Answer an open-ended question as a model would."""
    return ANSWERS[caption_in(body_or_request)]


def verdict(request):
    """Say Yes to chopping at a tree, and to sleeping always."""
    question = question_in(request).rpartition("# Now")[2]
    return "Yes" if "you sleep?" in question or "tree.\nShould you chop" in question else "No."


class PlainHttp:
    """A transport over a real socket, without the seconds that litellm takes to import."""

    def __init__(self, api_base):
        self.url = f"{api_base}/chat/completions"

    def complete(self, request, *, send_schema):
        body = {"model": request.model, "messages": list(request.messages), **request.params}
        sent = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=30) as reply:
            choice = json.load(reply)["choices"][0]
        logprobs = (choice["logprobs"] or {}).get("content")
        return Completion(text=choice["message"]["content"], logprobs=logprobs)

    def supports_schema(self, model):
        return False

    def worst_case(self, request):
        return Cost()
