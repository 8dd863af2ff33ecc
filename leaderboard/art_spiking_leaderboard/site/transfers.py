# SPDX-License-Identifier: MIT
"""The transfer matrix as ready shares: who is fooled by what was made for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from art_spiking.suites import Case
from art_spiking_leaderboard.site.views import Board, CaseView, RowView, case_view
from art_spiking_leaderboard.transfer import Source, Transfer

MOST_SHOWN = 20
"""Models in the matrix on a page; results.json has all of them."""


@dataclass(frozen=True)
class Party:
    """A model at the side of a matrix."""

    name: str
    title: str
    page: str


@dataclass(frozen=True)
class Made:
    """What the samples made for one model leave of each: shares of the test samples, and which is its own."""

    party: Party
    shares: tuple[float, ...]
    own: int


@dataclass(frozen=True)
class Matrix:
    """One matrix; of one case, or of the worst case over all of them, where `case` is None."""

    case: CaseView | None
    rows: tuple[Made, ...]


@dataclass(frozen=True)
class TransferView:
    """The matrices of a table, best models first; `hidden` says how many models are only in the download."""

    victims: tuple[Party, ...]
    clean: tuple[float, ...]
    matrices: tuple[Matrix, ...]
    left_out: tuple[tuple[str, str], ...]
    hidden: int
    samples: int


def transfer_view(board: Board, rows: Sequence[RowView]) -> TransferView | None:
    """The transfer matrix of a board as its page shows it; None if nothing was scored."""
    transfer = board.transfer
    if transfer is None:
        return None
    places = {model.name: place for place, model in enumerate(transfer.models)}
    known = [view for view in rows if view.row.name in places]
    shown = [Party(view.row.name, view.title, view.page) for view in known[:MOST_SHOWN]]
    columns = [places[party.name] for party in shown]
    sources = {source.name: source for source in transfer.sources}
    titles = {view.row.name: view.title for view in rows}

    def matrix(case: Case | None) -> Matrix:
        made = (
            _made(sources[party.name], case, place, columns, shown, transfer)
            for place, party in enumerate(shown)
            if party.name in sources
        )
        return Matrix(None if case is None else case_view(case, None), tuple(made))

    scored = [
        case for case in board.suite.cases if all(case.name in source.right for source in sources.values())
    ]
    return TransferView(
        victims=tuple(shown),
        clean=tuple(transfer.models[place].clean / transfer.samples for place in columns),
        matrices=(matrix(None), *(matrix(case) for case in scored)),
        left_out=tuple((titles.get(entry.name, entry.name), entry.why) for entry in transfer.left_out),
        hidden=len(known) - len(shown),
        samples=transfer.samples,
    )


def transfer_numbers(transfer: Transfer | None) -> Mapping[str, object] | None:
    """The matrix of the worst cases for results.json; those of single cases lie in the folder of records."""
    if transfer is None:
        return None
    return transfer.model_dump(mode="json", exclude={"sources": {"__all__": {"right"}}})


def _made(
    source: Source,
    case: Case | None,
    own: int,
    columns: Sequence[int],
    shown: Sequence[Party],
    transfer: Transfer,
) -> Made:
    counts = source.worst if case is None else source.right[case.name]
    return Made(shown[own], tuple(counts[place] / transfer.samples for place in columns), own)
