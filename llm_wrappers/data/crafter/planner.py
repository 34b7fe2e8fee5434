"""Reference goal planner for Crafter, written and checked by hand (not by a model).

Goals are offered only where the agent can work towards them now. Their weights have three tiers:
staying alive, what this episode has not unlocked yet (the deeper, the heavier), and gathering for
the next tool.
"""

READS = (
    "health", "food", "drink", "energy", "sapling", "wood", "stone", "coal", "iron",
    "wood_pickaxe", "stone_pickaxe", "iron_pickaxe", "wood_sword", "stone_sword", "iron_sword",
    "facing", "sleeping", "at_table", "at_furnace", "near_water", "near_tree", "near_coal",
    "near_iron", "near_diamond", "near_table", "near_furnace", "near_ripe_plant", "near_zombie",
    "near_skeleton", "near_cow", "unlocked",
)  # fmt: skip

# What things cost here.
TABLE_WOOD = 2
FURNACE_STONE = 4
IRON_TOOL_STONE = 0

# How many achievements come before each one.
DEPTH = {
    "collect wood": 0, "collect sapling": 0, "collect drink": 0, "eat cow": 0, "wake up": 0,
    "defeat zombie": 0, "place table": 1, "place plant": 1, "make wood pickaxe": 2,
    "make wood sword": 2, "collect stone": 3, "eat plant": 3, "defeat skeleton": 3,
    "place stone": 4, "collect coal": 4, "make stone pickaxe": 4, "make stone sword": 4,
    "place furnace": 4, "collect iron": 5, "make iron sword": 6, "make iron pickaxe": 6,
    "collect diamond": 7,
}  # fmt: skip

SURVIVE, NEW, GATHER = 1000.0, 100.0, 1.0


class OptimizedGoalGenerator:
    """From the facts of one state to weighted goals."""

    def generate(self, facts):
        """Return the goals worth pursuing now, as (goal, weight) pairs."""
        if facts["sleeping"]:
            return [("wake up", SURVIVE)]
        urgent = self.survival(facts)
        if urgent:
            return urgent
        unlocked = {name.replace("_", " ") for name in facts["unlocked"]}
        new = [goal for goal in self.feasible(facts) if goal not in unlocked]
        goals = [(goal, self.weight(goal, facts)) for goal in new]
        return goals + self.gathering(facts)

    def weight(self, goal, facts):
        """Return the weight of an achievement of its own: what the hands can do now comes first."""
        at_hand = 20 if facts["at_table"] else 10
        return NEW * (1 + DEPTH[goal] + (at_hand if goal.startswith("make") else 0))

    def survival(self, facts):
        """Return what cannot wait."""
        zombie, skeleton = facts["near_zombie"], facts["near_skeleton"]
        if zombie is not None and zombie <= 3:
            return [("defeat zombie", SURVIVE)]
        if facts["drink"] <= 3 and (facts["near_water"] is not None or facts["drink"] <= 1):
            return [("collect drink", SURVIVE)]
        if facts["food"] <= 3 and facts["near_ripe_plant"] is not None:
            return [("eat plant", SURVIVE)]
        if facts["food"] <= 4 and facts["near_cow"] is not None:
            return [("eat cow", SURVIVE)]
        if zombie is None and skeleton is None and facts["energy"] <= 3:
            return [("wake up", SURVIVE)]
        return []

    def feasible(self, facts):
        """Return the achievements that are within reach from here."""
        goals = []
        quiet = facts["near_zombie"] is None and facts["near_skeleton"] is None
        if facts["energy"] < 9 and quiet and facts["health"] >= 7:
            goals.append("wake up")
        for thing, goal in (
            ("water", "collect drink"),
            ("cow", "eat cow"),
            ("ripe_plant", "eat plant"),
            ("zombie", "defeat zombie"),
        ):
            if facts["near_" + thing] is not None:
                goals.append(goal)
        goals.append("place plant" if facts["sapling"] else "collect sapling")
        goals.append("collect wood")
        return goals + self.crafting(facts) + self.mining(facts)

    def crafting(self, facts):
        """Return what can be made or placed with what is held, at a table in view."""
        goals = []
        wood, stone = facts["wood"], facts["stone"]
        table = facts["near_table"] is not None
        if not table and wood >= TABLE_WOOD + 1:
            goals.append("place table")
        if table and wood >= 1:
            for tool in ("pickaxe", "sword"):
                goals.append("make wood " + tool)
                if stone >= 1:
                    goals.append("make stone " + tool)
                if self.has_iron_tool_parts(facts) and facts["near_furnace"] is not None:
                    goals.append("make iron " + tool)
        if stone >= FURNACE_STONE and (table or stone >= FURNACE_STONE + 2):
            goals.append("place furnace")
        if stone >= 1:
            goals.append("place stone")
        return goals

    def mining(self, facts):
        """Return what the tools at hand can collect or defeat in view."""
        goals = []
        if facts["wood_pickaxe"]:
            goals.append("collect stone")
            if facts["near_coal"] is not None:
                goals.append("collect coal")
        if facts["stone_pickaxe"] and facts["near_iron"] is not None:
            goals.append("collect iron")
        if facts["iron_pickaxe"] and facts["near_diamond"] is not None:
            goals.append("collect diamond")
        if facts["near_skeleton"] is not None and facts["health"] >= 4:
            goals.append("defeat skeleton")
        return goals

    def gathering(self, facts):
        """Return what the next tool still needs."""
        goals = []
        tools = ("wood_pickaxe", "wood_sword", "stone_pickaxe", "stone_sword")
        needed = sum(not facts[tool] for tool in tools)
        spare = TABLE_WOOD if facts["near_tree"] is not None else 0
        if facts["wood"] < min(needed + spare, 9):
            goals.append(("collect wood", GATHER * (6 if facts["near_tree"] is not None else 2)))
        if facts["wood_pickaxe"]:
            if facts["stone"] < 4:
                goals.append(("collect stone", GATHER * 3))
            if facts["near_coal"] is not None and facts["coal"] < 2:
                goals.append(("collect coal", GATHER * 4))
            if not facts["stone_pickaxe"] and facts["stone"] >= 1:
                goals += self.table(facts, wood=1)
        if facts["stone_pickaxe"]:
            goals.append(("collect iron", GATHER * (5 if facts["near_iron"] is not None else 1)))
            if self.has_iron_tool_parts(facts):
                goals += self.workshop(facts)
        if facts["iron_pickaxe"]:
            goals.append(("collect diamond", GATHER * 2))
        return goals or [("collect iron", GATHER)]

    def table(self, facts, wood):
        """Return a new table, where none is in view and enough wood is left for the tool."""
        if facts["near_table"] is None and facts["wood"] >= TABLE_WOOD + wood:
            return [("place table", GATHER * 20)]
        return []

    def workshop(self, facts):
        """Return how to get a table and a furnace side by side."""
        if facts["near_table"] is None and facts["wood"] > TABLE_WOOD:
            return [("place table", GATHER * 20)]
        spare = FURNACE_STONE + IRON_TOOL_STONE
        if facts["near_furnace"] is None and facts["at_table"] and facts["stone"] >= spare:
            return [("place furnace", GATHER * 20)]
        return []

    def has_iron_tool_parts(self, facts):
        """Return whether an iron tool could be made beside a table and a furnace."""
        return (
            facts["wood"] >= 1
            and facts["stone"] >= IRON_TOOL_STONE
            and facts["coal"] >= 1
            and facts["iron"] >= 1
        )
