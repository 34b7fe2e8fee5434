"""A small household to tidy up: a stand-in for Housekeep."""

from llm_wrappers.worlds.household.env import HouseholdEnv

__all__ = ["HouseholdEnv"]
