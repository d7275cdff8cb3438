"""Unpack .zip and .tar archives that strangers made: nothing leaves the folder, nothing grows without end."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from scdiff_core.errors import ScdiffError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_BYTES = 20_000_000_000
MAX_FILES = 10_000
MAX_RATIO = 200  # sparse matrices shrink to a tenth; only made-up data shrinks to a two-hundredth
RATIO_FROM = 64_000_000  # bytes below which the ratio is not asked: small files of zeros are harmless
BLOCK = 1 << 20

DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, NotImplementedError,
          ValueError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One entry of an archive, as the archive declares it."""

    name: str
    size: int
    is_dir: bool
    is_link: bool  # also devices: whatever is neither a plain file nor a folder
    encrypted: bool = False


def is_archive(path: Path) -> bool:
    """Say whether the name is that of an archive this module opens."""
    return str(path.name).lower().endswith(SUFFIXES)


def _zip_member(info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    odd = kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    return Member(info.filename, info.file_size, info.is_dir(), odd, bool(info.flag_bits & 1))


def _members(path: Path) -> Iterator[tuple[Member, IO[bytes] | None]]:
    """Yield every member with its open stream (None where there is no content to read)."""
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                member = _zip_member(info)
                if member.is_dir or member.is_link or member.encrypted:
                    yield member, None
                else:
                    with archive.open(info) as stream:
                        yield member, stream
        return
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            plain = entry.isfile() and not entry.issparse()
            member = Member(entry.name, entry.size, entry.isdir(), not plain and not entry.isdir())
            yield member, archive.extractfile(entry) if plain else None


def _unsafe(path: Path, why: str) -> ScdiffError:
    return ScdiffError(f"'{path.name}' was not unpacked.", why,
                       "Pack the files anew yourself, from a folder whose content you know.")


def _target(path: Path, into: Path, member: Member) -> Path | None:
    """Return where a member goes, None for what is left out; raises where it would go elsewhere."""
    name = member.name.replace("\\", "/")
    parts = PurePosixPath(name).parts
    if "\0" in name or name.startswith("/") or ".." in parts or any(":" in p for p in parts):
        raise _unsafe(path, f"The name '{member.name}' in it leads out of the folder it is unpacked into.")
    if member.is_link:
        raise _unsafe(path, f"'{member.name}' in it is a link or a device, not a plain file.")
    if member.encrypted:
        raise ScdiffError(f"'{path.name}' cannot be unpacked.", "It is locked with a password.",
                          "Unpack it on your computer, then give the files themselves.")
    litter = "__MACOSX" in parts or not parts or parts[-1].startswith("._") or parts[-1] == ".DS_Store"
    return None if litter else into.joinpath(*parts)


def _bomb(path: Path, total: int, packed: int, max_bytes: int) -> None:
    """Raise where the content is larger than allowed, or absurdly larger than the archive."""
    if total > max_bytes:
        raise _unsafe(path, f"Its content is larger than {max_bytes / 1e9:.1f} GB, the most that is unpacked.")
    if total > RATIO_FROM and total > MAX_RATIO * max(packed, 1):
        raise _unsafe(path, f"Its content is more than {MAX_RATIO} times larger than the file itself: no real "
                      "data shrinks so well, and it could fill the disk (a 'zip bomb').")


def _check_zip(path: Path, max_bytes: int, max_files: int) -> None:
    """Refuse a zip by what it declares, before a byte of it is unpacked."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    if len(infos) > max_files:
        raise _unsafe(path, f"It holds {len(infos)} files; at most {max_files} are unpacked.")
    for info in infos:
        _target(path, Path("."), _zip_member(info))
    _bomb(path, sum(i.file_size for i in infos), path.stat().st_size, max_bytes)


def _no_room(path: Path, into: Path) -> ScdiffError:
    return ScdiffError(f"'{path.name}' cannot be unpacked.",
                       f"The disk that holds '{into}' has {shutil.disk_usage(into).free / 1e6:.0f} MB left.",
                       "Free some space there, or set TMPDIR to a folder on a larger disk.")


def extract(path: Path, into: Path, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> Path:
    """Unpack a zip or tar archive into the folder `into`, and return that folder.

    Declared sizes are checked first, and the bytes that really come out are counted, since a
    declaration can lie.

    Raises
    ------
    ScdiffError
        A name has '..' or is absolute, there is a link or device, a password, too many files, too much
        content (in bytes, or compared with the archive's own size), no room, or the archive is damaged.
    """
    packed, total, files = path.stat().st_size, 0, 0
    into.mkdir(parents=True, exist_ok=True)
    try:
        if path.name.lower().endswith(".zip"):
            _check_zip(path, max_bytes, max_files)
        for member, stream in _members(path):
            target = _target(path, into, member)
            files += 1
            if files > max_files:
                raise _unsafe(path, f"It holds more than {max_files} files.")
            _bomb(path, total + member.size, packed, max_bytes)
            if target is None or stream is None:
                continue
            if member.size > shutil.disk_usage(into).free:
                raise _no_room(path, into)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as out:
                while block := stream.read(BLOCK):
                    total += len(block)
                    _bomb(path, total, packed, max_bytes)
                    out.write(block)
    except FileExistsError:
        raise _unsafe(path, "It holds two files of the same name.") from None
    except DAMAGE as error:
        if "No space left" in str(error):
            raise _no_room(path, into) from error
        raise ScdiffError(f"'{path.name}' cannot be unpacked.",
                          f"It is damaged, incomplete or not such an archive ({type(error).__name__}).",
                          "Copy or download it again, or pack it anew as .zip or .tar.gz.") from error
    return into


def names(path: Path, most: int = MAX_FILES) -> tuple[str, ...]:
    """Return the names of the plain files in an archive, without unpacking it.

    Raises
    ------
    ScdiffError
        The archive is damaged.
    """
    found: list[str] = []
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                found = [i.filename for i in archive.infolist() if not i.is_dir()]
        else:
            with tarfile.open(path, "r|*") as tar:
                for entry in tar:
                    if entry.isfile():
                        found.append(entry.name)
                    if len(found) >= most:
                        break
    except DAMAGE as error:
        raise ScdiffError(f"'{path.name}' cannot be opened.",
                          f"It is damaged, incomplete or not such an archive ({type(error).__name__}).",
                          "Copy or download it again, or pack it anew as .zip or .tar.gz.") from error
    return tuple(found[:most])
