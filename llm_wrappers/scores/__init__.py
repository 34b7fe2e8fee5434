"""What a training run achieved: the Crafter score, statistics over seeds, logs and tables."""

from llm_wrappers.scores.episodes import (
    EpisodeLog,
    crafter_score,
    official_score,
    read_episodes,
    success_rates,
)
from llm_wrappers.scores.table import bootstrap_interval, format_table, interquartile_mean

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
