"""Recommender systems of RecSim under the Gymnasium API."""

from llm_wrappers.worlds.recsim.interest_evolution import InterestEvolutionEnv

__all__ = ["InterestEvolutionEnv"]
