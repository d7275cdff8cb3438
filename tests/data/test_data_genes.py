import numpy as np
import pytest
import scipy.sparse as sp

from scdiff_core.data import genes
from scdiff_core.errors import ScdiffError


def test_perturbed_genes_are_found_in_labels():
    known = ["KLF1", "MAP2K6", "TP53", "HLA-DRA", "Sox2"]
    labels = ["control", "KLF1", "KLF1+MAP2K6", "TP53-kd", "HLA-DRA", "SOX2_KO", "aspirin", "", "ctrl+KLF1"]
    found, unknown = genes.perturbed(labels, "control", known)
    assert found == ["KLF1", "MAP2K6", "TP53", "HLA-DRA", "Sox2"]
    assert unknown == ["aspirin"]


def test_named_genes_must_be_there():
    assert genes.named(("CD3E", "CD3E", "LYZ"), ["LYZ", "CD3E"]) == ["CD3E", "LYZ"]
    with pytest.raises(ScdiffError, match=r"no gene 'CD3' .*\n?.*Did you mean") as error:
        genes.named(("CD3",), ["CD3E", "LYZ"])
    assert "CD3E" in error.value.why
    with pytest.raises(ScdiffError, match="2 such names"):
        genes.named(("XX", "YY"), ["LYZ"])


@pytest.fixture(scope="module")
def counts():
    """400 cells, 100 genes; the first ten differ between two halves of the cells, the next ten between batches."""
    rng = np.random.default_rng(0)
    half, batch = np.arange(400) % 2, np.arange(400) // 200
    mean = np.full((400, 100), 2.0)
    mean[:, :10] *= np.where(half == 1, 4, 0.5)[:, None]
    mean[:, 10:20] *= np.where(batch == 1, 4, 0.5)[:, None]
    return sp.csr_matrix(rng.poisson(mean).astype(np.float32)), np.where(batch == 1, "two", "one")


def test_variable_genes_are_those_that_differ(counts):
    chosen = genes.highly_variable(counts[0], 20, "counts")
    assert chosen.sum() == 20 and chosen[:20].sum() >= 19


def test_batches_keep_out_genes_that_only_differ_between_them(counts):
    chosen = genes.highly_variable(counts[0], 10, "counts", counts[1])
    assert chosen[:10].sum() >= 9


def test_continuous_values_are_ranked_too(counts):
    assert genes.highly_variable(counts[0].log1p(), 20, "continuous").sum() == 20
    centred = sp.csr_matrix(counts[0].toarray() - counts[0].toarray().mean(axis=0))
    assert genes.highly_variable(centred, 20, "continuous")[:20].sum() >= 19
    assert genes.highly_variable(counts[0], 500, "counts").all()


def test_batches_are_used_only_where_that_is_sound():
    many = np.repeat(["a", "b"], 200).astype(object)
    assert set(genes.usable_batches(many)) == {"a", "b"}
    some_missing = many.copy()
    some_missing[:100] = ""
    assert genes.usable_batches(some_missing) is None
    small = np.r_[np.repeat("a", 200), np.repeat("b", 200), np.repeat("c", 3)]
    assert set(genes.usable_batches(small)) == {"a", "b"}
    assert genes.usable_batches(np.repeat("a", 100)) is None
