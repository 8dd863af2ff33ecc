# SPDX-License-Identifier: MIT
"""Surrogates: their formulas, areas, round trips and refusals."""

import pickle

import pytest
import snntorch.surrogate
import torch

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.surrogates import (
    SURROGATES,
    Atan,
    FastSigmoid,
    Gaussian,
    Rectangle,
    Sigmoid,
    StraightThrough,
    Surrogate,
    Triangle,
    surrogate_from_dict,
)

EXAMPLES = [
    Atan(3.0),
    FastSigmoid(7.0, through_reset=True),
    Triangle(0.5),
    Rectangle(2.0),
    StraightThrough(through_reset=True),
    Gaussian(0.3),
    Sigmoid(3.0),
]
U = torch.linspace(-2, 2, 401, dtype=torch.float64)


def test_every_surrogate_has_an_example():
    assert {type(example) for example in EXAMPLES} == set(SURROGATES.values())


@pytest.mark.parametrize("surrogate", EXAMPLES, ids=repr)
class TestEverySurrogate:
    def test_survives_a_round_trip_as_data(self, surrogate: Surrogate):
        assert surrogate_from_dict(surrogate.to_dict()) == surrogate

    def test_survives_pickling_and_is_hashable(self, surrogate: Surrogate):
        assert len({surrogate, pickle.loads(pickle.dumps(surrogate))}) == 1

    def test_is_symmetric_and_nowhere_negative(self, surrogate: Surrogate):
        h = surrogate.derivative(U)
        assert h.shape == U.shape
        assert (h >= 0).all()
        assert torch.allclose(h, h.flip(0))

    def test_peaks_at_the_threshold(self, surrogate: Surrogate):
        h = surrogate.derivative(U)
        assert h[200] == h.max() > 0


@pytest.mark.parametrize(
    "surrogate", [Triangle(0.5), Rectangle(2.0), Gaussian(0.3), Atan(400.0), Sigmoid(9.0)], ids=repr
)
def test_area_under_a_density_is_one(surrogate: Surrogate):
    fine = torch.linspace(-3, 3, 600_001, dtype=torch.float64)
    assert torch.trapezoid(surrogate.derivative(fine), fine).item() == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Atan(2.0), snntorch.surrogate.atan(alpha=2.0)),
        (Atan(5.0), snntorch.surrogate.atan(alpha=5.0)),
        (FastSigmoid(25.0), snntorch.surrogate.fast_sigmoid(slope=25)),
        (Sigmoid(5.0), snntorch.surrogate.sigmoid(slope=5)),
        (StraightThrough(), snntorch.surrogate.straight_through_estimator()),
    ],
    ids=["atan", "atan-5", "fast-sigmoid", "sigmoid", "straight-through"],
)
def test_equals_snntorch(ours: Surrogate, theirs):
    u = U.float().requires_grad_()
    (gradient,) = torch.autograd.grad(theirs(u).sum(), u)
    assert torch.allclose(ours.derivative(u.detach()).float(), gradient, rtol=1e-5)


def test_values_by_hand():
    u = torch.tensor([-0.25, 0.0, 0.25, 1.0])
    assert Triangle(0.5).derivative(u).tolist() == [1.0, 2.0, 1.0, 0.0]
    assert Rectangle(0.5).derivative(u).tolist() == [0.0, 2.0, 0.0, 0.0]
    assert FastSigmoid(4.0).derivative(u).tolist() == pytest.approx([0.25, 1.0, 0.25, 0.04])


@pytest.mark.parametrize(
    ("u", "expected"),
    [
        (0.0, 1.0),
        (0.25, 0.7864477329659275),  # 4 e / (1 + e)^2 with e = exp(-1), by 40 digits
        (-0.25, 0.7864477329659275),
        (1.0, 0.07065082485316447),
        (-30.0, 3.0670592294888e-52),  # 4 exp(-120)
    ],
)
def test_values_of_the_sigmoid(u: float, expected: float):
    found = Sigmoid(4.0).derivative(torch.tensor(u, dtype=torch.float64)).item()
    assert found == pytest.approx(expected, rel=1e-13, abs=0)
    single = Sigmoid(4.0).derivative(torch.tensor(u)).item()
    assert single == pytest.approx(expected, rel=1e-5, abs=1e-37)


@pytest.mark.parametrize(
    ("surrogate", "primitive"),
    [
        (Sigmoid(6.0), lambda u: torch.sigmoid(6 * u)),
        (Atan(3.0), lambda u: torch.atan(torch.pi / 2 * 3 * u) / torch.pi),
        (Gaussian(0.4), lambda u: torch.erf(u / (0.4 * 2**0.5)) / 2),
    ],
    ids=["sigmoid", "atan", "gaussian"],
)
def test_is_the_derivative_of_its_primitive(surrogate: Surrogate, primitive):
    step = 1e-5
    difference = (primitive(U + step) - primitive(U - step)) / (2 * step)
    assert torch.allclose(surrogate.derivative(U), difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("u", [-1e4, -40.0, 40.0, 1e4])
def test_the_sigmoid_is_finite_far_from_the_threshold(u: float):
    """snnTorch's own formula divides infinity by infinity there."""
    assert torch.isfinite(Sigmoid(25.0).derivative(torch.tensor(u)))


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "2", None, True])
def test_refuses_a_number_that_is_not_above_zero(value):
    with pytest.raises(InvalidInput, match="alpha of surrogate 'atan'"):
        Atan(value)


def test_refuses_a_flag_that_is_not_one():
    with pytest.raises(InvalidInput, match="through_reset"):
        Atan(through_reset=1)  # type: ignore[arg-type]


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(UnknownName, match="atan, fast-sigmoid"):
        surrogate_from_dict({"name": "super"})


def test_an_unknown_field_is_named():
    with pytest.raises(InvalidInput, match=r"found: slope; accepted: .*alpha"):
        surrogate_from_dict({"name": "atan", "slope": 2.0})
