# SPDX-License-Identifier: MIT
"""`art-spiking list`: what is registered, by whom, and what it does."""

from __future__ import annotations

import json
import shutil
import textwrap

import click

from art_spiking.hookspecs import KINDS
from art_spiking.registry import Entry, catalogue, plugin_manager


@click.command("list", short_help="List what is registered, and by which package.")
@click.argument("kind", required=False, type=click.Choice(KINDS), metavar="[KIND]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(kind: str | None, as_json: bool) -> None:
    """List what can be named in a suite or on the command line, and which package provides it.

    KIND is attacks, threats, defences, datasets, suites, frameworks or commands; without it, all is listed.
    """
    manager = plugin_manager()
    kinds = KINDS if kind is None else (kind,)
    found = {one: sorted(catalogue(one, manager).values(), key=lambda entry: entry.name) for one in kinds}
    if as_json:
        rows = {one: [_as_dict(entry) for entry in entries] for one, entries in found.items()}
        click.echo(json.dumps(rows, indent=2))
        return
    width = min(100, max(60, shutil.get_terminal_size().columns))
    for number, (one, entries) in enumerate(found.items()):
        if len(found) > 1:
            click.echo(("\n" if number else "") + one)
        if not entries:
            click.echo("  none")
        columns = (_widest([entry.name for entry in entries]), _widest([e.provider for e in entries]))
        for entry in entries:
            click.echo(_row(entry, columns, width))


def _row(entry: Entry, columns: tuple[int, int], width: int) -> str:
    lead = f"  {entry.name:<{columns[0]}}  {entry.provider:<{columns[1]}}  "
    return textwrap.fill(
        entry.summary or "-", width=width, initial_indent=lead, subsequent_indent=" " * len(lead)
    )


def _widest(texts: list[str]) -> int:
    return max((len(text) for text in texts), default=0)


def _as_dict(entry: Entry) -> dict[str, str]:
    return {"name": entry.name, "provider": entry.provider, "summary": entry.summary}
