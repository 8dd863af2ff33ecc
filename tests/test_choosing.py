# SPDX-License-Identifier: MIT
"""The sweep over gradient paths: it finds a planted best, states what it chose, and refuses clearly."""

import copy

import attack_samples as samples
import host_samples as host
import numpy as np
import pytest
import spiking_stand_ins
import torch

from art_spiking.attacks import EventGradientAttack, SpikeRetiming, SpikingUniversalPerturbation
from art_spiking.attacks.choosing import CANDIDATES, Choice, strongest
from art_spiking.attacks.paths import attack_views, checked_surrogates
from art_spiking.cli.output import table
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import OwnSurrogateWarning, SpikingClassifier
from art_spiking.evaluate import evaluate
from art_spiking.gradient_paths import PATHS, Hart, Mixture, RateGradient
from art_spiking.surrogates import Atan, Gaussian, Triangle
from art_spiking.threats import EventEdits, Retiming

BEST, GOOD, BAD = Gaussian(0.5), Triangle(1.0), Atan(2.0)
WEAK = samples.planted_cells(30)


class _Steered(torch.autograd.Function):
    """The input as it is, its gradient times a factor per cell."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        (factor,) = ctx.saved_tensors
        return gradient * factor, None


class Planted(samples.WeakCells):
    """Its gradient is true under BEST, sees half of the weak cells under GOOD, and misleads under others."""

    def __init__(self, path=BAD) -> None:
        super().__init__(WEAK, 9.5)
        self.surrogate = path
        half = torch.zeros_like(WEAK)
        half[:3] = 1.0
        self.register_buffer(
            "factor", {BEST: torch.ones_like(WEAK), GOOD: half}.get(path, -torch.ones_like(WEAK))
        )

    def with_surrogate(self, path):
        if isinstance(path, RateGradient):
            raise InvalidInput("this network cannot have it")
        return Planted(path)

    def forward(self, x):
        return super().forward(_Steered.apply(x, self.factor))


@pytest.fixture
def planted():
    return SpikingClassifier(Planted(), input_shape=samples.SHAPE)


@pytest.fixture
def data():
    x = samples.recordings(8, rate=0.05)
    return x, np.zeros(len(x), np.int64)


def build_for(model, **options):
    return lambda path: EventGradientAttack(
        model, EventEdits(10, delete=False), steps=4, surrogate=path, **options
    )


def test_the_planted_best_is_found_and_the_rest_is_ranked(planted, data):
    choice = strongest(build_for(planted), *data, candidates=[BAD, GOOD, RateGradient(), BEST])
    assert choice.best == BEST
    assert [trial.path for trial in choice.ranking] == [BEST, GOOD, BAD]
    assert choice.ranking[0].fooled == 1.0
    assert choice.ranking[0].fooled > choice.ranking[1].fooled
    assert choice.ranking[1].lead > choice.ranking[2].lead
    assert choice.refused == (RateGradient(),)
    assert choice.samples == 8


def test_the_first_of_equal_candidates_is_chosen(planted, data):
    others = [Atan(1.0), Atan(4.0), Atan(0.5)]
    assert strongest(build_for(planted), *data, candidates=others).best == others[0]


def test_a_choice_is_plain_data(planted, data):
    stated = strongest(build_for(planted), *data, candidates=[GOOD, BEST]).to_dict()
    assert stated["surrogate"] == BEST.to_dict()
    assert [row["path"] for row in stated["ranking"]] == [BEST.to_dict(), GOOD.to_dict()]
    assert checked_surrogates(stated["surrogate"]) == [BEST]


def test_nothing_to_choose_from_is_refused(planted, data):
    for candidates in ([], [RateGradient()]):
        with pytest.raises(InvalidInput, match="no gradient path to choose from"):
            strongest(build_for(planted), *data, candidates=candidates)


def test_a_targeted_attack_is_ranked_by_its_targets(planted):
    x = np.maximum(samples.recordings(6, rate=0.02), 0)
    target = np.ones(len(x), np.int64)
    choice = strongest(build_for(planted, targeted=True), x, target, [BAD, BEST])
    assert choice.best == BEST
    assert choice.ranking[0].fooled > choice.ranking[1].fooled


class TestSweep:
    def test_tuning_takes_the_strongest_and_says_so(self, planted, data, monkeypatch):
        monkeypatch.setattr("art_spiking.attacks.choosing.strongest.__defaults__", ((GOOD, BEST, BAD),))
        attack = build_for(planted)("sweep")
        assert dict(attack.chosen) == {}
        attack.tune(*data)
        assert attack.surrogate == BEST
        assert attack.chosen["surrogate"] == BEST.to_dict()
        result = attack.generate(*data)
        assert (planted.predict(result).argmax(1) == 1).all()

    def test_an_attack_that_was_not_tuned_says_what_to_do(self, planted, data):
        with pytest.raises(InvalidInput, match="call tune"):
            build_for(planted)("sweep").generate(*data)

    def test_tuning_leaves_a_named_surrogate(self, planted, data):
        attack = build_for(planted)(GOOD)
        attack.tune(*data)
        assert attack.surrogate == GOOD
        assert dict(attack.chosen) == {}

    def test_a_network_without_an_exchangeable_one_keeps_its_own(self, data):
        model = samples.weak(WEAK, 9.5)
        attack = build_for(model)("sweep")
        attack.tune(*data)
        with pytest.warns(OwnSurrogateWarning):
            assert attack.generate(*data).shape == data[0].shape

    @pytest.mark.parametrize(
        ("kind", "threat"),
        [
            (EventGradientAttack, EventEdits(12)),
            (SpikeRetiming, Retiming(1)),
            (SpikingUniversalPerturbation, EventEdits(12, delete=False)),
        ],
    )
    def test_it_runs_on_a_spiking_network(self, kind, threat):
        model = SpikingClassifier(spiking_stand_ins.spiking_network(), input_shape=spiking_stand_ins.SHAPE)
        x, y = spiking_stand_ins.events(4)
        options = {"epochs": 1} if kind is SpikingUniversalPerturbation else {"steps": 2}
        attack = kind(model, threat, surrogate="sweep", **options)
        attack.tune(x, y)
        assert attack.surrogate in CANDIDATES
        assert len(attack.chosen["ranking"]) == len(CANDIDATES)
        assert attack.generate(x, y).shape == x.shape


def test_candidates_differ_and_are_known_by_name():
    assert len(set(CANDIDATES)) == len(CANDIDATES)
    assert {path.name for path in CANDIDATES} <= set(PATHS)


class TestWhatAttacksTake:
    def test_names_dicts_and_paths(self):
        assert checked_surrogates("hart") == [Hart()]
        assert checked_surrogates(["rga", {"name": "atan", "alpha": 3.0}, Mixture()]) == [
            RateGradient(),
            Atan(3.0),
            Mixture(),
        ]
        assert checked_surrogates(None) == checked_surrogates("sweep") == []

    def test_unknown_names_say_which_there_are(self):
        with pytest.raises(UnknownName, match="rga"):
            checked_surrogates("super")

    @pytest.mark.parametrize("wrong", [3, [], [Atan(), 3], ["sweep", Atan()]])
    def test_others_are_refused(self, wrong):
        with pytest.raises((InvalidInput, UnknownName)):
            checked_surrogates(wrong)

    def test_views_go_by_their_paths(self):
        model = SpikingClassifier(spiking_stand_ins.spiking_network(), input_shape=spiking_stand_ins.SHAPE)
        paths = [view.surrogate for view in attack_views(model, ["rga", Atan(5.0)])]
        assert paths == [RateGradient(), Atan(5.0)]


def test_the_table_says_what_was_chosen(planted, data):
    choice = strongest(build_for(planted), *data, candidates=[GOOD, BEST]).to_dict()
    (record,) = evaluate(
        host.classifier(), host.splits(), host.suite(host.case("first-cells")), providers=host.providers()
    )
    chose = record.model_copy(update={"chosen": choice})
    expected = "chose of 2 gradient paths, on 8 craft samples: gaussian(sigma=0.5), which fooled 1.00"
    assert expected in table([chose], width=200)
    for other in ({}, {"ranking": []}, {"ranking": [3], "samples": 1}, {"steps": 3}):
        assert "chose" not in table([record.model_copy(update={"chosen": other})])


def test_a_choice_can_be_copied(planted, data):
    choice = strongest(build_for(planted), *data, candidates=[BEST])
    assert isinstance(choice, Choice)
    assert copy.deepcopy(choice) == choice
