"""The house stands: imports go down only, and no page pulls in what is heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "scdiff_core"
GROUND = {"errors", "keys", "config", "config_base", "config_train", "config_files", "config_screen", "config_modes",
          "target", "config_uses"}
TORCH = {"diffusion", "nn"}
DATA = {"workspace", "jobs", "process", "queueing", "worker_client", "selection", "selections", "gates", "views",
        "methods_text", "methods_model", "methods_choices", "references", "data", "analysis", "figures"}
HEAVY = ("torch", "scanpy", "umap", "numba")
STREAMLIT = "streamlit"


def parts() -> dict[str, Path]:
    """Every module of the package by its dotted name, without `scdiff_core.`."""
    return {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p for p in PACKAGE.rglob("*.py")}


def storey(module: str) -> str:
    """Where a module lives: ground, data, torch or top."""
    first = module.split(".")[0]
    for name, rooms in (("ground", GROUND), ("data", DATA), ("torch", TORCH)):
        if first in rooms:
            return name
    return "top"


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, also within its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(module: str) -> set[str]:
    """The modules of the package that a module imports, without `scdiff_core.`."""
    found = imported(ast.parse(parts()[module].read_text(encoding="utf-8")))
    return {name.removeprefix("scdiff_core.") for name in found if name.startswith("scdiff_core.")}


ALLOWED = {"ground": {"ground"}, "data": {"ground", "data"}, "torch": {"ground", "torch"},
           "top": {"ground", "data", "torch", "top"}}


@pytest.mark.parametrize("module", [m for m in sorted(parts()) if m != "__init__"])
def test_imports_go_down_only(module: str) -> None:
    here = storey(module)
    wrong = {name for name in own(module) if storey(name) not in ALLOWED[here]
             and name.split(".")[0] in {m.split(".")[0] for m in parts()}}
    assert not wrong, f"{module} ({here}) imports {wrong}"


@pytest.mark.parametrize("module", sorted(parts()))
def test_each_storey_leaves_out_what_is_not_its_own(module: str) -> None:
    first = {name.split(".")[0] for name in imported(ast.parse(parts()[module].read_text(encoding="utf-8")))}
    assert STREAMLIT not in first
    if storey(module) in ("ground", "data"):
        assert "torch" not in first
    if storey(module) in ("ground", "torch"):
        assert not first & {"anndata", "scanpy", "h5py", "umap"}


def test_the_package_itself_imports_nothing() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert list(imported(tree)) == []


def heavy_after(code: str) -> list[str]:
    """Which heavy packages a fresh process holds after running `code`."""
    tell = f"\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code + tell], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout.split()


def page_files() -> list[Path]:
    """app.py and all that the pages are made of."""
    return [p for p in [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))] if p.is_file()]


def test_no_page_pulls_in_what_is_heavy() -> None:
    lines = set()
    for path in page_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__":
                lines.add(ast.unparse(node))
    assert heavy_after("\n".join(sorted(lines))) == []


def test_what_pages_use_is_light() -> None:
    light = [m for m in sorted(parts()) if storey(m) in ("ground", "data") and not m.endswith("__init__")]
    assert heavy_after("\n".join(f"import scdiff_core.{m}" for m in light)) == []


def test_the_command_line_and_reading_outputs_are_light() -> None:
    assert heavy_after("import scdiff_core.cli, scdiff_core.engine.outputs, scdiff_core.engine.run_job") == []
