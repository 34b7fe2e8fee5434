"""The rules of a budget's account, in any order of events."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_doubles import most_in_a_minute

from llm_wrappers.llm import budget as account
from llm_wrappers.llm.budget import Budget
from llm_wrappers.llm.ledger import Spending
from llm_wrappers.llm.transport import Cost

cents = st.integers(0, 40).map(lambda number: number / 100)
limits = st.builds(
    Budget,
    calls=st.integers(0, 12) | st.none(),
    tokens=st.integers(0, 100) | st.none(),
    dollars=cents,
    requests_per_minute=st.integers(1, 4) | st.none(),
)
requests = st.tuples(st.just("reserve"), st.integers(0, 60), cents)
shares = st.floats(0, 1)
endings = st.tuples(
    st.sampled_from(["settle", "release", "cancel", "forget"]), st.integers(0, 9), shares
)
waits = st.tuples(st.just("wait"), st.floats(0, 45), st.none())
LEASE = 100.0


@given(limits, st.lists(requests | endings | waits, max_size=60))
@settings(deadline=None, max_examples=100)
def test_no_limit_is_ever_exceeded(budget, steps):
    state, now, names, under_way, starts, sent = {}, 1000.0, 0, {}, [], 0
    most_tokens = budget.tokens if budget.tokens is not None else float("inf")
    for kind, first, second in steps:
        if kind == "reserve":
            names += 1
            worst = Cost(first, second)
            spent = account.spending(state, now=now, lease=LEASE)
            decision = account.decide(state, budget, worst, name=str(names), now=now, lease=LEASE)
            in_dollars = round(100 * spent.dollars) + round(100 * second)
            fits = (
                (budget.calls is None or spent.calls < budget.calls)
                and spent.tokens + first <= most_tokens
                and in_dollars <= round(100 * budget.dollars)
            )
            assert (decision.verdict == "never") == (not fits)
            if decision.verdict == "granted":
                under_way[str(names)] = worst
                starts.append((now, str(names)))
                sent += 1
            elif decision.verdict == "later":
                assert spent.in_flight or decision.limit == "requests_per_minute"
        elif kind == "wait":
            now += first
        elif under_way:
            name = sorted(under_way)[first % len(under_way)]
            worst = under_way.pop(name)
            if kind == "settle":
                account.settle(state, name, tokens=int(second * worst.tokens), units=0)
            elif kind == "release":
                account.settle(state, name, tokens=0, units=0)
            elif kind == "cancel":
                account.cancel(state, name)
                starts = [start for start in starts if start[1] != name]
        state = json.loads(json.dumps(state, allow_nan=False))
        held = state.get("under_way", {}).values()
        tokens = state.get("tokens", 0) + sum(entry[1] for entry in held)
        units = state.get("dollars", 0) + sum(entry[2] for entry in held)
        assert tokens <= most_tokens
        assert units <= account.in_units(budget.dollars)
        assert budget.calls is None or state.get("calls", 0) <= budget.calls
        if budget.requests_per_minute and starts:
            times = [start for start, _ in starts]
            assert most_in_a_minute(times) <= budget.requests_per_minute


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20), st.randoms())
@settings(deadline=None)
def test_the_order_of_ends_does_not_matter(costs, random):
    state = {}
    for number, (one, other) in enumerate(costs):
        worst = Cost(max(one, other), 0.01)
        account.decide(state, Budget(tokens=10**6), worst, name=str(number), now=0.0, lease=LEASE)
    order = list(range(len(costs)))
    random.shuffle(order)
    for number in order:
        account.settle(state, str(number), tokens=min(costs[number]), units=None)
    assert account.spending(state, now=0.0, lease=LEASE) == Spending(
        calls=len(costs),
        tokens=sum(map(min, costs)),
        dollars=round(len(costs) * 0.01, 2),
    )
