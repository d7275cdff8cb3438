"""Archives of strangers: what is unpacked, and what is refused before it can do harm."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from scdiff_core.data import archive
from scdiff_core.errors import ScdiffError


def make_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def make_tar(path: Path, entries: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_files_come_out_as_they_went_in(tmp_path: Path, ending: str) -> None:
    entries = {"folder/a.txt": b"one", "b.txt": b"two"}
    path = tmp_path / f"a.{ending}"
    if ending == "zip":
        make_zip(path, entries)
    else:
        make_tar(path, entries, {"tar": "w", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(ending, "w:gz"))
    out = archive.extract(path, tmp_path / "out")
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == entries
    assert set(archive.names(path)) == set(entries)


@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "..\\evil.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    (make_zip if kind == "zip" else make_tar)(path, {"fine.txt": b"x", name: b"evil"})
    with pytest.raises(ScdiffError, match="leads out of the folder"):
        archive.extract(path, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil.txt"))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w") as file:
            info = tarfile.TarInfo("barcodes.tsv")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        with pytest.raises(ScdiffError, match="link or a device"):
            archive.extract(path, tmp_path / "out")
    link = zipfile.ZipInfo("barcodes.tsv")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ScdiffError, match="link or a device"):
        archive.extract(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out" / "barcodes.tsv").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused_and_leaves_little_behind(tmp_path: Path, kind: str) -> None:
    zeros = bytes(90_000_000)
    path = tmp_path / f"bomb.{kind}"
    (make_zip if kind == "zip" else make_tar)(path, {"matrix.mtx": zeros})
    assert path.stat().st_size < 200_000
    with pytest.raises(ScdiffError, match="bomb"):
        archive.extract(path, tmp_path / "out")
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file()) < 70_000_000


def test_a_lying_size_is_found_out_while_unpacking(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a.txt": bytes(5_000_000)})
    data = bytearray(path.read_bytes())
    central = data.rfind(b"PK\x01\x02")
    data[central + 24:central + 28] = (10).to_bytes(4, "little")  # declared size in the directory
    path.write_bytes(bytes(data))
    with pytest.raises(ScdiffError):
        archive.extract(path, tmp_path / "out", max_bytes=1_000_000)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file()) <= 2_000_000


def test_limits_of_size_and_number(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {f"{i}.txt": b"abc" for i in range(20)})
    with pytest.raises(ScdiffError, match="20 files"):
        archive.extract(path, tmp_path / "out", max_files=10)
    packed = make_tar(tmp_path / "a.tar.gz", {f"{i}.txt": b"abc" for i in range(20)})
    with pytest.raises(ScdiffError, match="more than 10 files"):
        archive.extract(packed, tmp_path / "out2", max_files=10)
    with pytest.raises(ScdiffError, match="larger than"):
        archive.extract(path, tmp_path / "out3", max_bytes=30)


def test_damaged_locked_and_doubled(tmp_path: Path) -> None:
    good = make_tar(tmp_path / "good.tar.gz", {"a.txt": bytes(range(256)) * 4000})
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(good.read_bytes()[:-200])
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    for path in (cut, text):
        with pytest.raises(ScdiffError, match="damaged, incomplete or not such an archive"):
            archive.extract(path, tmp_path / path.stem)
    locked = make_zip(tmp_path / "locked.zip", {"a.txt": b"secret"})
    data = bytearray(locked.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + offset] |= 1
    locked.write_bytes(bytes(data))
    with pytest.raises(ScdiffError, match="password"):
        archive.extract(locked, tmp_path / "locked")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        file.writestr("a.txt", "1")
        file.writestr("a.txt", "2")
    with pytest.raises(ScdiffError, match="two files of the same name"):
        archive.extract(tmp_path / "twice.zip", tmp_path / "twice")


def test_litter_of_a_mac_is_left_out(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"x/m.txt": b"1", "__MACOSX/x/._m.txt": b"2", "x/.DS_Store": b"3"})
    out = archive.extract(path, tmp_path / "out")
    assert [p.name for p in out.rglob("*") if p.is_file()] == ["m.txt"]
