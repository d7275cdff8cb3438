"""Files that people bring: how large they may be, where they are kept, and what is said when one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages._shared import uploads
from scdiff_core.errors import ScdiffError


@dataclass
class File:
    """An uploaded file, as far as its name and size go."""

    name: str
    size: int = 10


@pytest.mark.parametrize(("name", "kept"), [
    ("Hallmark 2024.gmt", "Hallmark-2024.gmt"),
    ("../../etc/passwd.gmt", "passwd.gmt"),
    ("C:\\sets\\mine.GMT", "mine.gmt"),
    ("/root/.hidden.gmt", "hidden.gmt"),
    ("--help.gmt", "help.gmt"),
    ("µ°§.gmt", "mine.gmt"),
    ("..gmt", "mine.gmt"),
    ("a" * 300 + ".gmt", "a" * 60 + ".gmt"),
])
def test_a_file_is_kept_in_its_folder_whatever_its_name(tmp_path: Path, name: str, kept: str) -> None:
    path = uploads.place(File(name), tmp_path, ".gmt", largest=10, fix="")
    assert path == tmp_path / kept
    assert path.resolve().parent == tmp_path.resolve()


def test_a_file_that_is_too_large_is_refused_with_its_size(tmp_path: Path) -> None:
    with pytest.raises(ScdiffError) as refused:
        uploads.place(File("sets.gmt", 21 * uploads.MB), tmp_path, ".gmt", largest=20 * uploads.MB, fix="Take less.")
    assert refused.value.to_dict() == {"what": "'sets.gmt' is too large.", "why": "It has 21 MB.", "fix": "Take less."}


def test_its_ending_is_told_in_small_letters() -> None:
    assert [uploads.ending_of(File(n)) for n in ("a.GMT", "b.tar.gz", "c")] == [".gmt", ".gz", ""]


def test_an_error_is_shown_until_it_goes_well() -> None:
    def page() -> None:
        import streamlit as st

        from pages._shared.trouble import kept, show_kept
        from scdiff_core.errors import ScdiffError

        with kept("trouble"):
            if st.checkbox("wrong"):
                raise ScdiffError("It went wrong.", "So it is.", "Do otherwise.")
        show_kept("trouble")

    at = AppTest.from_function(page).run()
    assert not at.error
    at.checkbox[0].check().run()
    assert "It went wrong" in at.error[0].value
    at.checkbox[0].uncheck().run()
    assert not at.error
