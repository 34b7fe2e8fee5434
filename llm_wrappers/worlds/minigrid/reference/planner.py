"""Reference goal planner for MiniGrid DoorKey, written and checked by hand (not by a model).

It knows the order of things (key, door, goal) and how the world is laid out: the door is in a wall
that runs from north to south, and the goal lies east of it. How to get anywhere is left to the
agent. It has no memory: with the key in hand and neither door nor goal in view it cannot know in
which room the agent is, and sends it to look for the door.
"""

READS = (
    "direction", "facing", "carrying_key", "sees_key", "sees_door", "door_state", "door_ahead",
    "door_right", "sees_goal",
)  # fmt: skip
"""The facts that are read; the planner is asked again only when one of them changes."""

NOW, NEXT = 10.0, 1.0


class OptimizedGoalGenerator:
    """From the facts of one state to weighted goals."""

    def generate(self, facts):
        """Return the goals worth pursuing now, as (goal, weight) pairs."""
        if facts["sees_goal"]:
            return [("go to the goal", NOW)]
        if facts["door_state"] == "open":
            return self.beside_the_open_door(facts)
        if facts["carrying_key"] or facts["door_state"] == "closed":
            return self.to_open_the_door(facts)
        return self.to_get_the_key(facts)

    def beside_the_open_door(self, facts):
        """Return what to do where an open door is in view: go east, or stay there."""
        return [("go through the door" if self.is_east(facts) else "find the goal", NOW)]

    def to_open_the_door(self, facts):
        """Return what to do with the key in hand, or where no key is needed."""
        if facts["facing"] in ("locked door", "closed door"):
            return [("open the door", NOW)]
        if facts["sees_door"]:
            return [("go to the door", NOW)]
        return [("find the door", NOW), ("find the goal", NEXT)]

    def to_get_the_key(self, facts):
        """Return what to do with empty hands."""
        if facts["facing"] == "key":
            return [("pick up the key", NOW)]
        if facts["sees_key"]:
            return [("go to the key", NOW)]
        return [("find the key", NOW)]

    def is_east(self, facts):
        """Return whether the door in view is east of the agent; true where it cannot be told."""
        ahead, right = facts["door_ahead"] or 0, facts["door_right"] or 0
        cells_east = {"east": ahead, "south": -right, "west": -ahead, "north": right}
        return cells_east.get(facts["direction"], 1) > 0
