"""Embeddings: made, read, refused."""

import numpy as np
import pandas as pd
import pytest

from scdiff_core.analysis.perturb import embeddings as e
from scdiff_core.data.perturbations import parse
from scdiff_core.errors import ScdiffError


def like(x: e.Embedding, a: str, b: str) -> float:
    return float(x.unit[x.row(a)] @ x.unit[x.row(b)])


def test_genes_of_the_same_sets_are_alike() -> None:
    sets = {f"s{i}": [f"g{j}" for j in range(10 * (i % 3), 10 * (i % 3) + 6 + i)] for i in range(9)}
    found = e.from_gene_sets(sets, width=5)
    assert like(found, "g0", "g1") > 0.9 > 0.3 > like(found, "g0", "g11")
    with pytest.raises(ScdiffError, match="cannot be used"):
        e.from_gene_sets({"one": ["a"]})


def test_co_expressed_genes_are_alike() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2))
    x = np.hstack([z[:, [0]] + 0.3 * rng.normal(size=(300, 3)), z[:, [1]] + 0.3 * rng.normal(size=(300, 3))])
    found = e.from_control(x, list("abcdef"), width=2)
    assert like(found, "a", "b") > 0.9 > 0.2 > like(found, "a", "e")


def test_regulons() -> None:
    table = pd.DataFrame({"tf": list("AABBCC"), "target": list("xyxyzw"), "mor": [1, -1, 1, -1, 1, 1]})
    found = e.from_regulons(table, width=4)
    assert like(found, "A", "B") > 0.9 > like(found, "A", "C")
    with pytest.raises(ScdiffError, match="'target'"):
        e.from_regulons(table.drop(columns="target"))


def test_tables_in_every_format(tmp_path) -> None:
    import anndata

    table = pd.DataFrame(np.arange(6.0).reshape(3, 2), index=["A", "B", "C"], columns=["x", "y"])
    table.to_csv(tmp_path / "t.csv")
    table.to_csv(tmp_path / "t.tsv.gz", sep="\t")
    table.to_parquet(tmp_path / "t.parquet")
    table.rename_axis("gene").reset_index().to_parquet(tmp_path / "u.parquet")
    anndata.AnnData(table).write_h5ad(tmp_path / "t.h5ad")
    for name in ("t.csv", "t.tsv.gz", "t.parquet", "u.parquet", "t.h5ad"):
        found = e.read_table(tmp_path / name)
        assert found.names == ("A", "B", "C")
        np.testing.assert_allclose(found.vectors, table.to_numpy())


@pytest.mark.parametrize(("text", "says"), [
    ("g,x,y\nA,1,2\nB,,3\n", "missing or infinite number ('B')"), ("g,x\nA,1\nA,2\n", "more than once"),
    ("g,x,y\nA,1,one\nB,2,two\n", "'y' holds no numbers"), ("g,x\nA,inf\n", "missing or infinite"),
    ("g\nA\n", "no numbers"), ("g,x\nA,1\n,2\n", "has no name")])
def test_bad_tables_are_refused(tmp_path, text: str, says: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ScdiffError) as error:
        e.read_table(tmp_path / "t.csv")
    assert says in error.value.why


def test_files_that_are_none(tmp_path) -> None:
    (tmp_path / "t.xls").write_text("a")
    (tmp_path / "t.h5ad").write_text("a")
    for name, says in (("t.xls", "no known kind"), ("gone.csv", "not there"), ("t.h5ad", "t.h5ad")):
        with pytest.raises(ScdiffError) as error:
            e.read_table(tmp_path / name)
        assert says in error.value.why


def test_what_has_no_vector_is_refused_by_name() -> None:
    table = e.from_table(pd.DataFrame([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], index=["KLF1", "MYC", "centre"]))
    ask = [parse("KLF1-kd"), parse("klf1"), parse("SEEN+MYC")]
    assert e.missing(ask, [table], seen=["SEEN"]) == []
    assert e.missing([parse("KLF2+GATA1")], [table]) == ["GATA1", "KLF2"]
    assert e.missing([parse("centre")], [table]) == ["centre"]  # a vector of the mean says nothing
    with pytest.raises(ScdiffError) as error:
        e.refuse([parse("KLF2")], [table])
    assert "'KLF2'" in error.value.what and "KLF1" in error.value.why and ".gmt" in error.value.fix
