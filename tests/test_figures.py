# SPDX-License-Identifier: MIT
"""Figures: what they show is what changed, in colours, titles and axes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from art_spiking import figures
from art_spiking.errors import InvalidInput
from art_spiking.figures import attack_figure, save_figure


def sample() -> tuple[np.ndarray, np.ndarray]:
    """An ON event kept, an OFF event removed, two events added; most edits in row 2."""
    clean = np.zeros((5, 2, 4, 6), dtype=np.float32)
    clean[1, 1, 0, 0] = 1
    clean[2, 0, 3, 5] = 1
    adversarial = clean.copy()
    adversarial[2, 0, 3, 5] = 0
    adversarial[0, 1, 2, 1] = 1
    adversarial[4, 0, 2, 3] = 1
    return clean, adversarial


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]


def hue(colour: np.ndarray) -> list[float]:
    """The colour without its depth: what is taken away from white, relative to the most."""
    taken = 1 - np.asarray(colour)
    return list(np.round(taken / taken.max(), 3))


def test_titles_count_events_and_edits() -> None:
    figure = attack_figure(*sample(), title="label 2, predicted 7", dt_us=10_000)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "clean: 2 events",
        "adversarial: 3 events",
        "difference: 2 added, 1 removed",
        "row y = 2",
        "row y = 2",
        "row y = 2",
    ]
    assert figure.get_suptitle() == "label 2, predicted 7"
    assert {axes.get_xlabel() for axes in figure.axes[:3]} == {"x (pixels)"}
    assert {axes.get_ylabel() for axes in figure.axes[:3]} == {"y (pixels)"}
    assert {axes.get_xlabel() for axes in figure.axes[3:]} == {"t (ms)"}
    assert figure.axes[3].get_xlim() == (0, 50)
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert legends == ["ON", "OFF", "both", "added", "removed", "kept"]


def test_each_cell_has_the_colour_of_what_happened_there() -> None:
    clean, adversarial, difference, *lines = pictures(attack_figure(*sample(), title="", dt_us=10_000))
    white = [1, 1, 1]
    assert hue(clean[0, 0]) == hue(figures._ON) and hue(clean[3, 5]) == hue(figures._OFF)
    assert adversarial[3, 5].tolist() == white and hue(adversarial[2, 1]) == hue(figures._ON)
    assert hue(difference[0, 0]) == hue(figures._KEPT)
    assert hue(difference[2, 1]) == hue(figures._ADDED) == hue(difference[2, 3])
    assert hue(difference[3, 5]) == hue(figures._REMOVED)
    assert (difference.reshape(-1, 3) != 1).any(1).sum() == 4
    # The lower row: x downwards, steps to the right.
    assert [picture.shape for picture in lines] == [(6, 5, 3)] * 3
    assert lines[0].tolist() == np.ones((6, 5, 3)).tolist()
    assert hue(lines[2][1, 0]) == hue(figures._ADDED) == hue(lines[2][3, 4])
    assert (lines[2].reshape(-1, 3) != 1).any(1).sum() == 2


def test_a_removal_shows_through_an_insertion() -> None:
    clean = np.zeros((1, 2, 1, 1), dtype=np.float32)
    clean[0, 0] = 1
    picture = pictures(attack_figure(clean, 1 - clean, title="", dt_us=1))[2]
    assert hue(picture[0, 0]) == hue(figures._REMOVED)


def test_more_events_are_darker_and_kept_ones_fainter_than_edits() -> None:
    clean = np.zeros((3, 1, 1, 4), dtype=np.float32)
    clean[:, 0, 0, 0], clean[0, 0, 0, 1] = 5, 1
    adversarial = clean.copy()
    adversarial[0, 0, 0, 2] = 1
    before, _, difference, *_ = pictures(attack_figure(clean, adversarial, title="", dt_us=1))
    assert before[0, 0].sum() < before[0, 1].sum() < 3
    assert (1 - difference[0, 0]).sum() < (1 - difference[0, 2]).sum()


def test_nothing_changed_and_nothing_there() -> None:
    clean, _ = sample()
    figure = attack_figure(clean, clean, title="", dt_us=10)
    assert figure.axes[2].get_title() == "difference: 0 added, 0 removed"
    empty = np.zeros_like(clean)
    assert all((picture == 1).all() for picture in pictures(attack_figure(empty, empty, title="", dt_us=10)))


def test_the_png_is_whole_and_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_figure(attack_figure(*sample(), title="title", dt_us=10_000), tmp_path / "new" / name)
    first, second = ((tmp_path / "new" / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second and first.startswith(b"\x89PNG")
    assert imread(tmp_path / "new" / "a.png").shape[2] == 4
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.png", "b.png"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    class FullDisk(Figure):
        def savefig(self, *_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        save_figure(FullDisk(), path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_pyplot_is_not_involved() -> None:
    code = "import sys, art_spiking.figures; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_no_recording_is_refused() -> None:
    clean, adversarial = sample()
    for wrong in ((clean[0], adversarial[0]), (clean[None], adversarial[None]), (clean, adversarial[:-1])):
        with pytest.raises(InvalidInput, match=r"shape|one recording"):
            attack_figure(*wrong, title="", dt_us=10)
    with pytest.raises(InvalidInput, match="channels"):
        attack_figure(np.zeros((1, 3, 2, 2)), np.zeros((1, 3, 2, 2)), title="", dt_us=10)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="whole number"):
        attack_figure(clean, adversarial + 0.5, title="", dt_us=10)
