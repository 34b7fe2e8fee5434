"""MiniGrid: captioner and legality."""
