"""Reading gene sets, and scoring cells by them, against scanpy and by hand."""

from __future__ import annotations

import gzip

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scdiff_core.analysis.gene_sets import decode_gmt, read_gmt, score
from scdiff_core.errors import ScdiffError

GMT = "INTERFERON\thttp://x\tISG15\tIFI6\tISG15\n\nB cell\tna\tMS4A1\tCD79A\t\t\r\n"


def test_a_gmt_is_read_in_order_each_gene_once() -> None:
    sets = read_gmt(GMT)
    assert list(sets.items()) == [("INTERFERON", ("ISG15", "IFI6")), ("B cell", ("MS4A1", "CD79A"))]
    assert decode_gmt(b"\xef\xbb\xbf" + GMT.encode()) == sets
    assert read_gmt("A\td\tG1\nA\td\tG1\n") == {"A": ("G1",)}


@pytest.mark.parametrize(("text", "said"), [
    ("", "empty"), ("\n \n", "empty"),
    ("<!DOCTYPE html>\n<html>\tx\ty</html>", "web page"), ("  <html><body>", "web page"),
    ("gene,score\nA,1\n", "but commas"), ("gene;score\n", "but semicolons"), ("CD3D CD3E\n", "but spaces"),
    ("CD3D\nCD3E\n", "no tab"), ("A\tdescription\n", "no genes"), ("A\td\t\t\n", "no genes"),
    ("A\tG\tX\nB\n", "no genes"),
    ("\td\tG1\n", "no name"), ("A\td\tG1\nA\td\tG2\n", "Two sets are named 'A'"), ("A\0\td\tG1\n", "no text"),
    ("\ufffd" * 50 + "\t", "no text")])
def test_what_is_no_gmt_is_told(text: str, said: str) -> None:
    with pytest.raises(ScdiffError, match="cannot be read") as told:
        read_gmt(text)
    assert said in told.value.why and told.value.fix


def test_files_that_are_no_text_are_told() -> None:
    for data, said in ((gzip.compress(GMT.encode()), "packed"), (b"PK\x03\x04\xff\xff", "packed"),
                       (b"\x89HDF\r\n\x1a\n\xff\xfe\x00", "no text"), (b"\x89PNG\r\n\x1a\n\x00", "no text")):
        with pytest.raises(ScdiffError, match=said):
            decode_gmt(data)
    with pytest.raises(ScdiffError, match="no text"):
        decode_gmt("A\td\tG".encode("utf-16"))


@pytest.fixture
def cells() -> tuple[sparse.csr_matrix, np.ndarray]:
    """Log1p of 100 cells of 300 genes; the first ten genes are high in the first half."""
    rng = np.random.default_rng(0)
    x = rng.poisson(np.linspace(0.1, 2, 300), (100, 300)).astype(np.float32)
    x[:50, :10] += 3
    return sparse.csr_matrix(np.log1p(x)), np.array([f"Gene{i}" for i in range(300)])


def test_scores_are_scanpys_in_any_case_of_the_names(cells) -> None:
    import scanpy as sc

    x, genes = cells
    wanted = [f"GENE{i}" for i in range(10)] + ["NOPE"]
    adata = anndata.AnnData(x.copy(), var=pd.DataFrame(index=genes))
    sc.tl.score_genes(adata, list(genes[:10]), random_state=3)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    ours = score(x, genes, wanted, seed=3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    # names decide the order in which scanpy draws, and ours stand for positions: another draw of the same
    assert np.corrcoef(ours, adata.obs["score"])[0, 1] > 0.95
    assert ours.dtype == np.float64 and ours[:50].min() > ours[50:].max()
    np.testing.assert_array_equal(ours, score(x, genes, wanted, seed=3))
    adata.var_names = [str(i) for i in range(300)]
    sc.tl.score_genes(adata, [str(i) for i in range(10)], random_state=3)
    np.testing.assert_allclose(ours, adata.obs["score"], atol=1e-6)


def test_a_score_is_the_mean_of_the_set_minus_that_of_genes_of_like_expression() -> None:
    """120 genes make 25 bins of five: few enough that all genes of a bin are taken, and nothing is drawn."""
    x = np.random.default_rng(1).random((40, 120)).astype(np.float32)
    genes = np.array([f"g{i}" for i in range(120)])
    bins = pd.Series(x.mean(0, dtype=float)).rank().to_numpy() // 5
    chosen = np.array([3, 50])
    others = np.setdiff1d(np.flatnonzero(np.isin(bins, bins[chosen])), chosen)
    expected = x[:, chosen].mean(1, dtype=float) - x[:, others].mean(1, dtype=float)
    np.testing.assert_allclose(score(sparse.csr_matrix(x), genes, ["g50", "g3"]), expected, atol=1e-6)


def test_few_genes_can_be_scored_and_none_is_told(cells) -> None:
    x, genes = cells
    assert score(x[:, :12], genes[:12], ["gene0"]).shape == (100,)
    assert np.isfinite(score(x[:, :30], genes[:30], ["gene0", "gene29"])).all()
    with pytest.raises(ScdiffError, match=r"None of its 2 genes .* Did you mean 'Gene1"):
        score(x, genes, ["Gena1", "x"])
    with pytest.raises(ScdiffError, match="None of its 0"):
        score(x, genes, [])
    with pytest.raises(ScdiffError, match="no gene of like expression"):
        score(x[:, :20], genes[:20], list(genes[:20]))


def test_names_that_stand_twice_are_scored_by_the_first(cells) -> None:
    x, genes = cells
    twice = genes.copy()
    twice[200] = "Gene0"
    np.testing.assert_array_equal(score(x, twice, ["Gene0"]), score(x, genes, ["Gene0"]))
