"""Prompts that ship with the package; reference guidance is with its world."""
