# SPDX-License-Identifier: MIT
"""Neuron semantics written as text."""

from __future__ import annotations

import dataclasses

import pytest

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.neurons import PRESETS, NeuronSemantics
from art_spiking.semantics_text import parse_semantics


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_by_its_name(name):
    assert parse_semantics(name) == PRESETS[name]


def test_a_preset_and_what_differs():
    expected = dataclasses.replace(PRESETS["sinabs"], spikes="one", v_min=None)
    assert parse_semantics(" sinabs, spikes = one ,v_min=None") == expected
    assert parse_semantics("sinabs,v_min=-2.5").v_min == -2.5


def test_pairs_alone_differ_from_nir():
    assert parse_semantics("reset=subtract,fires=ge") == NeuronSemantics(reset="subtract", fires="ge")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sinabs,spikes", "found: 'spikes'"),
        ("sinabs,spike=one", "found: 'spike=one'"),
        ("sinabs,spikes=one,spikes=several", "each key once"),
        ("sinabs,", "found: ''"),
        ("sinabs,spikes=two", "accepted: one, several"),
        ("v_min=low", "the semantics' v_min does not fit"),
        ("v_min=nan", "the semantics' v_min does not fit"),
    ],
)
def test_what_does_not_fit_is_said(text, said):
    with pytest.raises(InvalidInput, match=said):
        parse_semantics(text)


@pytest.mark.parametrize("text", ["", "brian", "brian,spikes=one"])
def test_no_such_preset(text):
    with pytest.raises(UnknownName, match="no such neuron semantics"):
        parse_semantics(text)
