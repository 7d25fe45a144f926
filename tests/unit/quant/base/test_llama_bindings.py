"""The bindings without their package: less is loaded, and the package can still be."""

import subprocess
import sys

from tests.support.paths import ROOT

CODE = """
import sys
from quant.base.llama_bindings import llama_cpp as bindings
print(sorted({"llama_cpp", "jinja2", "diskcache", "numpy"} & set(sys.modules)))
import llama_cpp
print(llama_cpp.llama_decode is bindings.llama_decode, hasattr(llama_cpp, "Llama"))
"""


def test_they_load_nothing_else_and_the_whole_package_can_follow() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True True"]


def test_after_the_package_they_are_its_own() -> None:
    code = "import llama_cpp; from quant.base.llama_bindings import llama_cpp as b; print(b is llama_cpp.llama_cpp)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
