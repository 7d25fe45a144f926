"""`llama_cpp`: the ctypes bindings of llama-cpp-python, without the rest of its package.

The package itself also loads a chat server's templates and caches (jinja2, diskcache, numpy), which nothing here uses:
four fifths of what importing it takes, in each worker process.
"""

import importlib.util
import sys
from types import ModuleType

from quant.base.errors import UserError


def _load() -> ModuleType:
    """Import the one submodule; a later `import llama_cpp` loads the whole package as usual."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.submodule_search_locations is None:
        raise UserError("llama-cpp-python is not installed; install this program again")
    bare = ModuleType("llama_cpp")
    bare.__path__ = list(spec.submodule_search_locations)
    whole = sys.modules.setdefault("llama_cpp", bare)
    try:
        from llama_cpp import llama_cpp as bindings
    finally:
        if whole is bare:
            del sys.modules["llama_cpp"]
    return bindings  # type: ignore[no-any-return]


llama_cpp = _load()
