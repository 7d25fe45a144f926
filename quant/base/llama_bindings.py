"""`llama_cpp`: the ctypes bindings of llama-cpp-python, without the rest of its package.

The package itself also loads a chat server's templates and caches (jinja2, diskcache, numpy), which nothing here uses:
four fifths of what importing it takes, in each worker process.
"""

import sys
from types import ModuleType
from typing import Any

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


def token_ids(vocab: Any, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
    """Return the ids of a text in llama.cpp's vocabulary.

    Args:
        add_special: with BOS and EOS, as far as the vocabulary adds them.
        parse_special: whether the text of a special token is that token.
    """
    data = text.encode()
    room = (llama_cpp.llama_token * (len(data) + 16))()
    n_tokens = llama_cpp.llama_tokenize(vocab, data, len(data), room, len(room), add_special, parse_special)
    if n_tokens < 0:  # a space is three tokens where the vocabulary lacks its sign
        room = (llama_cpp.llama_token * -n_tokens)()
        n_tokens = llama_cpp.llama_tokenize(vocab, data, len(data), room, len(room), add_special, parse_special)
    return list(room[: max(0, n_tokens)])
