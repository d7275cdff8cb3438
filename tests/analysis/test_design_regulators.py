"""Regulators and small molecules for a design: known ones come first, and tables that cannot be used are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from scdiff_core.analysis.design import regulators, signatures
from scdiff_core.analysis.perturb import programs
from scdiff_core.errors import ScdiffError

GENES = [f"G{i}" for i in range(200)]
RNG = np.random.default_rng(0)
NETWORK = {"UPPER": dict.fromkeys(GENES[:20], 1.0), "LOWER": dict.fromkeys(GENES[20:40], 1.0),
           "REPRESSOR": dict.fromkeys(GENES[:20], -1.0), "IDLE": dict.fromkeys(GENES[100:120], 1.0),
           "FEW": dict.fromkeys(GENES[:3], 1.0), "G0": dict.fromkeys(GENES[60:70], 1.0)}


def change() -> np.ndarray:
    out = RNG.normal(0, 0.1, 200)
    out[:20] += 1
    out[20:40] -= 0.7
    return out


def test_regulators_of_what_changes_come_first_with_their_sign() -> None:
    wanted = change()
    table = regulators.rank(wanted, GENES, NETWORK)
    assert tuple(table.columns) == regulators.COLUMNS and table["rank"].tolist() == list(range(1, 6))
    by = table.set_index("regulator")
    assert set(table["regulator"][:3]) == {"UPPER", "LOWER", "REPRESSOR"} and "FEW" not in by.index
    assert by.at["UPPER", "activity"] > 0 > by.at["LOWER", "activity"]
    assert by.at["UPPER", "activity"] == pytest.approx(-by.at["REPRESSOR", "activity"])
    assert by.at["UPPER", "reading"] == regulators.RAISE and by.at["REPRESSOR", "reading"] == regulators.LOWER
    assert by.at["IDLE", "reading"] == regulators.UNSURE
    assert by.at["G0", "own_change"] == pytest.approx(wanted[0]) and np.isnan(by.at["UPPER", "own_change"])
    assert set(by.at["LOWER", "targets"].split()) <= set(GENES[20:40]) and by.at["IDLE", "n_targets"] == 20
    assert "not causes" in regulators.WORDS


def test_activities_are_those_of_decoupler() -> None:
    decoupler = pytest.importorskip("decoupler")
    wanted = change()
    net = pd.DataFrame([(s, t, w) for s, m in NETWORK.items() for t, w in m.items()],
                       columns=["source", "target", "weight"])
    t, p = decoupler.mt.ulm(pd.DataFrame([wanted], ["x"], GENES), net, tmin=5)
    table = regulators.rank(wanted, GENES, NETWORK).set_index("regulator")
    assert table["activity"].to_numpy() == pytest.approx(t.loc["x", table.index].to_numpy(), rel=1e-4)
    assert table["pval_adj"].to_numpy() == pytest.approx(p.loc["x", table.index].to_numpy(), rel=1e-3, abs=1e-12)


def test_regulons_come_from_files(tmp_path: Path) -> None:
    table, sets = tmp_path / "net.tsv", tmp_path / "sets.gmt"
    table.write_text("tf\ttarget\tmor\nA\tG1\t1\nA\tG2\t-1\n")
    sets.write_text("B\tx\tG3\tG4\n")
    assert regulators.read([table, sets]) == {"A": {"G1": 1.0, "G2": -1.0}, "B": {"G3": 1.0, "G4": 1.0}}
    for paths, why in (([], "No file"), ([tmp_path / "none.tsv"], "no such file")):
        with pytest.raises(ScdiffError, match=why):
            regulators.read(paths)
    (tmp_path / "empty.tsv").write_text("source\ttarget\n")
    with pytest.raises(ScdiffError, match="no row"):
        regulators.read([tmp_path / "empty.tsv"])


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(ScdiffError, match="no change"):
        regulators.rank(np.zeros(200), GENES, NETWORK)
    with pytest.raises(ScdiffError, match=f"none has {programs.LEAST} genes"):
        regulators.rank(change(), GENES, {"OTHER": {"X": 1.0}})


def drugs() -> pd.DataFrame:
    wanted = change()
    return pd.DataFrame({"does it": 3 * wanted, "undoes it": -wanted, "half": wanted + RNG.normal(0, 1, 200),
                         "other": RNG.normal(size=200)}, index=GENES)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("turned", [False, True])
def test_tables_are_read_whichever_way_they_stand(tmp_path: Path, ending: str, turned: bool) -> None:
    table = drugs()
    path = tmp_path / f"signatures{ending}"
    written = table.T if turned else table
    if ending == ".parquet":
        written.to_parquet(path)
    else:
        written.to_csv(path, sep="," if ending == ".csv" else "\t")
    genes = [*GENES[50:][::-1], "ELSE"]
    found = signatures.read(path, genes)
    pd.testing.assert_frame_equal(found.loc[GENES[50:]], table.loc[GENES[50:]], check_names=False, atol=1e-12)


def test_the_drug_that_does_it_comes_first() -> None:
    table = drugs()
    wanted = pd.Series(table["does it"] / 3, GENES)
    found = signatures.score(table, wanted)
    assert found["drug"].tolist()[0] == "does it" and found["drug"].tolist()[-1] == "undoes it"
    assert found["cosine"].iloc[[0, -1]].tolist() == pytest.approx([1, -1])
    half = found.set_index("drug").loc["half"]
    assert half["rank_score"] == pytest.approx(spearmanr(table["half"], wanted)[0])
    with pytest.raises(ScdiffError, match="no change"):
        signatures.score(table, 0 * wanted)


def broken(table: pd.DataFrame, how: str) -> pd.DataFrame:
    table = table.astype(object)
    if how == "missing":
        table.iloc[5, 1] = np.nan
    elif how == "text":
        table.iloc[5, 1] = "n.d."
    elif how == "infinite":
        table.iloc[5, 1] = np.inf
    elif how == "flat":
        table["other"] = 0.0
    elif how == "other genes":
        table.index = [f"ENSG{i:06d}" for i in range(200)]
    elif how == "gene twice":
        table.index = [*GENES[:-1], "g0"]
    elif how == "drug twice":
        table.columns = ["a", "a", "b", "c"]
    return table


@pytest.mark.parametrize(("how", "why"), [
    ("missing", "'G5' for 'undoes it' is missing"), ("text", "'G5' for 'undoes it'"), ("infinite", "'G5' for 'undoes"),
    ("flat", "'other' has the same value"), ("other genes", "0 are genes of the data"), ("gene twice", "'G0' stands"),
    ("drug twice", "'a' stands")])
def test_bad_tables_are_refused_with_what_is_wrong(tmp_path: Path, how: str, why: str) -> None:
    path = tmp_path / "signatures.tsv"
    broken(drugs(), how).to_csv(path, sep="\t")
    if how == "drug twice":  # pandas gives the second one another name
        text = path.read_text().split("\n", 1)
        path.write_text("\ta\ta\tb\tc\n" + text[1])
    with pytest.raises(ScdiffError, match=why):
        signatures.read(path, GENES)


@pytest.mark.parametrize(("name", "content"), [("none.csv", None), ("x.xlsx", b"x"), ("x.parquet", b"x"),
                                               ("x.csv", b""), ("x.csv", b"\xff\xfe\x00")])
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScdiffError):
        signatures.read(path, GENES)
