# SPDX-License-Identifier: MIT
"""Seeded damage to files and folders, for fuzzing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**64),
    10**30,
    10**400,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "\ud800",
    "\u202egnp.exe",
    "../../etc/passwd",
    "/dev/zero",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "é" * 300,
    "a" * 100_000,
    [],
    {},
    [[]],
    [0] * 5000,
    [1, 1, 1, 1, 1, 1, 1, 1, 1],
    {"kind": "LIF"},
    {"": ""},
    {"__class__": 1, "$ref": "#"},
    [2**40, 2**40],
    [0, 2**40],
    [None],
    [-1, 2],
)
_TOML_ODD = (
    "nan",
    "-inf",
    "1979-05-27T07:32:00Z",
    "0x" + "f" * 400,
    "0x" + "f" * 50_000,
    "1" * 5000,
    "[" * 3000,
    "{}",
    "[[]]",
    "'''",
    "true",
    '"\\u0000"',
    '"\\u202e"',
    '""',
    "-1",
    "1e999",
    "[1, 2, 3]",
    "{ a = { b = { c = 1 } } }",
    '"' + "x" * 5000 + '"',
)


def damage_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, repeats, moves or replaces bytes."""
    data = bytearray(raw)
    place, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    kind = rng.randrange(7)
    if kind == 0 and data:
        for _ in range(rng.choice((1, 1, 8, 200))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        del data[place:end]
    elif kind == 3:
        data[place:place] = data[place:end] * rng.choice((1, 3))
    elif kind == 4:
        data[place:place] = rng.choice((b"[" * 100_000, b"{" * 3000, b"\0" * 4096, rng.randbytes(64), b'"'))
    elif kind == 5:
        data[:8] = rng.choice((b"PK\x03\x04", b"\x80\x04", b"\x89HDF\r\n\x1a\n", b"\xff" * 8, b"\0" * 8))
    else:
        data = bytearray(rng.randbytes(rng.choice((0, 1, 7, 8, 9, 1000))))
    return bytes(data)


def damage_text(raw: bytes, rng: random.Random) -> bytes:
    """Damages JSON as values; what is not JSON, line by line as TOML."""
    try:
        values = json.loads(raw)
    except ValueError:
        return _damage_lines(raw, rng)
    return _dumped(_damage_value(values, rng), rng)


def _damage_value(values: Any, rng: random.Random) -> Any:
    """Replaces, drops, copies, renames or nests one part of plain data."""
    holders = list(_holders(values))
    if not holders:
        return rng.choice(ODD)
    holder = rng.choice(holders)
    key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    kind = rng.randrange(7)
    if kind <= 1:
        holder[key] = rng.choice(ODD)
    elif kind == 2:
        del holder[key]
    elif kind == 3:
        other = rng.choice(holders)
        holder[key] = json.loads(
            json.dumps(rng.choice(list(other.values() if isinstance(other, dict) else other)))
        )
    elif kind == 4 and isinstance(holder, dict):
        holder[rng.choice(("", "name", "a" * 5000, "\u202e", str(key).upper()))] = holder.pop(key)
    elif kind == 5:
        for _ in range(rng.choice((5, 50, 900))):
            holder[key] = [holder[key]]
    elif isinstance(holder, list):
        holder += holder[:200] * rng.choice((1, 20))
    elif isinstance(holder[key], int | float):
        holder[key] = rng.choice((holder[key] * 2, -holder[key], holder[key] + 1, holder[key] * 10**9))
    return values


def _holders(value: Any) -> Any:
    if isinstance(value, dict | list) and value:
        yield value
        for entry in value.values() if isinstance(value, dict) else value[:50]:
            yield from _holders(entry)


def _dumped(values: Any, rng: random.Random) -> bytes:
    text = json.dumps(values, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1:  # a key twice
        text = re.sub(r'("[a-z_]+": )', rng.choice((r"\1null, \1", r"\1 1e5, \1")), text, count=1)
    return text.encode("utf-8", "surrogatepass")


def _damage_lines(raw: bytes, rng: random.Random) -> bytes:
    lines = raw.split(b"\n")
    place = rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        lines.insert(place, lines[rng.randrange(len(lines))])
    elif kind == 1:
        del lines[place]
    elif kind == 2:
        lines[place : place + 1] = [lines[place]] * rng.choice((2, 400))
    elif kind == 3:
        rng.shuffle(lines)
    elif kind == 4:
        lines[place] = rng.choice(
            (b"[x" * 1000, b"a." * 30_000 + b"b = 1", b"[data]", b"[[defences]]", b"= 1", b"\xff")
        )
    else:
        key = lines[place].split(b"=")[0]
        lines[place] = key + b"= " + rng.choice(_TOML_ODD).encode()
    return b"\n".join(lines)


def damage_arrays(raw: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose header lies, or whose numbers are none."""
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), bytearray(raw[8 + length :])
    kind = rng.randrange(4)
    if kind == 0:
        bad = rng.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0"))
        for _ in range(rng.choice((1, 100))):
            place = 4 * rng.randrange(max(1, len(data) // 4))
            data[place : place + 4] = bad
    elif kind == 1:
        name = rng.choice(list(header))
        entry = header[name]
        entry["shape"] = rng.choice((entry["shape"][::-1], [0], [2**50, 0], [*entry["shape"], 1], []))
    elif kind == 2:
        header = _damage_value(header, rng)
    else:
        data = data[: rng.randrange(len(data) + 1)] + rng.randbytes(rng.choice((0, 1, 4096)))
    head = _dumped(header, rng)
    stated = len(head) if rng.random() < 0.9 else rng.choice((0, 2**63, len(head) + 1, len(head) - 1))
    return stated.to_bytes(8, "little") + head + bytes(data)


def damage_folder(folder: Path, rng: random.Random) -> None:
    """Damages one of the files of a folder, or what is there."""
    path = rng.choice(sorted(folder.iterdir()))
    if rng.random() < 0.15 or not path.is_file() or path.is_symlink():
        _damage_place(path, rng)
        return
    if path.stat().st_size > 1 << 18:  # some damage repeats it by hundreds
        return
    raw = path.read_bytes()
    damages = [damage_bytes, damage_text, damage_text, damage_text]
    if path.suffix == ".safetensors":
        damages = [damage_bytes, damage_arrays, damage_arrays, damage_arrays]
    with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):  # damaged before, beyond its form
        path.write_bytes(rng.choice(damages)(raw, rng))


def _damage_place(path: Path, rng: random.Random) -> None:
    """Something else than the file, or something beside it."""
    kind = rng.randrange(10)
    if kind < 7:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if kind == 0:
        path.symlink_to(
            rng.choice(("/etc/passwd", "/dev/zero", path.name, "missing", "/proc/self/mem", ".."))
        )
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.mkdir()
    elif kind == 3:
        with path.open("wb") as file:
            file.truncate(rng.choice((1 << 16, 1 << 20, 1 << 28, 1 << 40)))
    elif kind == 4:
        with contextlib.suppress(PermissionError):
            os.mknod(path, 0o20666, os.makedev(1, rng.choice((5, 7))))  # zero, full
    elif kind == 5:
        path.write_bytes(b"")
    elif kind == 6:
        path.symlink_to(path.parent)
    elif kind == 7:
        name = rng.choice((b"\xff\xfe", b"a\nb", "\u202e.toml".encode(), b".hidden", b"x" * 200, b"LICENSE"))
        Path(os.fsdecode(os.fsencode(path.parent) + b"/" + name)).write_bytes(b"x")
    elif kind == 8:
        for number in range(rng.choice((3, 300))):
            (path.parent / f"more-{number}").touch()
    elif not path.is_symlink():  # what a link leads to is not ours to change
        path.chmod(0)


def clear(folder: Path) -> None:
    """Removes a folder, whatever damage was done to it."""
    for place, folders, _ in os.walk(folder):
        for name in folders:
            if not Path(place, name).is_symlink():
                Path(place, name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def mend_hashes(folder: Path) -> None:
    """Puts sizes and hashes of the files into the manifest, where both can be read."""
    manifest = folder / "submission.toml"
    if not _plain(manifest, 1 << 20):
        return
    text = manifest.read_bytes()
    files = ((b"graph", "graph.json"), (b"weights", "weights.safetensors"), (b"code", "model.py"))
    for key, name in files:
        path = folder / name
        if not _plain(path, 1 << 24):
            continue
        raw = path.read_bytes()
        right = b'sha256 = "%s"\nsize = %d' % (hashlib.sha256(raw).hexdigest().encode(), len(raw))
        text = re.sub(rb'(\[files\.%s\]\n)sha256 = "[0-9a-f]*"\nsize = [0-9]+' % key, rb"\g<1>" + right, text)
    manifest.write_bytes(text)


def _plain(path: Path, most: int) -> bool:
    """Whether it is a file that can be read, of at most so many bytes."""
    if not path.is_file() or path.is_symlink() or not os.access(path, os.R_OK):
        return False
    return path.stat().st_size <= most
