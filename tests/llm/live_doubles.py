"""Doubles for tests of live sources."""

import json
import urllib.request

from llm_wrappers.llm import Completion, Cost


class PlainHttp:
    """A transport over a real socket, without the seconds that litellm takes to import."""

    def __init__(self, api_base):
        self.url = f"{api_base}/chat/completions"

    def complete(self, request, *, send_schema):
        body = {"model": request.model, "messages": list(request.messages)}
        sent = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=30) as reply:
            return Completion(text=json.load(reply)["choices"][0]["message"]["content"])

    def supports_schema(self, model):
        return False

    def worst_case(self, request):
        return Cost()
