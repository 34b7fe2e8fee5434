"""What a name, a plain function and an object stand for."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any, Protocol, runtime_checkable

import pytest

from llm_wrappers.errors import InvalidOptionError, UnknownNameError
from llm_wrappers.registry import Registry, whole_in

GROUP = "llm_wrappers.test_oracles"


@runtime_checkable
class Oracle(Protocol):
    def answer(self) -> str: ...


class Said:
    """An oracle that says what it was made of."""

    def __init__(self, *words: Any) -> None:
        self.words = words

    def answer(self) -> str:
        return " ".join(map(str, self.words))


class Called:
    """A plain function as an oracle."""

    def __init__(self, function: Any) -> None:
        self.answer = function


def make(**options: Any) -> Registry[Any]:
    return Registry(
        "oracle",
        Oracle,
        "an object with answer(), or a name such as 'none'",
        names={
            "none": lambda rest, **context: Said("none"),
            "file:PATH": lambda rest, **context: Said("file", rest, *context.values()),
            "shuffled[:NAME]": lambda rest, **context: Said("shuffled", rest),
        },
        **options,
    )


# --- names ---


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "none"),
        ("file:a", "file a"),
        ("file:a:b", "file a:b"),
        ("file:", "file "),
        ("shuffled", "shuffled "),
        ("shuffled:file:a", "shuffled file:a"),
    ],
)
def test_a_name_is_known_in_its_form(name: str, said: str) -> None:
    registry = make()
    assert name in registry
    assert registry.resolve(name).answer() == said


@pytest.mark.parametrize("name", ["", ":", "none:", "none:1", "file", "File:a", "shuffled file:a"])
def test_another_form_is_unknown_and_the_known_ones_are_listed(name: str) -> None:
    registry = make()
    assert name not in registry
    with pytest.raises(UnknownNameError) as caught:
        registry.resolve(name)
    forms = "none, file:PATH, shuffled[:NAME]"
    assert str(caught.value) == f"expected one of {forms}; got {name!r} as an oracle"


def test_a_colon_with_nothing_behind_it_is_no_name_without_a_colon() -> None:
    with pytest.raises(InvalidOptionError, match="expected shuffled:NAME, got 'shuffled:'"):
        make().resolve("shuffled:")


def test_a_name_can_be_added_and_replaced_and_is_listed() -> None:
    registry, other = make(), make()
    registry.register("mine:NAME", lambda rest: Said("mine", rest))
    assert registry.resolve("mine:x").answer() == "mine x"
    registry.register("mine:NAME", lambda rest: Said("mine too", rest))
    assert registry.resolve("mine:x").answer() == "mine too x"
    with pytest.raises(UnknownNameError, match=r"shuffled\[:NAME\], mine:NAME; got 'mine'"):
        registry.resolve("mine")
    assert "mine:x" not in other


def test_an_error_of_what_makes_the_object_is_not_taken_for_another() -> None:
    registry = make()
    registry.register("broken", lambda rest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        registry.resolve("broken")


# --- objects and functions ---


def test_an_object_is_taken_as_it_is() -> None:
    oracle = Said("yes")
    assert make().resolve(oracle, env_id="Toy-v0") is oracle
    assert make(adapt=Called).adapted(oracle) is oracle


def test_a_function_is_adapted_only_where_one_is_taken() -> None:
    assert make(adapt=Called).resolve(lambda: "yes").answer() == "yes"
    with pytest.raises(InvalidOptionError, match=r"expected an oracle: an object with answer\(\)"):
        make().resolve(lambda: "yes")


@pytest.mark.parametrize(
    ("value", "got"), [(None, "a NoneType"), (3, "a int"), ([], "a list"), ({}, "a dict")]
)
def test_what_is_neither_is_refused_with_its_type(value: Any, got: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"or a name such as 'none'; got {got}$"):
        make(adapt=Called).resolve(value)


@pytest.mark.parametrize("value", [Said, dict])
def test_a_class_is_refused_although_it_has_the_methods_and_can_be_called(value: type) -> None:
    with pytest.raises(InvalidOptionError, match=f"got the class {value.__name__}; call it first"):
        make(adapt=Called).resolve(value)


def test_where_only_objects_are_taken_a_name_is_refused_with_who_takes_it() -> None:
    with pytest.raises(InvalidOptionError, match="got the name 'none'; resolve_oracle gives what"):
        make().adapted("none")


def test_a_text_is_no_object_even_if_it_has_the_method() -> None:
    # A text has an encode of its own, as an encoder of texts has.
    @runtime_checkable
    class Encodes(Protocol):
        def encode(self, texts: Any) -> Any: ...

    with pytest.raises(InvalidOptionError, match="expected an encoder: vectors; got the name 'a'"):
        Registry("encoder", Encodes, "vectors").adapted("a")


# --- names of installed packages ---


def said_by_plugin(rest: str, **context: Any) -> Said:
    return Said("plugin", rest, *context.values())


def function_by_plugin(rest: str, **context: Any) -> Any:
    return lambda: rest


def nothing_by_plugin(rest: str, **context: Any) -> None:
    return None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a package is installed whose metadata holds these entry points."""
    values = {
        "plugin": f"{__name__}:said_by_plugin",
        "function": f"{__name__}:function_by_plugin",
        "nothing": f"{__name__}:nothing_by_plugin",
        "none": f"{__name__}:nothing_by_plugin",
        "gone": f"{__name__}:gone",
        "lost": "no_such_module:load",
    }
    found = [EntryPoint(name, value, GROUP) for name, value in values.items()]
    monkeypatch.setattr(
        "llm_wrappers.registry.entry_points", lambda *, group: found if group == GROUP else []
    )


@pytest.mark.usefixtures("installed")
class TestEntryPoints:
    @pytest.mark.parametrize(
        ("name", "said"),
        [("plugin", "plugin  3"), ("plugin:", "plugin  3"), ("plugin:a:b", "plugin a:b 3")],
    )
    def test_are_called_with_the_rest_and_the_context(self, name: str, said: str) -> None:
        assert make(group=GROUP).resolve(name, seed=3).answer() == said

    def test_do_not_replace_the_names_that_are_known_here(self) -> None:
        assert make(group=GROUP).resolve("none").answer() == "none"

    def test_are_listed_behind_the_names_that_are_known_here(self) -> None:
        listed = r"shuffled\[:NAME\], function, gone, lost, none, nothing, plugin; got 'x'"
        with pytest.raises(UnknownNameError, match=listed):
            make(group=GROUP).resolve("x")

    def test_may_make_a_function_where_one_is_taken(self) -> None:
        assert make(group=GROUP, adapt=Called).resolve("function:yes").answer() == "yes"

    @pytest.mark.parametrize("name", ["nothing", "function:yes"])
    def test_that_make_something_else_are_named(self, name: str) -> None:
        with pytest.raises(
            InvalidOptionError, match=f"expected the entry point of '{name}' to make an oracle; got"
        ):
            make(group=GROUP).resolve(name)

    @pytest.mark.parametrize("name", ["gone", "lost:x"])
    def test_that_cannot_be_loaded_are_named(self, name: str) -> None:
        with pytest.raises(UnknownNameError, match=r"is registered for .*; install that package"):
            make(group=GROUP).resolve(name)


# --- numbers in names ---


@pytest.mark.parametrize(("rest", "number"), [("0", 0), ("3", 3), ("010", 10)])
def test_a_whole_number_is_read(rest: str, number: int) -> None:
    assert whole_in("uniform:K", rest) == number


@pytest.mark.parametrize("rest", ["", "x", "-1", "1.5", " 3", "²", "٣", "1_0"])
def test_what_is_no_whole_number_is_refused_with_the_form(rest: str) -> None:
    with pytest.raises(
        InvalidOptionError, match=f"expected uniform:K with a whole number, got {rest!r}"
    ):
        whole_in("uniform:K", rest)
