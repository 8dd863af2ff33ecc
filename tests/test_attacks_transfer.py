# SPDX-License-Identifier: MIT
"""The transfer matrix: every model's perturbation against every model."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import RandomUniversal, SpikingUniversalPerturbation, transfer_matrix
from art_spiking.errors import InvalidInput
from art_spiking.threats import EventEdits

THREAT = EventEdits(14, delete=False)
CRAFT, TEST = ((samples.recordings(40, seed=seed), np.zeros(40, np.int64)) for seed in (1, 2))


def attack(model):
    return SpikingUniversalPerturbation(model, THREAT)


def control(model):
    return RandomUniversal(model, THREAT)


def test_what_models_share_transfers_and_what_they_do_not_does_not():
    cells = samples.planted_cells(60)
    first, second = cells.clone(), cells.clone()
    first.view(-1)[torch.nonzero(cells.view(-1))[:, 0][:30]] = 0
    second.view(-1)[torch.nonzero(cells.view(-1))[:, 0][30:]] = 0
    models = {
        "first": samples.weak(first, bar=9.5),
        "its twin": samples.weak(first, bar=9.5),
        "second": samples.weak(second, bar=9.5),
    }
    found = transfer_matrix(models, attack, control, craft=CRAFT, test=TEST)
    assert found.names == ("first", "its twin", "second")
    assert (found.clean == 1.0).all()
    assert (found.control >= 0.9).all()
    assert (found.accuracy.diagonal() <= 0.1).all()
    assert found.accuracy[0, 1] == found.accuracy[0, 0]
    assert found.accuracy[0, 2] >= 0.9
    assert found.accuracy[2, 0] >= 0.9
    np.testing.assert_allclose(found.transferred.diagonal(), 1.0)
    assert found.transferred[1, 0] == pytest.approx(1.0)
    assert found.transferred[0, 2] <= 0.1


def test_rows_are_sources_and_columns_victims():
    # Whatever hits the strict model hits the lax one; not the other way round.
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0] = 0.5
    weights[0:3, 1, 2:6, 2:6] = 1.0
    lax, strict = samples.weak(weights, bar=34.0), samples.weak(weights - 0.5 * weights[:, :1], bar=6.0)
    found = transfer_matrix({"lax": lax, "strict": strict}, attack, control, craft=CRAFT, test=TEST)
    mask = attack(lax).fit(*CRAFT).apply(TEST[0], seed=0)
    expected = float((strict.predict(mask).argmax(1) == 0).mean())
    assert found.accuracy[0, 1] == expected


def test_a_model_that_nothing_costs_has_no_share():
    safe = samples.weak(samples.planted_cells(30), bar=1e6)
    found = transfer_matrix({"safe": safe}, attack, control, craft=CRAFT, test=TEST)
    assert np.isnan(found.transferred).all()


def test_no_models_and_other_shapes_are_refused():
    with pytest.raises(InvalidInput, match="needs models"):
        transfer_matrix({}, attack, control, craft=CRAFT, test=TEST)
    small = samples.weak(torch.ones((6, 2, 4, 4)), bar=3.0)
    with pytest.raises(InvalidInput):
        transfer_matrix({"small": small}, attack, control, craft=CRAFT, test=TEST)
