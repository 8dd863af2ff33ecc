# SPDX-License-Identifier: MIT
"""Cases in words: every case of every suite that comes with art-spiking reads as a sentence, none as code."""

from __future__ import annotations

import pytest
from art_spiking_leaderboard.site.words import case_kind, case_short, case_words, threat_words

from art_spiking.registry import catalogue
from art_spiking.suites import load_suite


@pytest.mark.parametrize("name", sorted(name for name in catalogue("suites") if "-" in name))
def test_every_case_of_a_suite_reads_as_a_sentence(name):
    for case in load_suite(name).cases:
        words = case_words(case)
        assert words[0].isupper() and words.endswith(".")
        for code in ("kind", "max_", "None", "_", "{", "unit"):
            assert code not in words, (case.name, words)
        assert 0 < len(case_short(case)) <= 24, case.name
        assert case_kind(case)


@pytest.mark.parametrize(
    ("threat", "words"),
    [
        (
            {"kind": "retiming", "max_shift": 20000, "max_moved": 50, "unit": "us"},
            "up to 50 events moved in time alone, each by at most 20 ms",
        ),
        (
            {"kind": "object-region", "area": 0.05, "velocity": [0.0, 60.0]},
            "events added inside a square object that covers 5% of the sensor and moves at 0, 60 pixels per "
            "second (down, right)",
        ),
        (
            {"kind": "object-region", "area": 0.05, "velocity": [0.0, 0.0], "flicker_hz": 25.0},
            "events added inside a square object that covers 5% of the sensor and flickers 25 times a second",
        ),
        ({"kind": "strange", "most": 3}, "strange (most 3)"),
    ],
)
def test_threats_in_words(threat, words):
    assert threat_words(threat) == words
