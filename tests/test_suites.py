# SPDX-License-Identifier: MIT
"""Suites: read in full or refused with every problem; frozen once published."""

import inspect
import json

import pytest

from art_spiking.errors import InvalidInput, PluginError, UnknownName
from art_spiking.evaluate.threats import build_threat, kinds_in
from art_spiking.registry import Catalogue, catalogue
from art_spiking.suites import Case, Suite, digest_of, load_suite, parse_suite, read_suite

SMALL = b"""
name = "small"
version = 1
craft = 4

[[cases]]
name = "one"
attack = "event-gradient"
threat = { kind = "event-edits", max_edits = 5 }
parameters = { rounds = 2 }
control = { attack = "random-events" }
"""


FROZEN = {
    "events-quick": (1, "sha256:7bed85eae0709658d1ce0e574696bf78a72b118f432b117d1f74921018007a3b"),
    "events-v1": (1, "sha256:9412b3e9c4446c92131dc00468108a04096483dc53ef4f2e9c247aef75083f28"),
    "timing-v1": (1, "sha256:1690189061c9af0c574da258f9a5d6cc393c4940f8c59c0e84c111381a9aaab4"),
    "blackbox-v1": (1, "sha256:7dabf3f19e9cc0d758ca3a6fbc88bad4bbb031cbce1057d84b8ecb0f40b26968"),
    "universal-v1": (1, "sha256:ecc907ffa64ce59d453dc84ac2972d69c945b44e319503254030fd01db96be95"),
    "patch-v1": (1, "sha256:042dc4217e73ee34883eaaa243edb2fd7676bc569b53cccba843c47a4e392a78"),
}
"""Version and digest: a change of any number is a new version; raise it, and state the new digest here."""


def test_every_suite_of_ours_is_frozen():
    ours = [name for name, entry in catalogue("suites").items() if entry.provider.split()[0] == "art-spiking"]
    assert sorted(ours) == sorted(FROZEN)


@pytest.mark.parametrize("name", FROZEN)
def test_a_suite_is_frozen(name):
    suite = load_suite(name)
    assert suite.name == name
    assert (suite.version, suite.digest()) == FROZEN[name]


@pytest.mark.parametrize("name", FROZEN)
def test_a_suite_names_only_what_is_registered(name):
    attacks, threats = catalogue("attacks"), catalogue("threats")
    for case in load_suite(name).cases:
        assert case.attack in attacks
        assert case.control.attack in attacks
        assert set(kinds_in(case.threat)) <= set(threats)
        assert build_threat(case.threat, threats, dt_us=10_000).kind == case.threat["kind"]


@pytest.mark.parametrize("name", FROZEN)
def test_a_suite_states_every_hyper_parameter(name):
    """A later default of an attack must not change what a published number means."""
    attacks = catalogue("attacks")
    given_by_the_host = {"estimator", "threat", "seed", "targeted", "minutes"}
    for case in load_suite(name).cases:
        for asked in (case, case.control):
            taken = set(inspect.signature(attacks[asked.attack].load()).parameters)
            assert set(asked.parameters) == taken - given_by_the_host, (case.name, asked.attack)


def test_events_quick_holds_the_published_budgets():
    cases = load_suite("events-quick").cases
    budgets = [(case.attack, case.threat.get("max_edits", case.threat.get("area"))) for case in cases]
    assert budgets == [
        ("event-gradient", 50),
        ("event-gradient", 200),
        ("universal-perturbation", 250),
        ("universal-perturbation", 500),
        ("universal-perturbation", 1000),
        ("adversarial-patch", 0.025),
        ("adversarial-patch", 0.05),
    ]
    assert all(case.threat["delete"] is False for case in cases if case.attack == "universal-perturbation")


def test_events_v1_holds_the_published_budgets():
    cases = load_suite("events-v1").cases
    budgets = [(case.threat["max_edits"], case.threat["delete"]) for case in cases]
    assert budgets == [(5, True), (10, True), (25, True), (50, True), (100, True), (50, False)]
    assert all(case.attack == "auto-spike" and case.threat["insert"] for case in cases)
    assert load_suite("events-v1").test == 100


def test_universal_v1_holds_the_published_budgets_and_every_form():
    suite = load_suite("universal-v1")
    assert [case.threat["max_edits"] for case in suite.cases[:4]] == [100, 250, 500, 1000]
    assert {case.attack for case in suite.cases} == {
        "universal-perturbation",
        "robust-universal",
        "heatmap-universal",
        "iterative-universal",
    }
    assert all(case.threat["delete"] is False for case in suite.cases)
    # A mask that is shifted stands beside a random one that is shifted as far.
    shifts = [(case.parameters["max_shift"], case.control.parameters["max_shift"]) for case in suite.cases]
    assert set(shifts) == {(0, 0), (10, 10)}


def test_patch_v1_holds_the_published_areas_and_objects():
    suite = load_suite("patch-v1")
    assert [case.threat["area"] for case in suite.cases[:3]] == [0.025, 0.05, 0.08]
    kinds = {kind for case in suite.cases for kind in kinds_in(case.threat)}
    assert kinds == {"patch-region", "object-region", "pixel-rate"}
    assert [case.target for case in suite.cases if case.target is not None] == [8]


def test_a_suite_is_read_with_its_defaults():
    suite = parse_suite(SMALL, "the suite")
    (case,) = suite.cases
    assert (suite.craft, suite.test) == (4, None)
    assert (case.seed, case.target, case.parameters) == (0, None, {"rounds": 2})
    assert case.control.parameters == {}


def test_the_digest_covers_every_number_and_not_the_summary():
    suite = parse_suite(SMALL, "the suite")
    changed = [
        SMALL.replace(b"max_edits = 5", b"max_edits = 6"),
        SMALL.replace(b"craft = 4", b"craft = 5"),
        SMALL.replace(b"rounds = 2", b"rounds = 3"),
        SMALL.replace(b"random-events", b"random-patch"),
        SMALL.replace(b"version = 1", b"version = 2"),
    ]
    digests = {parse_suite(content, "the suite").digest() for content in changed}
    assert len(digests | {suite.digest()}) == 6
    assert suite.model_copy(update={"summary": "other words"}).digest() == suite.digest()


def test_every_problem_is_told_with_its_place():
    content = b"""
name = "Bad Name"
version = "1"
speed = 3
[[cases]]
name = "one"
attck = "event-gradient"
threat = { max_edits = 5 }
parameters = { targeted = true }
seed = -1
"""
    with pytest.raises(InvalidInput) as caught:
        parse_suite(content, "the suite x.toml")
    text = str(caught.value)
    assert text.startswith("the suite x.toml is not valid")
    for place in ("name: ", "version: ", "speed: ", "cases.0.attack: Field required", "cases.0.attck: "):
        assert place in text
    assert "a threat needs its kind" in text
    assert "'targeted' is not a parameter here; write target = <number>" in text
    assert "cases.0.seed: " in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = ", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"x = " + b"[" * 5000, "is not TOML"),
        (b"#" * 70000, "is too long"),
        (
            SMALL.replace(b"rounds = 2", b"rounds = nan"),
            r"no text, number, list or table; found: cases\.0\.parameters\.rounds = nan; accepted",
        ),
        (
            SMALL.replace(b"rounds = 2", b"rounds = [1, 2020-01-01]").replace(b"craft = 4", b"craft = -inf"),
            r"found: craft = -inf; cases\.0\.parameters\.rounds\.1 = 2020-01-01 \(a date\)",
        ),
        (b'name = "empty"\nversion = 1\ncases = []', "at least one case"),
        (SMALL + SMALL[SMALL.index(b"[[cases]]") :], "two cases are named one"),
    ],
)
def test_bad_files_give_one_error(content, message):
    with pytest.raises(InvalidInput, match=message):
        parse_suite(content, "the suite")


def test_a_suite_may_be_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(SMALL)
    assert load_suite(str(path)) == load_suite(path) == read_suite(path)
    with pytest.raises(InvalidInput, match=r"cannot read the suite .*absent\.toml.*No such file"):
        load_suite(tmp_path / "absent.toml")


def test_names_are_looked_up_with_suggestions():
    with pytest.raises(UnknownName, match=r"unknown suite 'events-quik'.*did you mean events-quick"):
        load_suite("events-quik")
    with pytest.raises(UnknownName, match=r"unknown case of suite small 'on'.*did you mean one"):
        parse_suite(SMALL, "the suite").case("on")


def test_a_plugin_may_offer_a_suite_or_a_function_that_makes_one():
    suite = parse_suite(SMALL, "the suite")
    for target in (suite, lambda: suite):
        assert load_suite("small", Catalogue.of("suites", {"small": target})) == suite


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("art_spiking.suites:events-quick.toml", "found: events-quick; accepted: a Suite named 'small'"),
        ("art_spiking.suites:absent.toml", "cannot read suite 'small' of this program"),
        ("no_such_package:small.toml", "cannot read suite 'small' of this program"),
        (dict, "found: dict"),
    ],
)
def test_a_plugin_whose_suite_is_not_one_is_named(target, message):
    with pytest.raises(PluginError, match=message):
        load_suite("small", Catalogue.of("suites", {"small": target}))


def test_suites_do_not_change():
    suite = parse_suite(SMALL, "the suite")
    with pytest.raises(ValueError, match="frozen"):
        suite.craft = 5
    assert Suite.model_validate_json(suite.model_dump_json()) == suite
    assert Case.model_validate_json(suite.cases[0].model_dump_json()) == suite.cases[0]


def test_digests_do_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest_of({"a": float("nan")})


def test_fields_that_came_later_leave_older_digests_as_they_were():
    plain = Case(name="one", attack="event-gradient", threat={"kind": "event-edits", "max_edits": 5})
    assert not {"trust", "minutes"} & set(plain.model_dump(mode="json"))
    asked = plain.model_copy(update={"trust": True, "minutes": 5.0})
    form = asked.model_dump(mode="json")
    assert (form["trust"], form["minutes"]) == (True, 5.0)
    assert Case.model_validate_json(json.dumps(form)) == asked
