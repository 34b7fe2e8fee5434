"""One source for two references: the guidance of Craftax-Classic is that of Crafter at its costs.

Each folder holds plain files that stand alone, for the sandbox and for a reader. Crafter's are
written by hand; whoever changes them makes the other ones anew, and a test says when that is due::

    python -m llm_wrappers.worlds.crafter.variants
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from llm_wrappers.known_worlds import guidance_folder
from llm_wrappers.sandbox.source import hash_of
from llm_wrappers.worlds.crafter.rules import COSTS, describe

__all__ = ["CRAFTAX", "CRAFTER", "craftax_files"]

CRAFTER, CRAFTAX = "crafter", "craftax-classic"


def craftax_files() -> dict[str, str]:
    """Return the files of the reference guidance for Craftax-Classic, by name.

    >>> craftax_files()["planner.py"].count("FURNACE_STONE = 1")
    1
    """
    texts = {path.name: _text(path) for path in sorted(guidance_folder(CRAFTER).glob("*.*"))}
    costs = COSTS[CRAFTAX]
    iron_tool_stone = costs["make_iron_pickaxe"].get("stone", 0)
    for name in ("planner.py", "oracle.py"):
        text = texts[name].replace("Crafter", "Craftax-Classic")
        text = _with_constant(text, "FURNACE_STONE", costs["place_furnace"]["stone"])
        texts[name] = _with_constant(text, "IRON_TOOL_STONE", iron_tool_stone)
    manifest = json.loads(texts["artefact.json"])
    manifest["provenance"]["environment"] = describe(CRAFTAX).env_id
    manifest["planner_sha256"] = hash_of(texts["planner.py"])
    texts["artefact.json"] = json.dumps(manifest, indent=2) + "\n"
    return texts


def _text(path: Path) -> str:
    # The ends of lines belong to what the hash is of.
    return path.read_bytes().decode()


def _with_constant(text: str, name: str, value: int) -> str:
    changed, count = re.subn(rf"^{name} = \d+$", f"{name} = {value}", text, flags=re.MULTILINE)
    assert count == 1, f"expected {name} once, got it {count} times"
    return changed


if __name__ == "__main__":
    for name, text in craftax_files().items():
        (guidance_folder(CRAFTAX) / name).write_bytes(text.encode())
