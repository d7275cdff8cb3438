import json
import mmap

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from helpers import prepared_tiny

from scdiff_core.config import Roles
from scdiff_core.data import prepared as prepared_module
from scdiff_core.data.prepared import Prepared, fingerprint, project, to_log1p
from scdiff_core.errors import ScdiffError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Prepared:
    return prepared_tiny(tmp_path_factory.mktemp("workspace"))


def test_log1p_is_scaled_to_ten_thousand_of_the_given_totals():
    counts = sp.csr_matrix(np.array([[1, 0, 3], [0, 0, 0]], np.float32))
    expected = np.log1p([[1e4 / 8, 0, 3e4 / 8], [0, 0, 0]])
    np.testing.assert_allclose(to_log1p(counts, np.array([8, 0])).toarray(), expected, rtol=1e-6)
    assert counts.data.tolist() == [1, 3]


def test_projection_is_centred_and_the_same_for_sparse_and_dense():
    rng = np.random.default_rng(0)
    values, mean, components = rng.random((5, 7)), rng.random(7), rng.random((3, 7))
    expected = (values - mean) @ components.T
    np.testing.assert_allclose(project(values, mean, components), expected, rtol=1e-5)
    np.testing.assert_allclose(project(sp.csr_matrix(values), mean, components), expected, rtol=1e-5)


def test_it_opens_as_it_was_made(tiny):
    assert tiny.name == "tiny" and tiny.counts.dtype == np.float32 and sp.issparse(tiny.counts)
    assert tiny.counts.shape == (tiny.n_cells, tiny.n_genes) == (len(tiny.obs), len(tiny.genes))
    assert tiny.X_umap.shape == (300, 2) and np.isfinite(tiny.X_umap).all()
    np.testing.assert_allclose(tiny.X_pca, tiny.project(tiny.log1p()), atol=1e-4)
    np.testing.assert_allclose(tiny.log1p([3, 5]).toarray(), tiny.log1p().toarray()[[3, 5]])
    assert tiny.roles == Roles(cell_type="cell_type", batch="batch")
    assert tiny.vocab.find("cell_type").values == ("B", "Monocyte", "T")


def test_splits_part_the_cells(tiny):
    train, test = tiny.rows("train"), tiny.rows("test")
    assert sorted([*train, *test]) == list(range(tiny.n_cells))
    assert len(test) / tiny.n_cells == pytest.approx(0.3, abs=0.02)
    with pytest.raises(ScdiffError, match="no split 'validation'"):
        tiny.rows("validation")


def test_labels_by_role_and_column(tiny):
    labels = tiny.labels("cell_type")
    assert set(labels) == {"B", "Monocyte", "T", ""}
    assert (labels == "").sum() == tiny.obs["cell_type"].isna().sum()
    with pytest.raises(ScdiffError, match="Did you mean 'batch'"):
        tiny.labels("bacth")


def test_markers_come_with_it(tiny):
    markers = tiny.markers()
    assert set(markers["group"]) == {"B", "Monocyte", "T"}
    assert set(markers["gene"]) <= set(tiny.genes)


def test_it_opens_by_directory_and_by_file_and_elsewhere(tiny, tmp_path):
    by_file = Prepared.open(tiny.path / "prepared.h5ad")
    assert by_file.fingerprint == tiny.fingerprint
    import anndata as ad

    cells = ad.read_h5ad(tiny.path / "prepared.h5ad")
    np.testing.assert_allclose(cells.layers["log1p"].toarray(), tiny.log1p().toarray(), rtol=1e-5)
    assert json.loads(cells.uns["scdiff"])["fingerprint"] == tiny.fingerprint


def test_many_counts_are_read_from_files_and_are_the_same(tiny, tmp_path, monkeypatch):
    copy = tmp_path / "prepared.h5ad"
    copy.write_bytes((tiny.path / "prepared.h5ad").read_bytes())
    monkeypatch.setattr(prepared_module, "MAPPED_FROM", 1)
    monkeypatch.setattr(prepared_module, "PIECE", 7)
    for _ in range(2):  # the second time, what was unpacked is taken
        opened = Prepared.open(copy)
        for name in ("data", "indices", "indptr"):
            owner = getattr(opened.counts, name)
            while isinstance(owner, np.ndarray):
                owner = owner.base
            assert isinstance(owner, mmap.mmap)
            np.testing.assert_array_equal(getattr(opened.counts, name), getattr(tiny.counts, name))
        rows = np.array([5, 0, 2])
        assert (opened.counts[rows] != tiny.counts[rows]).nnz == 0
        assert (opened.log1p(rows) != tiny.log1p(rows)).nnz == 0
        with pytest.raises(ValueError, match="read-only"):
            opened.counts.data[0] = 1
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [f"mapped-{tiny.fingerprint[:16]}"]


@pytest.mark.parametrize("kinds", [("i4", "i8"), ("i8", "i8"), ("i8", "i4")])
def test_indices_are_of_one_type_whatever_the_file_has(tiny, tmp_path, kinds):
    """Else scipy converts all of them each time a minibatch is cut."""
    copy = tmp_path / "prepared.h5ad"
    copy.write_bytes((tiny.path / "prepared.h5ad").read_bytes())
    with h5py.File(copy, "r+") as file:
        for name, kind in zip(("indices", "indptr"), kinds, strict=True):
            values = file["X"][name][:].astype(kind)
            del file["X"][name]
            file["X"][name] = values
    counts = Prepared.open(copy).counts
    assert counts.indices.dtype == counts.indptr.dtype == np.int32
    assert (counts != tiny.counts).nnz == 0


def test_where_nothing_can_be_unpacked_counts_are_held_in_memory(tiny, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    copy = tmp_path / "prepared.h5ad"
    copy.write_bytes((tiny.path / "prepared.h5ad").read_bytes())
    monkeypatch.setattr(prepared_module, "MAPPED_FROM", 1)
    monkeypatch.setattr(prepared_module, "_unpack", full)
    assert (Prepared.open(copy).counts != tiny.counts).nnz == 0


def test_bad_days_are_told(tiny, tmp_path):
    with pytest.raises(ScdiffError, match="is not prepared"):
        Prepared.open(tmp_path)
    content = (tiny.path / "prepared.h5ad").read_bytes()
    broken = tmp_path / "prepared.h5ad"
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(ScdiffError, match="cannot be opened"):
        Prepared.open(broken)
    broken.write_bytes(b"no file of this kind")
    with pytest.raises(ScdiffError, match="cannot be opened"):
        Prepared.open(broken)
    broken.write_bytes(content)
    with h5py.File(broken, "r+") as f:
        meta = json.loads(f["uns/scdiff"][()])
        del f["uns/scdiff"]
        f["uns/scdiff"] = json.dumps({**meta, "format": 99})
        f["uns/scdiff"].attrs.update({"encoding-type": "string", "encoding-version": "0.2.0"})
    with pytest.raises(ScdiffError, match="newer version"):
        Prepared.open(broken)


def test_fingerprint_changes_with_what_matters_and_with_nothing_else(tiny):
    def of(counts=tiny.counts, obs=tiny.obs, genes=tiny.genes, roles=tiny.roles) -> str:
        return fingerprint(counts, tiny.total_counts, genes, tiny.vocab, obs, roles)

    assert of() == tiny.fingerprint == of(obs=tiny.obs.assign(note="seen"))
    more = tiny.counts.copy()
    more.data[0] += 1
    other_labels = tiny.obs.assign(cell_type="T")
    other_split = tiny.obs.assign(split="train")
    seen = {of(), of(counts=more), of(obs=other_labels), of(obs=other_split), of(genes=tiny.genes[::-1]),
            of(roles=Roles())}
    assert len(seen) == 6
