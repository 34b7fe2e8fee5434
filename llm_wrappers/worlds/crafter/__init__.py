"""Crafter as a reproducible Gymnasium environment."""

from llm_wrappers.worlds.crafter.env import CrafterEnv

__all__ = ["CrafterEnv"]
