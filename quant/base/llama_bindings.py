"""`llama_cpp`: the ctypes bindings of llama-cpp-python, without the rest of its package.

The package itself also loads a chat server's templates and caches (jinja2, diskcache, numpy), which nothing here uses:
four fifths of what importing it takes, in each worker process.
"""

import sys
from types import ModuleType

from quant.base.llama_package import package_folder


def _load() -> ModuleType:
    """Import the one submodule; a later `import llama_cpp` loads the whole package as usual."""
    bare = ModuleType("llama_cpp")
    bare.__path__ = [str(package_folder())]
    whole = sys.modules.setdefault("llama_cpp", bare)
    try:
        from llama_cpp import llama_cpp as bindings
    finally:
        if whole is bare:
            del sys.modules["llama_cpp"]
    return bindings  # type: ignore[no-any-return]


llama_cpp = _load()
