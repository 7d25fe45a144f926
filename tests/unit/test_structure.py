"""What ARCHITECTURE.md claims about the sources: who imports whom, who may import what, and that its map is true."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import profiler

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("plots", "profiler", "quant")  # each may import the ones after it
MAX_LINES = 400
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# What these libraries cost at start, or can do to the process, is why so few modules may import them.
LLAMA_CPP = {
    "profiler/backend.py",
    "profiler/engine/ggml.py",
    "profiler/engine/llama.py",
    "quant/_quantize_worker.py",
}
HUGGINGFACE_HUB = {"quant/hub.py"}
# Where the module's name is not the distribution's.
DISTRIBUTIONS = {"cpuinfo": "py-cpuinfo", "huggingface_hub": "huggingface-hub", "llama_cpp": "llama-cpp-python"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Give every module that is imported anywhere in a file: at its top, in a function, for a type checker."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield node.module or ""


def importers_of(library: str) -> set[str]:
    return {
        name_of(path)
        for path, tree in TREES.items()
        if any(module.partition(".")[0] == library for module in imports_of(tree))
    }


def strings_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_sources_are_found() -> None:
    assert {"plots/run.py", "profiler/measure.py", "quant/convert.py"} <= {name_of(path) for path in SOURCES}


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    above = (*PACKAGES[: PACKAGES.index(package)], "tests")
    wrong = {
        (name_of(path), module)
        for path, tree in TREES.items()
        if path.is_relative_to(ROOT / package)
        for module in imports_of(tree)
        if module.partition(".")[0] in above
    }
    assert wrong == set()


def test_no_module_is_named_in_a_string_but_in_the_table_of_commands() -> None:
    module_name = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
    named = {
        (name_of(path), text)
        for path, tree in TREES.items()
        for text in strings_of(tree)
        if module_name.fullmatch(text) and text.partition(".")[0] != path.relative_to(ROOT).parts[0]
    }
    # The command line names what the plots package has, so that `slmprof plot` is a command like any other.
    assert named == {("profiler/cli/__init__.py", "plots.run"), ("profiler/cli/__init__.py", "plots.commands")}


def test_llama_cpp_is_imported_where_the_map_says() -> None:
    assert importers_of("llama_cpp") == LLAMA_CPP
    sentence = re.search(r"`llama_cpp` is imported only by ([^;]+);", ARCHITECTURE)
    assert sentence is not None
    assert set(re.findall(r"`([\w/]+\.py)`", sentence[1])) == LLAMA_CPP


def test_the_hub_s_client_and_matplotlib_stay_in_their_places() -> None:
    assert importers_of("huggingface_hub") == HUGGINGFACE_HUB
    drawing = importers_of("matplotlib")
    assert drawing
    assert all(name.startswith("plots/") for name in drawing)


def test_what_is_imported_is_what_is_required() -> None:
    imported = {module.partition(".")[0] for tree in TREES.values() for module in imports_of(tree)}
    imported -= {*sys.stdlib_module_names, *PACKAGES}
    required = {re.split(r"[<>=!~ ]", line)[0] for line in PYPROJECT["project"]["dependencies"]}
    assert {DISTRIBUTIONS.get(name, name) for name in imported} == required


def test_a_file_can_be_read_in_one_sitting() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def described(tree: ast.Module) -> set[str]:
    """Give the methods that a protocol describes: who implements it need not say it again."""
    return {
        method.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Protocol" for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
    }


DESCRIBED = {name for tree in TREES.values() for name in described(tree)}


def silent_parts(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not (inside and node.name in DESCRIBED):
            yield inside + node.name
        if isinstance(node, ast.ClassDef):
            yield from silent_parts(node.body, f"{node.name}.")


def test_everything_public_says_what_it_does() -> None:
    assert [name_of(path) for path, tree in TREES.items() if not ast.get_docstring(tree)] == []
    assert [(name_of(path), name) for path, tree in TREES.items() for name in silent_parts(tree.body)] == []


def test_what_says_nothing_would_be_found() -> None:
    source = (
        "class A:\n    'A.'\n    def b(self): pass\n    def _c(self): pass\n    def prefill(self): pass\ndef d(): pass"
    )
    assert list(silent_parts(ast.parse(source).body)) == ["A.b", "d"]


SHIPPED = [
    *SOURCES,
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "Makefile", "pyproject.toml")),
    *(ROOT / name for name in ("models.toml", "constraints.txt", ".ci/run")),
]


SOMEBODY_S = re.compile(r"(?<![\w./])(?:/(?:home|Users|root|work|tmp|mnt|opt|srv)/\w*|[A-Za-z]:\\{1,2}Users)")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def test_nothing_points_at_somebody_s_disk_or_is_left_to_be_done() -> None:
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in SHIPPED}
    assert [(name, found[0]) for name, text in texts.items() for found in SOMEBODY_S.finditer(text)] == []
    assert [(name, found[0]) for name, text in texts.items() for found in UNFINISHED.finditer(text)] == []


def modules_named(text: str) -> set[str]:
    """Give what the map names: `quant/source`, `quant/registry, hub` (a list), `profiler/cell.py`, `tests/parity/`."""
    named = set(re.findall(r"\b(?:quant|profiler|plots|tests)/\w+(?:/\w+)*(?:\.py)?", text))
    for package, others in re.findall(r"\b(quant|profiler|plots)/\w+((?:, \w+\b(?!/))+)", text):
        named |= {f"{package}/{other}" for other in others.split(", ")[1:]}
    # Beside a module of the same package stand names without it: families/, engine/llama. "org/name" is a user's word.
    named |= set(re.findall(r"(?<![\w/])(?!(?:quant|profiler|plots|tests|org)/)[a-z_]+/(?:[a-z_]+)?", text))
    return {name.rstrip("/") for name in named}


def test_the_names_on_the_map_are_read_as_meant() -> None:
    text = "org/name quant/registry, hub (families/, engine/llama) `tests/parity/`, profiler/table, profiler/a/b.py"
    assert modules_named(text) == {
        "quant/registry",
        "quant/hub",
        "families",
        "engine/llama",
        "tests/parity",
        "profiler/table",
        "profiler/a/b.py",
    }


def is_there(name: str) -> bool:
    places = [ROOT / name, *(ROOT / package / name for package in PACKAGES)]
    return any(place.exists() or place.with_name(f"{place.name}.py").exists() for place in places)


def test_every_module_on_the_map_exists() -> None:
    named = modules_named(ARCHITECTURE)
    assert {"quant/registry", "quant/hub", "quant/synthesize", "profiler/measure.py", "tests/parity"} <= named
    assert {name for name in named if not is_there(name)} == set()


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
    (site / "quant" / "models.toml").write_text(ONE_MODEL)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from quant.registry import load_registry; print(*load_registry())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(site)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("test-model\n", "")
