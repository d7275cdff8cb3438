"""Selections on disk: kept, named, pruned, refused; by several sessions at once."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from scdiff_core.config import PrepareConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.selection import Selection, check_words, pack_rows, unpack_rows
from scdiff_core.selections import KEPT, Selections
from scdiff_core.workspace import JobDir, Workspace

N = 103


@pytest.fixture
def dataset(tmp_path: Path) -> JobDir:
    """The directory of a dataset."""
    return Workspace(tmp_path).create(PrepareConfig(source="x", name="d"), "d")


@pytest.fixture
def store(dataset: JobDir) -> Selections:
    """Its selections."""
    return Selections(dataset, "f" * 64, N)


def some(seed: int, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < 0.3


def test_rows_are_packed_small_and_come_back() -> None:
    for n in (1, 7, 8, 9, 50_000):
        mask = some(n, n)
        text = pack_rows(mask)
        np.testing.assert_array_equal(unpack_rows(text, n), mask)
        assert len(text) <= 4 * (n // 8 + 4) / 3 + 4
    assert unpack_rows(pack_rows(np.zeros(0, bool)), 0).shape == (0,)
    for text, n, said in (("*", 8, "base64"), ("é", 8, "base64"),
                          (pack_rows(some(1)), N + 8, "97 to 104 cells; there are 111"),
                          (pack_rows(some(1)), 3, "there are 3"), ("", 8, "no cells"), ("", -1, "there are -1")):
        with pytest.raises(ScdiffError, match=said):
            unpack_rows(text, n)


def test_a_selection_is_what_it_holds() -> None:
    mask = some(1)
    one = Selection({"real": mask, "r/s": some(2, 40), "r/empty": np.zeros(5, bool)})
    same = Selection({"r/s": some(2, 40), "real": mask.copy()})
    assert one == same and hash(one) == hash(same) and one.id == same.id and len(one.id) == 12
    assert one.n == mask.sum() + some(2, 40).sum() and set(one.masks) == {"real", "r/s"}
    assert one != Selection({"real": mask}) and Selection({}).n == 0
    assert Selection({"real": np.append(mask, False)}).id != Selection({"real": mask}).id
    mask[:] = False
    assert one == same  # it holds its own
    with pytest.raises(ValueError, match="read-only"):
        one.masks["real"][0] = True
    assert not one.mask("r/other", 9).any() and one.mask("real", N).sum() > 0
    with pytest.raises(ScdiffError, match="103 cells; there are 104"):
        one.mask("real", N + 1)
    for masks in ({"../x": some(1)}, {"r/../s": some(1)}, {"": some(1)}, {"run": some(1)}):
        with pytest.raises(ScdiffError, match="no cells"):
            Selection(masks)
    for odd in (np.arange(3), np.ones((2, 2), bool)):
        with pytest.raises(ScdiffError, match="no mask"):
            Selection({"real": odd})


def test_what_is_kept_opens_again_anywhere(store: Selections, dataset: JobDir) -> None:
    selection = Selection({"real": some(3), "run/set": some(4, 1000)})
    number = store.keep(selection)
    assert number == selection.id == store.keep(selection)
    again = Selections(dataset, store.fingerprint).open(number)
    assert again == selection
    np.testing.assert_array_equal(again.masks["run/set"], some(4, 1000))
    assert len(list(store.folder.iterdir())) == 1
    assert store.open(store.keep(Selection({}))).n == 0


def test_a_selection_of_another_preparation_is_told(store: Selections, dataset: JobDir) -> None:
    number = store.keep(Selection({"real": some(3)}))
    store.save(number, "mine")
    later = Selections(dataset, "e" * 64, N + 5)
    with pytest.raises(ScdiffError, match="another preparation of 'd'"):
        later.open(number)
    with pytest.raises(ScdiffError, match=r"'mine' cannot be opened\. It was made on another preparation"):
        later.by_name("mine")
    assert later.named() == {} and later.outdated() == ["mine"] and store.outdated() == []
    with pytest.raises(ScdiffError, match="103 cells; there are 108"):
        later.keep(Selection({"real": some(3)}))
    later.save(later.keep(Selection({"real": some(5, N + 5)})), "new")
    later.rename("new", "mine")  # the outdated one gives its name up
    assert list(later.named()) == ["mine"] and later.outdated() == []
    assert later.by_name("mine").n == some(5, N + 5).sum()


def test_damaged_gone_and_odd_ids_are_told(store: Selections) -> None:
    with pytest.raises(ScdiffError, match="is gone"):
        store.open("0" * 12)
    for odd in ("", "../../secret", "0" * 13, "G" * 12, "0" * 11 + "\n"):
        with pytest.raises(ScdiffError, match="not the id"):
            store.open(odd)
    number = store.keep(Selection({"real": some(3)}))
    path = next(store.folder.glob("*.npz"))
    whole = path.read_bytes()
    for data in (b"", b"rubbish", whole[:60], whole[:-30]):
        path.write_bytes(data)
        with pytest.raises(ScdiffError, match="damaged"):
            store.open(number)
    other = store.keep(Selection({"real": some(4)}))
    os.replace(next(store.folder.glob(f"{other}*")), path)  # a file under a name that is not its content's
    with pytest.raises(ScdiffError, match="damaged"):
        store.open(number)
    assert store.open(store.keep(Selection({"real": some(3)}))).id == number  # keeping it again mends it


def test_names_are_anybodys_words(store: Selections) -> None:
    first, second = (store.keep(Selection({"real": some(i)})) for i in (1, 2))
    for name in ("zwölf  T-Zellen ", "../../etc/passwd", "CD4+ & <b>IL7R</b>", "选择"):
        store.save(first, name)
    assert list(store.named()) == ["zwölf T-Zellen", "../../etc/passwd", "CD4+ & <b>IL7R</b>", "选择"]
    store.save(second, "选择")
    assert store.named()["选择"] == second and store.by_name("选择").id == second
    store.rename("../../etc/passwd", "b cells")
    assert list(store.named()) == ["zwölf T-Zellen", "b cells", "CD4+ & <b>IL7R</b>", "选择"]
    store.rename("b cells", "b cells")
    with pytest.raises(ScdiffError, match="There is a selection '选择' already"):
        store.rename("b cells", "选择")
    store.delete("b cells")
    assert store.open(first).n > 0
    for act in (store.delete, store.by_name, lambda name: store.rename(name, "x")):
        with pytest.raises(ScdiffError, match="no selection 'b cells'"):
            act("b cells")
    with pytest.raises(ScdiffError, match="Did you mean '选择'"):
        store.by_name("选择们")
    for odd in ("", "  ", "x" * 81, "a\x00b", "a\x1bb", "\ud800"):
        with pytest.raises(ScdiffError, match="cannot be a name"):
            store.save(first, odd)
    with pytest.raises(ScdiffError, match="No cell is selected"):
        store.save(store.keep(Selection({})), "nothing")
    with pytest.raises(ScdiffError, match="gone"):
        store.save("0" * 12, "nothing")
    assert check_words(" e\u0301 ") == "é"
    assert not [p for p in store.folder.parent.parent.rglob("*") if "passwd" in p.name]


def test_the_newest_without_a_name_stay_and_all_with_one(store: Selections) -> None:
    masks = np.random.default_rng(0).random((KEPT + 12, N)) < 0.5
    numbers = []
    for i, mask in enumerate(masks):
        number = store.keep(Selection({"real": mask}))
        path = next(store.folder.glob(f"{number}-*"))
        os.utime(path, (i, i))
        if i == 0:
            store.save(number, "first")
            os.utime(path, (0, 0))
        numbers.append(number)
    assert len(list(store.folder.glob("*.npz"))) == KEPT + 1
    assert store.by_name("first").id == numbers[0]
    for number in numbers[1:12]:
        with pytest.raises(ScdiffError, match="newest 200 are kept"):
            store.open(number)
    store.open(numbers[12])  # looked at, so it is not the oldest any more
    store.keep(Selection({"real": ~masks[0]}))
    assert store.open(numbers[12]).n == masks[12].sum()
    with pytest.raises(ScdiffError, match="is gone"):
        store.open(numbers[13])


def test_sessions_that_save_at_once_lose_no_name(dataset: JobDir) -> None:
    wrong: list[BaseException] = []
    start = threading.Barrier(8)

    def session(i: int) -> None:
        try:
            mine = Selections(dataset, "f" * 64, N)
            start.wait()
            for j in range(6):
                mine.save(mine.keep(Selection({"real": some(10 * i + j)})), f"session {i}, {j}")
            mine.rename(f"session {i}, 0", f"renamed {i}")
            mine.delete(f"session {i}, 1")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=session, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    store = Selections(dataset, "f" * 64, N)
    assert set(store.named()) == {f"session {i}, {j}" for i in range(8) for j in range(2, 6)} | {
        f"renamed {i}" for i in range(8)}
    for i in range(8):
        np.testing.assert_array_equal(store.by_name(f"session {i}, 5").masks["real"], some(10 * i + 5))


def test_damaged_names_are_not_overwritten(store: Selections) -> None:
    number = store.keep(Selection({"real": some(1)}))
    for text in ("{", "[]", '{"a": 1}'):
        (store.folder / "names.json").write_text(text)
        with pytest.raises(ScdiffError, match="is damaged"):
            store.named()
        with pytest.raises(ScdiffError, match="is damaged"):
            store.save(number, "x")
        assert (store.folder / "names.json").read_text() == text


def test_a_dataset_that_was_deleted_does_not_come_back(store: Selections, dataset: JobDir) -> None:
    number = store.keep(Selection({"real": some(1)}))
    Workspace(dataset.path.parent.parent).trash(dataset)
    for act in (lambda: store.keep(Selection({"real": some(2)})), lambda: store.save(number, "x")):
        with pytest.raises(ScdiffError):
            act()
    assert not dataset.path.exists()


def test_base64_is_what_a_browser_makes() -> None:
    assert pack_rows(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1], bool)) == base64.b64encode(bytes([128, 128])).decode()
