"""Reference goal planner for the meadow, written by hand."""

READS = ("carries_berry", "at_bush", "wolf_is_near")


class OptimizedGoalGenerator:
    """From the facts of one state to weighted goals."""

    def generate(self, facts):
        """Return the goal that is worth pursuing now."""
        if facts["carries_berry"]:
            return [("eat the berry", 1.0)]
        if facts["at_bush"]:
            return [("pick a berry", 1.0)]
        if facts["wolf_is_near"]:
            return [("flee from the wolf", 1.0)]
        return [("walk to the bush", 1.0)]
