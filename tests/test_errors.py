# SPDX-License-Identifier: MIT
"""Errors carry their parts, read as one line, and survive a process boundary."""

from __future__ import annotations

import copy
import pickle

import pytest

from art_spiking import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ArtSpikingError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_message_names_what_was_asked_found_accepted_and_the_way_out(kind: type[errors.ArtSpikingError]):
    error = kind(
        "the budget is no budget", asked="-3 edits", found=-3, accepted="1 or more", remedy="raise it"
    )
    assert str(error) == "the budget is no budget; asked: -3 edits; found: -3; accepted: 1 or more; raise it"
    assert (error.asked, error.found, error.accepted, error.remedy) == (
        "-3 edits",
        -3,
        "1 or more",
        "raise it",
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_errors_cross_a_process_boundary(kind: type[errors.ArtSpikingError], clone):
    error = kind("what", found=0, remedy="do this")
    other = clone(error)
    assert type(other) is kind
    assert str(other) == str(error) == "what; found: 0; do this"
    assert other.found == 0


def test_users_may_catch_the_builtin_kind():
    assert issubclass(errors.InvalidInput, ValueError)
    assert issubclass(errors.UnknownName, LookupError)
    assert issubclass(errors.MissingData, FileNotFoundError)
    assert issubclass(errors.MissingDependency, ImportError)
