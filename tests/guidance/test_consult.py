"""Consulting guidance: one set of rules for planners, judges, suggesters and potentials."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from llm_wrappers.captions.facts_table import FactColumns, FactsTable
from llm_wrappers.errors import (
    AuthenticationError,
    CacheMissError,
    GuidanceError,
    GuidanceWarning,
    InvalidOptionError,
)
from llm_wrappers.guidance.consult import Remembering
from llm_wrappers.guidance.judge import Judging
from llm_wrappers.guidance.planners import Planning
from llm_wrappers.guidance.potential import Potentials
from llm_wrappers.guidance.states import action_key, facts_keys, facts_row
from llm_wrappers.guidance.suggesters import Suggesting
from llm_wrappers.sandbox import PlannerFailure

GOALS = ("collect wood", "eat cow", "wake up")
COLUMNS = (FactColumns("wood", tuple(range(10))), FactColumns("dark", (False, True)))


class Guide:
    """Guidance of all four kinds: a function of one state's facts, which keeps its questions."""

    def __init__(self, answer: Callable[[dict[str, Any]], Any], **attributes: Any) -> None:
        self.answer = answer
        self.asked: list[list[dict[str, Any]]] = []
        self.captions: tuple[str, ...] = ()
        vars(self).update(attributes)

    def plan(self, facts: Any) -> list[Any]:
        self.asked.append([dict(row) for row in facts])
        return [self.answer(row) for row in facts]

    def suggest(self, states: Any) -> list[Any]:
        self.captions = states.captions
        return self.plan(states.facts)

    def judge(self, states: Any, actions: Any) -> list[Any]:
        assert len(states) == len(actions)
        return self.suggest(states)

    values = suggest


class Kind(NamedTuple):
    """One kind of guidance: how its answer to a number looks, and what becomes of that."""

    name: str
    make: Callable[[Any], Any]
    answer: Callable[[int], Any]
    used: Callable[[int], Any]
    ask: Callable[[Any, Any, Sequence[int]], Sequence[Any]]
    failed: str
    asked: str


def captions(facts: Sequence[Any]) -> list[str]:
    return [f"wood {row['wood']}, dark {row['dark']}" for row in facts]


def planned(part: Planning, facts: Any, rows: Sequence[int]) -> list[Any]:
    if isinstance(facts, FactsTable):
        some: Any = FactsTable(facts.columns, facts.matrix[list(rows)])
    else:
        some = [facts[row] for row in rows]
    return [None if plan.failed else plan.goals[0] for plan in part.plans(some)]


def judged(part: Judging, facts: Any, rows: Sequence[int]) -> list[Any]:
    return part.judgements(facts, [0] * len(facts), rows)


def suggested(part: Suggesting, facts: Any, rows: Sequence[int]) -> list[Any]:
    return [goals or None for goals in part.goals(facts, rows)]


def valued(part: Potentials, facts: Any, rows: Sequence[int]) -> list[Any]:
    values = part.values(facts, rows)
    assert values.dtype == np.float64
    return [None if math.isnan(value) else value for value in values]


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "planner",
            lambda guide: Planning(guide, goals=GOALS, fallback="eat cow"),
            lambda wood: [(GOALS[wood % 3], 1.0)],
            lambda wood: wood % 3,
            planned,
            "failures",
            "planned",
        ),
        Kind(
            "judge",
            lambda guide: Judging(guide, caption=captions),
            lambda wood: wood % 3 - 1,
            lambda wood: wood % 3 - 1,
            judged,
            "judge_failures",
            "pairs_asked",
        ),
        Kind(
            "suggester",
            lambda guide: Suggesting(guide, caption=captions),
            lambda wood: [f"goal {wood}"],
            lambda wood: (f"goal {wood}",),
            suggested,
            "suggester_failures",
            "states_asked",
        ),
        Kind(
            "potential",
            lambda guide: Potentials(guide, caption=captions),
            lambda wood: wood / 2,
            lambda wood: wood / 2,
            valued,
            "potential_failures",
            "states_asked",
        ),
    )
}
all_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
asking_again = pytest.mark.parametrize("kind", list(KINDS.values())[1:], ids=list(KINDS)[1:])


def rows(*woods: int, dark: bool = False) -> list[dict[str, Any]]:
    return [{"wood": wood, "dark": dark} for wood in woods]


def table(*woods: int, dark: bool = False) -> FactsTable:
    return FactsTable(COLUMNS, np.array([[wood, dark] for wood in woods], np.int8).reshape(-1, 2))


@pytest.fixture(params=[rows, table], ids=["dicts", "table"])
def states(request: pytest.FixtureRequest) -> Any:
    return request.param


def every(kind: Kind, part: Any, facts: Any) -> list[Any]:
    return list(kind.ask(part, facts, range(len(facts))))


def guide_of(kind: Kind, **attributes: Any) -> Guide:
    return Guide(lambda row: kind.answer(row["wood"]), **attributes)


def failing_at_2(kind: Kind, error: Exception | None = None, **attributes: Any) -> Guide:
    def answer(row: dict[str, Any]) -> Any:
        if row["wood"] == 2:
            raise error or RuntimeError("nothing for two")
        return kind.answer(row["wood"])

    return Guide(answer, **attributes)


def expected(kind: Kind, *woods: int | None) -> list[Any]:
    return [None if wood is None else kind.used(wood) for wood in woods]


@all_kinds
class TestMemory:
    def test_pure_guidance_is_asked_once_per_state_and_in_one_batch(self, kind, states):
        guide = guide_of(kind, pure=True)
        part = kind.make(guide)
        assert every(kind, part, states(1, 2, 1)) == expected(kind, 1, 2, 1)
        assert every(kind, part, states(2, 3, 1)) == expected(kind, 2, 3, 1)
        assert every(kind, part, states(3, 3)) == expected(kind, 3, 3)
        assert guide.asked == [rows(1, 2), rows(3)]
        counts = part.stats()
        assert (counts["consulted"], counts["unguided"], counts[kind.asked]) == (8, 0, 3)

    def test_only_the_wanted_states_are_looked_at(self, kind, states):
        guide = guide_of(kind, pure=True)
        part = kind.make(guide)
        assert kind.ask(part, states(1, 2, 3), [0, 2]) == expected(kind, 1, 3)
        assert kind.ask(part, states(1, 2, 3), [2]) == expected(kind, 3)
        assert kind.ask(part, states(3, 1, 1), [2, 0, 1]) == expected(kind, 1, 3, 1)
        assert guide.asked == [rows(1, 3)]

    def test_guidance_that_says_what_it_reads_is_given_only_that(self, kind, states):
        guide = guide_of(kind, pure=True, reads=["wood"])
        part = kind.make(guide)
        every(kind, part, states(1, dark=False))
        every(kind, part, states(1, 2, dark=True))
        assert guide.asked == [[{"wood": 1}], [{"wood": 2}]]
        # A caption is of the whole state.
        assert guide.captions == (() if kind.name == "planner" else ("wood 2, dark True",))

    def test_guidance_that_is_not_pure_is_asked_every_time_about_everything(self, kind, states):
        guide = guide_of(kind, reads=("wood",))
        part = kind.make(guide)
        every(kind, part, states(1, 1))
        every(kind, part, states(1))
        assert guide.asked == [rows(1, 1), rows(1)]
        assert part.stats()[kind.asked] == part.stats()["consulted"] == 3

    @pytest.mark.parametrize("pure", [True, False])
    def test_no_state_is_no_question(self, kind, states, pure):
        guide = guide_of(kind, pure=pure)
        part = kind.make(guide)
        assert every(kind, part, states()) == []
        assert kind.ask(part, states(1, 2), []) == []
        assert guide.asked == []
        assert part.stats()["consulted"] == 0

    def test_facts_cannot_be_changed_by_who_is_asked(self, kind):
        def change(row: dict[str, Any]) -> Any:
            row["wood"] = 9
            return kind.answer(1)

        facts = rows(1, 2)
        assert every(kind, kind.make(Guide(change)), facts) == expected(kind, 1, 1)
        assert facts == rows(1, 2)

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
    def test_a_copy_knows_what_was_answered(self, kind, duplicate):
        part = kind.make(Fixed(kind.name))
        every(kind, part, rows(1, 2))
        other = duplicate(part)
        assert every(kind, other, rows(1, 2)) == every(kind, part, rows(1, 2))
        assert other.stats() == part.stats()
        assert other.stats()[kind.asked] == 2


class Fixed(Guide):
    """A pure guide that pickles."""

    pure = True

    def __init__(self, name: str) -> None:
        super().__init__(None, name=name)  # type: ignore[arg-type]

    def plan(self, facts: Any) -> list[Any]:
        return [KINDS[self.name].answer(row["wood"]) for row in facts]  # type: ignore[attr-defined]


@all_kinds
class TestFailures:
    @pytest.mark.parametrize("pure", [True, False])
    def test_one_bad_state_does_not_spoil_the_others(self, kind, states, pure):
        part = kind.make(failing_at_2(kind, pure=pure))
        with pytest.warns(GuidanceWarning) as said:
            assert every(kind, part, states(1, 2, 3)) == expected(kind, 1, None, 3)
        (message,) = [str(each.message) for each in said]
        assert message.startswith(f"the {kind.name} failed (RuntimeError: nothing for two); s")
        assert message.endswith(" and are counted in stats(); said once")
        assert part.cause == "RuntimeError: nothing for two"
        counts = part.stats()
        assert (counts["consulted"], counts["unguided"]) == (3, 1)
        assert (counts[kind.failed], counts[kind.asked]) == (1, 3)

    @pytest.mark.parametrize("pure", [True, False])
    def test_failures_are_counted_for_each_state_and_warned_of_once(self, kind, states, pure):
        guide = failing_at_2(kind, pure=pure)
        part = kind.make(guide)
        with pytest.warns(GuidanceWarning):
            every(kind, part, states(2, 2, 1))
        for _ in range(2):  # A second warning would be an error.
            assert every(kind, part, states(2, 2, 1)) == expected(kind, None, None, 1)
        assert part.stats()[kind.failed] == part.stats()["unguided"] == 6
        if pure:
            # In a batch, then alone; code that failed would fail again, a model may not.
            again = [] if kind.name == "planner" else [rows(2), rows(2)]
            assert guide.asked == [rows(2, 1), rows(2), rows(1), *again]

    @pytest.mark.parametrize("pure", [True, False])
    def test_an_error_in_place_of_an_answer_leaves_the_others_theirs(self, kind, states, pure):
        guide = Guide(
            lambda row: GuidanceError("no") if row["wood"] == 2 else kind.answer(row["wood"]),
            pure=pure,
        )
        part = kind.make(guide)
        with pytest.warns(GuidanceWarning, match=r"\(GuidanceError: no\)"):
            assert every(kind, part, states(1, 2)) == expected(kind, 1, None)
        assert guide.asked == [rows(1, 2)]

    @pytest.mark.parametrize("answer", [object(), "eat cow", 1j, {1: 2}, math.inf, 10**400])
    def test_what_is_no_answer_is_a_failure(self, kind, answer):
        part = kind.make(Guide(lambda row: answer))
        with pytest.warns(GuidanceWarning, match="failed"):
            result = every(kind, part, rows(1, 2))
        assert result == [None, None]
        assert part.stats()[kind.failed] == 2

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_a_wrong_number_of_answers_is_a_failure_of_all(self, kind, states, number):
        class Wrong(Guide):
            def plan(self, facts: Any) -> list[Any]:
                return [kind.answer(1)] * (number if len(facts) == 2 else 0)

        part = kind.make(Wrong(lambda row: None))
        with pytest.warns(GuidanceWarning, match=r"expected 1 .*, got 0"):
            assert every(kind, part, states(1, 2)) == [None, None]

    def test_what_is_for_the_user_is_raised_unless_it_has_worked(self, kind, states):
        part = kind.make(failing_at_2(kind, AuthenticationError("no key")))
        with pytest.raises(AuthenticationError, match="no key"):
            every(kind, part, states(2))
        assert part.stats()["consulted"] == 0
        assert every(kind, part, states(1)) == expected(kind, 1)
        with pytest.warns(GuidanceWarning, match="AuthenticationError: no key"):
            assert every(kind, part, states(2)) == [None]

    def test_a_recorded_answer_that_is_missing_is_always_raised(self, kind, states):
        part = kind.make(failing_at_2(kind, CacheMissError("not recorded")))
        every(kind, part, states(1))
        with pytest.raises(CacheMissError):
            every(kind, part, states(1, 2))

    def test_an_interrupt_is_not_swallowed(self, kind):
        def interrupted(row: dict[str, Any]) -> Any:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            every(kind, kind.make(Guide(interrupted)), rows(1))


@all_kinds
class TestCause:
    def cause(self, kind, answer, facts=None, **attributes):
        part = kind.make(Guide(answer, **attributes))
        with pytest.warns(GuidanceWarning) as said:
            every(kind, part, rows(1) if facts is None else facts)
        assert f"failed ({part.cause}); " in str(said[0].message)
        return part.cause

    def test_of_a_fact_that_is_not_there_names_those_that_are(self, kind, states):
        cause = self.cause(kind, lambda row: row["pole_angle_deg"], states(1, 2))
        assert cause == (
            "it reads the fact 'pole_angle_deg', and this environment has ['dark', 'wood']"
        )

    def test_of_contained_code_is_read_from_its_words(self, kind):
        failure = PlannerFailure("raised", "KeyError: 'stone'", line=7)
        cause = self.cause(kind, lambda row: failure)
        assert cause.startswith("it reads the fact 'stone', and this environment has [")

    def test_of_a_table_of_its_own_is_not_taken_for_a_fact(self, kind):
        facts = [{"wood": 1, "dark": True, "tile": "lava", "near": ("tree",)}]
        looked_up: dict[str, Any] = {}
        assert self.cause(kind, lambda row: looked_up[row["tile"]], facts) == "KeyError: 'lava'"
        assert self.cause(kind, lambda row: looked_up[row["near"][0]], facts) == "KeyError: 'tree'"
        assert self.cause(kind, lambda row: looked_up["wood"]) == "KeyError: 'wood'"
        assert self.cause(kind, lambda row: {}[3]) == "KeyError: 3"

    def test_of_reads_that_leave_something_out_says_so(self, kind):
        cause = self.cause(kind, lambda row: row["dark"], pure=True, reads=("wood",))
        assert (
            cause == "it reads the fact 'dark', which is not among the names in its reads ('wood',)"
        )

    def test_a_name_in_reads_that_is_no_fact_is_the_users_to_mend(self, kind, states):
        part = kind.make(guide_of(kind, pure=True, reads=("wood", "mana")))
        with pytest.raises(InvalidOptionError) as caught:
            every(kind, part, states(1, 2))
        assert str(caught.value) == (
            f"the {kind.name} cannot be asked: it reads the fact 'mana', and this environment has "
            "['dark', 'wood']"
        )

    def test_a_fact_that_is_gone_in_mid_run_costs_only_the_states_without_it(self, kind):
        part = kind.make(guide_of(kind, pure=True, reads=("wood", "dark")))
        every(kind, part, rows(1))
        with pytest.warns(GuidanceWarning, match="it reads the fact 'dark', and this env"):
            found = every(kind, part, [*rows(1), {"wood": 2}, *rows(3)])
        assert found == expected(kind, 1, None, 3)
        counts = part.stats()
        assert (counts["consulted"], counts["unguided"], counts[kind.failed]) == (4, 1, 1)


@asking_again
@pytest.mark.parametrize("pure", [True, False])
def test_no_answer_yet_is_no_failure_and_is_asked_for_again(kind, states, pure):
    known: list[int] = [1]
    part = kind.make(
        Guide(lambda row: kind.answer(row["wood"]) if row["wood"] in known else None, pure=pure)
    )
    assert every(kind, part, states(1, 2, 2)) == expected(kind, 1, None, None)
    known.append(2)
    assert every(kind, part, states(1, 2, 2)) == expected(kind, 1, 2, 2)
    counts = part.stats()
    assert (counts["consulted"], counts["unguided"], counts[kind.failed]) == (6, 2, 0)
    assert part.cause is None


@all_kinds
class TestPart:
    def test_the_counters_of_the_guidance_are_shown_beside_its_own(self, kind):
        assert kind.name not in kind.make(guide_of(kind)).stats()
        part = kind.make(guide_of(kind, stats=lambda: {"questions": 3}))
        assert part.stats()[kind.name] == {"questions": 3}
        assert kind.name not in part.state_dict()

    def test_state_goes_through_json_and_on(self, kind):
        part = kind.make(failing_at_2(kind))
        with pytest.warns(GuidanceWarning):
            every(kind, part, rows(1, 2, 3))
        other = kind.make(guide_of(kind))
        other.load_state_dict(json.loads(json.dumps(part.state_dict())))
        assert other.state_dict() == part.state_dict()
        assert other.stats() == part.stats()
        every(kind, other, rows(1))
        assert other.stats()["consulted"] == 4
        assert part.stats()["consulted"] == 3

    @pytest.mark.parametrize("state", [{}, {"wood": 1}, [1], None])
    def test_the_state_of_something_else_is_refused(self, kind, state):
        part = kind.make(guide_of(kind))
        with pytest.raises(InvalidOptionError) as caught:
            part.load_state_dict(state)
        got = sorted(state) if isinstance(state, dict) else repr(state)
        expected_keys = sorted(part.state_dict())
        assert f"state of a {kind.name} with {expected_keys}, got {got};" in str(caught.value)

    @pytest.mark.parametrize("number", [-1, 1.5, "3", None, True])
    def test_a_counter_that_counts_nothing_is_refused_and_changes_nothing(self, kind, number):
        part = kind.make(guide_of(kind))
        every(kind, part, rows(1))
        before = part.state_dict()
        with pytest.raises(InvalidOptionError, match="unguided must be a whole number >= 0, got"):
            part.load_state_dict({**before, "consulted": 7, "unguided": number})
        assert part.state_dict() == before

    def test_guidance_is_told_where_episodes_begin_if_it_wants_to_know(self, kind):
        kind.make(guide_of(kind)).reset(np.array([True]))
        told: list[Any] = []
        fresh = np.array([True, False])

        def reset(mask: Any) -> None:
            told.append(mask.tolist())
            mask[:] = False

        kind.make(guide_of(kind, reset=reset)).reset(fresh)
        assert told == [[True, False]]
        assert fresh.tolist() == [True, False]

    def test_a_beginning_that_fails_is_counted_and_warned_of(self, kind):
        part = kind.make(guide_of(kind, reset=lambda mask: 1 / 0, pure=True, reads=("wood",)))
        with pytest.warns(GuidanceWarning, match=f"the {kind.name} failed .ZeroDivisionError"):
            part.reset(np.array([True]))
        part.reset(np.array([True]))
        assert part.stats()[kind.failed] == 2
        assert part.stats()["unguided"] == 0


class TestRemembering:
    @staticmethod
    def answers(memory: Remembering[int], keys: list[int], asked: list[int]) -> list[int]:
        def ask(places: list[int]) -> list[int]:
            asked.extend(keys[place] for place in places)
            return [10 * keys[place] for place in places]

        return memory.answers(keys, ask)

    @pytest.mark.parametrize("most", [1, 2, 3, 5])
    @pytest.mark.parametrize("factor", [None, 3])
    def test_is_bounded_and_right(self, most, factor):
        memory: Remembering[int] = Remembering(most)
        if factor is not None:
            memory.view(lambda answer: factor * answer)
        random = np.random.default_rng(0)
        for _ in range(100):
            batch = random.integers(10, size=random.integers(1, 5)).tolist()
            found = self.answers(memory, batch, [])
            assert found == [10 * key * (factor or 1) for key in batch]
            assert max(len(memory._known), len(memory._viewed)) <= max(
                most, 4
            )  # never cuts a batch

    def test_a_view_is_made_once_for_each_answer_that_is_needed(self):
        memory: Remembering[int] = Remembering(100)
        asked: list[int] = []
        viewed: list[int] = []
        first = self.answers(memory, [1, 2, 3], asked)
        memory.view(lambda answer: viewed.append(answer) or -answer)  # type: ignore[func-returns-value]
        assert viewed == []
        for _ in range(3):
            assert self.answers(memory, [1, 2, 2], asked) == [-10, -20, -20]
        assert (viewed, asked) == ([10, 20], [1, 2, 3])
        memory.view(None)
        assert self.answers(memory, [1, 2, 3], asked) == first
        assert asked == [1, 2, 3]

    def test_what_is_not_kept_is_asked_again(self):
        memory: Remembering[int] = Remembering(100)
        for _ in range(2):
            assert memory.answers([1, 2], lambda places: [0] * len(places), keep=bool) == [0, 0]
        assert memory.recall([1]) is None


class TestKeys:
    ROWS = tuple([*rows(2), *rows(2, dark=True), *rows(0)])

    @pytest.mark.parametrize("read", [None, ("wood",), ("dark", "wood"), ()])
    def test_are_equal_where_the_facts_that_are_read_are(self, states, read):
        facts = (
            self.ROWS
            if states is rows
            else FactsTable(COLUMNS, np.array([[2, 0], [2, 1], [0, 0]], np.int8))
        )
        keys = facts_keys(facts, read)
        for i, one in enumerate(self.ROWS):
            for j, other in enumerate(self.ROWS):
                names = one if read is None else read
                assert (keys[i] == keys[j]) == all(one[name] == other[name] for name in names)
        assert list(facts_keys(facts, read, [2, 0])) == [keys[2], keys[0]]

    def test_a_name_that_is_no_fact_is_said(self, states):
        for ask in (facts_keys, lambda facts, reads: facts_row(facts, 0, reads)):
            with pytest.raises(InvalidOptionError, match=r"'stone', and this environment has \['d"):
                ask(states(1), ("wood", "stone"))

    def test_a_row_cannot_be_changed(self, states):
        assert facts_row(states(1), 0, ("wood",)) == {"wood": 1}
        with pytest.raises(TypeError):
            facts_row(states(1), 0, None)["wood"] = 2  # type: ignore[index]

    @pytest.mark.parametrize(
        ("one", "other"),
        [(2, np.int64(2)), ([1, 2], (1, 2)), ({"a": 1, "b": 2}, {"b": 2, "a": np.int8(1)})],
    )
    def test_an_action_is_known_whatever_holds_it(self, one, other):
        assert action_key(one) == action_key(other)

    def test_judgements_are_remembered_by_the_action_too(self):
        guide = guide_of(KINDS["judge"], pure=True)
        part = Judging(guide, caption=captions)
        part.judgements(rows(1, 1, 1), [0, 1, np.int64(0)], [0, 1, 2])
        assert guide.asked == [rows(1, 1)]
        assert part.pairs_asked == 2
