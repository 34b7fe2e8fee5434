"""The answer cache: answers by key, in SQLite, Redis or memory."""
