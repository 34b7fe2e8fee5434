"""Crafter as a reproducible Gymnasium environment."""

from llm_wrappers.envs.crafter.env import CrafterEnv

__all__ = ["CrafterEnv"]
