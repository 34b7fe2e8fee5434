"""Guidance and facts that ship with the package, written by hand: reference guidance."""
