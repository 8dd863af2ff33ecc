# SPDX-License-Identifier: MIT
"""Threat models: projections are feasible, idempotent, and leave alone what is allowed; checks agree."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.threats import (
    AllOf,
    EventEdits,
    EventThreat,
    Linf,
    PatchRegion,
    PixelRate,
    Violation,
    threat_from_dict,
)

DT = 1_000


@st.composite
def event_edits(draw: st.DrawFn) -> EventEdits:
    insert, delete = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    return EventEdits(
        draw(st.one_of(st.integers(1, 12), st.floats(0.05, 1.0))),
        insert=insert,
        delete=delete,
        max_count=draw(st.integers(1, 3)),
        refractory_us=draw(st.sampled_from([None, 300, 500, 1000, 1001, 2000, 2500, 9000])),
        polarity=draw(st.sampled_from(["free", "on", "off", "same"])),
        dt_us=DT,
    )


rates = st.builds(PixelRate, st.sampled_from([100.0, 170.0, 400.0, 1000.0]), st.just(DT))
patches = st.builds(
    PatchRegion, st.sampled_from([0.1, 0.3, 0.5, 1.0]), st.integers(1, 2), st.booleans(), st.just(True)
)
single = st.one_of(event_edits(), rates, patches)
conjunctions = st.lists(single, min_size=2, max_size=3).map(lambda members: AllOf(tuple(members)))
event_threats = st.one_of(single, conjunctions)


@st.composite
def batches(draw: st.DrawFn, shape: tuple[int, ...] = (2, 6, 2, 4, 4)) -> tuple[torch.Tensor, torch.Tensor]:
    """A clean batch of counts, and a wish: soft, near it, or far off."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = draw(st.integers(1, 3))
    clean = (rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 0.8]))) * rng.integers(1, most + 1, shape)
    kind = draw(st.sampled_from(["soft", "hard", "far", "ties", "bad"]))
    if kind == "soft":
        wish = clean + rng.normal(0, 0.3, shape)
    elif kind == "far":
        wish = clean + rng.normal(0, 5, shape)
    elif kind == "hard":
        wish = np.maximum(clean + rng.integers(-1, 2, shape) * (rng.random(shape) < 0.1), 0)
    elif kind == "ties":
        wish = clean + rng.integers(-2, 3, shape) / 2
    else:
        special = rng.choice([np.nan, np.inf, -np.inf, 1e30], shape)
        wish = np.where(rng.random(shape) < 0.1, special, clean)
    return torch.tensor(wish, dtype=torch.float32), torch.tensor(clean, dtype=torch.float32)


@settings(max_examples=300, deadline=None)
@given(event_threats, batches())
def test_projection_is_feasible_and_idempotent(
    threat: EventThreat, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    wish, clean = batch
    kept_wish, kept_clean = wish.clone(), clean.clone()
    projected = threat.project(wish, clean)
    assert threat.violations(projected, clean) == []
    assert torch.equal(threat.project(projected, clean), projected)
    assert torch.equal(threat.project(wish, clean), projected), "not deterministic"
    assert torch.equal(clean, kept_clean)
    assert torch.equal(wish.nan_to_num(), kept_wish.nan_to_num())
    for i in range(len(clean)):
        alone = threat.project(wish[i : i + 1], clean[i : i + 1])
        assert torch.equal(alone, projected[i : i + 1]), "a sample's projection depends on its batch"


@settings(max_examples=300, deadline=None)
@given(event_threats, batches())
def test_violations_are_empty_exactly_where_projection_moves_nothing(
    threat: EventThreat, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    wish, clean = batch
    unmoved = [torch.equal(a, b) for a, b in zip(threat.project(wish, clean), wish, strict=True)]
    broken = {violation.sample for violation in threat.violations(wish, clean)}
    assert unmoved == [i not in broken for i in range(len(clean))]


@settings(max_examples=150, deadline=None)
@given(event_threats, st.data())
def test_subsets_of_edits_are_judged_alike_by_projection_and_violations(
    threat: EventThreat, data: st.DataObject
) -> None:
    """Near the border: a feasible batch with a few more edits, feasible or not."""
    wish, clean = data.draw(batches())
    near = threat.project(wish, clean)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    change = torch.tensor(rng.integers(-1, 2, near.shape) * (rng.random(near.shape) < 0.01))
    near = (near + change).clamp(min=0)
    unmoved = torch.equal(threat.project(near, clean), near)
    assert unmoved == (threat.violations(near, clean) == [])


@settings(max_examples=60, deadline=None)
@given(event_threats, batches((1, 3, 2, 4, 4)))
def test_allowed_cells_are_those_that_may_be_edited_alone(
    threat: EventThreat, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    _, clean = batch
    insertable, deletable = threat.allowed(clean)
    for index in itertools.product(*map(range, clean.shape)):
        edited = clean.clone()
        edited[index] += 1
        assert bool(insertable[index]) == (threat.violations(edited, clean) == [])
        edited[index] -= 2
        assert bool(deletable[index]) == (threat.violations(edited, clean) == [])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 6), st.sampled_from([(True, True), (True, False), (False, True)]), batches((1, 3, 2, 2, 2))
)
def test_event_edits_keep_the_best_edits_there_are(
    budget: int, flags: tuple[bool, bool], batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Against all subsets of edits on a binary grid: none has a larger sum of wishes."""
    wish, clean = batch[0].nan_to_num(0, 9, -9).clamp(-9, 9), batch[1].clamp(max=1)
    change = (wish - clean).numpy().ravel()
    insert, delete = flags
    possible = [
        abs(d)
        for d, c in zip(change, clean.numpy().ravel(), strict=True)
        if (d > 0 and insert and not c) or (d < 0 and delete and c)
    ]
    best = (
        max(
            math.fsum(subset)
            for size in range(budget + 1)
            for subset in itertools.combinations(possible, min(size, len(possible)))
        )
        if len(possible) <= 12
        else math.fsum(sorted(possible)[-budget:])
    )
    projected = EventEdits(budget, insert=insert, delete=delete).project(wish, clean).numpy().ravel()
    edited = projected != clean.numpy().ravel()
    assert math.isclose(math.fsum(np.abs(change[edited])), best, rel_tol=1e-6)


@settings(max_examples=150, deadline=None)
@given(event_edits(), batches((1, 5, 2, 1, 2)))
def test_a_refractory_insertion_is_dropped_only_for_a_reason(
    threat: EventEdits, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """No edit that was asked for and dropped could be made after all: the projection is maximal."""
    wish, clean = batch
    projected = threat.project(wish, clean)
    change = (wish - clean).nan_to_num(0, 9, -9)
    assert bool(((projected - clean) * change >= 0).all()), "an edit against the wish"
    for index in torch.nonzero((projected == clean) & (change != 0)).tolist():
        edited = projected.clone()
        edited[tuple(index)] += change[tuple(index)].sign()
        assert threat.violations(edited, clean), f"{index} was dropped without need"


def greedy(wish: np.ndarray, clean: np.ndarray, gap: int) -> np.ndarray:
    """Insertions one at a time, the strongest first, for one pixel (T,) of one polarity."""
    result = clean.copy()
    for step in sorted(range(len(wish)), key=lambda k: (-wish[k], k)):
        near = result[max(0, step - gap + 1) : step + gap]
        if wish[step] > 0 and not near.any():
            result[step] = 1
    return result


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_refractory_projection_is_the_greedy_one(seed: int, gap: int) -> None:
    rng = np.random.default_rng(seed)
    clean = (rng.random((3, 20)) < 0.1).astype(np.float32)
    wish = np.where(clean > 0, 0, rng.integers(0, 6, clean.shape)).astype(np.float32) / 8
    threat = EventEdits(20, delete=False, refractory_us=gap * DT, dt_us=DT)
    batch = torch.tensor(clean)[:, :, None, None, None]
    projected = threat.project(batch + torch.tensor(wish)[:, :, None, None, None], batch)
    expected = np.stack([greedy(w, c, gap) for w, c in zip(wish, clean, strict=True)])
    np.testing.assert_array_equal(projected.numpy()[:, :, 0, 0, 0], expected)


def one_pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1, 1)


def test_a_budget_that_cuts_a_deletion_goes_to_the_next_best_edit() -> None:
    clean = one_pixel(0, 1, 0, 0, 0)
    wish = one_pixel(0.9, 0.9, 0, 0, 0.2)  # the best insertion needs a deletion that is wanted least
    threat = EventEdits(1, refractory_us=2 * DT, dt_us=DT)
    assert threat.project(wish, clean).flatten().tolist() == [0, 1, 0, 0, 1]
    assert dataclasses.replace(threat, max_edits=2).project(wish, clean).flatten().tolist() == [0, 0, 0, 0, 1]
    assert dataclasses.replace(threat, max_edits=3).project(wish, clean).flatten().tolist() == [1, 0, 0, 0, 1]
    only_deletion = one_pixel(0.9, 0.9, 0, 0, 0)
    assert threat.project(only_deletion, clean).flatten().tolist() == [0, 0, 0, 0, 0]


def test_a_conjunction_ends_where_all_members_agree() -> None:
    """The second budget cuts the deletion that the first one's insertion needs."""
    clean, wish = one_pixel(0, 1, 0, 0, 0), one_pixel(0.9, 0.9, 0, 0, 0)
    both = EventEdits(2, refractory_us=2 * DT, dt_us=DT) & EventEdits(1)
    projected = both.project(wish, clean)
    assert both.violations(projected, clean) == []
    assert torch.equal(both.project(projected, clean), projected)


def test_nan_asks_for_nothing_and_infinity_for_most() -> None:
    clean = one_pixel(0, 0, 1, 1, 0)
    wish = one_pixel(math.nan, math.inf, math.nan, -math.inf, 0.3)
    assert EventEdits(2).project(wish, clean).flatten().tolist() == [0, 1, 1, 0, 0]
    assert EventEdits(5).project(wish, clean).flatten().tolist() == [0, 1, 1, 0, 1]


def test_equal_wishes_go_to_the_first_cells() -> None:
    clean = torch.zeros(1, 3, 1, 1, 3)
    projected = EventEdits(4).project(clean + 0.25, clean)
    assert projected.flatten().tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0]


def test_kept_events_stay_where_a_recording_breaks_the_rules_itself() -> None:
    clean = torch.zeros(1, 4, 2, 1, 2)
    clean[0, :, :, 0, 0] = 5  # a hot pixel: every step, both polarities, above max_count
    threat = EventEdits(1, refractory_us=3000, dt_us=DT)
    assert threat.violations(clean, clean) == []
    assert torch.equal(threat.project(clean, clean), clean)
    wish = clean.clone()
    wish[0, 1, 0, 0, 1] += 1
    assert torch.equal(threat.project(wish, clean), wish)


def test_a_refractory_period_counts_both_polarities_and_the_other_insertions() -> None:
    clean = torch.zeros(1, 4, 2, 1, 1)
    clean[0, 0, 0] = 1
    threat = EventEdits(3, refractory_us=2000, dt_us=DT)
    too_close = clean.clone()
    too_close[0, 1, 1] = 1
    (found,) = threat.violations(too_close, clean)
    assert (found.rule, found.limit, found.found) == ("refractory", 2000, 1000)
    assert "1000 µs" in found.text and "2000 µs" in found.text
    far = clean.clone()
    far[0, 2, 1] = 1
    assert threat.violations(far, clean) == []
    moved = too_close.clone()
    moved[0, 0, 0] = 0
    assert threat.violations(moved, clean) == []


def test_events_within_a_step_are_limited_by_the_refractory_period() -> None:
    clean = torch.zeros(1, 2, 2, 1, 1)
    clean[0, 0, 0] = 2
    threat = EventEdits(9, max_count=9, refractory_us=300, dt_us=DT)  # three fit in a step
    full, over = clean.clone(), clean.clone()
    full[0, 0, 1] = 1
    over[0, 0, 1] = 2
    assert threat.violations(full, clean) == []
    (found,) = threat.violations(over, clean)
    assert (found.rule, found.limit, found.found) == ("refractory", 3, 4)
    assert torch.equal(threat.project(over, clean), full)


def test_a_share_is_of_the_samples_own_events() -> None:
    clean = torch.zeros(2, 1, 1, 10, 10)
    clean[0] = 1
    clean[1, ..., :5, :] = 1
    for share, edits in ((0.29, [29, 14]), (0.59, [59, 29])):  # 0.29 * 100 is 28.999... in floating point
        threat = EventEdits(share)
        assert threat.cost(threat.project(1 - clean, clean), clean).edits.tolist() == edits


def test_cost_counts_by_direction() -> None:
    clean = torch.tensor([[1.0, 0, 2, 0]]).view(1, 1, 1, 1, 4)
    edited = torch.tensor([[0.0, 1, 0, 3]]).view(1, 1, 1, 1, 4)
    for a, b in ((edited, clean), (edited.numpy(), clean.numpy())):
        cost = EventEdits(9).cost(a, b)
        assert [f.tolist() for f in (cost.added, cost.removed, cost.moved, cost.own, cost.edits)] == [
            [4],
            [3],
            [0],
            [3],
            [7],
        ]
        assert cost.added.dtype == np.int64
    with pytest.raises(InvalidInput, match="not finite"):
        EventEdits(1).cost(edited * torch.nan, clean)
    with pytest.raises(InvalidInput, match="shape"):
        EventEdits(1).cost(edited[:, 0], clean)


CLEAN = np.zeros((2, 3, 2, 4, 4), dtype=np.float32)
CLEAN[:, 0, 0, 0, 0] = 1


def edited(*cells: tuple[tuple[int, ...], float]) -> np.ndarray:
    result = CLEAN.copy()
    for index, value in cells:
        result[index] = value
    return result


@pytest.mark.parametrize(
    ("threat", "batch", "rule", "sample"),
    [
        (EventEdits(1), edited(((1, 1, 1, 1, 1), np.nan)), "finite", 1),
        (EventEdits(1), edited(((1, 1, 1, 1, 1), np.inf)), "finite", 1),
        (EventEdits(1), edited(((0, 1, 1, 1, 1), -1)), "negative", 0),
        (EventEdits(1), edited(((0, 1, 1, 1, 1), 0.5)), "whole", 0),
        (EventEdits(9), edited(((0, 1, 1, 1, 1), 2)), "max_count", 0),
        (PatchRegion(1.0, max_count=2), edited(((0, 1, 1, 1, 1), 1e30)), "max_count", 0),
        (EventEdits(1), edited(((1, 1, 1, 1, 1), 1), ((1, 0, 0, 0, 0), 0)), "budget", 1),
        (EventEdits(9, insert=False), edited(((1, 1, 1, 1, 1), 1)), "insert", 1),
        (EventEdits(9, delete=False), edited(((1, 0, 0, 0, 0), 0)), "delete", 1),
        (EventEdits(9, polarity="on"), edited(((1, 0, 0, 1, 1), 1)), "polarity", 1),
        (EventEdits(9, polarity="off"), edited(((1, 0, 1, 1, 1), 1)), "polarity", 1),
        (EventEdits(9, polarity="same"), edited(((1, 1, 1, 0, 0), 1)), "polarity", 1),
        (EventEdits(9, refractory_us=2000, dt_us=DT), edited(((1, 1, 0, 0, 0), 1)), "refractory", 1),
        (PixelRate(400, DT), edited(((0, 1, 0, 0, 0), 1), ((0, 2, 1, 0, 0), 1)), "pixel_rate", 0),
        (PatchRegion(0.3), edited(((0, 1, 0, 0, 0), 1), ((0, 2, 1, 2, 0), 1)), "region", 0),
        (PatchRegion(0.3, insert=False), edited(((0, 1, 0, 0, 0), 1)), "insert", 0),
        (PatchRegion(0.3, delete=False), edited(((0, 0, 0, 0, 0), 0)), "delete", 0),
        (PatchRegion(0.3), edited(((0, 1, 0, 0, 0), 2)), "max_count", 0),
        (Linf(0.1), edited(((0, 1, 0, 0, 0), 0.2)), "eps", 0),
        (Linf(0.1), edited(((0, 1, 0, 0, 0), -0.05)), "low", 0),
        (Linf(0.1), edited(((1, 0, 0, 0, 0), 1.05)), "high", 1),
        (Linf(0.1), edited(((1, 0, 0, 0, 0), np.nan)), "finite", 1),
        (EventEdits(1), CLEAN[:, :2], "shape", -1),
        (EventEdits(1), CLEAN[:1], "shape", -1),
        (Linf(1), CLEAN[:1], "shape", -1),
        (EventEdits(1), CLEAN.astype(str), "dtype", -1),
    ],
)
def test_each_rule_is_reported(threat: EventThreat, batch: np.ndarray, rule: str, sample: int) -> None:
    (found,) = threat.violations(batch, CLEAN)
    assert isinstance(found, Violation)
    assert (found.rule, found.sample) == (rule, sample)
    assert found.text.startswith(f"sample {sample}: " if sample >= 0 else "the batch")


def test_counts_in_the_recording_may_exceed_max_count() -> None:
    clean = np.full((1, 2, 2, 2, 2), 3.0)
    fewer = clean.copy()
    fewer[0, 0, 0, 0, 0] = 2  # still above max_count, and nothing was inserted
    assert EventEdits(1).violations(fewer, clean) == []


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 2.0), batches((2, 3, 1, 2, 2)), st.booleans())
def test_linf(eps: float, batch: tuple[torch.Tensor, torch.Tensor], double: bool) -> None:
    wish, clean = (t.to(torch.float64 if double else torch.float32) for t in batch)
    threat = Linf(eps, 0.0, 3.0)
    projected = threat.project(wish, clean)
    assert threat.violations(projected, clean) == []
    assert torch.equal(threat.project(projected, clean), projected)
    assert bool((projected - clean).abs().max() <= eps + 1e-6)
    unmoved = [torch.equal(a, b) for a, b in zip(threat.project(wish, clean), wish, strict=True)]
    broken = {violation.sample for violation in threat.violations(wish, clean)}
    assert unmoved == [i not in broken for i in range(len(clean))]


def test_linf_needs_a_clean_batch_in_range() -> None:
    with pytest.raises(InvalidInput, match="range"):
        Linf(0.1).project(torch.full((1, 2), 2.0), torch.full((1, 2), 2.0))
    with pytest.raises(InvalidInput, match="range"):
        Linf(0.1).violations(torch.full((1, 2), 2.0), torch.full((1, 2), 2.0))


def test_the_patch_goes_where_the_wishes_are_strongest() -> None:
    clean = torch.zeros(2, 2, 1, 4, 4)
    wish = clean.clone()
    wish[0, 0, 0, 0, 0] = 0.4
    wish[0, :, 0, 2:, 1:3] = 0.2
    wish[1, 1, 0, 0, 3] = 0.1
    projected = PatchRegion(0.25).project(wish, clean)
    assert projected[0].sum() == 8 and projected[0, 0, 0, 0, 0] == 0
    assert projected[1].sum() == 1 and projected[1, 1, 0, 0, 3] == 1


def test_a_conjunction_spends_no_budget_on_what_another_rule_forbids() -> None:
    clean = torch.zeros(1, 4, 1, 6, 6)
    wish = torch.rand(clean.shape, generator=torch.Generator().manual_seed(0))
    both = EventEdits(10) & PatchRegion(0.12)
    assert both.cost(both.project(wish, clean), clean).edits.tolist() == [10]
    assert torch.equal(both.project(wish, clean), (PatchRegion(0.12) & EventEdits(10)).project(wish, clean))
    three = both & PixelRate(1e6 / DT / 4, DT)
    assert isinstance(three, AllOf) and len(three.members) == 3


def test_data_without_a_sensor() -> None:
    clean = torch.zeros(2, 5, 7)
    wish = torch.rand(clean.shape, generator=torch.Generator().manual_seed(0))
    threat = EventEdits(3, refractory_us=2 * DT, dt_us=DT)
    projected = threat.project(wish, clean)
    assert projected.shape == clean.shape and projected.flatten(1).sum(1).tolist() == [3, 3]
    assert threat.violations(projected, clean) == []
    assert [part.shape for part in threat.allowed(clean)] == [clean.shape] * 2


def test_dtype_and_gradient_stay_with_the_clean_batch() -> None:
    clean = torch.zeros(1, 2, 1, 2, 2, dtype=torch.float64)
    wish = torch.rand(1, 2, 1, 2, 2, requires_grad=True)
    projected = EventEdits(2).project(wish, clean)
    assert projected.dtype == torch.float64 and not projected.requires_grad


def test_an_empty_batch_projects_to_itself() -> None:
    empty = torch.zeros(0, 2, 1, 2, 2)
    assert EventEdits(2).project(empty, empty).shape == empty.shape


@pytest.mark.parametrize(
    "make",
    [
        lambda: EventEdits(0),
        lambda: EventEdits(-5),
        lambda: EventEdits(0.0),
        lambda: EventEdits(1.5),
        lambda: EventEdits(True),
        lambda: EventEdits(math.nan),
        lambda: EventEdits(3, insert=False, delete=False),
        lambda: EventEdits(3, insert=1),  # type: ignore[arg-type]
        lambda: EventEdits(3, max_count=0),
        lambda: EventEdits(3, refractory_us=1000),
        lambda: EventEdits(3, refractory_us=0, dt_us=1000),
        lambda: EventEdits(3, polarity="both"),  # type: ignore[arg-type]
        lambda: PixelRate(0, 1000),
        lambda: PixelRate(math.inf, 1000),
        lambda: PixelRate(10, 0),
        lambda: PatchRegion(0),
        lambda: PatchRegion(1.2),
        lambda: PatchRegion(0.5, insert=False, delete=False),
        lambda: Linf(0),
        lambda: Linf(0.1, 1.0, 0.0),
        lambda: AllOf((EventEdits(3),)),
        lambda: AllOf((EventEdits(3), Linf(0.1))),  # type: ignore[arg-type]
    ],
)
def test_bad_parameters_are_refused(make: object) -> None:
    with pytest.raises(InvalidInput):
        make()  # type: ignore[operator]


def test_threats_that_do_not_fit_the_batch_are_refused() -> None:
    clean = torch.zeros(1, 2, 1, 2, 2)
    with pytest.raises(InvalidInput, match=r"larger than the input.*8 cells.*lower max_edits"):
        EventEdits(9).project(clean, clean)
    with pytest.raises(InvalidInput, match="larger than the input"):
        EventEdits(9).violations(clean, clean)
    assert EventEdits(9, max_count=2).violations(clean, clean) == []
    with pytest.raises(InvalidInput, match="two polarity channels"):
        EventEdits(1, polarity="on").project(clean, clean)
    with pytest.raises(InvalidInput, match="two polarity channels"):
        EventEdits(1, polarity="on").violations(clean, clean)
    with pytest.raises(InvalidInput, match="a side of 0"):
        PatchRegion(0.1).project(clean, clean)
    with pytest.raises(InvalidInput, match="shape"):
        EventEdits(1).project(clean[:, :1], clean)
    with pytest.raises(InvalidInput, match="shape"):
        EventEdits(1).project(clean[0], clean[0])
    with pytest.raises(InvalidInput, match="negative"):
        EventEdits(1).violations(clean, clean - 1)
    with pytest.raises(TypeError):
        EventEdits(1) & 3  # type: ignore[operator]


@settings(max_examples=50, deadline=None)
@given(st.one_of(event_threats, st.builds(Linf, st.floats(0.01, 1.0))))
def test_threats_survive_json_pickle_and_their_repr(threat: EventThreat) -> None:
    assert threat_from_dict(json.loads(json.dumps(threat.to_dict()))) == threat
    assert pickle.loads(pickle.dumps(threat)) == threat
    assert hash(threat) == hash(pickle.loads(pickle.dumps(threat)))
    if not isinstance(threat, AllOf):
        assert eval(repr(threat)) == threat


def test_numpy_numbers_are_taken_as_pythons() -> None:
    threat = EventEdits(np.int64(5), max_count=np.int32(2))
    assert threat == EventEdits(5, max_count=2) and type(threat.max_edits) is int
    assert json.dumps(EventEdits(np.float64(0.5)).to_dict())


@pytest.mark.parametrize(
    ("form", "error", "text"),
    [
        ({}, InvalidInput, "kind"),
        ({"kind": "event-edit"}, UnknownName, "event-edits"),
        ({"kind": "event-edits"}, InvalidInput, "max_edits"),
        ({"kind": "event-edits", "max_edits": 3, "budget": 4}, InvalidInput, "budget"),
        ({"kind": "event-edits", "max_edits": "3"}, InvalidInput, "max_edits='3'"),
        ({"kind": "all-of"}, InvalidInput, "members"),
        ({"kind": "all-of", "members": [3]}, InvalidInput, "members"),
        ({"kind": "all-of", "members": [{"kind": "linf", "eps": 1}] * 2}, InvalidInput, "whole events"),
    ],
)
def test_malformed_forms_say_what_is_wrong(
    form: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        threat_from_dict(form)


def test_a_plugins_kind_is_built_too() -> None:
    @dataclasses.dataclass(frozen=True, repr=False)
    class OnlyFirst(EventEdits):
        kind = "only-first"

    assert threat_from_dict({"kind": "only-first", "max_edits": 2}, {"only-first": OnlyFirst}) == OnlyFirst(2)


def test_repr_names_only_what_differs() -> None:
    assert repr(EventEdits(500, delete=False)) == "EventEdits(max_edits=500, delete=False)"
    joined = EventEdits(5) & PatchRegion(0.05)
    assert repr(joined) == "EventEdits(max_edits=5) & PatchRegion(area=0.05)"


def test_large_counts_and_budgets_stay_exact() -> None:
    clean = torch.zeros(1, 1, 1, 3, 3)
    wish = clean.clone()
    wish[0, 0, 0, 0, :] = torch.tensor([9.0, 5.0, 2.5])
    threat = EventEdits(7, max_count=6)
    # Units of strength 9 8 7 6 5 4 (capped at six), and 5 4: ties go to the lower level first.
    assert threat.project(wish, clean)[0, 0, 0, 0].tolist() == [5, 2, 0]
