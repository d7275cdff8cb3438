"""The one error, and the nearest known word."""

import pickle

from scdiff_core.errors import ScdiffError, nearest


def test_an_error_keeps_its_three_sentences_through_json_and_processes() -> None:
    error = ScdiffError("It broke.", "The disk is full.", "Free some space.")
    assert str(error) == "It broke. The disk is full. Free some space."
    assert ScdiffError(**error.to_dict()).to_dict() == error.to_dict()
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - as multiprocessing would
    assert (again.what, again.why, again.fix) == (error.what, error.why, error.fix)


def test_nearest_ignores_case_and_names_what_is_close() -> None:
    assert nearest("cd4 t", ["CD4 T", "CD8 T", "B"]).startswith("Did you mean 'CD4 T'")
    assert nearest("zzz", ["CD4 T", "B"]) == ""
    assert nearest("x", []) == ""
