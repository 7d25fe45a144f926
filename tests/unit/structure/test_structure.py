"""What ARCHITECTURE.md claims about the sources: who imports whom, who may import what, and that its map is true."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import profiler
from profiler.cli import COMMANDS
from tests.support.paths import ROOT

PACKAGES = ("plots", "profiler", "quant")  # each may import the ones after it
MAX_LINES = 400
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# What these libraries cost at start, or can do to the process, is why so few modules may import them.
LLAMA_CPP = {
    "profiler/device/llama_build.py",
    "profiler/engine/ggml.py",
    "profiler/engine/llama.py",
    "profiler/engine/sequences.py",
    "quant/convert/verify/worker.py",
    "quant/quantize/llama_worker.py",
}
HUGGINGFACE_HUB = {"quant/hub/fetch.py", "quant/hub/listing.py"}
# Where the module's name is not the distribution's.
DISTRIBUTIONS = {
    "cpuinfo": "py-cpuinfo",
    "huggingface_hub": "huggingface-hub",
    "llama_cpp": "llama-cpp-python",
    "yaml": "pyyaml",
}


@cache
def trees() -> dict[Path, ast.Module]:
    """Return the program, parsed; not at import, which each of pytest-xdist's workers would wait for."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Return every module that is imported anywhere in a file: at its top, in a function, for a type checker."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield node.module or ""


def importers_of(name: str) -> set[str]:
    """Return who imports a library or a module of ours, or a part of it."""
    return {
        name_of(path)
        for path, tree in trees().items()
        if any(f"{module}.".startswith(f"{name}.") for module in imports_of(tree))
    }


def strings_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_sources_are_found() -> None:
    assert {"plots/cli/run.py", "profiler/measure/loop.py", "quant/convert/to_gguf.py"} <= {
        name_of(path) for path in SOURCES
    }


def test_tests_are_not_imported() -> None:
    assert importers_of("tests") == set()


# Who may import a module by a name in a string: the table of commands, and the registry of families.
DYNAMIC = {"profiler/cli/__init__.py", "quant/convert/families/__init__.py"}


def imports_by_string(tree: ast.Module) -> bool:
    """Whether a file imports modules by name, which the layer contracts cannot see."""
    called = {"import_module", "__import__", "run_module", "run_path", "load_module", "exec_module"}
    return any(
        (isinstance(node, ast.Name) and node.id in called)
        or (isinstance(node, ast.Attribute) and node.attr in called)
        or (isinstance(node, ast.ImportFrom) and any(alias.name in called for alias in node.names))
        for node in ast.walk(tree)
    )


def test_modules_are_imported_by_a_string_in_two_places_only() -> None:
    assert {name_of(path) for path, tree in trees().items() if imports_by_string(tree)} == DYNAMIC


def test_a_dynamic_import_would_be_found() -> None:
    for source in (
        "import importlib as i\ni.import_module('a')",
        "__import__('a')",
        "from importlib import import_module as x",
    ):
        assert imports_by_string(ast.parse(source))
    assert not imports_by_string(ast.parse("import importlib.metadata"))


def test_no_module_of_another_package_is_named_in_a_string_but_in_the_table_of_commands() -> None:
    module_name = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
    named = {
        (name_of(path), text)
        for path, tree in trees().items()
        for text in strings_of(tree)
        if module_name.fullmatch(text) and text.partition(".")[0] != path.relative_to(ROOT).parts[0]
    }
    assert {path for path, _ in named} == {"profiler/cli/__init__.py"}
    assert {module for _, module in named} == {module for module, _ in COMMANDS.values() if module.startswith("plots.")}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the layer contracts of pyproject.toml on the packages in a folder."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_an_import_up_inside_a_function_breaks_the_contract(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert lint_imports(tmp_path).returncode == 0
    for module, line in (
        ("profiler/analysis/stats.py", "from profiler.sweep import grid"),
        ("quant/base/units.py", "import profiler.records.config"),
        ("plots/canvas/style.py", "from plots.charts import size"),
    ):
        path = tmp_path / module
        before = path.read_text(encoding="utf-8")
        path.write_text(f"{before}\n\ndef lazy() -> None:\n    {line}\n", encoding="utf-8")
        done = lint_imports(tmp_path)
        assert done.returncode == 1, module
        assert "BROKEN" in done.stdout
        path.write_text(before, encoding="utf-8")


MOST_FILES = 15
LISTS = {"quant/convert/families", "profiler/cli", "plots/charts"}  # a file per family, command or chart


def test_no_folder_has_more_files_than_the_eye_takes_in() -> None:
    counts: dict[str, int] = {}
    for path in SOURCES:
        if path.name != "__init__.py":
            folder = name_of(path.parent)
            counts[folder] = counts.get(folder, 0) + 1
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES and folder not in LISTS} == {}


def test_llama_cpp_is_imported_where_the_map_says() -> None:
    assert importers_of("llama_cpp") == {"quant/base/llama_bindings.py"}
    assert importers_of("quant.base.llama_bindings") == LLAMA_CPP
    sentence = re.search(r"`llama_cpp` is imported only by\s+([^(]+)\(", ARCHITECTURE)
    assert sentence is not None
    assert set(re.findall(r"`([\w/]+\.py)`", sentence[1])) == LLAMA_CPP


def test_the_hub_s_client_and_matplotlib_stay_in_their_places() -> None:
    assert importers_of("huggingface_hub") == HUGGINGFACE_HUB
    drawing = importers_of("matplotlib")
    assert drawing
    assert all(name.startswith("plots/") for name in drawing)


def test_the_harness_stays_in_its_place() -> None:
    assert importers_of("lm_eval") == {"profiler/tasks/harness.py"}


@pytest.mark.parametrize("name", ["pickle", "marshal", "shelve", "zipfile", "torch", "numpy.lib.format"])
def test_nothing_that_runs_what_a_file_says_is_imported(name: str) -> None:
    assert importers_of(name) == set()


def test_what_is_imported_is_what_is_required() -> None:
    imported = {module.partition(".")[0] for tree in trees().values() for module in imports_of(tree)}
    imported -= {*sys.stdlib_module_names, *PACKAGES}
    extras = PYPROJECT["project"]["optional-dependencies"]
    lines = [
        *PYPROJECT["project"]["dependencies"],
        *(line for name in extras if name != "dev" for line in extras[name]),
    ]
    required = {re.split(r"[<>=!~ ]", line)[0] for line in lines}
    assert {DISTRIBUTIONS.get(name, name) for name in imported} == required


def test_a_file_can_be_read_in_one_sitting() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def described(tree: ast.Module) -> set[str]:
    """Return the methods that a protocol describes: who implements it need not say it again."""
    return {
        method.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
    }


@cache
def all_described() -> set[str]:
    return {name for tree in trees().values() for name in described(tree)}


def silent_parts(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not (inside and node.name in all_described()):
            yield inside + node.name
        if isinstance(node, ast.ClassDef):
            yield from silent_parts(node.body, f"{node.name}.")


def test_everything_public_says_what_it_does() -> None:
    assert [name_of(path) for path, tree in trees().items() if not ast.get_docstring(tree)] == []
    assert [(name_of(path), name) for path, tree in trees().items() for name in silent_parts(tree.body)] == []


def test_what_says_nothing_would_be_found() -> None:
    source = (
        "class A:\n    'A.'\n    def b(self): pass\n    def _c(self): pass\n    def prefill(self): pass\ndef d(): pass"
    )
    assert list(silent_parts(ast.parse(source).body)) == ["A.b", "d"]


SHIPPED = [
    *SOURCES,
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile", "pyproject.toml")),
    *(ROOT / name for name in ("models.toml", "constraints.txt", ".ci/run")),
    *sorted((ROOT / "models.d").iterdir()),
]


SOMEBODY_S = re.compile(r"(?<![\w./])(?:/(?:home|Users|root|work|tmp|mnt|opt|srv)/\w*|[A-Za-z]:\\{1,2}Users)")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def test_nothing_points_at_somebody_s_disk_or_is_left_to_be_done() -> None:
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in SHIPPED}
    assert [(name, found[0]) for name, text in texts.items() for found in SOMEBODY_S.finditer(text)] == []
    assert [(name, found[0]) for name, text in texts.items() for found in UNFINISHED.finditer(text)] == []


def folders_named(text: str) -> set[str]:
    """The folders and files that the map names, like `quant/base/` or `profiler/engine/ggml.py`."""
    return {name.rstrip("/") for name in re.findall(r"\b(?:quant|profiler|plots|tests)/[\w/]+(?:\.py)?", text)}


def test_every_folder_is_on_the_map_and_nothing_else() -> None:
    named = folders_named(ARCHITECTURE)
    assert {name for name in named if not (ROOT / name).exists()} == set()
    folders = {name_of(path.parent) for path in SOURCES} - set(PACKAGES)
    assert {folder for folder in folders if folder.count("/") == 1} - named == set()


def test_the_map_is_one_page() -> None:
    assert len(ARCHITECTURE.splitlines()) <= 90


def test_the_version_is_told_once() -> None:
    assert PYPROJECT["project"]["version"] == profiler.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert profiler.__version__ in changes


@pytest.mark.parametrize("name", ["gguf", "llama-cpp-python"])
def test_what_follows_llama_cpp_is_pinned_exactly(name: str) -> None:
    (asked,) = (line for line in PYPROJECT["project"]["dependencies"] if re.split(r"[<>=!~ ]", line)[0] == name)
    pinned = re.fullmatch(rf"{name}==(\d+(?:\.\d+)+)", asked)
    assert pinned is not None
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"{name.replace('-', '_')}=={pinned[1]}" in constraints


def test_what_is_constrained_is_allowed() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines if line and not line.startswith("#"))
    }
    project = PYPROJECT["project"]
    for text in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        asked = Requirement(text)
        assert asked.specifier.contains(versions[canonicalize_name(asked.name)]), text


ONE_MODEL = """
[test-model]
repo = "org/test-model"
architecture = "LlamaForCausalLM"
license = "mit"
n_params = 1
config = { model_type = "llama" }
"""


def test_an_installed_package_finds_its_registry_inside_itself(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    shutil.copytree(ROOT / "quant", site / "quant", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "quant" / "models.d").mkdir()
    (site / "quant" / "models.toml").write_text('files = ["test"]\n')
    (site / "quant" / "models.d" / "test.toml").write_text(ONE_MODEL)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from quant.sources.registry import load_registry; print(*load_registry())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(site)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("test-model\n", "")
