import urllib.error

import numpy as np
import pytest
from helpers import tiny_counts_adata

from scdiff_core.data import demo
from scdiff_core.errors import ScdiffError


def test_every_demo_has_words():
    assert set(demo.DEMOS) == {"pbmc68k", "pbmc3k", "perturb"}
    assert all(title and description.endswith(".") for title, description in demo.DEMOS.values())


def test_pbmc68k_is_there_offline_with_its_labels():
    adata = demo.load_demo("pbmc68k")
    assert adata.shape == (700, 765) and adata.obs["bulk_labels"].nunique() == 10
    assert not adata.obsm and adata.X.max() < 10


def test_perturb_is_simulated():
    said: list[str] = []
    adata = demo.load_demo("perturb", said.append)
    assert adata.n_obs == 5000 and said == ["Simulating 5,000 cells"]


def test_an_unknown_demo_is_told():
    with pytest.raises(ScdiffError, match="Did you mean 'pbmc68k'"):
        demo.load_demo("pbmc68")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "scdiff-studio" / "pbmc3k_raw.h5ad"


def test_offline_is_told_plainly(cache, monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(demo.urllib.request, "urlopen", refuse)
    with pytest.raises(ScdiffError, match="may be offline") as error:
        demo.load_demo("pbmc3k")
    assert "demo:pbmc68k" in error.value.fix and not cache.exists()


def test_a_download_is_told_about_kept_and_used_again(cache, monkeypatch, tmp_path):
    tiny_counts_adata(40, 30).write_h5ad(tmp_path / "served.h5ad")
    monkeypatch.setattr(demo, "PBMC3K_URL", (tmp_path / "served.h5ad").as_uri())
    said: list[str] = []
    assert demo.load_demo("pbmc3k", said.append).shape == (40, 30)
    assert said and said[-1].startswith("Downloading PBMC3k") and cache.exists()
    (tmp_path / "served.h5ad").unlink()
    assert np.asarray(demo.load_demo("pbmc3k").X.sum()) > 0


def test_what_is_not_the_data_is_removed(cache, monkeypatch, tmp_path):
    (tmp_path / "login.html").write_text("<html>please log in</html>")
    monkeypatch.setattr(demo, "PBMC3K_URL", (tmp_path / "login.html").as_uri())
    with pytest.raises(ScdiffError, match="cannot be read"):
        demo.load_demo("pbmc3k")
    assert not cache.exists()
