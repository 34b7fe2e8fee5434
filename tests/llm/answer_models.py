"""Pydantic models that structured answers are read into."""

from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, RootModel


class Goal(BaseModel):
    goal: str
    weight: float = 1.0


class Node(BaseModel):
    name: str
    children: list["Node"] = []


class Kind(Enum):
    TOOL = "tool"
    FOOD = "food"


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    order: Literal["first", "last"]
    count: int
    weight: float
    done: bool
    note: str | None


class Plan(BaseModel):
    steps: list[Step]
    masks: dict[str, list[int]]
    best: tuple[int, str]
    tags: set[str]


class Goals(RootModel[list[Goal]]):
    pass
