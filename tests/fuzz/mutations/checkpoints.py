"""Ways to break a checkpoint: its files by name, changed at random and with some knowledge of what they hold."""

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from quant.convert.families import families
from tests.fuzz.mutations.odd import Files, change_tree, changed_bytes, odd, written
from tests.support.vocabularies import varint

_CONFIG_KEYS = """
architectures model_type text_config hidden_size intermediate_size num_hidden_layers num_attention_heads head_dim
num_key_value_heads vocab_size max_position_embeddings rope_theta rope_scaling rope_parameters rms_norm_eps
layer_norm_eps hidden_act tie_word_embeddings attention_bias mlp_bias sliding_window use_sliding_window layer_types
sliding_window_pattern partial_rotary_factor bos_token_id eos_token_id pad_token_id torch_dtype quantization_config
original_max_position_embeddings no_rope_layers use_parallel_residual query_pre_attn_scalar slmprof_synthetic
slmprof_standin_for max_window_layers num_local_experts embedding_multiplier clip_qkv activation_function
""".split()  # noqa: SIM905  a list of names reads better as text
_SETTINGS_KEYS = """
add_prefix_space added_tokens_decoder bos_token eos_token pad_token unk_token add_bos_token add_eos_token chat_template
tokenizer_class model_max_length sep_token additional_special_tokens
""".split()  # noqa: SIM905
_INDEX_NAMES = ("../model.safetensors", "/etc/hostname", "", ".", "..", "a/b.safetensors", "..\\x.safetensors", "x.bin")
_DTYPES = ("F32", "F16", "BF16", "F64", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "F4", "", "\0", "f32")
_CARD_KEYS = """
base_model tags language license license_name license_link datasets model-index name author version organization
finetune basename description quantized_by size_label repo_url doi uuid url source_repo_url library_name
model_name model_author model_creator dataset general.name
""".split()  # noqa: SIM905
_CARD_VALUES = (
    *("x", "no", "1.10", "~", "[a, b]", "{a: b}", "[{name: x}, 3]", "2020-13-45", "2020-01-01", "!!binary aGk="),
    *("!!python/object/apply:os.system ['true']", "!!set {a, b}", "&a [*a]", "&a {b: *a}", "*unknown", '"\\uD800"'),
    *('"\\0\\x1b[31m"', ".nan", "-.inf", "1e999", "9" * 5_000, "[" * 3_000, "|\n  a\n  b", "? [a]\n: b", "\t", '"'),
    *("https://huggingface.co/../..", "../../x", "a/b/c", "[[[[]]]]", "[null, true, 1.5]", "\u202e\u2028", "- - - x"),
)
_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
OTHERS: Files = {
    "README.md": b"---\nlicense: mit\nlanguage:\n- en\nbase_model: a/b\ntags: [x]\n---\n# A model\n",
    "generation_config.json": b'{"temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [1, 2]}',
    "added_tokens.json": b'{"<a>": 298, "<b>": 299}',
    "special_tokens_map.json": b'{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}',
    "tokenizer_config.json": b'{"add_bos_token": true}',
    "chat_template.json": b'{"chat_template": "{{ messages }}"}',
    "chat_template.jinja": b"{{ messages }}",
    "additional_chat_templates/tool_use.jinja": b"{{ tools }}",
    "merges.txt": b"#version: 0.2\na b\nc d\n",
    "vocab.json": b'{"a": 0, "b": 1}',
    "model.safetensors.index.json": b'{"weight_map": {"model.norm.weight": "model.safetensors"}}',
}


def mutated(base: Files, random: Random) -> Files:
    """Return a checkpoint of which one to three things were changed."""
    files = dict(base)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        name = _choose(files, random)
        mutate(files, name, random)
    return files


def _choose(files: Files, random: Random) -> str:
    kind = random.random()
    if kind < 0.25:
        return "config.json"
    weights = [name for name in files if name.endswith(".safetensors")]
    if kind < 0.5 and weights:
        return random.choice(weights)
    # What the checkpoint lacks is made first, and then changed.
    return random.choice(sorted({*files, *OTHERS}))


def mutate(files: Files, name: str, random: Random) -> None:
    """Change one file, or what a checkpoint could have under its name."""
    data = files.get(name)
    if data is None:
        data = OTHERS.get(name) or b"{}"
    kind = random.random()
    if kind < 0.01:
        files[name] = None
    elif kind < 0.02:
        files.pop(name, None)
    elif kind < 0.2:
        files[name] = changed_bytes(data, random)
    elif name.endswith(".safetensors"):
        files[name] = _weights(data, random)
    elif name == "README.md":
        files[name] = _card(random)
    elif name == "tokenizer.model":
        files[name] = _pieces(data, random)
    elif name.endswith(".json"):
        files[name] = _json(name, data, random)
    else:
        files[name] = changed_bytes(data, random)


def _json(name: str, data: bytes, random: Random) -> bytes:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return changed_bytes(data, random)
    if not isinstance(tree, dict):
        return changed_bytes(data, random)
    if name == "config.json" and random.random() < 0.5:
        _change_config(tree, random)
    elif name == "tokenizer_config.json" and random.random() < 0.3:
        tree[random.choice(_SETTINGS_KEYS)] = odd(random)
    elif name.endswith(".index.json") and isinstance(tree.get("weight_map"), dict) and random.random() < 0.7:
        parts = tree["weight_map"]
        parts[random.choice([*parts, "x"])] = random.choice((*_INDEX_NAMES, *parts.values(), odd(random)))
    else:
        change_tree(tree, random)
    return written(tree)


def _change_config(config: dict[str, Any], random: Random) -> None:
    kind = random.random()
    if kind < 0.15:
        config["architectures"] = [random.choice(sorted(families()))]
    elif kind < 0.2:
        config["text_config"] = {random.choice(_CONFIG_KEYS): odd(random)}
    else:
        key = random.choice([*_CONFIG_KEYS, *config])
        config[key] = odd(random, config.get(key))


def _weights(data: bytes, random: Random) -> bytes:
    """Change a safetensors file's header; the tensors' bytes stay."""
    (length,) = struct.unpack("<Q", data[:8].ljust(8, b"\0"))
    body = data[8 + length :]
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return changed_bytes(data, random)
    names = [name for name in header if name != "__metadata__"] if isinstance(header, dict) else []
    if not names:
        return changed_bytes(data, random)
    name = random.choice(names)
    entry = header[name]
    changes: list[Callable[[], object]] = [
        lambda: change_tree(header, random),
        lambda: change_tree(entry, random),
        lambda: header.update({random.choice((*names, "../../out", "\ud800", "a" * 5_000, "")): header.pop(name)}),
        lambda: header.update({"__metadata__": odd(random)}),
        lambda: header.pop(name),
    ]
    if isinstance(entry, dict):
        shape, span = entry.get("shape"), entry.get("data_offsets")
        changes.append(lambda: entry.update(dtype=random.choice((*_DTYPES, odd(random)))))
        if isinstance(shape, list):
            changes.append(lambda: entry.update(shape=random.choice((shape[::-1], [*shape, 1], [1, *shape], [0], []))))
        if isinstance(span, list):
            changes.append(lambda: entry.update(data_offsets=[_shifted(each, random) for each in span]))
    random.choice(changes)()
    text = written(header)
    kind = random.random()
    size = len(text)
    if kind < 0.1:
        size = random.choice((0, 1, size - 1, size + 1, len(data), 1 << 32, (1 << 63) - 1, (1 << 64) - 1))
    elif kind < 0.2:
        body = body[: random.randrange(len(body) + 1)]
    return struct.pack("<Q", size) + text + body


def _shifted(offset: Any, random: Random) -> Any:
    if not isinstance(offset, int):
        return offset
    return offset + random.choice((0, 0, -1, 1, 2, 64, -64, 1 << 40, -(1 << 63)))


def _card(random: Random) -> bytes:
    """Write a model card whose YAML is odd."""
    lines = [f"{random.choice(_CARD_KEYS)}: {random.choice(_CARD_VALUES)}" for _ in range(random.randrange(1, 6))]
    if random.random() < 0.05:
        lines.append(_LAUGHS + f"{random.choice(_CARD_KEYS)}: *a8")
    text = "---\n" + "\n".join(lines) + random.choice(("\n---\n", "\n", "\n---"))
    return text.encode("utf-8", "surrogatepass")


def _pieces(data: bytes, random: Random) -> bytes:
    """Put an odd piece into a SentencePiece model, or change bytes of it."""
    if random.random() < 0.5:
        return changed_bytes(data, random)
    text = random.choice((b"", b"\xff", b"x" * 300, "\u2581".encode(), b"<0x41>", b"\xed\xa0\x80", b"\0\n"))
    score = struct.pack("<f", random.choice((0.0, -1e38, float("nan"), float("inf"))))
    kind = bytes([random.choice((0, 1, 2, 3, 4, 5, 6, 7, 127))])
    piece = b"\x0a" + varint(len(text)) + text + b"\x15" + score + b"\x18" + kind
    message = b"\x0a" + varint(random.choice((len(piece), len(piece), len(piece), 1 << 40))) + piece
    return message + data if random.random() < 0.5 else data + message
