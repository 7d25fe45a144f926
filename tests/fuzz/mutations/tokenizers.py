"""Ways to break a tokenizer's files, with knowledge of what they hold: ids, scores, merges, steps, flags, templates."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.mutations import checkpoints
from tests.fuzz.mutations.odd import Files, change_tree, odd, written
from tests.support.pre_tokenizers import BY_NAME, split
from tests.support.vocabularies import message, varint

_SPACE = "\u2581"
_TEXTS = (
    *("", " ", "a", "\0", "\n", "\x1b[31m", "\ud800", "<s>", "</s>", "<unk>", "<0x41>", "<0xZZ>", "<|end|>", _SPACE),
    *(
        f"{_SPACE}the",
        "\u0120the",
        "\u00e9",
        "e\u0301",
        "\u202e",
        "a" * 300,
        "[PAD7]",
        "<tool>",
        "{{ 7 * 7 }}",
        "\ufffd",
    ),
)
_IDS = (-1, 0, 1, 2, 3, 255, 298, 299, 300, 301, 5_000, 1 << 24, 1 << 31, (1 << 32) - 1, 1 << 63, 0.5, True, "7", None)
_PATTERNS = (
    "(a+)+$",
    "(",
    "(?=x)",
    r"\p{L}+",
    r"\p{Nope}",
    "",
    " ",
    ".",
    "(?<!x)y",
    r"(\w)\1",
    "[" * 500,
    "a{1,9999}",
    "\ud800",
)
_SCHEMES = ("first", "always", "never", "odd", None)
_TEMPLATES = (
    *("", "{{ messages }}", "{% for m in messages %}{{ m }}{% endfor %}", "{{ 7 * 7 }}", "{% raw %}", "\0", "\ud800"),
    *("a" * 100_000, "{{ ''.__class__.__mro__ }}", [{"name": "default", "template": "{{ x }}"}, {"name": "tool_use"}]),
    *([{"name": "default", "template": 7}], [], {"default": "x"}, 7, None, ["x"], [{"name": "../x", "template": "y"}]),
)
_STEPS: tuple[Any, ...] = (
    None,
    *BY_NAME.values(),
    *({"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": scheme, "split": False} for scheme in _SCHEMES),
    {"type": "Metaspace", "replacement": "_", "add_prefix_space": True},
    *({"type": kind} for kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer", "UnicodeScripts", "Nope")),
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": False},
    {"type": "Sequence", "pretokenizers": []},
)
_NORMALIZERS: tuple[Any, ...] = (
    None,
    *(
        {"type": kind}
        for kind in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel", "Nope")
    ),
    {"type": "Prepend", "prepend": _SPACE},
    {"type": "Prepend", "prepend": ""},
    {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": _SPACE},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
)
_DECODERS: tuple[Any, ...] = (
    None,
    *({"type": kind} for kind in ("ByteFallback", "Fuse", "Nope")),
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": True},
    {"type": "WordPiece", "prefix": "##", "cleanup": True},
    {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
)
_MODEL_FLAGS = ("byte_fallback", "fuse_unk", "ignore_merges", "dropout", "unk_token", "unk_id")
_MODEL_TEXTS = ("continuing_subword_prefix", "end_of_word_suffix", "type")
_FLAGS = ("lstrip", "rstrip", "normalized", "single_word", "special")
_SETTINGS = """
add_bos_token add_eos_token add_prefix_space bos_token eos_token unk_token pad_token legacy tokenizer_class
added_tokens_decoder chat_template clean_up_tokenization_spaces additional_special_tokens model_max_length
extra_special_tokens
""".split()  # noqa: SIM905  a list of names reads better as text
_SHARE_OF_OTHERS = 0.2


def mutated(base: Files, random: Random) -> Files:
    """Return a checkpoint of whose tokenizer files one to three things were changed."""
    files = dict(base)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if random.random() < _SHARE_OF_OTHERS:
            checkpoints.mutate(files, random.choice(_names(files)), random)
        else:
            _change(files, random)
    return files


def _names(files: Files) -> list[str]:
    """Return the files that a tokenizer can have, those that are missing too."""
    here = [name for name in files if not name.endswith(".safetensors") and name != "config.json"]
    return sorted({*here, *(name for name in checkpoints.OTHERS if "index" not in name and name != "README.md")})


def _change(files: Files, random: Random) -> None:
    name = random.choice(_names(files))
    data = files.get(name) or checkpoints.OTHERS.get(name) or b"{}"
    if name == "tokenizer.model":
        files[name] = _changed_pieces(data, random)
        return
    if not name.endswith(".json"):
        checkpoints.mutate(files, name, random)
        return
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(tree, dict):
        return
    if name == "tokenizer.json" and isinstance(tree.get("model"), dict):
        _change_tokenizer(tree, random)
    elif name == "tokenizer_config.json":
        _change_settings(tree, random)
    elif name in ("added_tokens.json", "vocab.json"):
        tree[random.choice(_TEXTS)] = random.choice(_IDS)
    elif name.startswith("chat_template"):
        tree["chat_template"] = random.choice(_TEMPLATES)
    else:
        change_tree(tree, random)
    files[name] = written(tree)


def _change_tokenizer(tree: dict[str, Any], random: Random) -> None:
    model = tree["model"]
    added = tree.get("added_tokens")
    changes: list[Callable[[], object]] = [
        lambda: _change_vocabulary(model, random),
        lambda: _change_vocabulary(model, random),
        lambda: _change_merges(model, random),
        lambda: _change_merges(model, random),
        lambda: tree.update(pre_tokenizer=_step(_STEPS, "pretokenizers", random)),
        lambda: tree.update(normalizer=_step(_NORMALIZERS, "normalizers", random)),
        lambda: tree.update(decoder=_step(_DECODERS, "decoders", random)),
        lambda: tree.update(post_processor=_post_processor(random)),
        lambda: model.update({random.choice(_MODEL_FLAGS): random.choice((True, False, None, 0, 0.1, "<unk>", "x"))}),
        lambda: model.update({random.choice(_MODEL_TEXTS): random.choice(("", "##", "</w>", "BPE", "Unigram", 7))}),
        lambda: tree.update(truncation={"direction": "Right", "max_length": 4, "strategy": "OnlyFirst", "stride": 0}),
        lambda: tree.update({random.choice(list(tree)): odd(random)}),
    ]
    if isinstance(added, list):
        changes += [lambda: _change_added(added, random)] * 3
    random.choice(changes)()


def _change_vocabulary(model: dict[str, Any], random: Random) -> None:
    vocab = model.get("vocab")
    if isinstance(vocab, list) and vocab:  # of a unigram model: pieces and scores
        place = random.randrange(len(vocab))
        score = random.choice((0.0, -1.0, 1e38, -1e308, "x", None, -5))
        vocab[place] = random.choice(([random.choice(_TEXTS), score], [score], vocab[place - 1], odd(random)))
    if not isinstance(vocab, dict) or not vocab:
        return
    one, other = random.choice(list(vocab)), random.choice(list(vocab))
    changes: list[Callable[[], object]] = [
        lambda: vocab.update({one: vocab[other], other: vocab[one]}),
        lambda: vocab.update({one: vocab[other]}),
        lambda: vocab.update({one: random.choice(_IDS)}),
        lambda: vocab.update({random.choice(_TEXTS): random.choice((*_IDS, len(vocab), vocab[one]))}),
        lambda: vocab.update({random.choice(_TEXTS): vocab.pop(one)}),
        lambda: vocab.pop(one),
        lambda: model.update(vocab=random.choice(({}, [], {"a": 0}, [[text, 0.0] for text in vocab], None))),
    ]
    random.choice(changes)()


def _change_merges(model: dict[str, Any], random: Random) -> None:
    merges = model.get("merges")
    if not isinstance(merges, list) or not merges:
        model["merges"] = [["a", "b"]]
        return
    place = random.randrange(len(merges))
    odd_merge = random.choice(
        (["a"], "ab", "a b c", ["a", "b", "c"], ["", ""], [random.choice(_TEXTS), "a"], 7, None, " ")
    )
    changes: list[Callable[[], object]] = [
        lambda: merges.pop(place),
        lambda: merges.insert(random.randrange(len(merges)), merges[place]),
        lambda: random.shuffle(merges),
        lambda: merges.__setitem__(place, odd_merge),
        lambda: model.update(merges=[" ".join(each) if isinstance(each, list) else each for each in merges]),
        lambda: model.update(merges=random.choice(([], None, {}, "a b", merges[::-1], merges[:place]))),
    ]
    random.choice(changes)()


def _step(known: tuple[Any, ...], inner: str, random: Random) -> Any:
    """Return a step, a sequence of steps, or one that splits by an odd expression."""
    kind = random.random()
    if kind < 0.5:
        return random.choice(known)
    if kind < 0.8:
        return {"type": "Sequence", inner: [random.choice(known) for _ in range(random.randrange(1, 4))]}
    if kind < 0.9:
        return split(random.choice(_PATTERNS), random.choice(("Isolated", "Removed", "MergedWithNext", "Odd")))
    return odd(random)


def _post_processor(random: Random) -> Any:
    token = random.choice(("<s>", "</s>", "<|begin|>", "<|end|>", "<nowhere>"))
    token_id = random.choice((0, 1, 2, 296, 297, *_IDS[:12]))
    piece = {"SpecialToken": {"id": token, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    single = random.choice(
        ([piece, text], [text, piece], [piece, text, piece], [text], [piece], [], [text, text], [piece, piece, text])
    )
    named = {token: {"id": token, "ids": random.choice(([token_id], [], [1, 2])), "tokens": [token]}}
    template = {"type": "TemplateProcessing", "single": single, "pair": [text], "special_tokens": named}
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    pair = {"sep": [token, token_id], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": False}
    kinds = (None, level, template, template, {"type": "RobertaProcessing", **pair}, {"type": "BertProcessing", **pair})
    chosen = random.choice(kinds)
    return {"type": "Sequence", "processors": [level, chosen]} if random.random() < 0.3 else chosen


def _change_added(added: list[Any], random: Random) -> None:
    entry = {"id": random.choice(_IDS), "content": random.choice(_TEXTS), **dict.fromkeys(_FLAGS, False)}
    if not added or random.random() < 0.3:
        added.append(entry)
        return
    place = random.randrange(len(added))
    if not isinstance(added[place], dict) or random.random() < 0.1:
        added.pop(place)
        return
    flag = random.choice(_FLAGS)
    changes = (
        {flag: not added[place].get(flag)},
        {"id": entry["id"]},
        {"content": entry["content"]},
        {flag: odd(random)},
    )
    added[place].update(random.choice(changes))


def _change_settings(tree: dict[str, Any], random: Random) -> None:
    key = random.choice(_SETTINGS)
    named = {"content": random.choice(_TEXTS), "lstrip": random.random() < 0.5, "special": random.random() < 0.5}
    token = random.choice((named["content"], named, None, {"__type": "AddedToken", **named}, 7))
    classes = ("LlamaTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer", "PreTrainedTokenizerFast", "GemmaTokenizer", "x", 7)
    if key == "chat_template":
        tree[key] = random.choice(_TEMPLATES)
    elif key == "added_tokens_decoder":
        decoder = tree.get(key)
        tree[key] = {**(decoder if isinstance(decoder, dict) else {}), str(random.choice(_IDS)): token}
    elif key == "tokenizer_class":
        tree[key] = random.choice(classes)
    elif key.endswith("_token") and not key.startswith("add"):
        tree[key] = token
    else:
        tree[key] = random.choice((True, False, None, [token], {"x": token}, odd(random)))


def _changed_pieces(data: bytes, random: Random) -> bytes:
    """Change a piece of a SentencePiece model, or how it was trained and normalizes."""
    fields = _fields(data)
    pieces = [place for place, (number, _) in enumerate(fields) if number == 1]
    if not pieces:
        return data
    kind, place = random.random(), random.choice(pieces)
    if kind < 0.15:
        fields.insert(random.choice(pieces), fields[place])
    elif kind < 0.25:
        fields.pop(place)
    elif kind < 0.7:
        text = random.choice(_TEXTS).encode("utf-8", "surrogatepass")
        score = struct.pack("<f", random.choice((0.0, -1.0, -1e38, 5.0, float("nan"), float("inf"))))
        own = fields[random.choice(pieces)][1]
        piece = message(1, text) if kind < 0.5 else own[: own.find(b"\x15")]
        fields[place] = (1, piece + b"\x15" + score + b"\x18" + bytes([random.choice((0, 1, 2, 3, 4, 5, 6, 7, 127))]))
    elif kind < 0.85:
        # trainer_spec: the model's type (3), and whether bytes stand for what is no piece (35)
        spec = b"\x18" + bytes([random.choice((1, 2, 3, 4, 9))]) + b"\x98\x02" + bytes([random.randrange(2)])
        fields.append((2, spec))
    else:
        # normalizer_spec: name, precompiled map, a dummy prefix (3), no doubled spaces (4), spaces escaped (5)
        switches = b"".join(bytes([field << 3, random.randrange(2)]) for field in (3, 4, 5))
        name = random.choice((b"identity", b"nmt_nfkc", b"", b"x"))
        fields.append((3, message(1, name) + switches + random.choice((b"", message(2, b"\0" * 8)))))
    return b"".join(message(number, body) for number, body in fields)


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """Return the fields of a message, all of which are bytes in a model that is right."""
    fields, at = [], 0
    while at < len(data):
        tag, at = _varint_at(data, at)
        size, at = _varint_at(data, at)
        if tag & 7 != 2 or len(varint(tag)) > 1:
            break
        fields.append((tag >> 3, data[at : at + size]))
        at += size
    return fields


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            break
    return value, at
