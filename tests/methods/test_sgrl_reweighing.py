"""Re-weighting goals: the rule, the model, and what a run counts and keeps."""

from __future__ import annotations

import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_wrappers.captions.description import EnvDescription
from llm_wrappers.errors import (
    AuthenticationError,
    CacheMissError,
    GuidanceFileError,
    GuidanceWarning,
    IncompatibleEnvironmentError,
    InvalidOptionError,
    ProviderError,
    UnknownNameError,
)
from llm_wrappers.llm import Budget
from llm_wrappers.methods import sgrl
from llm_wrappers.methods.sgrl.reweighing import UnlockReport
from llm_wrappers.methods.sgrl.reweighing_run import ReweighingRun, reached_goals
from llm_wrappers.testing import ScriptedLLM

GOALS = ("collect wood", "eat cow", "collect diamond")
DESCRIPTION = EnvDescription(env_id="Mine-v0", rules="Dig for diamonds.", goals=GOALS)
rates = st.floats(0.0, 1.0)
bounded = st.floats(0.1, 10.0)


def report(*shares, steps=2000000, **factors):
    by_name = {name.replace("_", " "): factor for name, factor in factors.items()}
    return UnlockReport(steps, 40, dict(zip(GOALS, shares, strict=True)), by_name)


def answer(**factors):
    entries = [{"goal": name, "factor": factor} for name, factor in factors.items()]
    return json.dumps({"factors": entries})


# --- the rule written by hand ---


@given(st.lists(st.tuples(rates, bounded), min_size=2, max_size=6))
def test_the_rule_is_monotone_and_bounded(goals):
    """Test 29 of the paper's behaviour: what is reached never gains on what is reached less."""
    names = [f"goal {number}" for number in range(len(goals))]
    shares = {name: rate for name, (rate, _) in zip(names, goals, strict=True)}
    before = {name: factor for name, (_, factor) in zip(names, goals, strict=True)}
    after = sgrl.ReferenceReweigher().factors(UnlockReport(1, 10, shares, before))
    assert set(after) == set(names)
    for name in names:
        assert 0.1 <= after[name] <= before[name] <= 10
        if shares[name] == 0.0:
            assert after[name] == before[name]
    for shallow in names:
        for deep in names:
            if shares[deep] == 0.0 or (
                shares[shallow] >= shares[deep] and before[shallow] == before[deep]
            ):
                assert after[shallow] / after[deep] <= before[shallow] / before[deep] * (1 + 1e-12)


def test_the_rule_halves_what_every_episode_reaches_down_to_a_tenth():
    rule, factors, seen = sgrl.ReferenceReweigher(), {"collect wood": 1.0}, []
    for _ in range(5):
        factors = rule.factors(UnlockReport(1, 10, {"collect wood": 1.0}, factors))
        seen.append(factors["collect wood"])
    assert seen == [0.5, 0.25, 0.125, 0.1, 0.1]


# --- the language model ---


def test_what_the_model_gets_wrong_is_dropped_clipped_and_counted():
    reply = answer(**{"Collect_Wood": 99, "eat cow": -3, "find gold": 2.0, "collect diamond": 2.5})
    reweigher = sgrl.LLMReweigher(ScriptedLLM([reply, answer()]), DESCRIPTION)
    assert reweigher.factors(report(0.5, 0.5, 0.5)) == {
        "collect wood": 10.0, "eat cow": 0.1, "collect diamond": 2.5,
    }  # fmt: skip
    counts = {"answers": 1, "failures": 0, "unknown_goals": 1, "clipped": 2, "left_out": 0}
    assert reweigher.stats() == counts
    # What is left out keeps its factor.
    present = {"collect_wood": 2.0, "eat_cow": 3.0, "collect_diamond": 4.0}
    assert list(reweigher.factors(report(0.4, 0.4, 0.4, **present)).values()) == [2.0, 3.0, 4.0]
    assert reweigher.stats() == {**counts, "answers": 2, "left_out": 3}


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (lambda request: ProviderError("the provider is down"), {}),
        (lambda request: "I would rather not.", {"repairs": 1}),
        (lambda request: '{"factors": [{"goal": "eat cow", "factor": NaN}]}', {"repairs": 0}),
        (lambda request: answer(), {"budget": Budget(calls=0)}),
    ],
    ids=["provider", "no schema", "not a number", "budget"],
)
def test_without_an_answer_the_factors_stay(script, options):
    reweigher = sgrl.LLMReweigher(ScriptedLLM(script, **options), DESCRIPTION)
    with pytest.warns(GuidanceWarning, match=r"(?s)no new weights .*said once"):
        first = reweigher.factors(report(0.1, 0.5, 0.5, eat_cow=3.0))
    second = reweigher.factors(report(0.2, 0.5, 0.5, eat_cow=3.0))  # another warning is an error
    assert first == second == {"collect wood": 1.0, "eat cow": 3.0, "collect diamond": 1.0}
    assert reweigher.stats()["failures"] == 2
    assert reweigher.stats()["answers"] == 0


def test_what_the_user_has_to_put_right_is_raised(tmp_path):
    refused = ScriptedLLM([AuthenticationError("the key is refused")])
    with pytest.raises(AuthenticationError):
        sgrl.LLMReweigher(refused, DESCRIPTION).factors(report(0.1, 0.1, 0.1))
    cache = tmp_path / "answers.sqlite"
    ScriptedLLM(["x"], cache=cache).ask("Something else.")
    replay = ScriptedLLM([], cache=cache, mode="replay")
    with pytest.raises(CacheMissError):
        sgrl.LLMReweigher(replay, DESCRIPTION).factors(report(0.1, 0.1, 0.1))


def test_a_vocabulary_of_ones_own():
    llm = ScriptedLLM([answer(dig=2.0)])
    reweigher = sgrl.LLMReweigher(llm, DESCRIPTION, ["dig", "rest"])
    assert reweigher.factors(UnlockReport(0, 1, {"dig": 1.0})) == {"dig": 2.0, "rest": 1.0}
    assert "- rest: reached in 0% of episodes" in llm.requests[0].text
    assert "collect wood" not in llm.requests[0].text
    with pytest.raises(InvalidOptionError, match="expected goals to re-weight, got none"):
        sgrl.LLMReweigher(llm, DESCRIPTION, [])


# --- names ---


def test_names_objects_and_functions_are_resolved(tmp_path):
    assert isinstance(sgrl.resolve_reweigher("reference"), sgrl.ReferenceReweigher)
    present = report(1.0, 1.0, 1.0, eat_cow=3.0)
    assert sgrl.resolve_reweigher("none").factors(present) == {"eat cow": 3.0}
    function = sgrl.resolve_reweigher(lambda given: {"eat cow": given.success_rates["eat cow"]})
    assert function.factors(report(0.0, 0.7, 0.0)) == {"eat cow": 0.7}
    assert sgrl.resolve_reweigher(function) is function
    name = f"llm:openai/test?cache={tmp_path / 'a.sqlite'}&mode=replay"
    by_name = sgrl.resolve_reweigher(name, description=DESCRIPTION, goals=["dig"])
    assert isinstance(by_name, sgrl.LLMReweigher)
    assert (by_name.llm.model, by_name.llm.mode, by_name.goals) == (
        "openai/test", "replay", ("dig",),
    )  # fmt: skip
    llm = ScriptedLLM([])
    by_client = sgrl.resolve_reweigher(llm, description=DESCRIPTION)
    assert isinstance(by_client, sgrl.LLMReweigher)
    assert by_client.llm is llm
    assert by_client.goals == GOALS


@pytest.mark.parametrize(
    ("reweigher", "error", "message"),
    [
        ("oracle", UnknownNameError, "expected one of reference, none, llm:MODEL; got 'oracle'"),
        ("llm:", UnknownNameError, "expected an LLM or a name"),
        ("llm:openai/test", InvalidOptionError, "expected a description"),
        (3, InvalidOptionError, "expected a reweigher: .*got a int"),
        (sgrl.ReferenceReweigher, InvalidOptionError, "expected a reweigher"),
        (dict, InvalidOptionError, "expected a reweigher"),
    ],
)
def test_what_is_no_reweigher_is_refused(reweigher, error, message):
    with pytest.raises(error, match=message):
        sgrl.resolve_reweigher(reweigher)


# --- which goals an episode reached ---


def test_achievements_that_are_goals_count():
    info = {"achievements": {"collect_wood": 2, "eat_cow": 0, "place_table": 1}}
    assert reached_goals(info, GOALS) == {"collect wood"}
    assert reached_goals({"achievements": {"Eat Cow": True}}, GOALS) == {"eat cow"}


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({}, "got None; pass achieved="),
        ({"achievements": ["collect_wood"]}, "name -> count"),
        ({"achievements": {"fly": 1}}, r"among the goals .*got \['fly'\]; pass achieved="),
    ],
)
def test_an_info_that_says_nothing_of_the_goals(info, message):
    with pytest.raises(IncompatibleEnvironmentError, match=message):
        reached_goals(info, GOALS)


@pytest.mark.parametrize(
    "wrong",
    ["eat cow", ["fly"], None, {"eat cow", "fly"}, 1],
    ids=["text", "list", "none", "set", "number"],
)
def test_a_function_that_returns_no_goals(wrong):
    if isinstance(wrong, set):
        wrong = sorted(wrong)
    with pytest.raises(InvalidOptionError, match="expected achieved to return"):
        reached_goals({}, GOALS, lambda info: wrong)


def test_a_function_of_ones_own_is_asked():
    def achieved(info):
        return {"eat cow"} if info["reward"] > 0 else set()

    assert reached_goals({"reward": 1}, GOALS, achieved) == {"eat cow"}
    assert reached_goals({"reward": 0}, GOALS, achieved) == frozenset()


# --- one run ---


class Recorder:
    """Keeps the reports, and answers from a list."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.reports = []

    def factors(self, given):
        self.reports.append(given)
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def test_rates_are_of_the_episodes_since_the_last_time():
    recorder = Recorder({"eat cow": 2.0}, {})
    run = ReweighingRun(recorder, GOALS, every=100)
    for reached in (["eat cow"], ["eat cow", "collect wood"], [], []):
        run.count_episode(reached)
    run.advance(100)
    assert run.reweigh() == {"collect wood": 1.0, "eat cow": 2.0, "collect diamond": 1.0}
    run.count_episode(["collect diamond"])
    run.advance(150)
    assert run.reweigh() == dict.fromkeys(GOALS, 1.0)  # what is left out has 1
    first, second = recorder.reports
    assert list(first.success_rates.values()) == [0.25, 0.5, 0.0]
    assert (first.env_steps, first.episodes) == (100, 4)
    assert list(second.success_rates.values()) == [0.0, 0.0, 1.0]
    assert (second.env_steps, second.episodes, second.factors["eat cow"]) == (250, 1, 2.0)
    assert [entry["factors"]["eat cow"] for entry in run.history] == [2.0, 1.0]
    assert json.loads(json.dumps(first.as_dict())) == first.as_dict()


def test_it_is_due_at_whole_periods_once_an_episode_has_finished():
    run = ReweighingRun(Recorder({}, {}), GOALS, every=100, env_steps=250)
    assert run.due == 300
    run.advance(64)
    assert not run.is_due  # nothing is known yet
    run.count_episode([])
    assert run.is_due
    run.reweigh()
    assert run.due == 400
    run.count_episode([])
    run.advance(85)
    assert not run.is_due
    run.advance(200)
    run.reweigh()
    assert run.due == 600  # a period that was missed is not made up for


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (RuntimeError("no idea"), "RuntimeError: no idea"),
        ({"fly": 2.0}, "fly"),
        ({"eat cow": 0.0}, "finite and > 0"),
        ({"eat cow": float("nan")}, "finite and > 0"),
        (None, "goal -> factor"),
    ],
    ids=["raises", "unknown goal", "zero", "nan", "nothing"],
)
def test_a_reweigher_that_fails_stops_nothing(wrong, named):
    run = ReweighingRun(Recorder({"eat cow": 2.0}, wrong, wrong, {}), GOALS, every=10)
    run.reweigh()
    with pytest.warns(GuidanceWarning, match=named) as caught:
        assert run.reweigh()["eat cow"] == run.reweigh()["eat cow"] == 2.0
    assert len(caught) == 1
    assert (run.count, run.failures) == (3, 2)
    assert run.reweigh()["eat cow"] == 1.0


def test_what_the_user_got_wrong_and_interrupts_get_through():
    for error in (AuthenticationError("no key"), KeyboardInterrupt()):
        recorder = Recorder()
        recorder.factors = lambda given, error=error: (_ for _ in ()).throw(error)  # type: ignore[method-assign]
        with pytest.raises(type(error)):
            ReweighingRun(recorder, GOALS, every=10).reweigh()


def test_a_run_goes_on_from_its_file(tmp_path):
    path = tmp_path / "new" / "reweighing.json"
    run = ReweighingRun(Recorder({"eat cow": 2.0}), GOALS, every=100, path=path)
    assert path.exists()  # a place that cannot be written is found before training
    run.count_episode(["eat cow"])
    run.advance(120)
    run.reweigh()
    run.count_episode(["collect wood"])
    run.count_episode([])
    run.advance(30)
    run.save()
    assert [file.name for file in path.parent.iterdir()] == [path.name]

    recorder = Recorder({})
    again = ReweighingRun(recorder, GOALS, every=100, path=path)
    assert again.factors == run.factors
    assert (again.env_steps, again.due, again.count, again.episodes) == (150, 200, 1, 2)
    assert again.history == run.history
    again.advance(50)
    again.reweigh()
    assert recorder.reports[0].success_rates["collect wood"] == 0.5
    # A model that has trained on without the file: what was due is asked at once.
    later = ReweighingRun(Recorder(), GOALS, every=100, path=path, env_steps=1_000)
    assert (later.env_steps, later.due) == (1_000, 300)


def test_a_shorter_period_holds_at_once(tmp_path):
    path = tmp_path / "reweighing.json"
    ReweighingRun(Recorder(), GOALS, every=2_000_000, path=path).save()
    assert ReweighingRun(Recorder(), GOALS, every=500, path=path).due == 500


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "reweighing.json"
    run = ReweighingRun(Recorder(), GOALS, every=100, path=path)
    before = path.read_bytes()

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    run.advance(1)
    with pytest.raises(GuidanceFileError, match="no space left; name another place"):
        run.save()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_now_and_then_waits(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(
        "llm_wrappers.methods.sgrl.reweighing_run.time.monotonic", lambda: clock[-1]
    )
    path = tmp_path / "reweighing.json"
    run = ReweighingRun(Recorder(), GOALS, every=100, path=path)
    saved = []
    for now in (0.5, 0.9, 1.0, 1.5, 2.0):
        clock.append(now)
        run.advance(1)
        run.save_now_and_then()
        saved.append(json.loads(path.read_text())["env_steps"])
    assert saved == [0, 0, 3, 3, 5]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "\xff"])
def test_a_file_that_is_something_else_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "reweighing.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(GuidanceFileError, match="delete it to begin anew"):
        ReweighingRun(Recorder(), GOALS, every=100, path=path)
    assert path.read_text(encoding="latin-1") == content


def test_a_file_of_other_goals_and_a_folder_are_refused(tmp_path):
    path = tmp_path / "reweighing.json"
    ReweighingRun(Recorder(), GOALS, every=100, path=path)
    with pytest.raises(InvalidOptionError, match=r"is of the goals .*not of \['fly'\]"):
        ReweighingRun(Recorder(), ["fly"], every=100, path=path)
    with pytest.raises(GuidanceFileError, match="cannot read"):
        ReweighingRun(Recorder(), GOALS, every=100, path=tmp_path)


@pytest.mark.parametrize("every", [0, -1, 2.0, True, "2"])
def test_a_period_that_is_none(every):
    with pytest.raises(InvalidOptionError, match="every must be a whole number >= 1"):
        ReweighingRun(Recorder(), GOALS, every=every)


def test_the_history_is_bounded():
    run = ReweighingRun(sgrl.ReferenceReweigher(), GOALS, every=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(120):
            run.advance(1)
            run.count_episode(GOALS)
            run.reweigh()
    assert len(run.history) == 100
    assert run.history[-1]["env_steps"] == 120
