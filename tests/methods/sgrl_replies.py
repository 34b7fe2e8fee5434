"""What a model may answer when it is asked for guidance for CartPole; data for tests."""

GOALS = ["go left", "go right"]

GOOD = """Here is the revised module.

```python
READS = ("pole_angle_deg",)


class OptimizedGoalGenerator:
    def generate(self, facts):
        if facts["pole_angle_deg"] < 0:
            return [("go left", 2.0), ("go right", 0.5)]
        return [("go right", 2.0), ("go left", 0.5)]
```
"""

BROKEN = GOOD.replace("def generate(self, facts):", "def generate(self, facts)")
UNKNOWN_GOAL = GOOD.replace('"go left", 2.0', '"jump", 2.0')
DIVIDES = GOOD.replace('facts["pole_angle_deg"] < 0', '1 / facts["cart_position_m"] < 0').replace(
    "pole_angle_deg", "cart_position_m"
)
# JSON can bring half of a surrogate pair.
HALF_A_CHARACTER = GOOD.replace('return [("go right", 2.0)', 'return [\ud800("go right", 2.0)')
NO_CODE = "I am sorry, I cannot write code."
HOSTILE = GOOD.replace("class Opt", 'import os\n\nos.system("touch CANARY")\n\n\nclass Opt')
ENDLESS = GOOD.replace(
    '        if facts["pole_angle_deg"] < 0:',
    '        while facts["pole_angle_deg"] < 1e9:\n            pass\n        if True:',
)

MASKS = """{"masks": [
  {"goal": "Go Left", "actions": ["push_left"]},
  {"goal": "go right", "actions": ["push right", "jump"]},
  {"goal": "fly", "actions": ["push left"]}
]}"""
