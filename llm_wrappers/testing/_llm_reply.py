"""What an OpenAI-compatible server replies, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["chat_reply", "error_reply", "models_reply"]

Json = dict[str, Any]

_LOGPROB = -0.5


def chat_reply(body: Mapping[str, Any], answer: str | Mapping[str, float], *, number: int) -> Json:
    """Return a chat completion; one token per word, so that usage is easy to foretell.

    Args:
        body: The request.
        answer: A text, or the log probabilities of several words that could be the answer.
        number: Which reply of the server it is.
    """
    choices = {} if isinstance(answer, str) else answer
    text = answer if isinstance(answer, str) else max(answer, key=answer.__getitem__)
    words = text.split()
    prompt_tokens = sum(len(_words(message)) for message in body.get("messages", ()))
    completion_tokens = max(1, len(words))
    choice: Json = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "finish_reason": "stop",
        "logprobs": None,
    }
    if body.get("logprobs"):
        top = int(body.get("top_logprobs") or 0)
        tokens = [_chosen(choices, top)] if choices else [_token(word, top) for word in words]
        choice["logprobs"] = {"content": tokens, "refusal": None}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", ""),
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def error_reply(message: str, *, kind: str = "server_error", code: str | None = None) -> Json:
    """Return the body of an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models_reply(models: tuple[str, ...]) -> Json:
    """Return the list of models."""
    entries = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in models]
    return {"object": "list", "data": entries}


def _words(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content") or ""
    parts = content if isinstance(content, list) else [{"text": content}]
    return [word for part in parts for word in str(part.get("text", "")).split()]


def _chosen(choices: Mapping[str, float], top: int) -> Json:
    ranked = sorted(choices.items(), key=lambda choice: -choice[1])
    entries = [_entry(word, logprob) for word, logprob in ranked]
    return {**entries[0], "top_logprobs": entries[:top]}


def _entry(word: str, logprob: float) -> Json:
    return {"token": word, "logprob": logprob, "bytes": list(word.encode())}


def _token(word: str, top: int) -> Json:
    entry = _entry(word, _LOGPROB)
    others = [
        {"token": f"{word}{rank}", "logprob": _LOGPROB - rank, "bytes": None}
        for rank in range(1, top)
    ]
    return {**entry, "top_logprobs": [entry, *others] if top else []}
