"""Recorded episodes: in memory, in files, and as Minari datasets."""
