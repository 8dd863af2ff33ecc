# SPDX-License-Identifier: MIT
"""The bytes of an HDF5 file taken out by hand, where the library would allocate what the file claims."""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO

import numpy as np
from h5py import h5z

REFERENCE_BYTES = 16
"""The size of a reference to a text of variable length: its length, the heap's address, its index there."""
MAX_HEAP_OBJECTS = 1 << 17
"""The most texts of variable length that are looked for in a file."""


class RawFile:
    """An open HDF5 file, by offset; addresses and lengths in it have 8 bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.size = os.fstat(stream.fileno()).st_size
        self._heaps: dict[int, dict[int, tuple[int, int]]] = {}
        self._room = MAX_HEAP_OBJECTS

    def at(self, offset: int | None, size: int) -> bytes | None:
        """The `size` bytes at an offset, or None where the file does not hold them."""
        if offset is None or offset + size > self.size:
            return None
        self.stream.seek(offset)
        return self.stream.read(size)

    def heap_text(self, reference: bytes, max_bytes: int) -> bytes | None:
        """A text of variable length, or None where it is longer than `max_bytes` or than what is stored.

        HDF5 itself would first allocate the length that the reference claims, up to 4 GiB. Format: HDF5 File
        Format Specification, "Disk Format: Level 1E - Global Heap" and the variable-length datatype.
        """
        length, address, index = struct.unpack("<IQI", reference)
        if length == 0:
            return b""
        start, size = self._heap(address).get(index, (0, 0))
        return self.at(start, length) if length <= min(size, max_bytes) else None

    def _heap(self, address: int) -> dict[int, tuple[int, int]]:
        """Where the objects of a heap collection lie: (offset, size) by index; empty where none is."""
        if address in self._heaps:
            return self._heaps[address]
        objects: dict[int, tuple[int, int]] = {}
        head = self.at(address, 16)
        if head is not None and head[:5] == b"GCOL\x01":
            end = min(address + int.from_bytes(head[8:16], "little"), self.size)
            here = address + 16
            while here + 16 <= end and self._room > 0:
                index, _, _, size = struct.unpack("<HHIQ", self.at(here, 16) or bytes(16))
                if index == 0 or here + 16 + size > end:
                    break
                self._room -= 1  # collections that overlap could be walked without end
                objects[index] = (here + 16, size)
                here += 16 + -(-size // 8) * 8
        self._heaps[address] = objects
        return objects


def decoded(raw: bytes, codes: list[int], size: int, itemsize: int) -> bytes | None:
    """A chunk with its filters undone, last first; None where it is not exactly `size` bytes."""
    for code in reversed(codes):
        if code == h5z.FILTER_DEFLATE:
            inflater = zlib.decompressobj()
            try:
                raw = inflater.decompress(raw, size)
                more = b"" if inflater.eof else inflater.decompress(inflater.unconsumed_tail, 1)
            except zlib.error:
                return None
            if more or not inflater.eof:
                return None
        elif len(raw) == size:
            raw = np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T.tobytes()
    return raw if len(raw) == size else None
