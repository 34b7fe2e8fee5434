"""Crafter as ELLM changed it: 139 actions of a verb and a noun, and downstream tasks."""

from llm_wrappers.worlds.ellm_crafter.env import EllmCrafterEnv

__all__ = ["EllmCrafterEnv"]
