# SPDX-License-Identifier: MIT
"""What `run --figures` left of each case: its picture, and the events that the player shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from art_spiking.errors import InvalidInput
from art_spiking.suites import Suite
from art_spiking_leaderboard.recordings import SUFFIX, Recording, read_recording
from art_spiking_leaderboard.site.views import CaseView, case_view


@dataclass(frozen=True)
class Figure:
    """One case in pictures; paths are relative to the site's root, and empty for what is not there.

    Attributes:
        case: the case.
        picture: of the PNG in the site.
        source: of the PNG that it is a copy of.
        player: of the player's page.
        recording: the events that it plays.
    """

    case: CaseView
    picture: str
    source: Path
    player: str
    recording: Recording | None

    @property
    def alt(self) -> str:
        """What the picture shows, for those who do not see it."""
        title = f"{self.case.kind} {self.case.short}"
        return f"Events of one sample, clean and attacked ({title}), by polarity and over time"


@dataclass(frozen=True)
class Play:
    """What a player's page shows."""

    model: str
    title: str
    suite: str
    figure: Figure
    recording: Recording

    @property
    def case(self) -> CaseView:
        """The case."""
        return self.figure.case

    @property
    def picture(self) -> str:
        """Where its PNG is, or an empty text."""
        return self.figure.picture

    @property
    def alt(self) -> str:
        """The picture in words."""
        return self.figure.alt

    @property
    def per_step(self) -> list[tuple[int, int, int]]:
        """Events kept, added and removed in each step."""
        return self.recording.per_step()

    @property
    def data(self) -> dict[str, Any]:
        """What the script reads; numbers alone."""
        keys = ("shape", "dt_us", "kept", "added", "removed")
        return {key: value for key, value in asdict(self.recording).items() if key in keys}


def figures_of(folder: Path, model: str, suite: Suite, warn: Callable[[str], object]) -> Iterator[Figure]:
    """The cases of a model and suite of which there is a picture or a recording.

    A recording that cannot be read is left out, and `warn` is told.
    """
    for case in suite.cases:
        place = f"{model}/{suite.name}/{case.name}"
        source = folder / f"{place}.png"
        recording = None
        if (folder / f"{place}{SUFFIX}").is_file():
            try:
                recording = read_recording(folder / f"{place}{SUFFIX}")
            except InvalidInput as error:
                warn(f"{error}; it is left out")
        picture = f"figures/{place}.png" if source.is_file() else ""
        player = f"players/{place}.html" if recording else ""
        if picture or player:
            yield Figure(case_view(case, None), picture, source, player, recording)
