"""Answers that fit a pydantic model."""
