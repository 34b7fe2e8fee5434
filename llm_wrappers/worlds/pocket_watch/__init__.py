"""RUDDER's pocket watch repair as a Gymnasium environment."""

from llm_wrappers.worlds.pocket_watch.env import PocketWatchEnv

__all__ = ["PocketWatchEnv"]
