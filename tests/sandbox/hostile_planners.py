"""Planner code that is hostile or broken, and what must become of it; for tests and benchmarks.

Every source tries something and then answers, so that what is not stopped is seen. `@FILE@` stands
for a path at which nothing may be written, and the value of the environment variable
`SECRET_VARIABLE` must not be seen.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FACTS", "GOALS", "HOSTILE", "SECRET", "SECRET_VARIABLE", "Hostile"]

FACTS = {"health": 5, "wood": 0, "unlocked": ("collect_wood", "eat_cow"), "near_cow": None}
GOALS = ("collect wood", "eat cow", "wake up")
SECRET_VARIABLE = "LLM_WRAPPERS_TEST_SECRET"
SECRET = "sk-canary-4711"


@dataclass(frozen=True)
class Hostile:
    """One source, and how it must end.

    Args:
        name: What it does.
        source: The Python source.
        monty: How it may end in Monty: kinds of `PlannerFailure`, ``"answers"`` where it does no
            harm, ``"refused"`` where the runtime does not take the source.
        validation: A kind that `validate_planner` must find; ``"lint"`` for what is not run,
            ``"valid"`` for what is harmless and good, empty where it ends as it ends in Monty.
    """

    name: str
    source: str
    monty: tuple[str, ...]
    validation: str


# Each block: name | ends in Monty | validation, and the body of `generate`;
# before it, behind "---", what stands before the class, and the other methods.
# An answer is added where there is none. Without a third part: found by the lint.
_BLOCKS = r"""
### runs a command | raised
import os
---
os.system("touch @FILE@")
### runs a command, imported inside | raised
import os
os.system("touch @FILE@")
### imports everything | load
from os import *
---
system("touch @FILE@")
### __import__ | raised
__import__("os").system("touch @FILE@")
### importlib | load
import importlib
importlib.import_module("os").system("touch @FILE@")
---
### subprocess | load
import subprocess
subprocess.run(["touch", "@FILE@"])
---
### ctypes | load
import ctypes
ctypes.CDLL(None).system(b"touch @FILE@")
---
### opens a connection | load
import socket
socket.create_connection(("127.0.0.1", 9))
---
### starts a thread | load
import threading
threading.Thread(target=print).start()
---
### kills its parent | raised
import os
os.kill(os.getppid(), 9)
### forks | raised
import os
os.fork()
### writes a file | raised
open("@FILE@", "w").write("x")
### writes a file by its path | raised
from pathlib import Path
---
Path("@FILE@").write_text("x")
### writes a file when loaded | load
open("@FILE@", "w")
---
### reads a file | raised
return [(open("/etc/passwd").readline(), 1.0)]
### reads the environment | raised
import os
---
return [(os.environ["LLM_WRAPPERS_TEST_SECRET"], 1.0)]
### reads the environment by getenv | raised answers
import os
---
return [(str(os.getenv("LLM_WRAPPERS_TEST_SECRET")), 1.0)]
### reads the environment by file | raised
return [(open("/proc/self/environ").read()[:200], 1.0)]
### lists a folder | raised
import os
---
return [(name, 1.0) for name in os.listdir("/")]
### reads what is typed | raised
input()
### starts a debugger | raised
breakpoint()
### eval | raised
eval("open('@FILE@', 'w')")
### eval by another alphabet | refused
@EVAL@("open('@FILE@', 'w')")
### exec when loaded | load
exec("open('@FILE@', 'w')")
---
### compile | raised
exec(compile("open('@FILE@', 'w')", "x", "exec"))
### evaluates type hints | raised | raised
import typing
def f(x: "open('@FILE@', 'w')"):
    return x
---
typing.get_type_hints(f)
### evaluates a forward reference | load | load
from typing import ForwardRef
---
ForwardRef("open('@FILE@', 'w')")._evaluate({}, {}, frozenset())
### calls in an annotation | answers
x: open("@FILE@", "w") = 1
---
### calls in a default | raised
def f(x=open("@FILE@", "w")):
    return x
f()
### named tuple with code for a name | raised load | raised
from collections import namedtuple
---
namedtuple("P", ["x=open('@FILE@')"])
### class with the name of another | raised load answers | unknown goal
from collections import namedtuple
---
return [(str(namedtuple("list", "append")(1)), 1.0)]
### __class__ | raised
return [(str(().__class__.__mro__[1].__subclasses__()), 1.0)]
### getattr by parts | raised
return [(str(getattr(facts, "__cl" + "ass__")), 1.0)]
### format string | raised | raised
return [("{0.__class__.__mro__}".format(facts), 1.0)]
### format_map | raised | raised
return [("{x.__class__}".format_map({"x": facts}), 1.0)]
### attribute in an f-string | raised
return [(f"{facts.__class__}", 1.0)]
### frame of a generator | raised | raised
g = (i for i in [1])
return [(str(g.gi_frame.f_back.f_builtins), 1.0)]
### frame of a generator, called self | raised
f = lambda self: self.gi_frame.f_back.f_builtins
return [(str(f(i for i in [1])), 1.0)]
### frame of a generator, in the place of self | raised | raised

---
def __init__(self):
    self.gi_frame = 1
def walk(self):
    return self.gi_frame
---
return [(str(OptimizedGoalGenerator.walk(i for i in [1])), 1.0)]
### frame of a generator, by rebinding self | raised | raised

---
def __init__(self):
    self.gi_frame = 1
---
self = (i for i in [1])
return [(str(self.gi_frame), 1.0)]
### frame of a generator, by looping over self | raised | raised

---
def __init__(self):
    self.gi_frame = 1
---
return [(str([self.gi_frame for self in [(i for i in [1])]]), 1.0)]
### frame of a generator, by a method in a constant | raised load | raised

---
def __init__(self):
    self.gi_frame = 1
def walk(self):
    return self.gi_frame
WALKS = [walk]
---
return [(str(self.WALKS[0](i for i in [1])), 1.0)]
### frame of a generator, by a method in a default | raised load | raised

---
def __init__(self):
    self.gi_frame = 1
def walk(self):
    return self.gi_frame
def go(self, thing, walk=walk):
    return walk(thing)
---
return [(str(self.go(i for i in [1])), 1.0)]
### method with another self, by a constant | raised load answers | raised

---
def length(self):
    return self.size
size = 3
LENGTHS = [length]
---
return [(str(self.LENGTHS[0]("abc")), 1.0)]
### frame of a traceback | raised
try:
    1 / 0
except Exception as e:
    return [(str(e.__traceback__.tb_frame.f_globals), 1.0)]
### frame of a coroutine | raised load
async def f(): pass
---
return [(str(f().cr_frame), 1.0)]
### globals of a function | raised
return [(str(self.generate.__globals__), 1.0)]
### loader of a module | raised
import math
---
math.__loader__.load_module("os").system("touch @FILE@")
### class pattern | raised answer
match facts:
    case object(__class__=c):
        return [(str(c), 1.0)]
return 5
### subclass of a planner's class | load
class B:
    def __init_subclass__(cls): open("@FILE@", "w")
class C(B): pass
---
### metaclass | load
class M(type):
    def __call__(cls): open("@FILE@", "w")
class C(metaclass=M): pass
C()
---
### decorator | load
@open
def f(): pass
---
### except star | load refused | load
try:
    1 / 0
except* ValueError:
    pass
### bases by type() | raised | raised
return [(str(type(facts).mro()), 1.0)]
### attrgetter | load
from operator import attrgetter
---
return [(str(attrgetter("__class__")(facts)), 1.0)]
### vars | raised
return [(str(vars(self)), 1.0)]
### globals() | raised
return [(str(list(globals())), 1.0)]
### __builtins__ | raised
return [(str(__builtins__["open"]), 1.0)]
### binds __builtins__ | raised answers
__builtins__ = {"len": open}
---
len("@FILE@", "w")
### patches math | raised | raised
import math
---
math.sqrt = len
### patches the built-ins | load
import builtins
builtins.len = print
---
### patches what sends answers | raised
import json
---
json.dumps = print
### hides what sends answers | load answers | raised
str = type = zip = Exception = None
---
### takes the place of what sends answers | answers
global _lw_answer
_lw_answer = lambda facts: "A" + "x" * 1000000
### forges the answers of other states | answers
global _lw_answer
_lw_answer = lambda facts: 'A[["wake up", 1]]\nA[["wake up", 1]]'
### sends an answer in an exception | raised | raised
raise ValueError("x\nA[['eat cow', 1]]")
### prints an answer | answers | valid
print("A[['eat cow', 1]]\n" * 3)
### changes its own class | raised answers
OptimizedGoalGenerator.generate = None
### changes the facts | answers
facts["wood"] = 9
facts.clear()
### changes the facts by another name | answers | mutated
f = facts
f["wood"] = 9
### exit() | raised | raised
exit()
### SystemExit | raised | raised
raise SystemExit
### SystemExit when loaded | load | load
raise SystemExit(3)
---
### KeyboardInterrupt | raised | raised
raise KeyboardInterrupt
### os._exit | raised
import os
---
os._exit(1)
### raises a text | raised | raised
raise "x"
### raises what cannot be printed | raised | raised
class Loud:
    def __str__(self): return 3
---
raise ValueError(Loud())
### raises a long message | raised | raised
raise ValueError("x" * 9999)
### raises a very long message | raised | raised
raise ValueError("x" * 9999999)
### raises what writes to the terminal | raised | raised
raise ValueError("\x1b[31m\x07\r\n" + facts["unlocked"][0])
### loops for ever | timeout | timeout
while True:
    pass
### loops for ever and catches all | timeout | timeout
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
### loops for ever and catches all it may | timeout | timeout
while True:
    try:
        while True:
            pass
    except Exception:
        continue
### loops for ever when loaded | timeout | timeout
while True:
    pass
---
### calls itself | raised | raised

---
def again(self, n):
    return self.again(n + 1)
---
self.again(0)
### calls itself and catches it | timeout raised answers |

---
def again(self, n):
    try:
        return self.again(n + 1)
    except Exception:
        return self.again(n + 1)
---
self.again(0)
### calls another that calls it | raised | raised
def ping(n):
    return pong(n)
def pong(n):
    return ping(n)
---
ping(1)
### loops over what it extends | memory timeout |
items = [1]
for item in items:
    items.append(item)
### sums a long range | timeout | timeout
sum(range(10**12))
### looks through a long range | timeout memory answers |
"x" in range(10**12)
### looks through a long range twice | timeout memory answers |
r = range(10**12)
"x" in r in [True]
### sorts in a loop | timeout memory |
items = list(range(1000))
while True:
    items = sorted(items + [0])
### nested comprehensions | timeout memory |
r = range(1000)
x = [a for a in r for b in r for c in r for d in r]
### rounds to minus a billion digits | answers |
round(5, -10**9)
### huge power | memory timeout raised answers |
9 ** 9 ** 9
### huge power of a variable | memory timeout raised answers |
x = 10
for i in range(20):
    x = x ** 10
### squares and squares | memory timeout raised |
x = 3
while True:
    x = x * x
### factorial | memory timeout raised | timeout
import math
---
math.factorial(10**7)
### number from a long text | timeout raised memory | raised
int("9" * 9999)
### repeats a text | memory timeout | memory
x = "a" * 10**10
### repeats a list | memory timeout | memory
x = [0] * 10**10
### doubles a text | memory timeout | memory
x = "a"
while True:
    x = x + x
### doubles a text by f-string | memory timeout | memory
x = "a"
while True:
    x = f"{x}{x}"
### doubles a text by replace | memory timeout |
x = "a"
while True:
    x = x.replace("a", "aa")
### doubles a text by join | memory timeout | memory
x = "a"
while True:
    x = x.join([x, x, x])
### doubles a list | memory timeout | memory
x = [0]
while True:
    x += x
### doubles a list by extend | memory timeout |
x = [0]
while True:
    x.extend(x)
### doubles a list by unpacking | memory timeout | timeout
x = [0]
while True:
    x = [*x, *x]
### doubles a list by slices | memory timeout | memory
x = [0]
while True:
    x[len(x):] = x
### adds up lists | memory timeout |
x = [[0] * 100] * 100
while True:
    x = [sum(x, [])] * 100
### pads a number | memory raised | memory
f"{1:>1000000000}"
### long floats | timeout memory answers |
x = [f"{1e308:.99f}" for i in range(100000)]
### fills a dict | memory timeout |
d = {}
n = 0
while True:
    n += 1
    d[n] = [n] * 50
### keeps texts | memory timeout |
kept = []
while True:
    kept.append("x" * 9000 + str(len(kept)))
### prints for ever | memory timeout | memory
while True:
    print("x" * 1000)
### sleeps | answers
import time
---
time.sleep(1000)
### long regular expression | timeout answers
import re
---
re.match("(a+)+$", "a" * 40 + "b")
### numbers with one hash | timeout answers |
x = {i * (2**61 - 1) for i in range(30000)}
### prints widely shared tuples | timeout memory |
x = (1,)
for i in range(12):
    x = (x, x, x, x, x, x, x, x)
str(x)
### compares widely shared tuples | timeout answers |
x = (1,)
y = (1,)
for i in range(12):
    x = (x, x, x, x, x, x, x, x)
    y = (y, y, y, y, y, y, y, y)
x == y
### prints shared tuples | timeout memory |
@DAG@
str(x)
### formats shared tuples | timeout memory |
@DAG@
f"{x}"
### hashes shared tuples | timeout answers |
@DAG@
{x: 1}
### compares shared tuples | timeout answers |
@DAG@
y = x
@DAG@
x == y
### compares dicts of shared tuples | timeout answers |
@DAG@
y = x
@DAG@
{1: x}.items() == {1: y}.items()
### sorts shared tuples | timeout answers |
@DAG@
y = x
@DAG@
sorted([x, y])
### sorts by shared tuples | timeout answers |
@DAG@
y = x
@DAG@
sorted([1, 2], key=lambda n: (x if n == 1 else y))
### searches shared tuples | timeout answers |
@DAG@
y = x
@DAG@
[y].index(x)
### raises shared tuples | timeout memory raised | raised
@DAG@
raise ValueError(x)
### returns shared tuples | timeout memory answer |
@DAG@
return x
### returns a pair of shared tuples | timeout memory answer |
@DAG@
return [("eat cow", x)]
### returns a set of shared tuples | timeout memory answer |
@DAG@
return {x}
### returns a dict of shared tuples | timeout memory answer |
@DAG@
return {x: 1}
### hashes a deep tuple | raised answers |
@DEEP@
{x}
### compares deep tuples | raised answers |
@DEEP@
y = x
@DEEP@
x == y
### prints a deep tuple | raised answers |
@DEEP@
str(x)
### returns a deep list | raised answer memory timeout |
x = []
for i in range(10000):
    x = [x]
return x
### returns a list in itself | answer | answer
x = []
x.append(x)
return x
### returns a pair in itself | answer | answer
x = ["eat cow"]
x.append(x)
return [x]
### returns a million goals | answer timeout memory |
return [("eat cow", 1.0)] * 1000000
### returns a long goal | answer | answer
return [("x" * 9999, 1.0)]
### returns a very long goal | answer memory |
return [("x" * 9999999, 1.0)]
### returns a goal of odd letters | answers | unknown goal
return [("eat\ncow\x00\ud800\x1b[31m", 1.0)]
### returns nothing | answer | answer
return None
### returns a text | answer | answer
return "eat cow"
### returns a dict | answer | answer
return {"eat cow": 1.0}
### returns a set | answer | answer
return {("eat cow", 1.0)}
### returns a generator | answers |
return (pair for pair in [("eat cow", 1.0)])
### returns a function | answer | answer
return print
### returns an object | answer | answer
return self
### returns an instance | answer | answer
class Goals:
    def __len__(self): return 1
    def __iter__(self): return iter([("eat cow", 1.0)])
---
return Goals()
### returns a text that is another's | load
class S(str):
    def __hash__(self): return 0
---
return [(S("eat cow"), 1.0)]
### returns texts | answer | answer
return ["eat cow"]
### returns triples | answer | answer
return [("eat cow", 1.0, 2)]
### returns goals and no weights | answer | answer
return [("eat cow",)]
### returns numbers for goals | answer | answer
return [(3, 1.0)]
### returns nan | answer | answer
return [("eat cow", float("nan"))]
### returns infinity | answer | answer
return [("eat cow", float("inf"))]
### returns a weight below zero | answer | answer
return [("eat cow", -1)]
### returns a huge number | answer raised |
x = 1
for i in range(400):
    x = x * 10
return [("eat cow", x)]
### returns a number that cannot be printed | answer raised |
x = 1
for i in range(5000):
    x = x * 10
return [("eat cow", x)]
### returns a text for a weight | answer | answer
return [("eat cow", "1.0")]
### returns True for a weight | answer | answer
return [("eat cow", True)]
### returns no goal | answers | no goal
return []
### returns goals that do not exist | answers | unknown goal
return [("eat cows", 1.0)]
### draws at random | answers
import random
---
return [("eat cow", random.random())]
### reads the clock | answers
import time
---
return [("eat cow", time.time())]
### reads the date | answers
from datetime import datetime
---
return [("eat cow", datetime.now().timestamp())]
### uses hash() | answers
return [("eat cow", abs(hash("x")))]
### uses id() | answers
return [("eat cow", id(self))]
### loops over a set | answers | unstable
return [(goal, 1.0) for goal in {"eat cow", "collect wood", "wake up"}]
### prints a set | answers | valid
return [("eat cow", len(str({"a", "bb", "ccc"}).split("bb")[0]))]
### counts its calls | answers

---
def __init__(self):
    self.calls = 0
---
self.calls += 1
return [("eat cow", self.calls)]
### counts its calls in a list | answers | unstable

---
def __init__(self):
    self.calls = []
---
calls = self.calls
calls.append(1)
return [("eat cow", len(calls))]
### counts its calls in a global list | answers | unstable
CALLS = []
---
calls = CALLS
calls.append(1)
return [("eat cow", len(calls))]
### counts its calls in a default | answers
def count(kept=[]):
    kept.append(1)
    return len(kept)
---
return [("eat cow", count())]
### reads what READS does not name | answers raised | undeclared read
READS = ("wood",)
---
return [("eat cow", facts.get("health", 0))]
### reads a fact that does not exist | raised | raised
return [("eat cow", facts["mana"])]
### divides by zero somewhere | raised | raised
return [("eat cow", 1 / facts["wood"])]
### uses a name that does not exist | raised
return [("eat cow", weights)]
"""

_ANSWER = 'return [("eat cow", 1.0)]'
_STAND_INS = {
    "@DAG@": "x = (1,)\nfor i in range(60):\n    x = (x, x)",
    "@DEEP@": "x = ()\nfor i in range(15000):\n    x = (x,)",
    # Python reads these letters as the ASCII ones.
    "@EVAL@": "".join(chr(ord(letter) - ord("a") + 0xFF41) for letter in "eval"),
}


def _planner(before: str, methods: str, body: str) -> str:
    """Return a planner with this body, this text before the class and these other methods."""
    if not body.rpartition("\n")[2].startswith(("return", "raise")):
        body = f"{body}\n{_ANSWER}".strip("\n")
    generate = ["def generate(self, facts):", *("    " + line for line in body.splitlines())]
    inside = ["    " + line for line in [*methods.splitlines(), *generate]]
    return "\n".join([*before.splitlines(), "class OptimizedGoalGenerator:", *inside, ""])


def _hostile(block: str) -> Hostile:
    head, _, text = block.partition("\n")
    for name, meaning in _STAND_INS.items():
        text = text.replace(name, meaning)
    parts = text.strip("\n").split("---")
    before, methods, body = {1: ["", ""], 2: [""], 3: []}[len(parts)] + parts
    if len(parts) == 2:
        before, methods = parts[0], ""
    name, monty, *rest = [part.strip() for part in head.split("|")]
    source = _planner(before.strip("\n"), methods.strip("\n"), body.strip("\n"))
    return Hostile(name, source, tuple(monty.split()), rest[0] if rest else "lint")


def _unreadable(name: str, source: str, monty: str = "refused") -> Hostile:
    return Hostile(name, source, (monty,), "lint")


HOSTILE = [_hostile(block) for block in _BLOCKS.split("\n### ")[1:]] + [
    _unreadable("no Python", "this is no Python"),
    _unreadable("null bytes", _planner("", "", "") + "\0"),
    _unreadable("ten megabytes", _planner("x = 1\n" * 1_700_000, "", "")),
    _unreadable("deep parentheses", "x = " + "(" * 20_000 + ")" * 20_000),
    _unreadable("deep operators", "x = " + "-" * 40_000 + "1"),
    _unreadable("long sum", "x = " + "1 + " * 12_000 + "1"),
    _unreadable("long chain of calls", "x = f" + "()" * 20_000),
    _unreadable("long elif", "if 1:\n 0\n" + "elif a:\n 0\n" * 4_500),
    _unreadable("deep lambdas", "x = " + "lambda: " * 6_000 + "1"),
    _unreadable("long number", "x = " + "9" * 40_000),
    _unreadable("half a surrogate pair", "x = '\ud800'"),
    _unreadable("names of other alphabets", _planner("f\u0430cts = 1", "", "")),
    _unreadable("no class", "x = 1"),
    _unreadable("two answers for READS", _planner("READS = ('a',)\nREADS = ('b',)", "", "")),
    _unreadable("code in READS", _planner('READS = (open("@FILE@", "w"),)', "", "")),
]
