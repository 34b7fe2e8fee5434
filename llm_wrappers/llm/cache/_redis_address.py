"""Where a Redis server is: what may be said of its URL, and what may not."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, unquote, urlsplit

from llm_wrappers.errors import InvalidOptionError

__all__ = ["RedisAddress"]

_SCHEMES = ("redis", "rediss", "unix")


class RedisAddress:
    """A Redis URL that never shows its password.

    Args:
        url: ``redis://[[user]:password@]host[:port][/db]``, the same with ``rediss`` for TLS,
            or ``unix://[[user]:password@]/path/to/socket[?db=0]``.

    Raises:
        InvalidOptionError: If it is something else; the message does not repeat it.

    >>> RedisAddress("redis://:secret@localhost:6380/2").location
    'redis://localhost:6380/2'
    """

    def __init__(self, url: str) -> None:
        self.url = url
        location = _location(url)
        if location is None:
            raise InvalidOptionError(
                "expected a Redis URL such as redis://localhost:6379/0, rediss://HOST:PORT/DB or "
                "unix:///path/to/socket, got something else (it is not repeated, because it may "
                "hold a password); write characters like / # @ of a password as %2F %23 %40"
            )
        self.location = location
        self._secrets = _secrets(url)

    def without_secrets(self, text: str) -> str:
        """Return a text, usually of an error, with the password crossed out."""
        # The longest first, because one form of the password may be part of another.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _location(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    # A query may set the database; user and password must not come from it into a message.
    database = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme not in _SCHEMES or parts.fragment or not re.fullmatch(r"\d*", database):
        return None
    if parts.scheme == "unix":
        return f"unix://{parts.path}" if parts.path else None
    if not parts.hostname or not re.fullmatch(r"(/\d*)?", parts.path):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or 6379}/{database or parts.path.strip('/') or 0}"


def _secrets(url: str) -> set[str]:
    parts = urlsplit(url)
    given = [parts.password or "", *parse_qs(parts.query).get("password", [])]
    forms = {form for text in given for form in (text, unquote(text), quote(text, safe=""))}
    return forms - {""}
