"""Reading 10x matrix folders: v2 and v3, plain or packed, with a prefix, one of several, damaged."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from scdiff_core.config import ReadConfig
from scdiff_core.data.read import read
from scdiff_core.data.sniff import sniff
from scdiff_core.errors import ScdiffError

BARCODES = [f"AAACCTGAGACC{b}-1" for b in ("AAAA", "AAAC", "AAAG", "AAAT", "AACA", "AACC")]


def folder(path: Path, version: int, prefix: str = "", antibodies: int = 0, seed: int = 0) -> np.ndarray:
    """Write a matrix folder and return its counts [cells, genes]."""
    dense = np.random.default_rng(seed).poisson(1.0, (6, 5 + antibodies))
    path.mkdir(parents=True, exist_ok=True)
    scipy.io.mmwrite(path / f"{prefix}matrix.mtx", sp.csc_matrix(dense.T))
    kinds = ["Gene Expression"] * 5 + ["Antibody Capture"] * antibodies
    rows = [f"ENSG{i:011d}\tG{i}" + (f"\t{k}" if version == 3 else "") for i, k in enumerate(kinds)]
    (path / f"{prefix}{'features' if version == 3 else 'genes'}.tsv").write_text("\n".join(rows) + "\n")
    (path / f"{prefix}barcodes.tsv").write_text("\n".join(BARCODES) + "\n")
    if version == 3:
        for file in list(path.glob(f"{prefix}*")):
            with gzip.open(f"{file}.gz", "wb") as out:
                out.write(file.read_bytes())
            file.unlink()
    return dense


def pack(source: Path, target: Path) -> Path:
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            for part in source.rglob("*"):
                file.write(part, part.relative_to(source.parent))
    else:
        with tarfile.open(target, "w:gz") as tar:
            tar.add(source, source.name)
    return target


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("form", ["folder", "zip", "tar.gz", "file"])
def test_versions_and_packings(tmp_path: Path, version: int, form: str) -> None:
    dense = folder(tmp_path / "filtered_feature_bc_matrix", version)
    path = tmp_path / "filtered_feature_bc_matrix"
    if form == "file":
        path = path / ("matrix.mtx.gz" if version == 3 else "matrix.mtx")
    elif form != "folder":
        path = pack(path, tmp_path / f"a.{form}")
    out = read(str(path))
    np.testing.assert_array_equal(out.X.toarray(), dense)
    assert sp.isspmatrix_csr(out.X) and out.X.dtype == np.float32
    assert list(out.obs_names) == BARCODES and list(out.var_names) == [f"G{i}" for i in range(5)]
    assert out.var["gene_ids"].iloc[3] == "ENSG00000000003"
    found = sniff(path)
    if form in ("zip", "tar.gz"):
        assert found.format == "archive" and "matrix.mtx" in found.content
    else:
        assert (found.format, found.n_cells, found.n_genes, found.genomes) == ("10x_mtx", 6, 5, ())


@pytest.mark.parametrize("version", [2, 3])
def test_as_scanpy_reads_it(tmp_path: Path, version: int) -> None:
    import scanpy as sc

    folder(tmp_path / "m", version, antibodies=2 if version == 3 else 0)
    ours, theirs = read(str(tmp_path / "m")), sc.read_10x_mtx(tmp_path / "m")
    np.testing.assert_array_equal(ours.X.toarray(), theirs.X.toarray())
    assert list(ours.var_names) == list(theirs.var_names) and list(ours.obs_names) == list(theirs.obs_names)


def test_a_prefix_as_in_geo(tmp_path: Path) -> None:
    dense = folder(tmp_path / "geo", 3, prefix="GSM123_sampleA_")
    np.testing.assert_array_equal(read(str(tmp_path / "geo")).X.toarray(), dense)


def test_antibodies_are_left_out_and_told(tmp_path: Path) -> None:
    dense = folder(tmp_path / "m", 3, antibodies=3)
    out = read(str(tmp_path / "m"))
    np.testing.assert_array_equal(out.X.toarray(), dense[:, :5])
    assert "3 features of type Antibody Capture" in out.uns["scdiff_notes"][0][1]


def test_several_matrices_are_asked_for(tmp_path: Path) -> None:
    folder(tmp_path / "run" / "GRCh38", 2)
    mouse = folder(tmp_path / "run" / "mm10", 2, seed=1)
    assert sniff(tmp_path / "run").genomes == ("GRCh38", "mm10")
    for path in (tmp_path / "run", pack(tmp_path / "run", tmp_path / "a.zip")):
        with pytest.raises(ScdiffError, match="'GRCh38', 'mm10'"):
            read(str(path))
        np.testing.assert_array_equal(read(str(path), ReadConfig(genome="mm10")).X.toarray(), mouse)


def test_files_that_are_missing_or_do_not_fit(tmp_path: Path) -> None:
    folder(tmp_path / "m", 2)
    (tmp_path / "m" / "genes.tsv").rename(tmp_path / "genes.tsv")
    with pytest.raises(ScdiffError, match=r"no features\.tsv \(or genes\.tsv\)"):
        read(str(tmp_path / "m"))
    shutil.copy(tmp_path / "genes.tsv", tmp_path / "m" / "genes.tsv")
    (tmp_path / "m" / "barcodes.tsv").write_text("\n".join(BARCODES[:4]))
    with pytest.raises(ScdiffError, match="6 cells") as caught:
        read(str(tmp_path / "m"))
    assert "4 cells" in caught.value.why
    (tmp_path / "m" / "matrix.mtx").write_text("no matrix\n")
    with pytest.raises(ScdiffError, match="not a MatrixMarket"):
        read(str(tmp_path / "m"))


def test_a_damaged_matrix(tmp_path: Path) -> None:
    folder(tmp_path / "m", 2)
    file = tmp_path / "m" / "matrix.mtx"
    whole = file.read_text()
    for text in (whole[:-9], whole.replace(" 1\n", " one\n", 1), whole + "99 99 1\n"):
        file.write_text(text)
        with pytest.raises(ScdiffError, match="damaged"):
            read(str(tmp_path / "m"))
    header = whole.splitlines()[:3]
    rows = [r for r in header if not r.startswith("%")]
    file.write_text(whole.replace(rows[0], "5 6 900000000000000"))
    with pytest.raises(ScdiffError, match="too large for this machine"):
        read(str(tmp_path / "m"))


def test_a_zip_with_a_table_or_with_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "readme.md").write_text("nothing")
    with pytest.raises(ScdiffError, match=r"no matrix that is known \(readme\.md\)"):
        read(str(pack(tmp_path / "x", tmp_path / "a.zip")))
    (tmp_path / "x" / "a.csv").write_text(",TP53,ACTB\n" + "\n".join(f"{b},1,2" for b in BARCODES))
    assert read(str(pack(tmp_path / "x", tmp_path / "b.zip"))).shape == (6, 2)
    (tmp_path / "x" / "b.csv").write_text("")
    with pytest.raises(ScdiffError, match="several tables"):
        read(str(pack(tmp_path / "x", tmp_path / "c.zip")))


def test_a_layer_where_there_is_none(tmp_path: Path) -> None:
    folder(tmp_path / "m", 3)
    with pytest.raises(ScdiffError, match="one matrix only"):
        read(str(tmp_path / "m"), ReadConfig(layer="counts"))
