"""One planner, two ways to run it: plainly and in Monty, with one answer."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from llm_wrappers.guidance import PlannerProgram
from llm_wrappers.known_worlds import guidance_folder
from llm_wrappers.sandbox import (
    MontyRuntime,
    PlannerFailure,
    extreme_states,
    lint_planner,
)

ENVS = {"crafter": "llm_wrappers/Crafter-v1", "craftax-classic": "llm_wrappers/CraftaxClassic-v1"}

# Each block sets `result` from `facts`; what stands behind a line "---" goes before the class.
_TEXT = '''
result = 7 + 2, 7 - 2, 7 * 2, 7 / 2, 7 // 2, 7 % 2, 7 ** 2, -7 // 2, -7 % 3, 7.5 // 2, 2 ** -1
###
result = "a" + "b", "a" * 3, 2 * "ab", [1] + [2], [0] * 3, (1,) + (2,), 1.5 * 2, 2 ** 0.5, True + 1
###
result = {1, 2} | {3}, {1, 2} & {2}, {1, 2} - {2}, {1, 2} ^ {2, 3}, {"a": 1} | {"b": 2}
result = result, 6 | 1, 6 & 3
###
x = 5
x += 1
x -= 2
x *= 3
x /= 2
x //= 1
x **= 2
x %= 7
result = x
###
low, high = 2, 5
result = low <= facts["health"] <= high, low < high > 3 != 4, [low, 5] == [2, high]
###
x = "ea"
result = x in "beast", x in facts, facts["health"] in range(3, 9), (x, 1) in {(x, 1): 2}
###
result = [i * 2 for i in range(4) if i % 2], {i for i in [1, 1]}, {k: v for k, v in [("a", 1)]}
###
result = [(i, j) for i in range(3) for j in range(i)], sum(i for i in [1, 2])
###
result = []
for i, name in enumerate(["a", "b", "c"], 1):
    if name == "b":
        continue
    for j in range(i):
        if j == 2:
            break
        result.append((name, j))
else:
    result.append("done")
###
n = 0
while n < 10:
    n += 3
    if n == 6:
        break
else:
    n = 100
result = n
###
try:
    x = facts["mana"]
except KeyError:
    x = -1
else:
    x = -2
try:
    y = 1 / 0
except (ValueError, ZeroDivisionError):
    y = 0
try:
    raise ValueError("no")
except Exception:
    z = 3
result = x, y, z
###
a, (b, c) = 1, (2, 3)
d = e = 4
a, b = b, a
if (n := a + b) > 2:
    d = n
result = a, b, c, d, e
###
def twice(x, times=2, *, plus=0):
    """Double."""
    return x * times + plus
pick = lambda pair: -pair[1]
result = twice(3), twice(3, 3), twice(x=1, plus=5), sorted([("a", 1), ("b", 2)], key=pick)
###
def outer(n):
    def inner(m):
        return n + m
    return [inner(i) for i in range(n)]
def fact(n):
    return 1 if n < 2 else n * fact(n - 1)
result = outer(3), fact(10)
###
result = 1 if facts["wood"] else 2, facts["wood"] or "none", facts["health"] and "some"
###
result = f"{facts['health']:>3}|{1.23456:.2f}|{'x':<4}|{7:03d}|{[1, 'a']}|{'q'!r}|{None}"
###
items = [5, 3, 9, 1]
result = items[0], items[-1], items[1:3], items[:2], items[::2], items[::-1], "health"[1:4]
###
items = [3, 1, 2]
items.append(4)
items.extend([0, 0])
items.insert(1, 9)
items.remove(0)
last = items.pop()
first = items.pop(0)
items.sort()
copied = items.copy()
items.reverse()
copied.clear()
result = items, last, first, copied, items.index(4), items.count(9)
###
items = [("b", 2), ("a", 2), ("c", 1)]
items.sort(key=lambda pair: (-pair[1], pair[0]))
result = items, sorted(items, reverse=True), min(items, key=lambda pair: pair[1])
###
d = {"a": 1}
d.update({"b": 2})
d.setdefault("c", []).append(3)
result = list(d.items()), list(d.keys()), list(d.values()), d.get("x"), d.get("x", 0), d.pop("a")
###
s = {3, 1}
s.add(2)
s.discard(9)
s.remove(1)
s.update([7])
t = s.union({4}).intersection({2, 3, 4})
result = sorted(s), sorted(t), sorted(s.difference(t)), sorted(s.symmetric_difference({2}))
###
text = "  Make Wood_Pickaxe  "
result = text.strip().lower().replace("_", " ").split(), text.lstrip(), text.rstrip(), text.upper()
###
result = abs(-3), divmod(7, 2), round(2.5), round(2.567, 1), int("3"), int(3.9), float("2.5")
###
result = list(zip([1, 2], "ab")), list(map(str, [1, 2])), list(filter(None, [0, 1])), tuple("ab")
###
result = math.sqrt(16), math.floor(2.7), math.ceil(2.1), math.inf > 3, math.pi, exp(0), maths.e
---
import math
import math as maths
from math import exp
###
counts = defaultdict(int)
for letter in "abca":
    counts[letter] += 1
groups = defaultdict(list)
groups["x"].append(1)
tally = Counter("abca")
tally["z"] += 5
result = dict(counts), dict(groups), tally.most_common(2), Counter(["a"])["q"], tally["a"]
---
from collections import Counter, defaultdict
###
names: List[str] = ["a"]
count: "int"
result = typed(names)
---
from __future__ import annotations
import typing
from typing import List, Optional
LIMIT: typing.Dict[str, Optional[int]] = {}
def typed(names: List[str]) -> int | None:
    return len(names)
###
result = SCALE * facts["health"], TABLE["a"][0], len(NAMES), SQUARES
---
SCALE, TABLE = 2, {"a": (1, 2)}
NAMES = [f"n{i}" for i in range(3)]
SQUARES = []
for i in range(3):
    SQUARES.append(i * i)
###
result = self.LIMIT, self.scale, self.helper(2), self.total([1, 2])
###
mine = dict(facts)
mine["wood"] = 9
result = sorted(mine), facts["wood"], len(facts), list(facts)[0], facts["unlocked"] + ("x",)
###
assert facts["health"] > 0, "dead"
pass
result = {"a": 1, "b": {"c": [1, (2, 3)]}}
'''
BLOCKS = _TEXT.split("###\n")

FACTS = {
    "health": 5,
    "wood": 0,
    "unlocked": ("collect_wood", "eat_cow"),
    "near": None,
    "dark": False,
}
HELPERS = """\
LIMIT = 3
def __init__(self):
    self.scale = 2.5
def helper(self, x):
    return x * self.LIMIT
def total(self, items):
    return sum(self.helper(item) for item in items)
"""


def source_of(*blocks: str) -> str:
    """Return a planner that runs the block whose number is in the facts."""
    before: list[str] = []
    methods = HELPERS.splitlines()
    generate = ["def generate(self, facts):"]
    for number, block in enumerate(blocks):
        body, _, top = block.strip("\n").partition("---\n")
        # A module is imported once.
        before += [line for line in top.splitlines() if line not in before or line[:1] == " "]
        methods += [f"def block_{number}(self, facts):"]
        methods += ["    " + line for line in [*body.strip("\n").splitlines(), "return result"]]
        generate += [f"    if facts['block'] == {number}:"]
        generate += [f"        return [(str(self.block_{number}(facts))[:190], 1.0)]"]
    before.sort(key=lambda line: "__future__" not in line)
    inside = ["    " + line for line in [*methods, *generate]]
    return "\n".join([*before, "class OptimizedGoalGenerator:", *inside, ""])


def test_constructs_give_the_same_everywhere():
    source = source_of(*BLOCKS)
    assert lint_planner(source) == []
    rows = [{**FACTS, "block": number} for number in range(len(BLOCKS))]
    with MontyRuntime(source) as monty:
        found = monty.plan(rows)
    for block, one, other in zip(BLOCKS, found, PlannerProgram(source).plan(rows), strict=True):
        assert one == other, block


def test_an_error_is_the_same_everywhere():
    source = source_of("x = [1]\nresult = x[facts['health']]")
    facts = {**FACTS, "block": 0}
    with pytest.raises(IndexError):
        PlannerProgram(source).plan([facts])
    with MontyRuntime(source) as monty:
        (failure,) = monty.plan([facts])
    assert isinstance(failure, PlannerFailure)
    assert str(failure) == "IndexError: list index out of range (line 11 of the planner)"


@pytest.mark.slow
@pytest.mark.parametrize("folder", ENVS)
@pytest.mark.parametrize("name", ["planner.py", "oracle.py"])
def test_reference_planners_answer_the_same_everywhere(folder, name):
    env = gym.make(ENVS[folder])
    observation, info = env.reset(seed=0)
    batch = {key: _batched(value) for key, value in info.items()}
    table = env.unwrapped.captioner.facts(np.asarray(observation)[None], batch)
    env.close()
    # Every fact anything it can be, and what no rollout shows.
    random = np.random.default_rng(0)
    rows = [{c.name: _any_value(c, random) for c in table.columns} for _ in range(400)]
    rows += extreme_states(rows)
    source = (guidance_folder(folder) / name).read_text()
    plain = PlannerProgram(source)
    expected = plain.plan(rows)
    assert len({repr(answer) for answer in expected}) > 30
    with MontyRuntime(source) as monty:
        assert monty.plan(rows) == expected
        assert monty.reads == plain.reads


def _batched(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _batched(item) for key, item in value.items()}
    return np.asarray(value)[None]


def _any_value(column: Any, random: np.random.Generator) -> Any:
    if column.flags:
        return tuple(name for name in column.values if random.random() < 0.5)
    return column.values[random.integers(len(column.values))]
