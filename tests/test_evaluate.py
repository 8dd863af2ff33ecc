# SPDX-License-Identifier: MIT
"""The evaluation: it trusts no attack, loses no case, and says what it did."""

from dataclasses import replace

import host_samples as samples
import numpy as np
import pytest
import torch
from art.preprocessing.preprocessing import PreprocessorPyTorch
from host_samples import CLASSES, GRID, case, classifier, providers, splits, suite

from art_spiking.attacks import EventGradientAttack
from art_spiking.errors import InvalidInput, InvalidModel, UnknownName
from art_spiking.evaluate import Splits, build_threat, evaluate, evaluate_case, prepare
from art_spiking.evaluate.settings import SCORING_BATCH
from art_spiking.inspection import sample_counts
from art_spiking.records import Footprint, Record
from art_spiking.registry import Catalogue
from art_spiking.threats import AllOf, EventEdits, PixelRate


def run(*cases, estimator=None, given=None, attacks=None, **options):
    found = evaluate(
        estimator or classifier(),
        given or splits(),
        suite(*cases),
        providers=providers(**(attacks or {})),
        **options,
    )
    return list(found)


def codes(record):
    return {flag.code for flag in record.flags}


def test_activity_is_counted_clean_and_under_attack():
    """Flipping the first cells changes what comes in, and what it costs; the size stays."""
    model, data = classifier(), splits()
    (record,) = run(case("first-cells"), estimator=model, given=data)
    x_adv = samples.FirstCells(model, None).generate(data.test.x.copy(), np.zeros(8, np.int64))
    for counted, x in ((record.clean_activity, data.test.x), (record.activity, x_adv)):
        found = sample_counts(model.network, torch.from_numpy(x))
        assert counted.spikes == tuple(found.spikes)
        assert counted.operations == tuple(found.operations)
        assert min(counted.operations) > 0
    assert record.activity != record.clean_activity
    weights = 4 * 2 * 9 + 4 + CLASSES * 4 * 36 + CLASSES
    assert record.footprint == Footprint(parameters=weights, bytes=4 * weights)
    assert record.forwards == 2.0, "counting is no query of the attack"


def test_the_last_layers_spikes_are_the_logits():
    """What is counted is what is scored: the same passes, layer by layer."""
    model, x = classifier(), torch.from_numpy(splits().test.x)
    last = list(model.network.activity(x).values())[-1]
    assert torch.equal(last.sum(1), model.predict_torch(x, batch_size=SCORING_BATCH))


def test_activity_is_counted_behind_the_defences():
    class Nothing(PreprocessorPyTorch):
        """Lets no event through."""

        def __init__(self):
            super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)

        def forward(self, x, y=None):
            return torch.zeros_like(x), y

        def estimate_gradient(self, x, grad):
            return grad

    plain, behind = (classifier(preprocessing_defences=each) for each in (None, Nothing()))
    data = splits()
    (record,) = run(case("first-cells"), estimator=behind, given=data)
    silent = sample_counts(plain.network, torch.zeros(1, *GRID.shape))
    assert set(record.clean_activity.operations) == set(silent.operations)


def test_a_model_that_nobody_can_look_into_has_no_activity():
    (record,) = run(case("first-cells"), estimator=classifier(Wrapper()))
    assert record.status == "ok"
    assert (record.clean_activity, record.activity) == (None, None)
    assert record.footprint.parameters > 0
    (code,) = run(case("first-cells"), estimator=classifier(Sums()))
    assert (code.status, code.footprint) == ("ok", None)


class Sums(torch.nn.Module):
    """A model without any parameter: the class of the third of the sensor with most events."""

    def forward(self, x):
        return x.sum((2, 4)).unflatten(2, (CLASSES, 2)).sum(3)


def test_a_case_is_attacked_scored_and_counted():
    model = classifier()
    (record,) = run(case("first-cells", control="nothing"), estimator=model)
    x = splits().test.x
    expected = model.predict(samples.FirstCells(model, None).generate(x.copy(), np.zeros(8, np.int64)))
    assert record.status == "ok"
    assert record.adversarial == tuple(expected.argmax(axis=1))
    assert record.labels == record.clean == record.control
    assert record.cost.own == tuple(x.reshape(8, -1).sum(axis=1).astype(int))
    assert {a + r for a, r in zip(record.cost.added, record.cost.removed, strict=True)} == {12}
    assert (record.forwards, record.backwards) == (2.0, 1.0)
    assert record.wall_seconds > 0
    assert Record.from_json(record.to_json()) == record


def test_provenance_says_with_what_it_was_made():
    (record,) = run(case("first-cells", control="nothing", seed=7), name="tiny")
    made = record.provenance
    assert record.model.name == "tiny"
    assert record.model.readout == "spike-count"
    assert record.model.semantics["reset"] == "subtract"
    assert record.case.seed == 7
    assert record.test.grid["dt_us"] == 1000
    assert made.providers == {
        "attack first-cells": "tests 1.0",
        "attack nothing": "tests 1.0",
        "threat event-edits": "this program",
    }
    assert made.packages["torch"] == __import__("importlib.metadata").metadata.version("torch")
    assert {"adversarial-robustness-toolbox", "numpy", "python"} <= set(made.packages)
    assert made.device == "cpu"
    assert made.started.endswith("+00:00")


def test_an_over_budget_attack_gives_an_invalid_record_without_a_number():
    (record,) = run(case("first-cells", parameters={"edits": 13}))
    assert record.status == "invalid"
    assert record.adversarial == ()
    assert codes(record) >= {"budget-violation"}
    (flag,) = [flag for flag in record.flags if flag.code == "budget-violation"]
    assert "8 of 8 samples" in flag.text
    assert flag.value == 13.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 0.5, "whole number"),
        (lambda x: x * 2, "binary"),
        (lambda x: -x, "negative"),
        (lambda x: np.full_like(x, np.nan), "finite"),
        (lambda x: x[:, :-1], "T"),
        (lambda x: x[:-1], "number of samples changed"),
        (lambda x: None, "no spike tensors"),
    ],
)
def test_what_is_no_spike_tensor_is_invalid(change, message):
    (record,) = run(case("returns"), attacks={"returns": samples.Returns(change)})
    assert record.status == "invalid"
    (text,) = [flag.text for flag in record.flags if flag.code == "invalid-sample"]
    assert message in text


def test_an_attack_can_change_neither_its_judge_nor_the_samples():
    model, given = classifier(), splits()
    before = (given.test.x.copy(), given.test.y.copy(), model.network.digest())
    cheating, honest = run(case("cheats"), case("first-cells"), estimator=model, given=given)
    assert cheating.status == "invalid"
    assert np.array_equal(given.test.x, before[0])
    assert np.array_equal(given.test.y, before[1])
    assert model.network.digest() == before[2]
    assert honest.clean == honest.labels


def test_an_exception_is_a_record_and_the_others_go_on():
    failed, unknown, fine = run(case("raises"), case("no-such-attack"), case("first-cells"))
    assert (failed.status, unknown.status, fine.status) == ("error", "error", "ok")
    assert failed.failure.type == "RuntimeError"
    assert failed.failure.message == "out of spikes"
    assert failed.failure.traceback[-1].startswith("host_samples.py:")
    assert all("/" not in line for line in failed.failure.traceback)
    assert "unknown attack 'no-such-attack'" in unknown.failure.message
    assert failed.adversarial == ()


def test_a_threat_that_cannot_be_built_is_a_record():
    (record,) = run(case("first-cells", threat={"kind": "event-edits", "max_edits": 0}))
    assert record.status == "error"
    assert "max_edits" in record.failure.message


def test_ctrl_c_passes_through_after_the_finished_records():
    found = evaluate(
        classifier(),
        splits(),
        suite(case("first-cells"), case("interrupted"), case("nothing")),
        providers=providers(),
    )
    assert next(found).status == "ok"
    with pytest.raises(KeyboardInterrupt):
        next(found)


def test_a_universal_attack_is_fitted_on_craft_and_scored_on_test():
    samples.Universal.fitted.clear()
    given = splits(craft=6, test=8)
    (record,) = run(case("universal"), given=given)
    ((x, y),) = samples.Universal.fitted
    assert np.array_equal(x, given.craft.x)
    assert np.array_equal(y, given.craft.y)
    assert len(record.adversarial) == 8
    assert record.forwards == 1.0


def test_craft_samples_that_are_the_test_samples_are_flagged():
    given = splits()
    (record,) = run(case("universal"), given=Splits(craft=given.test, test=given.test))
    assert "craft-is-test" in codes(record)


def with_late(data, *shares):
    return replace(data, late=np.array(shares))


def test_events_beyond_the_grid_are_flagged_from_one_percent_on():
    given = splits(craft=2, test=2)
    few = Splits(craft=with_late(given.craft, 0.01, 0.01), test=with_late(given.test, 0.0, 0.02))
    (record,) = run(case("first-cells"), given=few)
    assert "events-beyond-grid" not in codes(record)
    many = Splits(craft=given.craft, test=with_late(given.test, 0.0, 0.03))
    (record,) = run(case("first-cells"), given=many)
    (flag,) = [flag for flag in record.flags if flag.code == "events-beyond-grid"]
    assert flag.value == pytest.approx(0.015)
    assert "1.5% of the events of the test samples come after the grid's end at 5000 µs" in flag.text


class Asks(samples.FirstCells):
    """Asks for a spike derivative of its own."""

    def __init__(self, estimator, threat, *, surrogate="atan", seed=0):
        super().__init__(estimator, threat, seed=seed)
        self.surrogate = surrogate


class Wrapper(torch.nn.Module):
    """The network behind a plain module."""

    def __init__(self):
        super().__init__()
        self.inner = samples.network()

    def forward(self, x):
        return self.inner(x)


def test_a_surrogate_that_cannot_be_used_is_flagged():
    asks, asks_not = case("asks"), case("asks", name="own", parameters={"surrogate": None})
    wrapped = classifier(Wrapper())
    assert not wrapped.exchanges_surrogate
    plain, own = run(asks, asks_not, attacks={"asks": Asks}, estimator=wrapped)
    (flag,) = [flag for flag in plain.flags if flag.code == "own-surrogate"]
    assert "Wrapper has no with_surrogate(surrogate)" in flag.text
    assert "own-surrogate" not in codes(own)
    (record,) = run(asks, attacks={"asks": Asks})
    assert "own-surrogate" not in codes(record)


def test_the_packages_own_attacks_are_flagged_alike():
    found = run(
        case("event-gradient", parameters={"steps": 2}),
        estimator=classifier(Wrapper()),
        attacks={"event-gradient": EventGradientAttack},
    )
    assert "own-surrogate" in codes(found[0])


def test_a_sweep_chooses_on_the_craft_split_and_the_record_says_which():
    given = splits()
    swept, named = run(
        case("event-gradient", name="swept", parameters={"steps": 2, "surrogate": "sweep"}),
        case("event-gradient", name="named", parameters={"steps": 2, "surrogate": "hart"}),
        attacks={"event-gradient": EventGradientAttack},
        given=given,
    )
    assert swept.status == named.status == "ok"
    assert swept.case.parameters["surrogate"] == "sweep"
    assert swept.chosen["samples"] == len(given.craft.y)
    assert swept.chosen["surrogate"] == swept.chosen["ranking"][0]["path"]
    assert Record.from_json(swept.to_json()) == swept
    assert named.chosen == {}


def test_a_parameter_that_an_attack_does_not_take_is_named():
    wrong, target, fine = run(
        case("first-cells", parameters={"edit": 3}, control="nothing"),
        case("first-cells", name="aimed", target=1),
        case("first-cells", name="fine", parameters={"edits": 3}),
    )
    assert wrong.failure.type == "InvalidInput"
    assert "'first-cells' takes no such parameter; asked: edit; accepted: edits" in wrong.failure.message
    assert "did you mean edits?" in wrong.failure.message
    assert "cannot be targeted" in target.failure.message
    assert fine.status == "ok"


def test_a_target_reaches_attack_and_score_alike():
    samples.Targeted.seen.clear()
    (record,) = run(case("targeted", target=2, control="nothing"))
    ((targeted, y),) = samples.Targeted.seen
    assert targeted is True
    assert set(y) == {2}
    assert record.labels == tuple(int(label) for label in splits().test.y)


def test_the_control_of_a_targeted_case_knows_no_target():
    samples.Targeted.seen.clear()
    run(
        case("nothing", target=2, control="targeted"),
        attacks={"nothing": lambda *a, targeted, seed: samples.Nothing(*a)},
    )
    ((targeted, y),) = samples.Targeted.seen
    assert targeted is False
    assert np.array_equal(y, splits().test.y)


def test_a_control_as_strong_as_the_attack_is_flagged():
    weak, strong = run(
        case("nothing", name="weak", control="first-cells"), case("first-cells", control="nothing")
    )
    assert "control-as-strong" in codes(weak)
    assert any(a != b for a, b in zip(strong.labels, strong.adversarial, strict=True))
    assert "control-as-strong" not in codes(strong)


def test_an_invalid_control_lends_no_number():
    (record,) = run(case("first-cells", control="cheats"))
    assert record.status == "ok"
    assert record.control == ()
    assert "control-invalid" in codes(record)


def test_the_suite_limits_the_samples():
    found = list(
        evaluate(
            classifier(),
            splits(craft=6, test=8),
            suite(case("first-cells"), craft=2, test=3),
            providers=providers(),
        )
    )
    assert (found[0].craft.samples, found[0].test.samples) == (2, 3)


def test_only_the_named_cases_run():
    (record,) = run(case("first-cells"), case("nothing"), cases=["nothing"])
    assert record.case.name == "nothing"
    with pytest.raises(UnknownName, match=r"unknown case of suite small 'nothin'.*did you mean nothing"):
        run(case("nothing"), cases=["nothin"])


def test_adversarial_samples_are_handed_to_the_caller():
    kept = []
    run(
        case("first-cells"),
        case("cheats"),
        on_adversarial=lambda record, x, x_adv: kept.append((record.case.name, x, x_adv)),
    )
    ((name, x, x_adv),) = kept
    assert name == "first-cells"
    assert np.array_equal((x != x_adv).reshape(8, -1).sum(axis=1), np.full(8, 12))


def test_samples_of_another_shape_are_refused_before_any_work():
    other = classifier(samples.network())
    wrong = samples.EventData(
        np.zeros((2, 4, 2, 6, 6), np.float32), np.zeros(2, np.int64), samples.Grid(4, 1000, 6, 6), "n", "test"
    )
    with pytest.raises(InvalidInput, match=r"do not fit the model.*\(5, 2, 6, 6\).*\(4, 2, 6, 6\)"):
        prepare(other, Splits(craft=wrong, test=wrong), suite(case("nothing")), providers=providers())


def test_labels_beyond_the_classes_are_refused():
    given = splits()
    bad = samples.EventData(given.test.x, given.test.y * 0 + 9, samples.GRID, "noise", "test")
    with pytest.raises(InvalidInput, match=r"labels of the test samples of noise.*9 to 9.*0 to 2"):
        prepare(classifier(), Splits(given.craft, bad), suite(case("nothing")), providers=providers())


def test_a_model_that_returns_nan_is_refused():
    model = classifier()
    with torch.no_grad():
        next(iter(model.network.parameters())).fill_(float("nan"))

    class Broken(torch.nn.Module):
        def forward(self, x):
            return x.flatten(2)[:, :, :3] * float("nan")

    with pytest.raises(InvalidModel, match="NaN"):
        prepare(classifier(Broken()), splits(), suite(case("nothing")), providers=providers())


def test_the_same_case_twice_gives_the_same_outcome():
    setting = prepare(classifier(), splits(), suite(case("first-cells")), providers=providers())
    first, second = (evaluate_case(setting, setting_case) for setting_case in [case("first-cells")] * 2)
    assert first.key() == second.key()
    assert first.adversarial == second.adversarial
    assert first.cost == second.cost


def test_keys_tell_models_readouts_and_data_apart():
    def key(estimator, given):
        chosen = suite(case("nothing"))
        (record,) = evaluate(estimator, given, chosen, providers=providers(), name="x")
        return record.key()

    keys = {
        key(classifier(), splits()),
        key(classifier(samples.network(seed=5)), splits()),
        key(classifier(readout="membrane-mean"), splits()),
        key(classifier(samples.network().with_semantics("sinabs")), splits()),
        key(classifier(), splits(test=5)),
        key(classifier(), splits(craft=5)),
    }
    assert len(keys) == 6


THREATS = Catalogue.of("threats", {"event-edits": EventEdits, "pixel-rate": PixelRate})


def test_threats_get_the_step_width_of_the_data():
    built = build_threat({"kind": "pixel-rate", "max_rate_hz": 50.0}, THREATS, dt_us=2000)
    assert built == PixelRate(max_rate_hz=50.0, dt_us=2000)
    stated = build_threat({"kind": "pixel-rate", "max_rate_hz": 50.0, "dt_us": 500}, THREATS, dt_us=2000)
    assert stated == PixelRate(max_rate_hz=50.0, dt_us=500)


def test_threats_join():
    members = [{"kind": "event-edits", "max_edits": 5}, {"kind": "pixel-rate", "max_rate_hz": 50.0}]
    built = build_threat({"kind": "all-of", "members": members}, THREATS, dt_us=2000)
    assert isinstance(built, AllOf)
    assert [type(member) for member in built.members] == [EventEdits, PixelRate]


def test_an_unknown_threat_gets_a_suggestion():
    with pytest.raises(UnknownName, match=r"unknown threat 'event-edit'.*did you mean event-edits"):
        build_threat({"kind": "event-edit", "max_edits": 5}, THREATS, dt_us=1000)


def test_an_attack_cannot_loosen_the_threat_model_it_is_checked_with():
    record, _ = run(case("bad"), case("first-cells"), attacks={"bad": samples.Loosens})
    assert record.status == "invalid"
    assert "budget-violation" in codes(record)


def test_an_attack_that_exits_costs_only_its_own_case():
    record, other = run(case("bad"), case("first-cells"), attacks={"bad": samples.Exits})
    assert (record.status, other.status) == ("error", "ok")
    assert record.failure is not None and record.failure.type == "SystemExit"


def test_an_attack_cannot_change_what_is_global_for_the_next_case():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    run(case("bad"), attacks={"bad": samples.Meddles})
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
