"""TFRecord files: records of bytes, each with its length and the checksums of both.

A record: length (8 bytes, little-endian), checksum of the length (4), data, checksum of the data (4).
Checksum: CRC-32C, rotated right by 15 bits, plus a constant. For files of a few records: a checksum
costs Python a tenth of a second for a megabyte.
"""

from __future__ import annotations

import functools
import os
import pathlib
import struct
from collections.abc import Iterable

__all__ = ["RecordError", "read_records", "write_records"]

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed.
_MASK_DELTA = 0xA282EAD8
_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")


class RecordError(ValueError):
    """A file that is not one of whole records."""


def write_records(path: str | os.PathLike[str], records: Iterable[bytes]) -> None:
    """Writes `records` over `path`."""
    with open(path, "wb") as file:
        for record in records:
            length = _LENGTH.pack(len(record))
            file.write(b"".join([length, _checksum(length), record, _checksum(record)]))


def read_records(path: str | os.PathLike[str]) -> list[bytes]:
    """Reads all records.

    Raises:
        RecordError: a record is cut short or does not have its checksum.
    """
    data = pathlib.Path(path).read_bytes()
    records, at = [], 0
    while at < len(data):
        record, end = b"", at + _LENGTH.size
        length = data[at:end]
        whole = data[end : end + _CHECKSUM.size] == _checksum(length)
        if whole:
            start = end + _CHECKSUM.size
            end = start + _LENGTH.unpack(length)[0]
            record = data[start:end]
            whole = data[end : end + _CHECKSUM.size] == _checksum(record)
        if not whole:
            raise RecordError(
                f"`path` must be a TFRecord file of whole records; record {len(records)} of "
                f"{str(path)!r} is cut short or has a wrong checksum."
            )
        records.append(record)
        at = end + _CHECKSUM.size
    return records


def _checksum(data: bytes) -> bytes:
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    rotated = (crc >> 15) | (crc << 17)
    return _CHECKSUM.pack((rotated + _MASK_DELTA) & 0xFFFFFFFF)


@functools.cache
def _table() -> list[int]:
    """The checksum of each byte."""
    table = list(range(256))
    for _ in range(8):
        table = [(crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0) for crc in table]
    return table
