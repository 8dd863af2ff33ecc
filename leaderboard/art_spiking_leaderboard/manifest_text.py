# SPDX-License-Identifier: MIT
"""Manifests as TOML: whole ones, and fresh ones that explain every key and leave open what is not known."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from art_spiking_leaderboard.manifest import Data, FileEntry, Manifest, Training

_TABLES: Mapping[str, type[BaseModel]] = {"data": Data, "training": Training}
_WIDTH = 100


def manifest_text(manifest: Manifest) -> str:
    """A manifest as TOML; `parse_manifest` reads it back."""
    values = manifest.model_dump(exclude_none=True)
    if manifest.division == "code":
        del values["semantics"]
    if not manifest.layer_semantics:
        del values["layer_semantics"]
    return "\n".join(_lines(values, explained=False)) + "\n"


def fresh_manifest_text(known: Mapping[str, Any]) -> str:
    """The TOML of a manifest to be filled in: every key with its explanation, unknown values left open.

    Args:
        known: What is known, nested as in the manifest. Other keys stand there as comments, so that `check`
            names each until it is filled in.
    """
    return "\n".join(_lines(known, explained=True)) + "\n"


def _lines(values: Mapping[str, Any], *, explained: bool) -> Iterator[str]:
    plain = {key: field for key, field in Manifest.model_fields.items() if key not in (*_TABLES, "files")}
    del plain["defences"]
    yield from _entries(plain, values, explained=explained)
    defences = values.get("defences", ())
    if explained and not defences:
        yield ""
        yield from _comment(f"[[defences]]: {Manifest.model_fields['defences'].description}; none here")
    for defence in defences:
        yield from ("", "[[defences]]", *(f"{key} = {_toml(value)}" for key, value in defence.items()))
    for name, kind in _TABLES.items():
        yield from ("", f"[{name}]")
        yield from _entries(kind.model_fields, values.get(name, {}), explained=explained)
    for name, entry in values.get("files", {}).items():
        yield from ("", f"[files.{name}]")
        yield from _entries(FileEntry.model_fields, entry, explained=False)


def _entries(fields: Mapping[str, FieldInfo], values: Mapping[str, Any], *, explained: bool) -> Iterator[str]:
    for key, field in fields.items():
        if explained and field.description:
            yield from _comment(field.description)
        if key in values:
            yield f"{key} = {_toml(values[key])}"
        elif explained:
            yield f"# {key} ="


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {_toml(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(entry) for entry in value)}]"
    # JSON's strings are TOML's basic strings, DEL apart, which no field may hold.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
