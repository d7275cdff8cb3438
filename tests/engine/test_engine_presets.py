"""Presets: known names, in growing length, for counts and for continuous values; no torch in sight."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scdiff_core import keys
from scdiff_core.engine.presets import PRESETS, preset
from scdiff_core.errors import ScdiffError


def test_presets_grow():
    quick, standard, thorough = (PRESETS[n] for n in ("quick", "standard", "thorough"))
    for one, two in ((quick, standard), (standard, thorough)):
        assert one[0].steps < two[0].steps
        assert one[1].steps < two[1].steps
        assert one[1].width <= two[1].width


@pytest.mark.parametrize("name", PRESETS)
def test_stopping_early_is_on(name):
    assert preset(name)[1].patience > 0


def test_values_that_are_no_counts_are_not_thinned():
    assert preset("standard", keys.CONTINUOUS)[0].thin == 1
    assert preset("standard", keys.COUNTS) == PRESETS["standard"]


def test_unknown_preset_is_refused():
    with pytest.raises(ScdiffError, match="quick"):
        preset("quik")


def test_importing_them_imports_no_torch():
    code = "import sys, scdiff_core.engine.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
