import numpy as np
import pytest

from scdiff_core import keys
from scdiff_core.analysis.perturb import hold_out
from scdiff_core.analysis.perturb.splits import Table
from scdiff_core.config import Roles
from scdiff_core.data.simulate import simulate
from scdiff_core.data.split import held_out
from scdiff_core.errors import ScdiffError

ROLES = Roles(cell_type=keys.CELL_TYPE, perturbation=keys.PERTURBATION, control="control", dose=keys.DOSE)


@pytest.fixture(scope="module")
def obs():
    return simulate(4000, 250).obs


@pytest.mark.parametrize("kind", ["unseen-perturbation", "unseen-pair-both", "unseen-type", "unseen-dose",
                                  "unseen-both"])
def test_rules_hold_out_the_cells_of_the_fold(obs, kind):
    table = Table.of(obs, ROLES)
    for fold in hold_out.folds(table, kind):
        out = held_out(obs, hold_out.rules(fold, table, obs, ROLES))
        known = np.zeros(len(obs), bool)
        for rows in table.conditions.values():
            known[rows] = True
        np.testing.assert_array_equal(out[known], fold.test[known])
        assert not out[obs[keys.PERTURBATION] == "control"].any()


def test_a_word_says_which(obs):
    rule, *_ = hold_out.propose(obs, ROLES, "unseen-type:type_B")
    assert ("type_B",) in [a.values for a in rule.also]
    out = held_out(obs, hold_out.propose(obs, ROLES, "unseen-dose:stimulus at 1"))
    assert set(obs[keys.DOSE][out]) == {1.0}
    assert hold_out.propose(obs, ROLES, "unseen-perturbation:2") != hold_out.propose(obs, ROLES, "unseen-perturbation")


def test_what_cannot_be_held_out_is_told(obs):
    with pytest.raises(ScdiffError, match="Did you mean 'unseen-dose'"):
        hold_out.propose(obs, ROLES, "unseen-doses")
    with pytest.raises(ScdiffError, match="Did you mean 'type_B'"):
        hold_out.propose(obs, ROLES, "unseen-type:typeB")
    with pytest.raises(ScdiffError, match="no such condition"):
        hold_out.propose(obs, ROLES, "unseen-pair-one")
    with pytest.raises(ScdiffError, match="which cells were perturbed"):
        hold_out.propose(obs, Roles(cell_type=keys.CELL_TYPE), "unseen-type")
