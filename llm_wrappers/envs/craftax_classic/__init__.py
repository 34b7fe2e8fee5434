"""Craftax-Classic as a single and as a natively vectorised Gymnasium environment."""

from llm_wrappers.envs.craftax_classic.env import CraftaxClassicEnv
from llm_wrappers.envs.craftax_classic.vector_env import CraftaxClassicVectorEnv

__all__ = ["CraftaxClassicEnv", "CraftaxClassicVectorEnv"]
