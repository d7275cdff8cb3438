"""Reading text tables: every common way to write one, and clear words where it cannot be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from scdiff_core.config import ReadConfig
from scdiff_core.data.read import read
from scdiff_core.data.sniff import sniff
from scdiff_core.data.table_layout import detect, guess_orientation
from scdiff_core.errors import ScdiffError

GENES = ["TP53", "MT-CO1", "RPL13", "ACTB", "CD3E"]
CELLS = ["AAACCTGAGACCAAAA-1", "AAACCTGAGACCAAAC-1", "AAACCTGAGACCAAAG-1", "AAACCTGAGACCAAAT-1"]
X = np.array([[0, 3, 1, 12, 0], [2, 0, 0, 7, 1], [0, 1, 0, 0, 0], [5, 0, 9, 1, 2]], np.float32)


def write(path: Path, rows: list[str], columns: list[str], values: np.ndarray, sep: str = ",",
          corner: str | None = "", head: str = "", end: str = "\n", number: str = "{:g}") -> Path:
    first = [corner, *columns] if corner is not None else columns
    lines = [sep.join(first)] + [sep.join([r, *(number.format(v) for v in vs)])
                                 for r, vs in zip(rows, values, strict=True)]
    text = head + end.join(lines) + end
    if path.suffix == ".gz":
        with gzip.open(path, "wb") as file:
            file.write(text.encode())
    else:
        path.write_bytes(text.encode())
    return path


def same(path: Path, **config: str) -> None:
    out = read(str(path), ReadConfig(**config))  # type: ignore[arg-type]
    np.testing.assert_array_equal(out.X.toarray(), X)
    assert list(out.obs_names) == CELLS and list(out.var_names) == GENES


@pytest.mark.parametrize("ending", ["csv", "tsv", "txt", "csv.gz", "tsv.gz", "txt.gz"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("corner", ["", None, "index"])
def test_both_orientations_in_every_ending(tmp_path: Path, ending: str, turned: bool, corner: str | None) -> None:
    sep = {"c": ",", "t": "\t"}[ending[0]]
    rows, columns = (GENES, CELLS) if turned else (CELLS, GENES)
    path = write(tmp_path / f"a.{ending}", rows, columns, X.T if turned else X, sep, corner)
    same(path)
    found = sniff(path)
    assert found.orientation == ("genes_in_rows" if turned else "cells_in_rows")
    assert found.format == "table" and "look like" in found.reason


@pytest.mark.parametrize("sep", [",", "\t", ";", " ", "   "])
@pytest.mark.parametrize("head", ["", "# made by hand\n#\n", "\ufeff", "\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_comments_and_line_ends(tmp_path: Path, sep: str, head: str, end: str) -> None:
    corner = "cell" if sep.startswith(" ") else ""
    same(write(tmp_path / "a.txt", CELLS, GENES, X, sep, corner, head, end))


def test_a_header_in_the_last_comment(tmp_path: Path) -> None:
    lines = ["# simulated", "# it Gata2 Gata1 Fog1"] + [f"{i % 3} 0.{i} -0.1 2e-3" for i in range(9)]
    path = tmp_path / "a.txt"
    path.write_text("\n".join(lines))
    out = read(str(path))
    assert list(out.var_names) == ["Gata2", "Gata1", "Fog1"] and out.n_obs == 9
    np.testing.assert_allclose(out.X.toarray()[4], [0.4, -0.1, 0.002], rtol=1e-6)
    assert list(out.obs_names[:4]) == ["0", "1", "2", "0"]


def test_quotes_decimal_commas_and_other_alphabets(tmp_path: Path) -> None:
    quoted = tmp_path / "a.csv"
    quoted.write_text('"","TP53","MT-CO1"\n' + "\n".join(f'"{c}",1,2.5' for c in CELLS))
    np.testing.assert_allclose(read(str(quoted)).X.toarray(), [[1, 2.5]] * 4)
    comma = write(tmp_path / "b.csv", CELLS, GENES, X, ";", "")
    comma.write_text(comma.read_text().replace(";12;", ";12,5;"))
    assert read(str(comma)).X.toarray()[0, 3] == 12.5
    wide = tmp_path / "c.txt"
    wide.write_bytes(write(tmp_path / "d.txt", CELLS, GENES, X, "\t").read_text().encode("utf-16"))
    same(wide)
    latin = tmp_path / "e.csv"
    latin.write_bytes("Zelle,TP53,ACTB\nM\xfcller_1,1,2\nM\xfcller_2,3,4\nM\xfcller_3,3,4\n".encode("latin-1"))
    assert list(read(str(latin)).obs_names) == ["M\xfcller_1", "M\xfcller_2", "M\xfcller_3"]


def test_no_header_and_no_row_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(",".join(f"{v:g}" for v in row) for row in X))
    out = read(str(path))
    np.testing.assert_array_equal(out.X.toarray(), X)
    assert sniff(path).reason.startswith("the names do not tell")
    numbered = tmp_path / "b.csv"
    numbered.write_text(",TP53,ACTB\n" + "\n".join(f"{i},1,2" for i in range(5)))
    out = read(str(numbered))
    assert list(out.obs_names) == list("01234") and list(out.var_names) == ["TP53", "ACTB"]


def test_duplicate_names_come_through(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CELLS, ["TP53", "ACTB", "ACTB", "MT-CO1", "MT-CO2"], X)
    assert list(read(str(path)).var_names) == ["TP53", "ACTB", "ACTB", "MT-CO1", "MT-CO2"]


@pytest.mark.parametrize(("columns", "rows", "title", "expected"), [
    (CELLS, [f"ENSG{i:011d}.2" for i in range(9)], "", "genes_in_rows"),
    ([f"Cell_{i}" for i in range(30)], ["Sox2", "Pax6", "Neurog2", "Dcx"], "", "genes_in_rows"),
    (["Sox2", "Pax6", "Neurog2", "Dcx"], [f"A{i}" for i in range(30)], "", "cells_in_rows"),
    ([f"GSM{i}" for i in range(100, 160)], ["A1BG", "A2M", "NAT1", "NAT2"], "", "genes_in_rows"),
    (["a", "b"], ["c", "d"], "Gene Symbol", "genes_in_rows"),
    (["a", "b"], ["c", "d"], "barcode", "cells_in_rows"),
    ([f"gene_{i}" for i in range(50)], [f"cell_{i}" for i in range(50)], "", "cells_in_rows"),
    ([f"cell_{i}" for i in range(50)], [f"gene_{i}" for i in range(50)], "", "genes_in_rows"),
    (["x", "y"], ["u", "v"], "", "cells_in_rows"),
])
def test_orientation_by_names(columns: list[str], rows: list[str], title: str, expected: str) -> None:
    orientation, reason = guess_orientation(columns, rows, title, True)
    assert orientation == expected and reason


def test_the_user_may_turn_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CELLS, GENES, X)
    out = read(str(path), ReadConfig(orientation="genes_in_rows"))
    np.testing.assert_array_equal(out.X.toarray(), X.T)
    assert list(out.var_names) == CELLS
    assert "as chosen" in out.uns["scdiff_notes"][0][1]


def test_text_among_the_values_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CELLS, GENES, X)
    path.write_text(path.read_text().replace(",9,", ",high,"))
    with pytest.raises(ScdiffError) as caught:
        read(str(path))
    assert "'RPL13'" in caught.value.why and f"'{CELLS[3]}'" in caught.value.why and "'high'" in caught.value.why
    labelled = tmp_path / "b.csv"
    labelled.write_text("cell,TP53,type,ACTB\n" + "\n".join(f"{c},1,B cell,2" for c in CELLS))
    with pytest.raises(ScdiffError, match="every other line of that column holds text too") as caught:
        read(str(labelled))
    assert "'type'" in caught.value.why and "Remove the column 'type'" in caught.value.fix


def test_a_second_column_of_names_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("gene_id\tsymbol\t" + "\t".join(CELLS) + "\n"
                    + "\n".join(f"ENSG{i:011d}\t{g}\t1\t0\t2\t3" for i, g in enumerate(GENES)))
    with pytest.raises(ScdiffError, match="Column 'symbol'") as caught:
        read(str(path))
    assert "Remove the column 'symbol'" in caught.value.fix


def test_missing_values_are_read_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("cell,TP53,ACTB,CD3E\n" + "\n".join(f"{c},1,,NA" for c in CELLS))
    out = read(str(path)).X.toarray()
    assert np.isnan(out[:, 1:]).all() and (out[:, 0] == 1).all()


def test_lines_of_uneven_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", CELLS, GENES, X)
    path.write_text(path.read_text() + "AAACCTGAGACCTTTT-1,1,2,3,4,5,6,7\n")
    with pytest.raises(ScdiffError, match="Line 6 has 8 fields"):
        read(str(path))


@pytest.mark.parametrize(("content", "words"), [
    (b"", "0 bytes"), (b"\n\n\n", "no line of values"), (b"# only a comment\n", "no line of values"),
    (b",TP53,ACTB\n", "no line below"), (b"prose without any columns\n", "not a table"),
    (b"PK\x03\x04\x00\x00binary", "binary"), (b"one\ntwo\nthree\n", "not cut into columns")])
def test_what_is_no_table(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ScdiffError) as caught:
        read(str(path))
    assert words in str(caught.value) or words == "not a table"


def test_a_cut_off_gz(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv.gz", [f"{c}{i}" for i in range(500) for c in CELLS], GENES, np.tile(X, (500, 1)))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ScdiffError, match="damaged"):
        read(str(path))
    path.write_bytes(b"not packed at all")
    with pytest.raises(ScdiffError):
        read(str(path))


def test_a_large_table_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scdiff_core.data.tables.CHUNK_VALUES", 50)
    big = np.random.default_rng(0).poisson(0.5, (200, 7)).astype(np.float32)
    path = write(tmp_path / "a.csv", [f"cell_{i}" for i in range(200)],
                 ["A1BG", "TP53", "ACTB", "MT-CO1", "CD3E", "KIT", "SPI1"], big)
    said: list[str] = []
    out = read(str(path), progress=said.append)
    np.testing.assert_array_equal(out.X.toarray(), big)
    assert len(said) > 20
    lines = path.read_text().splitlines()
    lines[151] = lines[151].rsplit(",", 1)[0] + ",oops"
    path.write_text("\n".join(lines))
    with pytest.raises(ScdiffError, match="row 'cell_150' holds 'oops'"):
        read(str(path))


def test_layout_is_told(tmp_path: Path) -> None:
    layout = detect(write(tmp_path / "a.csv", CELLS, GENES, X, ";", "barcode"))
    assert (layout.separator_name, layout.index, layout.columns) == ("semicolon", True, tuple(GENES))
    assert layout.reason == "the row names are headed 'barcode'"
