"""Oracle of Craftax-Classic: each achievement not yet unlocked whose prerequisites are met.

An ablation, written by hand from the rules: it knows what is possible and has no opinion on what
matters. A thing to collect, eat or defeat must be in view.
"""

READS = (
    "energy", "sapling", "wood", "stone", "coal", "iron", "wood_pickaxe", "stone_pickaxe",
    "iron_pickaxe", "at_table", "at_furnace", "near_water", "near_grass", "near_tree",
    "near_stone", "near_coal", "near_iron", "near_diamond", "near_ripe_plant", "near_zombie",
    "near_skeleton", "near_cow", "sleeping", "unlocked",
)  # fmt: skip

TABLE_WOOD = 2
FURNACE_STONE = 1
IRON_TOOL_STONE = 1

IN_VIEW = {
    "water": "collect drink", "grass": "collect sapling", "tree": "collect wood",
    "cow": "eat cow", "ripe_plant": "eat plant", "zombie": "defeat zombie",
    "skeleton": "defeat skeleton",
}  # fmt: skip
MINED_WITH = {
    "stone": "wood_pickaxe", "coal": "wood_pickaxe", "iron": "stone_pickaxe",
    "diamond": "iron_pickaxe",
}  # fmt: skip


class OptimizedGoalGenerator:
    """From the facts of one state to the goals that are possible."""

    def generate(self, facts):
        """Return the possible goals, all of the same weight."""
        if facts["sleeping"]:
            return [("wake up", 1.0)]
        possible = self.in_view(facts) + self.with_hands(facts) + self.at_table(facts)
        unlocked = [name.replace("_", " ") for name in facts["unlocked"]]
        goals = [goal for goal in possible if goal not in unlocked]
        return [(goal, 1.0) for goal in goals or possible or ["collect sapling"]]

    def in_view(self, facts):
        """Return what can be collected, eaten or defeated."""
        goals = [goal for thing, goal in IN_VIEW.items() if facts["near_" + thing] is not None]
        for thing, tool in MINED_WITH.items():
            if facts[tool] and facts["near_" + thing] is not None:
                goals.append("collect " + thing)
        return goals

    def with_hands(self, facts):
        """Return what can be done anywhere."""
        goals = []
        if facts["energy"] < 9:
            goals.append("wake up")
        if facts["sapling"]:
            goals.append("place plant")
        if facts["wood"] >= TABLE_WOOD:
            goals.append("place table")
        if facts["stone"]:
            goals.append("place stone")
        if facts["stone"] >= FURNACE_STONE:
            goals.append("place furnace")
        return goals

    def at_table(self, facts):
        """Return what can be made beside a table."""
        if not facts["at_table"] or not facts["wood"]:
            return []
        goals = ["make wood pickaxe", "make wood sword"]
        if facts["stone"]:
            goals += ["make stone pickaxe", "make stone sword"]
        metal = facts["coal"] and facts["iron"] and facts["stone"] >= IRON_TOOL_STONE
        if facts["at_furnace"] and metal:
            goals += ["make iron pickaxe", "make iron sword"]
        return goals
