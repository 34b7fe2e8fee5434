"""Reference goal planner for Crafter, written and checked by hand (not by a model).

Goals are offered only where the agent can work towards them now. Their weights have three tiers:
staying alive, what this episode has not unlocked yet (the deeper, the heavier), and gathering for
the next tool.
"""

READS = (
    "health", "energy", "hungry", "thirsty", "tired", "hurt", "sapling", "wood", "stone", "coal",
    "iron", "wood_pickaxe", "stone_pickaxe", "iron_pickaxe", "wood_sword", "stone_sword",
    "iron_sword", "sleeping", "at_table", "near_water", "near_cow", "near_zombie",
    "sees_tree", "sees_coal", "sees_iron", "sees_diamond", "sees_table", "sees_furnace",
    "sees_ripe_plant", "sees_skeleton", "unlocked",
)  # fmt: skip
"""The facts that are read; the planner is asked again only when one of them changes."""

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

# A detour of more steps than this is not worth a drink or a cow that nobody needs yet.
DETOUR = 3


class OptimizedGoalGenerator:
    """From the facts of one state to weighted goals."""

    def generate(self, facts):
        """Return the goals worth pursuing now, as (goal, weight) pairs."""
        if facts["sleeping"]:
            return [("wake up", SURVIVE)]
        urgent = self.survival(facts)
        if urgent:
            return urgent
        unlocked = facts["unlocked"]
        new = [goal for goal in self.feasible(facts) if goal.replace(" ", "_") not in unlocked]
        return [(goal, self.weight(goal, facts)) for goal in new] + self.gathering(facts)

    def weight(self, goal, facts):
        """Return the weight of a new achievement: the deeper the heavier, tools before all."""
        tool = goal.startswith("make")
        at_hand = 20 if facts["at_table"] else 10
        return NEW * (1 + DEPTH[goal] + (at_hand if tool else 0))

    def survival(self, facts):
        """Return what cannot wait."""
        if facts["near_zombie"] == 1:
            return [("defeat zombie", SURVIVE)]
        if facts["thirsty"] and facts["near_water"] is not None:
            return [("collect drink", SURVIVE)]
        if facts["hungry"] and facts["sees_ripe_plant"]:
            return [("eat plant", SURVIVE)]
        if facts["hungry"] and facts["near_cow"] is not None:
            return [("eat cow", SURVIVE)]
        if facts["tired"] and self.is_quiet(facts):
            return [("wake up", SURVIVE)]
        return []

    def is_quiet(self, facts):
        """Return whether no monster is in view: sleepers are hit hardest."""
        return facts["near_zombie"] is None and not facts["sees_skeleton"]

    def feasible(self, facts):
        """Return the achievements that are within reach from here."""
        goals = []
        if facts["energy"] < 9 and facts["health"] >= 7 and self.is_quiet(facts):
            goals.append("wake up")
        for thing, goal in (("water", "collect drink"), ("cow", "eat cow"),
                            ("zombie", "defeat zombie")):  # fmt: skip
            if facts["near_" + thing] is not None and facts["near_" + thing] <= DETOUR:
                goals.append(goal)
        if facts["sees_ripe_plant"]:
            goals.append("eat plant")
        goals.append("place plant" if facts["sapling"] else "collect sapling")
        goals.append("collect wood")
        return goals + self.crafting(facts) + self.mining(facts)

    def crafting(self, facts):
        """Return what can be made at a table in view, or placed, with what is held."""
        goals = []
        wood, stone = facts["wood"], facts["stone"]
        if not facts["sees_table"] and wood >= TABLE_WOOD + 2:  # for a pickaxe and a sword
            goals.append("place table")
        if facts["sees_table"] and wood >= 1:
            for tool in ("pickaxe", "sword"):
                goals.append("make wood " + tool)
                if stone >= 1:
                    goals.append("make stone " + tool)
                if self.has_iron_tool_parts(facts) and facts["sees_furnace"]:
                    goals.append("make iron " + tool)
        if stone >= FURNACE_STONE and (facts["sees_table"] or stone >= FURNACE_STONE + 2):
            goals.append("place furnace")
        if stone >= 1:
            goals.append("place stone")
        return goals

    def mining(self, facts):
        """Return what the tools at hand can collect or defeat."""
        goals = []
        if facts["wood_pickaxe"]:
            goals.append("collect stone")
            if facts["sees_coal"]:
                goals.append("collect coal")
        if facts["stone_pickaxe"] and facts["sees_iron"]:
            goals.append("collect iron")
        if facts["iron_pickaxe"] and facts["sees_diamond"]:
            goals.append("collect diamond")
        if facts["sees_skeleton"] and not facts["hurt"]:
            goals.append("defeat skeleton")
        return goals

    def gathering(self, facts):
        """Return what the next tool still needs."""
        goals = []
        tools = ("wood_pickaxe", "wood_sword", "stone_pickaxe", "stone_sword")
        needed = sum(not facts[tool] for tool in tools)
        spare = TABLE_WOOD if facts["sees_tree"] else 0
        if facts["wood"] < min(needed + spare, 9):
            goals.append(("collect wood", GATHER * (6 if facts["sees_tree"] else 2)))
        if facts["wood_pickaxe"]:
            if facts["stone"] < 4:
                goals.append(("collect stone", GATHER * 3))
            if facts["sees_coal"] and facts["coal"] < 2:
                goals.append(("collect coal", GATHER * 4))
            if not facts["stone_pickaxe"] and facts["stone"] >= 1:
                goals += self.table(facts)
        if facts["stone_pickaxe"]:
            goals.append(("collect iron", GATHER * (5 if facts["sees_iron"] else 1)))
            if self.has_iron_tool_parts(facts):
                goals += self.table(facts) + self.furnace(facts)
        if facts["iron_pickaxe"]:
            goals.append(("collect diamond", GATHER * 2))
        return goals or [("collect iron", GATHER)]

    def table(self, facts):
        """Return a new table, where none is in view and wood is left for a tool."""
        if not facts["sees_table"] and facts["wood"] > TABLE_WOOD:
            return [("place table", GATHER * 20)]
        return []

    def furnace(self, facts):
        """Return a new furnace beside the table, where none is in view."""
        stone = FURNACE_STONE + IRON_TOOL_STONE
        if not facts["sees_furnace"] and facts["at_table"] and facts["stone"] >= stone:
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
