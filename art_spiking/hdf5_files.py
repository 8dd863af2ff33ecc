# SPDX-License-Identifier: MIT
"""Reading an HDF5 file that nobody vouches for: only what is stored in it, and never more than it holds.

HDF5 follows links into other files, keeps data in files beside it, and allocates what a header claims; a file
can also be a graph with cycles. So the tree is walked over hard links alone, every dataset is checked before
any is read, and compressed chunks are taken out raw and inflated here, up to the size that was declared.
"""

from __future__ import annotations

import itertools
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5t, h5z

from art_spiking.errors import InvalidModel
from art_spiking.hdf5_raw import REFERENCE_BYTES, RawFile, decoded
from art_spiking.node_types import Array
from art_spiking.untrusted_files import open_regular

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MEBIBYTE = 1 << 20
_FILTERS = {h5z.FILTER_DEFLATE: "gzip", h5z.FILTER_SHUFFLE: "shuffle"}
_NUMBERS = tuple(
    getattr(h5t, f"{kind}{order}")
    for kind in ("IEEE_F32", "IEEE_F64", *(f"STD_{s}{bits}" for s in "IU" for bits in (8, 16, 32, 64)))
    for order in ("LE", "BE")
)
# What h5py and the HDF5 library raise on damaged files; anything else is a defect of this module.
_LIBRARY_ERRORS = (
    struct.error,
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
)

Tree = dict[str, Any]
"""Groups as dicts, numbers as arrays, text as str, arrays of text as nested lists of str."""


@dataclass(frozen=True)
class ReadLimits:
    """How much a file may hold; what goes beyond is refused before it is read.

    Attributes:
        file_bytes: Size of the file.
        declared_bytes: Size of all datasets together, as declared.
        ratio: Declared bytes per byte of the file, beyond the first `slack_bytes`.
        slack_bytes: Declared bytes that are always allowed, since arrays of one repeated value compress
            a thousandfold.
        objects: Groups and datasets.
        depth: Groups within groups.
        parts: Compressed parts, or texts, in one dataset.
        text_bytes: Length of one text.
    """

    file_bytes: int = 256 * MEBIBYTE
    declared_bytes: int = 256 * MEBIBYTE
    ratio: int = 100
    slack_bytes: int = 32 * MEBIBYTE
    objects: int = 20_000
    depth: int = 16
    parts: int = 50_000
    text_bytes: int = 1024


def read_hdf5(path: str | os.PathLike[str], *, limits: ReadLimits | None = None) -> Tree:
    """The datasets of a file as a tree of arrays and text.

    Datasets of other types are left out where they lie below a group "metadata".

    Args:
        path: The file. It may come from a stranger.
        limits: What to refuse; by default 256 MiB.

    Raises:
        InvalidModel: Not an HDF5 file, damaged, beyond a limit, or with something that is not stored plainly
            in it: a soft, external or user-defined link, a cycle, external or virtual storage, an unknown
            filter, an unusual type.
    """
    limits = limits or ReadLimits()
    name = Path(path).name
    try:
        with open_regular(path, limits.file_bytes) as stream:
            if stream.read(len(SIGNATURE)) != SIGNATURE:
                raise InvalidModel(
                    f"{name} is not an HDF5 file", accepted="a .nir file as the nir package writes it"
                )
            with h5py.File(stream, "r") as file:
                return _Walk(name, limits, stream).read(file.id)
    except InvalidModel:
        raise
    except _LIBRARY_ERRORS as error:
        raise InvalidModel(
            f"{name} cannot be read as HDF5", found=f"{type(error).__name__}: {error!s:.200}",
            remedy="the file is damaged or incomplete; write it again",
        ) from error  # fmt: skip


@dataclass(frozen=True)
class _Stored:
    """A dataset that passed the walk, not yet read."""

    place: str
    dataset: Any
    optional: bool


class _Walk:
    """One pass over a file: the walk over links, the checks of every dataset, then the reading."""

    def __init__(self, name: str, limits: ReadLimits, stream: BinaryIO) -> None:
        self.name = name
        self.limits = limits
        self.file = RawFile(stream)
        self.file_size = self.file.size
        self.allowed = min(limits.declared_bytes, limits.slack_bytes + limits.ratio * self.file_size)
        self.declared = 0
        self.seen: set[int] = set()

    def refuse(self, place: str, found: object, accepted: object = None) -> InvalidModel:
        return InvalidModel(f"{self.name}: {place} is refused", found=found, accepted=accepted)

    def read(self, root: Any) -> Tree:
        settings = root.get_create_plist()
        if settings.get_userblock() != 0 or tuple(settings.get_sizes()) != (8, 8):
            raise self.refuse("the file", "a user block or addresses of unusual size", "neither")
        tree = self._walk(h5g.open(root, b"/"), "", optional=False)
        return dict(self._values(tree))

    def _values(self, tree: Tree) -> Iterator[tuple[str, Any]]:
        for key, item in tree.items():
            if isinstance(item, dict):
                yield key, dict(self._values(item))
            elif not item.optional or self._is_readable(item.dataset):
                yield key, self._value(item)

    def _walk(self, group: Any, place: str, *, optional: bool) -> Tree:
        """The hard links of a group, each checked; depth is bounded, so recursion is."""
        if place.count("/") >= self.limits.depth:
            raise self.refuse(place, "a deeper group", f"{self.limits.depth} groups within groups")
        self._see(group, place or "/")
        names: list[bytes] = []
        room = self.limits.objects - len(self.seen)

        def collect(key: bytes) -> bool | None:
            names.append(key)
            return True if len(names) > room else None  # anything but None ends the iteration

        group.links.iterate(collect)
        if len(names) > room:
            raise self.refuse(place or "/", "more objects", f"{self.limits.objects} groups and datasets")
        tree: Tree = {}
        for raw in names:
            key = raw.decode("utf-8", "replace")
            inner = f"{place}/{key:.80}"
            if group.links.get_info(raw).type != h5l.TYPE_HARD:
                raise self.refuse(
                    inner, "a soft, external or user-defined link", "objects stored in this file"
                )
            item = h5o.open(group, raw)
            loose = optional or key == "metadata"
            if isinstance(item, h5g.GroupID):
                tree[key] = self._walk(item, inner, optional=loose)
            elif isinstance(item, h5d.DatasetID):
                self._see(item, inner)
                self._check(item, inner)
                tree[key] = _Stored(inner, item, loose)
            else:
                raise self.refuse(inner, "a named type", "groups and datasets")
        return tree

    def _see(self, item: Any, place: str) -> None:
        address = int(h5o.get_info(item).addr)
        if address in self.seen:
            raise self.refuse(place, "a second link to an object, or a cycle of links", "each object once")
        self.seen.add(address)

    def _check(self, dataset: Any, place: str) -> None:
        """Refuses what is not stored plainly, and adds up what is claimed."""
        settings = dataset.get_create_plist()
        if settings.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
            raise self.refuse(place, "a virtual dataset", "data stored in this file")
        if settings.get_external_count() > 0:
            raise self.refuse(place, "external storage", "data stored in this file")
        filters = [settings.get_filter(i) for i in range(min(settings.get_nfilters(), 3))]
        codes = [f[0] for f in filters]
        if any(code not in _FILTERS for code in codes) or len(set(codes)) != len(codes):
            found = ", ".join(_FILTERS.get(code, f"filter {code}") for code in codes)
            raise self.refuse(place, found, "gzip and shuffle, each at most once")
        if dataset.shape is None or len(dataset.shape) > 8:
            raise self.refuse(place, "no data or more than 8 axes", "an array of at most 8 axes")
        size = math.prod(dataset.shape) * dataset.get_type().get_size()
        if settings.get_layout() == h5d.CHUNKED:
            chunk = settings.get_chunk()
            count = math.prod(_chunk_counts(dataset.shape, chunk))
            size = math.prod(chunk) * count * dataset.get_type().get_size()
            if count > self.limits.parts:
                raise self.refuse(place, f"{count} parts", f"at most {self.limits.parts}")
        self.declared += size
        if self.declared > self.allowed:
            accepted = f"{self.allowed} bytes for a file of {self.file_size}"
            raise self.refuse(place, f"datasets that claim {self.declared} bytes or more", accepted)

    def _is_readable(self, dataset: Any) -> bool:
        kind = dataset.get_type()
        return kind.get_class() == h5t.STRING or any(kind.equal(number) for number in _NUMBERS)

    def _value(self, item: _Stored) -> Any:
        kind = item.dataset.get_type()
        if not self._is_readable(item.dataset):
            found = f"the type {item.dataset.dtype}"
            raise self.refuse(item.place, found, "float32, float64, integers of 8 to 64 bits, text")
        if kind.get_class() == h5t.STRING:
            return self._text(item)
        dtype = item.dataset.dtype
        if math.prod(item.dataset.shape) == 0:
            return np.empty(item.dataset.shape, dtype)
        layout = item.dataset.get_create_plist().get_layout()
        array = self._chunks(item, dtype) if layout == h5d.CHUNKED else self._plain(item, dtype, layout)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _plain(self, item: _Stored, dtype: Any, layout: int) -> Array:
        size = math.prod(item.dataset.shape) * dtype.itemsize
        if layout == h5d.CONTIGUOUS:
            offset = item.dataset.get_offset()
            if offset is None or item.dataset.get_storage_size() != size or offset + size > self.file_size:
                raise self.refuse(item.place, f"a claim of {size} bytes that the file does not hold")
        array = np.empty(item.dataset.shape, dtype)
        item.dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
        return array

    def _chunks(self, item: _Stored, dtype: Any) -> Array:
        dataset, settings = item.dataset, item.dataset.get_create_plist()
        side = settings.get_chunk()
        size = math.prod(side) * dtype.itemsize
        counts = _chunk_counts(dataset.shape, side)
        if dataset.get_num_chunks() != math.prod(counts):
            raise self.refuse(item.place, f"{dataset.get_num_chunks()} of {math.prod(counts)} parts stored")
        codes = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
        array = np.empty(dataset.shape, dtype)
        for index in itertools.product(*(range(n) for n in counts)):
            corner = tuple(i * s for i, s in zip(index, side, strict=True))
            info = dataset.get_chunk_info_by_coord(corner)
            if info.byte_offset is None or info.byte_offset + info.size > self.file_size:
                raise self.refuse(item.place, "a part outside the file")
            mask, raw = dataset.read_direct_chunk(corner)
            if mask != 0:
                raise self.refuse(item.place, "a part that skips a filter")
            block = decoded(bytes(raw), codes, size, dtype.itemsize)
            if block is None:
                raise self.refuse(
                    item.place, "a part that is damaged or larger than declared", f"{size} bytes"
                )
            here = tuple(slice(c, c + s) for c, s in zip(corner, side, strict=True))
            inside = tuple(
                slice(0, min(s, n - c)) for c, s, n in zip(corner, side, dataset.shape, strict=True)
            )
            array[here] = np.frombuffer(block, dtype).reshape(side)[inside]
        return array

    def _text(self, item: _Stored) -> Any:
        kind, shape, count = item.dataset.get_type(), item.dataset.shape, math.prod(item.dataset.shape)
        if count > self.limits.parts:
            raise self.refuse(item.place, f"shape {shape}", f"at most {self.limits.parts} texts")
        variable = kind.is_variable_str()
        size = REFERENCE_BYTES if variable else kind.get_size()
        raw = self._raw(item, count * size)
        flat = []
        for i in range(0, len(raw), size):
            part = raw[i : i + size]
            text = self.file.heap_text(part, self.limits.text_bytes) if variable else part.rstrip(b"\0 ")
            if text is None or len(text) > self.limits.text_bytes:
                found, accepted = "a text that is longer, or not as stored", f"{self.limits.text_bytes} bytes"
                raise self.refuse(item.place, found, accepted)
            flat.append(text.decode("utf-8"))
        return flat[0] if shape == () else np.array(flat, dtype=object).reshape(shape).tolist()

    def _raw(self, item: _Stored, size: int) -> bytes:
        """The bytes of an unfiltered contiguous dataset as they lie in the file."""
        if item.dataset.get_create_plist().get_layout() != h5d.CONTIGUOUS:
            raise self.refuse(item.place, "text in parts or compressed", "text stored contiguously")
        raw = self.file.at(item.dataset.get_offset(), size) if size else b""
        if item.dataset.get_storage_size() not in (0, size) or raw is None:
            raise self.refuse(item.place, f"a claim of {size} bytes that the file does not hold")
        return raw


def _chunk_counts(shape: tuple[int, ...], chunk: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
