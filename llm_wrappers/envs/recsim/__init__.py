"""Recommender systems of RecSim under the Gymnasium API."""

from llm_wrappers.envs.recsim.interest_evolution import InterestEvolutionEnv

__all__ = ["InterestEvolutionEnv"]
