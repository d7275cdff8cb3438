"""Labels of perturbations, doses, and what is refused before training."""

import numpy as np
import pandas as pd
import pytest

from scdiff_core import keys
from scdiff_core.config import Roles
from scdiff_core.data.perturbations import Perturbation, check_obs, parse, parse_all, read_doses
from scdiff_core.errors import ScdiffError

ROLES = Roles(perturbation="condition", control="ctrl")


def obs(**columns: list) -> pd.DataFrame:
    return pd.DataFrame(columns)


def cells(**counts: int) -> pd.DataFrame:
    return obs(condition=[name for name, n in counts.items() for _ in range(n)])


@pytest.mark.parametrize(("label", "parts"), [
    ("B+A", ("A", "B")), ("A+B", ("A", "B")), (" A + B ", ("A", "B")), ("A+ctrl", ("A",)), ("ctrl+A", ("A",)),
    ("A", ("A",)), ("ctrl", ()), ("", ()), ("ctrl+ctrl", ()), ("A+A", ("A",)), ("C+A+B", ("A", "B", "C")),
    ("(+)-catechin", ("(+)-catechin",)), ("NKX2-1", ("NKX2-1",)), ("A_B", ("A_B",))])
def test_order_never_matters_and_the_control_is_no_part(label: str, parts: tuple[str, ...]) -> None:
    assert parse(label, "ctrl").parts == parts


def test_other_separators_split_only_known_halves() -> None:
    assert parse("A_B", "ctrl", {"A", "B"}).parts == ("A", "B")
    assert parse("A_ctrl", "ctrl", {"A"}).parts == ("A",)
    assert parse("HLA_A", "ctrl", {"A"}).parts == ("HLA_A",)
    assert parse_all(["A", "B", "A_B", "B+A"], "ctrl")["A_B"] == parse("A+B")


def test_directions_and_targets() -> None:
    p = parse("TF07-oe+TF03-kd", "control")
    assert p.label == "TF03-kd+TF07-oe"
    assert p.targets == ("TF03", "TF07")
    assert p.directions == ("knock-down", "activation")
    assert [s.label for s in p.singles()] == ["TF03-kd", "TF07-oe"]
    assert parse("KLF1").directions == ("",)
    assert str(Perturbation()) == "control"


def test_doses_are_numbers() -> None:
    assert read_doses(pd.Series([1, 2.5, None])).tolist()[:2] == [1.0, 2.5]
    np.testing.assert_array_equal(read_doses(pd.Series(["10 uM", "3 uM", ""])), [10, 3, np.nan])
    for values, says in (([1, "1+1"], "'1+1' is no number"), (["1 uM", "1 nM"], "different units"),
                         ([-1.0], "below zero")):
        with pytest.raises(ScdiffError) as error:
            read_doses(pd.Series(values, name="dose"))
        assert says in str(error.value)
        assert "dose" in error.value.what
    with pytest.raises(ScdiffError, match="Leave the dose column out"):
        read_doses(pd.Series(["1+1"]))


def refused(frame: pd.DataFrame, roles: Roles = ROLES, genes: tuple[str, ...] = ("A",)) -> ScdiffError:
    with pytest.raises(ScdiffError) as error:
        check_obs(frame, roles, genes, "d")
    return error.value


def test_what_cannot_be_learnt_from_is_refused() -> None:
    good = cells(ctrl=5, A=3)
    assert check_obs(good, ROLES, ["A"]) == ()
    assert "No column" in refused(good, Roles()).why
    assert "no control cells" in refused(good, Roles(perturbation="condition")).what
    missing = refused(good, Roles(perturbation="condition", control="ctrrl"))
    assert "'ctrrl'" in missing.what and "'ctrl'" in missing.why
    few = refused(cells(ctrl=5, A=3, B=2))
    assert "'B'" in few.what and "It has 2" in few.why
    assert "no perturbations" in refused(cells(ctrl=5)).what
    held = good.assign(**{keys.SPLIT: [keys.TEST] * 5 + [keys.TRAIN] * 3})
    assert "held out" in refused(held).why
    dosed = good.assign(dose=["1"] * 7 + ["1+1"])
    assert "'1+1'" in refused(dosed, ROLES.model_copy(update={"dose": "dose"})).why


def test_pairs_in_either_order_count_together() -> None:
    assert check_obs(obs(condition=["ctrl"] * 4 + ["A+B", "B+A", "A+B"]), ROLES, ["A", "B"]) == ()


def test_unknown_genes_are_a_warning() -> None:
    (none,) = check_obs(cells(ctrl=5, drug=3), ROLES, ["A"])
    assert "None of the perturbed names" in none and "drug" in none
    (some,) = check_obs(cells(ctrl=5, A=3, Z=3), ROLES, ["A"])
    assert "1 of 2" in some and "Z" in some
