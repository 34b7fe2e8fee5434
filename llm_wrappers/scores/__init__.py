"""What a training run achieved: the Crafter score, statistics over seeds, logs and tables."""

from llm_wrappers.scores.crafter import crafter_score, official_score, success_rates
from llm_wrappers.scores.episodes import EpisodeLog, read_episodes
from llm_wrappers.scores.statistics import bootstrap_interval, interquartile_mean
from llm_wrappers.scores.table import format_table

__all__ = [
    "EpisodeLog",
    "bootstrap_interval",
    "crafter_score",
    "format_table",
    "interquartile_mean",
    "official_score",
    "read_episodes",
    "success_rates",
]
