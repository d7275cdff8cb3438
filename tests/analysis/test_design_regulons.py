"""Regulons that somebody asks to download: by a stand-in for the internet, held against decoupler's own reading."""

from __future__ import annotations

import io
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from scdiff_core.analysis.design import regulators, regulons
from scdiff_core.errors import ScdiffError

COLLECTRI = """source,target,weight,resources,references,sign.decision
MYC,TERT,1.0,ExTRI;CollecTRI,1;2,PMID
MYC,CDKN1A,-1.0,ExTRI,3,PMID
TP53,CDKN1A,1.0,ExTRI,4,PMID
"""
HEAD = ("source_genesymbol\ttarget_genesymbol\tis_stimulation\tis_inhibition\tconsensus_direction\t"
        "consensus_stimulation\tconsensus_inhibition\tdorothea_level")
DOROTHEA = "\n".join([HEAD, "AR\tKLK3\tTrue\tFalse\tTrue\tTrue\tFalse\tA",
                      "AR\tPTEN\tFalse\tTrue\tTrue\tFalse\tTrue\tB",
                      "AR\tFOXA1\tTrue\tTrue\tTrue\tFalse\tTrue\tC", "E2F1\tTP73\tTrue\tTrue\tTrue\tTrue\tFalse\tA;D",
                      "E2F1\tMYC\tFalse\tFalse\tFalse\tFalse\tFalse\tB"]) + "\n"


class Internet:
    """Answers every address with one text, and knows what was asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, []

    def __call__(self, request: Any, timeout: float) -> io.BytesIO:
        self.asked.append(request.full_url)
        return io.BytesIO(self.text.encode())


@pytest.mark.parametrize(("name", "text"), [("CollecTRI", COLLECTRI), ("DoRothEA", DOROTHEA)])
def test_regulons_are_those_that_decoupler_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
                                                 text: str) -> None:
    decoupler = pytest.importorskip("decoupler")
    internet = Internet(text)
    path, n = regulons.download(name.lower(), tmp_path, internet)
    found = regulators.read([path])
    assert path.name == f"{name}.tsv" and n == len(found) and len(internet.asked) == 1
    import importlib

    module = importlib.import_module(f"decoupler.op._{name.lower()}")
    monkeypatch.setattr(module, "_download", lambda url, verbose=False: io.BytesIO(text.encode()))
    table = getattr(decoupler.op, name.lower())()
    assert {(tf, g): w for tf, targets in found.items() for g, w in targets.items()} == pytest.approx(
        {(r.source, r.target): r.weight for r in table.itertuples()})


def test_page_and_command_keep_them_in_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from scdiff_core import cli_routes
    from scdiff_core.engine import routes_ops
    from scdiff_core.workspace import Workspace

    monkeypatch.setattr("urllib.request.urlopen", Internet(COLLECTRI))
    space = Workspace(tmp_path)
    said = routes_ops.fetch_regulons(SimpleNamespace(workspace=space), lambda words, share: None,  # type: ignore[arg-type]
                                     "CollecTRI")
    assert said == {"path": str(space.root / "gene_sets" / "CollecTRI.tsv"), "name": "CollecTRI", "n": 2}
    assert cli_routes._download(space, "collectri") == said["path"]


@pytest.mark.parametrize("error", [urllib.error.URLError("Name or service not known"), TimeoutError("timed out"),
                                   urllib.error.HTTPError("u", 503, "busy", None, None)])  # type: ignore[arg-type]
def test_without_internet_it_says_so_and_what_to_do(tmp_path: Path, error: OSError) -> None:
    def nobody(request: Any, timeout: float) -> io.BytesIO:
        raise error

    with pytest.raises(ScdiffError) as told:
        regulons.download("CollecTRI", tmp_path, nobody)
    assert "could not be downloaded" in told.value.what and "zenodo.org cannot be reached" in told.value.why
    assert "https://zenodo.org" in told.value.fix and not list(tmp_path.iterdir())


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    for name in regulons.SOURCES:
        for text in ("<!doctype html><p>Sorry", "", "a,b\n1,2\n"):
            with pytest.raises(ScdiffError, match="could not be used"):
                regulons.download(name, tmp_path, Internet(text))
    with pytest.raises(ScdiffError, match="no regulons 'Colectri'"):
        regulons.download("Colectri", tmp_path, Internet(COLLECTRI))
