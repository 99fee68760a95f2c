"""Links to the playground: known names with known values are taken, all else is named and changes nothing."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from urllib.parse import parse_qsl, quote

import pytest
from bs4 import BeautifulSoup
from engine import evaluate
from hypothesis import given, settings
from hypothesis import strategies as st

FUZZ = int(os.environ.get("DCGAN_FUZZ", 0))  # examples; 1 means many
MANY = settings(max_examples=max(FUZZ, 1_000) if FUZZ else 25, deadline=None)
MARKDOWN = (Path(__file__).parent.parent.parent / "book" / "playground.md").read_text(encoding="utf-8")
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # signs that control, join, turn or break a line, and are not seen themselves
READ = "return input.map((fragment) => Link.read(fragment));"
POWERS = {"generatorRate", "discriminatorRate", "clipLimit", "penaltyWeight"}  # sliders that count in powers of ten


def controls() -> dict[str, dict]:
    """What a reader of the page can set: the choices of each list, the limits of each slider."""
    found = {}
    for field in BeautifulSoup(MARKDOWN, "html.parser").select("select, input[type=range], input[type=number]"):
        name = field["id"].removeprefix("pg-")
        if field.name == "select":
            found[name] = {"values": [option["value"] for option in field.select("option")]}
        elif name != "speed":
            limits = [float(field[end]) for end in ("min", "max")]
            low, high = (10**limit for limit in limits) if name in POWERS else limits
            found[name] = {"from": low, "to": high, "whole": field["step"] == "1"}
    return found


CONTROLS = controls()


@pytest.fixture(scope="module")
def run(request):
    """Runs JavaScript that knows the playground's scripts, in node or, where there is none, in a browser."""
    return lambda body, given: evaluate(body, given, lambda: request.getfixturevalue("browser"))


def read(run, fragment: str) -> dict:
    return run(READ, [fragment])[0]


def is_possible(name: str, value: object) -> bool:
    """Whether the page's own controls could have set this, but for the rounding of a link."""
    if name == "drawn":
        return len(value) in range(2, 401, 2) and all(-1.5 <= place <= 1.5 for place in value)
    control = CONTROLS.get(name, {})
    if "values" in control:
        return value in control["values"]
    if not control or isinstance(value, str):
        return False
    inside = 0.9999 * control["from"] <= value <= 1.0001 * control["to"]
    return inside and (value == int(value) or not control["whole"])


def test_a_link_knows_the_settings_and_limits_of_the_page(run):
    known = run("return Object.fromEntries(Link.KNOWN);", None)
    assert list(known) and sorted(known) == sorted(CONTROLS)
    for name, control in CONTROLS.items():
        if "values" in control:
            assert sorted(known[name]["values"]) == sorted(control["values"])
        else:
            assert (known[name]["from"], known[name]["to"]) == pytest.approx((control["from"], control["to"]))
            assert known[name].get("whole", False) == control["whole"]


# ---------------------------------------------------------------------------------------------------- any link at all

PROTOTYPE = ["constructor", "toString", "__proto__", "hasOwnProperty", "valueOf", "__defineGetter__", "isPrototypeOf"]
ODD = [
    "",
    " ",
    "0",
    "-1",
    "2.5",
    "1e3",
    "1e999",
    "Infinity",
    "NaN",
    "0x10",
    "1_000",
    "٣",
    "3 ",
    "null",
    "true",
    "[]",
    "%",
]
ODD += ["-0", "1e-5", "99999", "100000", "0.03162", "9" * 40, "%E0%A4%A", "<img src=x onerror=alert(1)>", "polluted"]
names = st.sampled_from([*CONTROLS, "drawn", *PROTOTYPE, "speed", "Game", "game "]) | st.text(max_size=8)
choices = sorted({value for control in CONTROLS.values() for value in control.get("values", ())})
values = st.one_of(
    st.sampled_from([*choices, *ODD, *PROTOTYPE]),
    st.integers(-2, 20).map(str),
    st.floats().map(str),
    st.text("AZaz09-_+/=", max_size=30),
    st.text(max_size=8),
)
encoded = st.tuples(st.booleans(), st.one_of(names, values)).map(lambda one: quote(one[1]) if one[0] else one[1])
pairs = st.lists(st.tuples(names, values), max_size=6).map(lambda some: "&".join(f"{a}={b}" for a, b in some))
links = st.one_of(pairs, pairs, st.lists(encoded, max_size=6).map("&".join), st.text(max_size=40)).map("#{}".format)


@MANY
@given(fragments=st.lists(links, min_size=1, max_size=25))
def test_whatever_a_link_says_only_possible_settings_are_taken_and_the_rest_is_named(run, fragments):
    found = run(READ, fragments)
    for fragment, link in zip(fragments, found, strict=True):
        assert all(is_possible(name, value) for name, value in link["settings"].items()), (fragment, link)
        said = parse_qsl(fragment[1:], keep_blank_values=True) if "=" in fragment else []
        assert len(link["settings"]) + len(link["ignored"]) == len(said), (fragment, link)


@MANY
@given(fragments=st.lists(pairs.map("#{}".format), min_size=1, max_size=3))
def test_whatever_a_link_says_the_game_can_be_played_and_nothing_of_the_language_changes(run, fragments):
    body = """
    const before = Object.getOwnPropertyNames(Object.prototype).join();
    const losses = input.map((fragment) => {
      const run = Game.start({ ...Game.DEFAULTS, ...Link.read(fragment).settings });
      Game.advance(run);
      return [run.round, Game.judgement(run).lossOfGenerator];
    });
    return [losses, before === Object.getOwnPropertyNames(Object.prototype).join() && ({}).polluted === undefined];"""
    losses, unchanged = run(body, fragments)
    assert all(round_ == 1 and loss is not None for round_, loss in losses) and unchanged


@MANY
@given(fragments=st.lists(links, min_size=1, max_size=10))
def test_whatever_was_ignored_is_said_in_one_short_line_that_hides_nothing(run, fragments):
    body = (
        "return input.map((fragment) => Link.read(fragment).ignored).map((one) => [one.length, Link.complaint(one)]);"
    )
    for number, line in run(body, fragments):
        assert bool(line) == bool(number)
        assert len(line) < 600 and not {unicodedata.category(letter) for letter in line} & UNSEEN, line
        if number > 3:
            assert line.endswith(f"and {number - 3} more.")


def states():
    """What the controls can be set to, in numbers of four digits, as a link writes them."""

    def setting(control):
        if "values" in control:
            return st.sampled_from(control["values"])
        if control["whole"]:
            return st.integers(int(control["from"]), int(control["to"]))
        return st.floats(control["from"], control["to"]).map(lambda value: float(f"{value:.4g}"))

    drawn = st.lists(st.integers(0, 255), max_size=200).map(lambda all_: all_[: len(all_) // 2 * 2])
    drawn = drawn.map(lambda bytes_: [(2 * byte / 255 - 1) * 1.5 for byte in bytes_])
    return st.fixed_dictionaries({name: setting(control) for name, control in CONTROLS.items()} | {"drawn": drawn})


@MANY
@given(state=states())
def test_every_state_that_the_controls_can_reach_survives_its_link(run, state):
    body = "return [Link.write(input), Link.read(Link.write(input))];"
    written, link = run(body, state)
    assert link["ignored"] == [], written
    expected = {name: value for name, value in state.items() if name != "drawn" or value}
    assert {name: pytest.approx(value) if name == "drawn" else value for name, value in expected.items()} == link[
        "settings"
    ]
    assert len(written) < 800


# ---------------------------------------------------------------------------------------------------- single cases


@pytest.mark.parametrize("name", PROTOTYPE)
def test_names_that_every_object_has_are_no_settings(run, name):
    link = read(run, f"#game=minimax&{name}=1")
    assert link["settings"] == {"game": "minimax"}
    assert link["ignored"] == [{"text": f"{name}=1", "allowed": "no such setting"}]


IMPOSSIBLE = [
    "unrolledSteps=2.5",
    "discriminatorSteps=0",
    "discriminatorSteps=11",
    "seed=1.5",
    "seed=-1",
    "seed=100000",
    "seed=",
    "seed=x",
    "seed=0x10",
    "seed=%201",
    "seed=1e999",
    "generatorRate=1",
    "generatorRate=0",
    "game=poker",
    "game=Minimax",
    "game=constructor",
    "data=toString",
    "activation=",
    "speed=4",
    "drawn=%%%",
    "drawn=A",
    "drawn=AA",
    "drawn=AAA=",
    "drawn=",
]


@pytest.mark.parametrize("text", [*IMPOSSIBLE, f"drawn={'A' * 536}"])
def test_a_value_that_the_controls_do_not_have_is_ignored_and_what_is_allowed_is_said(run, text):
    link = read(run, f"#{text}")
    assert link["settings"] == {} and len(link["ignored"]) == 1
    assert link["ignored"][0]["allowed"]


def test_of_two_values_the_first_counts_and_the_second_is_named(run):
    link = read(run, "#seed=3&seed=4")
    assert link["settings"] == {"seed": 3} and link["ignored"][0]["text"] == "seed=4"


@pytest.mark.parametrize("fragment", ["", "#", "#how-it-works", "#constructor", "#predict-then-press&x"])
def test_an_address_without_a_setting_says_nothing(run, fragment):
    assert read(run, fragment) == {"settings": {}, "ignored": []}
    assert run("return Link.complaint([]);", None) == ""
