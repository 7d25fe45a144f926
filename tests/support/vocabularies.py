"""Tokenizers made on the spot: byte-level BPE trained on this repository's own text, and a SentencePiece model."""

import base64
import json
import shutil
import struct
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from quant.convert.tokenizer.spm import read_piece_model
from tests.support.ggufs import byte_characters
from tests.support.pre_tokenizers import BY_NAME, IGNORING_MERGES

_ROOT = Path(__file__).resolve().parents[2]
_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def write_bpe_tokenizer(
    folder: Path, *, vocab_size: int = 512, style: str = "gpt-2", chat_template: bool = True, bos: bool = False
) -> int:
    """Train on the repository's text, pad with invented merges up to `vocab_size`, write the files; return the size.

    Args:
        style: llama.cpp's name of the pre-tokenizer.
    """
    special = ["<|begin|>", "<|end|>", "<|pad|>"]
    plain = ["<tool>"]
    bare = json.loads(Tokenizer(models.BPE()).to_str())
    tokenizer = Tokenizer.from_str(json.dumps(bare | {"pre_tokenizer": BY_NAME[style]}))
    if style == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocab_size - len(special) - len(plain), 4096),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [
        path.read_text(encoding="utf-8")
        for path in sorted((_ROOT / "profiler" / "measure" / "workloads").glob("*.txt"))
    ]
    tokenizer.train_from_iterator(texts, trainer)
    data = json.loads(tokenizer.to_str())
    _extend(data["model"], vocab_size - len(special) - len(plain))
    data["model"]["ignore_merges"] = style in IGNORING_MERGES
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in plain])
    if bos:
        begin = tokenizer.token_to_id("<|begin|>")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", pair="<|begin|> $A <|begin|> $B", special_tokens=[("<|begin|>", begin)]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }
    if chat_template:
        settings["chat_template"] = _TEMPLATE
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(names))
    return tokenizer.get_vocab_size()


def _extend(model: dict[str, Any], size: int) -> None:
    """Add merges of known tokens until the vocabulary has the size: a true one's size, not its language."""
    vocab, merges = model["vocab"], model["merges"]
    known = list(vocab)
    place = 0
    while len(vocab) < size:
        left, right = known[place % len(known)], known[place // len(known)]
        place += 1
        if left + right not in vocab:
            vocab[left + right] = len(vocab)
            merges.append([left, right])


def write_sentencepiece_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a tokenizer.model by hand: unknown, BOS, EOS, 256 bytes, then words of the repository's text."""
    pieces: list[tuple[str, float, int]] = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    text = (_ROOT / "profiler" / "measure" / "workloads" / "rag.txt").read_text(encoding="utf-8")
    characters = sorted(set(text.replace(" ", "\u2581").replace("\n", "")))
    words = dict.fromkeys("\u2581" + word for word in text.split())
    grown = [word[:length] for word in words for length in range(2, len(word) + 1)]
    for rank, piece in enumerate(dict.fromkeys([*characters, *grown])):
        if len(pieces) == vocab_size:
            break
        pieces.append((piece, -float(rank), 1))
    write_sentencepiece_model(folder, pieces)
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": {
            str(index): {"content": piece[0], "special": True} for index, piece in enumerate(pieces[:3])
        },
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(pieces)


def write_internlm2_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a tokenizer.model with a NUL and unused pieces, which other files replace, as InternLM2's chat does."""
    unused = {f"[UNUSED_TOKEN_{number}]": 1 for number in range(3)}
    return _write_chat_pieces(folder, vocab_size, unused | {"\0": 1})


def write_internlm3_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a tokenizer.model whose last pieces are special, and a prefix that is set, as InternLM3 does."""
    size = _write_chat_pieces(folder, vocab_size, {"<|im_start|>": 4, "<|im_end|>": 4, "<|plugin|>": 4})
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"add_prefix_space": True}))
    return size


def _write_chat_pieces(folder: Path, vocab_size: int, last: dict[str, int]) -> int:
    """Write a SentencePiece tokenizer with these last pieces, the first two of which begin and end a turn."""
    size = write_sentencepiece_tokenizer(folder, vocab_size=vocab_size - len(last))
    body = b"".join(message(1, _piece(text, 0.0, kind)) for text, kind in last.items())
    with (folder / "tokenizer.model").open("ab") as model:
        model.write(body)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["added_tokens_decoder"] |= {
        str(size): {"content": "<|im_start|>", "special": True},
        str(size + 1): {"content": "<|im_end|>", "special": True},
    }
    path.write_text(json.dumps(settings))
    return size + len(last)


def write_sentencepiece_model(folder: Path, pieces: list[tuple[str, float, int]]) -> None:
    """Write a tokenizer.model of pieces: text, score and SentencePiece's number of the type."""
    folder.mkdir(parents=True, exist_ok=True)
    body = b"".join(message(1, _piece(*piece)) for piece in pieces)
    # trainer_spec (field 2): model_type BPE, byte_fallback; normalizer_spec (field 3): a dummy prefix, spaces escaped.
    body += message(2, b"\x18\x02" + b"\x98\x02\x01") + message(
        3, message(1, b"identity") + b"\x18\x01\x20\x00\x28\x01"
    )
    (folder / "tokenizer.model").write_bytes(body)


def write_whole_sentencepiece(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a SentencePiece model, and beside it the tokenizer.json that transformers makes of one."""
    size = write_sentencepiece_tokenizer(folder, vocab_size=vocab_size)
    texts = [text.decode() for text, _, _ in read_piece_model(folder / "tokenizer.model").pieces]
    ids = {text: index for index, text in enumerate(texts)}
    # A piece is merged of any two others; the better its score, the earlier.
    merges = [
        (text[:place], text[place:])
        for text in texts
        for place in range(1, len(text))
        if text[:place] in ids and text[place:] in ids
    ]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token=texts[0], fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in texts[:3]])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    tokenizer.save(str(folder / "tokenizer.json"))
    return size


def write_byte_fallback_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write the tokenizer.json alone that transformers makes of a SentencePiece model, as XVERSE has."""
    size = write_whole_sentencepiece(folder, vocab_size=vocab_size)
    (folder / "tokenizer.model").unlink()
    return size


def write_phi3_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a SentencePiece model and, behind its pieces, tokens that other files add and that contradict it."""
    n_pieces = vocab_size - 12
    write_sentencepiece_tokenizer(folder, vocab_size=n_pieces)
    added = {"<|endoftext|>": True, "<|user|>": True, "</tag>": False, "\u2581\u2581gap": False, "<|plain|>": False}
    listed = [
        {"id": n_pieces + index, "content": text, "special": special}
        for index, (text, special) in enumerate(added.items())
    ]
    # A piece that becomes an added token, as Phi-3's "</s>" does.
    listed.append({"id": 2, "content": "</s>", "special": False})
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": listed, "model": {"type": "BPE"}}))
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["added_tokens_decoder"] |= {
        str(n_pieces + 7): {"content": "<|only here|>", "special": False},
        str(n_pieces + 8): {"content": "\u2581kept", "special": False},
    }
    path.write_text(json.dumps(settings | {"eos_token": "<|endoftext|>"}))
    (folder / "added_tokens.json").write_text(json.dumps({"<old>": n_pieces + 9, "<beyond>": vocab_size}))
    return vocab_size


def write_prefixed_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a SentencePiece model whose settings name the space before a text, as its own normalizer does."""
    size = write_sentencepiece_tokenizer(folder, vocab_size=vocab_size)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"add_prefix_space": True}))
    return size


def write_glm_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a byte-level BPE with the ends of texts and turns by GLM's names."""
    size = write_bpe_tokenizer(folder, vocab_size=vocab_size)
    for path in folder.glob("*.json"):
        text = path.read_text()
        path.write_text(text.replace("<|end|>", "<|endoftext|>").replace("<|pad|>", "<|user|>"))
    return size


def write_ending_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a byte-level BPE beside a generation_config.json that lists two ends."""
    size = write_bpe_tokenizer(folder, vocab_size=vocab_size)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [size - 1, size - 3]}))
    return size


def write_gpt2_class_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a byte-level BPE whose tokenizer class is GPT-2's, as Phi-4 has."""
    size = write_bpe_tokenizer(folder, vocab_size=vocab_size, style="gpt-4o")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"tokenizer_class": "GPT2Tokenizer", "unk_token": "<|end|>"}))
    return size


def write_qwen_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a qwen.tiktoken of trained merges, with some ids left over behind the 208 special tokens."""
    return _write_ranks(folder, "qwen.tiktoken", vocab_size - 208 - 5, "QWenTokenizer") + 208


def write_hunyuan_tokenizer(folder: Path, *, vocab_size: int = 768) -> int:
    """Write a hy.tiktoken of trained merges, which 210 special tokens follow."""
    return _write_ranks(folder, "hy.tiktoken", vocab_size - 210, "HYTokenizer") + 210


def _write_ranks(folder: Path, name: str, n_tokens: int, tokenizer_class: str) -> int:
    """Write a line per token with its bytes and its rank; return the number of tokens."""
    trained = folder / "trained"
    write_bpe_tokenizer(trained, vocab_size=n_tokens + 256)
    merges = json.loads((trained / "tokenizer.json").read_text())["model"]["merges"]
    shutil.rmtree(trained)
    bytes_of = {character: bytes([byte]) for byte, character in enumerate(byte_characters())}
    tokens = dict.fromkeys(bytes_of[character] for character in sorted(bytes_of))
    for left, right in merges:
        tokens[b"".join(bytes_of[character] for character in left + right)] = None
    kept = list(tokens)[:n_tokens]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(kept)]
    (folder / name).write_text("\n".join(lines) + "\n")
    settings = {"tokenizer_class": tokenizer_class, "model_max_length": 8192}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(kept)


def write_rwkv_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a vocabulary of byte strings as RWKV has it: bytes, two line ends, words, parts of characters, quotes."""
    write_rwkv_tokenizer_without_template(folder, vocab_size=vocab_size)
    settings = {"tokenizer_class": "RwkvTokenizer", "chat_template": _TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return vocab_size


def write_rwkv_tokenizer_without_template(folder: Path, *, vocab_size: int = 512) -> int:
    """Write the same without a chat template."""
    words: dict[bytes | str, None] = dict.fromkeys(bytes([byte]) for byte in range(128, 256))
    words |= dict.fromkeys(chr(byte) for byte in range(128))
    words |= dict.fromkeys(
        ["  ", "\t\t", "\r\n", "\r\r", "\n\n", "\\n", "'s", '"s', "'\"", b"\xe4\xb8", "\u4e2d", "\u2028"]
    )
    text = (_ROOT / "profiler" / "measure" / "workloads" / "rag.txt").read_text(encoding="utf-8")
    words |= dict.fromkeys(" " + word for word in text.split())
    lines = []
    for number, word in enumerate(list(words)[: vocab_size - 12], start=1):
        length = len(word if isinstance(word, bytes) else word.encode())
        lines.append(f"{number} {word!r} {length}\n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rwkv_vocab_v20230424.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RwkvTokenizer"}))
    return vocab_size


def write_plamo_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a tokenizer.jsonl as PLaMo has it: special tokens, bytes, words with scores."""
    names = ("unk", "bos", "eos", "pad", "op", "sep")
    entries: list[list[Any]] = [[f"<|plamo:{name}|>", 0.0, "UNKNOWN" if name == "unk" else "CONTROL"] for name in names]
    entries += [[f"<0x{byte:02X}>", 0.0, "BYTE"] for byte in range(256)]
    text = (_ROOT / "profiler" / "measure" / "workloads" / "rag.txt").read_text(encoding="utf-8")
    words = dict.fromkeys([*sorted(set(text)), *(" " + word for word in text.split())])
    entries += [
        [word, -float(rank), "NORMAL"] for rank, word in enumerate(list(words)[: vocab_size - len(entries) - 8])
    ]
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps([*entry, 0, 0, 0, 0], ensure_ascii=False) + "\n" for entry in entries]
    (folder / "tokenizer.jsonl").write_text("".join(lines), encoding="utf-8")
    settings = {f"{name}_token": f"<|plamo:{name}|>" for name in ("unk", "bos", "eos", "pad")}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "Plamo2Tokenizer"}))
    return vocab_size


def write_gemma4_tokenizer(folder: Path, *, vocab_size: int = 512) -> int:
    """Write a byte-fallback BPE without a SentencePiece model; llama.cpp shows one of its special tokens."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<|channel>"]
    text = (_ROOT / "profiler" / "measure" / "workloads" / "rag.txt").read_text(encoding="utf-8")
    characters = sorted(set(text.replace(" ", "\u2581").replace("\n", "")))
    known = dict.fromkeys([*special, *(f"<0x{byte:02X}>" for byte in range(256)), *characters])
    merges = []
    for word in dict.fromkeys("\u2581" + word for word in text.split()):
        for length in range(2, len(word) + 1):
            if word[:length] not in known and len(known) < vocab_size:
                known[word[:length]] = None
                merges.append((word[: length - 1], word[length - 1]))
    ids = {piece: index for index, piece in enumerate(known)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", ids["<bos>"])]
    )
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{piece[1:-1]}_token": piece for piece in special[:4]}
    (folder / "tokenizer_config.json").write_text(json.dumps(names | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    return len(ids)


def _piece(text: str, score: float, kind: int) -> bytes:
    return message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])


def message(number: int, body: bytes) -> bytes:
    """Write a field of bytes as protobuf does."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(value: int) -> bytes:
    """Write a number as protobuf does."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
