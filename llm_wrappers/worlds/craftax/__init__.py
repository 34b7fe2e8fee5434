"""Craftax-Classic as a single and as a natively vectorised Gymnasium environment."""

from llm_wrappers.worlds.craftax.env import CraftaxClassicEnv
from llm_wrappers.worlds.craftax.vector_env import CraftaxClassicVectorEnv

__all__ = ["CraftaxClassicEnv", "CraftaxClassicVectorEnv"]
