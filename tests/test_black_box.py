# SPDX-License-Identifier: MIT
"""A model of which only the answers are known, evaluated as any other: what runs, what the record says."""

import copy
import threading

import host_samples as samples
import numpy as np
import pytest

from art_spiking.estimators import BlackBoxEventClassifier
from art_spiking.evaluate import Providers, evaluate
from art_spiking.evaluate.settings import identify_model
from art_spiking.records import Record
from art_spiking.suites import Case


class Service:
    """Answers questions; it holds what cannot be copied."""

    def __init__(self):
        self.model = samples.classifier()
        self.lock = threading.Lock()

    def __call__(self, x):
        with self.lock:
            return self.model.predict(x)


def box() -> BlackBoxEventClassifier:
    return BlackBoxEventClassifier(Service(), samples.GRID.shape, samples.CLASSES)


def record_of(attack: str, threat: dict, **fields) -> Record:
    case = Case(name="one", attack=attack, threat=threat, **fields)
    given = {"splits": samples.splits(), "suite": samples.suite(case), "providers": Providers.installed()}
    (record,) = evaluate(box(), **given)
    return Record.model_validate_json(record.model_dump_json())


EDITS = {"kind": "event-edits", "max_edits": 20}
MOVES = {"kind": "retiming", "max_moved": 20}


@pytest.mark.parametrize(("threat", "member"), [(EDITS, "square"), (MOVES, "retiming square")])
def test_auto_spike_runs_what_needs_no_gradients_and_the_record_says_so(threat, member):
    record = record_of("auto-spike", threat, trust=True, seed=1)
    assert record.status == "ok"
    assert [one.name for one in record.ensemble.members] == [member]
    assert "black box" in record.ensemble.left_out[0].why
    assert "black-box" in {flag.code for flag in record.flags}
    assert "cut-short" not in {flag.code for flag in record.flags}
    assert {check.code for check in record.trust.checks} == {None}
    inapplicable = "does not apply: the model is a black box, which gives no gradients"
    assert sum(check.text == inapplicable for check in record.trust.checks) >= 5
    assert record.forwards > 0
    assert record.backwards == 0
    assert record.model.readout == "black-box"
    assert (record.footprint, record.activity, record.clean_activity) == (None, None, None)


@pytest.mark.parametrize(
    ("attack", "threat", "those"),
    [
        ("event-gradient", EDITS, ("auto-spike", "event-square", "event-greedy")),
        ("universal-perturbation", EDITS, ("event-square",)),
        ("minimal-edits", EDITS, ("event-square",)),
        ("spike-retiming", MOVES, ("auto-spike", "retiming-square", "random-retiming")),
    ],
)
def test_an_attack_that_needs_gradients_names_those_that_do_not(attack, threat, those):
    record = record_of(attack, threat)
    assert record.status == "error"
    assert "gives none" in record.failure.message
    for name in those:
        assert name in record.failure.message
    # What it lists must run: it needs gradients by default.
    assert "minimal-edits" not in record.failure.message


def test_minimal_edits_run_on_top_of_a_search():
    parameters = {"attack": "event-greedy", "parameters": {"queries": 50}}
    assert record_of("minimal-edits", EDITS, parameters=parameters).status == "ok"


def test_copies_ask_the_same_service_and_count_by_themselves():
    one = box()
    other = copy.deepcopy(one)
    x = samples.splits().test.x
    np.testing.assert_array_equal(other.predict(x), one.predict(x))
    other.predict(x)
    assert (one.queries.forwards, other.queries.forwards) == (8, 16)


def test_its_identity_is_its_name_and_shape():
    one, again, other = (identify_model(box(), name) for name in ("a", "a", "b"))
    assert one == again
    assert one.digest != other.digest
