"""The text of a table: opened packed or not, in its own encoding, never without end."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import IO

from scdiff_core.data.stores import damaged
from scdiff_core.errors import ScdiffError

MOST_TEXT = 100_000_000_000  # bytes of unpacked text


class _Counted(io.RawIOBase):
    """A byte stream that ends with an error beyond a number of bytes, for packed text of any length."""

    def __init__(self, path: Path) -> None:
        self.path, self.left = path, MOST_TEXT
        packed = path.name.lower().endswith(".gz")
        self.stream: IO[bytes] = gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[assignment]  # noqa: SIM115

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self.stream.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            raise damaged(self.path, f"it unpacks to more than {MOST_TEXT / 1e9:.0f} GB")
        buffer[:len(data)] = data
        return len(data)

    def close(self) -> None:
        self.stream.close()
        super().close()


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file by its first bytes; raises `ScdiffError` where it is no text."""
    with _Counted(path) as stream:
        start = stream.read(1 << 16) or b""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if b"\0" in start:
        raise ScdiffError(f"'{path.name}' cannot be read.", "It is not a text table: it holds binary data.",
                          "Give the file its true ending, or export the table as .csv.")
    try:
        start[:-4 if len(start) > 4 else None].decode("utf-8")
        return "utf-8-sig"
    except UnicodeDecodeError:
        return "latin-1"


def open_text(path: Path, encoding: str) -> io.TextIOWrapper:
    """Open a text file, packed or not, for reading in that encoding."""
    return io.TextIOWrapper(io.BufferedReader(_Counted(path), 1 << 20), encoding=encoding, errors="replace")
