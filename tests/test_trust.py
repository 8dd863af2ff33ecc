# SPDX-License-Identifier: MIT
"""The trust battery: each check raises its doubt where it is due, with evidence, within its time."""

import host_samples
import masked_models
import numpy as np
import pytest
import torch

from art_spiking.estimators import BlackBoxEventClassifier
from art_spiking.threats import EventEdits, Linf, Retiming
from art_spiking.trust import CHECKS, by_attack, examine
from art_spiking.trust.by_attack import PLATEAU_STEPS
from art_spiking.trust.findings import Finding, Subject

THREAT = EventEdits(4)


def data(model, samples=12):
    x = host_samples.data("test", samples, seed=4).x
    return x, model.predict(x).argmax(1)


def found(model, threat=THREAT, **options):
    x, y = data(model)
    return {finding.check: finding for finding in examine(model, threat, x, y, **options).findings}


class Blind(masked_models.Around):
    """No gradient by any path: it goes through numpy."""

    def forward(self, x):
        return self.inner(torch.from_numpy(x.detach().cpu().numpy()))


def test_every_check_says_its_evidence_and_its_cost():
    findings = found(masked_models.unmasked())
    assert list(findings) == list(CHECKS)
    assert all(finding.code is None for finding in findings.values())
    assert "leave 0 of 12 samples right" in findings["unbounded"].text
    assert findings["transfer"].backwards > 0
    assert findings["black-box"].forwards > 12


def test_a_model_without_any_gradient_fails_what_gradients_must_pass():
    findings = found(masked_models.classifier(Blind(host_samples.network())))
    assert findings["unbounded"].code == "unbounded-fails"
    assert findings["unbounded"].value == 1.0
    assert findings["black-box"].code == "black-box-beats-white-box"
    assert "there is no gradient" in findings["differences"].text


def test_the_plateau_is_about_the_survivors():
    model = masked_models.unmasked()
    none = found(model, survivors=np.zeros(12, bool))["plateau"]
    assert none.text.startswith("no sample survived")
    # Said to have survived, whatever a short attack would have done with them.
    said = found(model, EventEdits(8), survivors=np.ones(12, bool))["plateau"]
    assert said.code == "more-steps-gain"
    assert said.samples == 8
    assert said.text.startswith(f"{PLATEAU_STEPS:,} gradient steps fool")


@pytest.mark.parametrize(
    ("robust", "samples", "code"),
    [(0.02, 16, None), (0.3, 16, "more-steps-gain"), (None, 16, None), (None, 8, "more-steps-gain")],
)
def test_one_of_few_survivors_that_more_steps_fool_is_no_doubt(monkeypatch, robust, samples, code):
    model = masked_models.unmasked()
    x, y = (torch.from_numpy(part) for part in data(model, samples))
    left = torch.arange(samples) == 5
    # Short attacks leave one, long ones none.
    monkeypatch.setattr(
        by_attack,
        "_by_gradients",
        lambda subject, x, y, steps: ~left if steps == 30 else torch.ones(len(x)) > 0,
    )
    survivors = None if robust is None else left
    subject = Subject(model, THREAT, x, y, survivors=survivors, robust=robust, random=False, seed=0)
    said = by_attack.plateau(subject)
    assert said.code == code
    assert "fool 1 of 1 samples" in said.text


def test_retiming_is_examined_too_and_other_threats_say_so():
    findings = found(masked_models.unmasked(), Retiming(1))
    assert "300 queries without gradients fool" in findings["black-box"].text
    findings = found(masked_models.classifier(Blind(host_samples.network())), Retiming(2, max_moved=30))
    assert findings["black-box"].code == "black-box-beats-white-box"
    findings = found(masked_models.unmasked(), Linf(0.5))
    assert findings["plateau"].text.startswith("does not apply")
    assert "serves this threat model" in findings["black-box"].text


@pytest.mark.parametrize("threat", [THREAT, Retiming(1)], ids=repr)
def test_of_a_black_box_no_check_by_gradients_applies(threat):
    model = masked_models.unmasked()
    box = BlackBoxEventClassifier(model.predict, model.input_shape, model.nb_classes)
    findings = found(box, threat)
    assert list(findings) == list(CHECKS)
    for finding in findings.values():
        assert finding.text == "does not apply: the model is a black box, which gives no gradients"
        assert finding.code is None


def test_what_the_time_does_not_allow_is_left_out():
    model = masked_models.unmasked()
    battery = examine(model, THREAT, *data(model), minutes=1e-9)
    assert battery.findings == ()
    assert [entry.split(":")[0] for entry in battery.left_out] == list(CHECKS)


def test_without_a_sample_that_is_right_there_is_nothing_to_examine():
    model = masked_models.unmasked()
    x, y = data(model)
    findings = examine(model, THREAT, x, (y + 1) % host_samples.CLASSES).findings
    assert {finding.text for finding in findings} == {"no sample is classified right without an attack"}


def test_the_model_and_torch_are_as_they_were():
    model = masked_models.unmasked()
    x, y = data(model)
    state = torch.random.get_rng_state()
    examine(model, THREAT, x, y)
    assert (model.queries.forwards, model.queries.backwards) == (12, 0)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("code", [None, "a-code"])
def test_a_finding_is_a_flag_where_it_raises_a_doubt(code):
    flag = Finding("check", "text", code, 0.5).flag()
    assert (flag is None) == (code is None)
