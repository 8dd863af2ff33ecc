# SPDX-License-Identifier: MIT
"""benchmarks/gradient.py on little data: every section runs, and what it compares is the same network."""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SMALL = argparse.Namespace(steps=[5], threads=1, plain_memory=True)


@pytest.fixture
def gradient(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gradient as module

    return module


@pytest.fixture
def setting(gradient, shared_data):
    return gradient.Setting(samples=2, repeats=2, progress=False)


@pytest.mark.data
def test_ours_and_snntorch_are_the_same_network(gradient, setting):
    (row,) = gradient.linear(setting, SMALL)
    assert row["differing output spikes"] == 0
    assert row["largest gradient difference over largest gradient"] < 1e-5
    assert set(row["median ms"]) == {"linear alone", "ours", "ours in ART", "snnTorch in ART"}
    assert all(value > 0 for value in row["median ms"].values())


@pytest.mark.data
def test_peers_agree_or_are_named(gradient, setting):
    rows = list(gradient.peers(setting, SMALL))
    assert {row["peer"].partition(",")[0].lower() for row in rows} == set(gradient.FRAMEWORKS)
    for row in rows:
        if "skipped" in row:
            assert "not installed" in row["skipped"]
        else:
            assert row["differing output spikes"] == 0
            assert row["largest gradient difference over largest gradient"] < 1e-5


@pytest.mark.data
def test_a_peer_of_another_semantics_would_be_seen(gradient, setting):
    """The agreement can fail: snnTorch against ours without reset."""
    (peer,) = gradient.peers_of("snntorch")
    x, _ = setting.recordings(5)
    other = setting.network(dataclasses.replace(peer.semantics, reset="none"), peer.surrogate)
    found = gradient.agreement(
        gradient.spikes(other, x), gradient.peer_spikes(peer, other, x), np.ones(1), np.zeros(1) + 2
    )
    assert found["differing output spikes"] > 0
    assert found["largest gradient difference over largest gradient"] == 0.5


@pytest.mark.data
def test_the_layers_and_the_rest_are_the_whole(gradient, setting):
    (row,) = gradient.rate(setting, SMALL)
    # The first convolution alone, counted by hand: 16 x 16 x 16 outputs of 2 x 5 x 5 products, 10 frames.
    assert row["dense multiply-adds, forward"] > 16 * 16 * 16 * 50 * 10
    layers = row["layers"]
    assert sum(layer["share"] for layer in layers) == pytest.approx(1, abs=0.25)
    assert all(layer["forward ms"] > 0 and layer["backward ms"] > 0 for layer in layers[:3])


@pytest.mark.slow
@pytest.mark.data
def test_memory_is_measured_in_another_process(gradient, setting, monkeypatch):
    monkeypatch.setattr(gradient, "PROCESSES", 1)
    (row,) = gradient.memory(setting, SMALL)
    assert all(value > 0 for value in row["peak MiB"].values())
    with pytest.raises(RuntimeError, match="the memory of 'nobody' could not be measured"):
        gradient.peak_of("nobody", setting, 5, threads=1, plain=True)


@pytest.mark.data
def test_the_command_prints_json_with_the_processor(gradient, shared_data, capsys, monkeypatch):
    monkeypatch.setattr(gradient, "SCALING_STEPS", (5, 10))
    threads = torch.get_num_threads()
    try:
        assert (
            gradient.main(
                [
                    "--only",
                    "scaling",
                    "--json",
                    "--samples",
                    "2",
                    "--repeats",
                    "1",
                    "--threads",
                    "1",
                    "--plain-memory",
                ]
            )
            == 0
        )
    finally:
        torch.set_num_threads(threads)
    told = json.loads(capsys.readouterr().out)
    assert told["processor"]
    assert set(told["results"][0]["µs a sample and step"]) == {"5", "10"}


def test_without_recordings_it_says_so(gradient, tmp_path, capsys):
    threads = torch.get_num_threads()
    try:
        assert gradient.main(["--only", "linear", "--data-dir", str(tmp_path), "--plain-memory"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert "skipped:" in capsys.readouterr().err
