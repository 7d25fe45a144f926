"""Train two small vocabularies, and save tokenizers of them with transformers 5, by its classes.

Usage: save_tokenizers.py JOBS.json CORPUS.json; jobs are a list of {"folder", "class", "options", "processor"}, the
corpus a list of texts. A processor is "own" for what the class makes.
"""

import functools
import json
import sys
from pathlib import Path

import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

corpus = json.loads(Path(sys.argv[2]).read_text())
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = {
    "LlamaTokenizer": ("<unk>", "<s>", "</s>", "<|endoftext|>"),
    "GemmaTokenizer": ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"),
}
NAMES = {"LlamaTokenizer": ("<s>", "</s>"), "GemmaTokenizer": ("<bos>", "<eos>")}  # BOS and EOS
BYTE_LEVEL = ("<|endoftext|>", "<|begin|>", "<|end|>", "<|padding|>")


@functools.cache
def trained(special):
    """Return a vocabulary and its merges: with bytes as tokens for SentencePiece's kind, else byte-level."""
    tokenizer = Tokenizer(models.BPE())
    if special == BYTE_LEVEL:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        more, alphabet = [], pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        more, alphabet = BYTES, ["\u2581"]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=[*special, *more], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def backend(style):
    """Return a tokenizer that no class of its own makes: Llama 3's, or GPT-2's with digits apart."""
    vocab, merges = trained(BYTE_LEVEL)
    made = Tokenizer(models.BPE(vocab, merges, ignore_merges=style == "llama-3"))
    if style == "llama-3":
        steps = [pre_tokenizers.Split(Regex(LLAMA_3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    else:
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    return made


def made_by(name, options):
    """Return a tokenizer of a class."""
    bos, eos = NAMES.get(name, ("<|begin|>", "<|end|>"))
    named = {"bos_token": bos, "eos_token": eos}
    if name == "TokenizersBackend":
        style = options.pop("style")
        return transformers.PreTrainedTokenizerFast(tokenizer_object=backend(style), **named, **options)
    if name == "Qwen2Tokenizer":
        named.pop("bos_token")  # as all of Qwen's
    vocab, merges = trained(SPECIAL.get(name, BYTE_LEVEL))
    return getattr(transformers, name)(vocab=vocab, merges=merges, **named, **options)


def processor(name, bos, eos, other):
    """Return a post-processor; each token is its text and its id."""
    template = functools.partial(processors.TemplateProcessing, special_tokens=[bos, eos, other])
    if name == "sequence":
        return processors.Sequence([processors.ByteLevel(trim_offsets=False), template(single=f"{bos[0]} $A")])
    return {
        "none": lambda: None,
        "ByteLevel": lambda: processors.ByteLevel(trim_offsets=True),
        "BOS": lambda: template(single=f"{bos[0]} $A"),
        "EOS": lambda: template(single=f"$A {eos[0]}"),
        "BOS and EOS": lambda: template(single=f"{bos[0]} $A {eos[0]}"),
        "another token": lambda: template(single=f"{other[0]} $A"),
        "Roberta": lambda: processors.RobertaProcessing(eos, bos),
        "Bert": lambda: processors.BertProcessing(eos, bos),
    }[name]()


for job in json.loads(Path(sys.argv[1]).read_text()):
    tokenizer = made_by(job["class"], dict(job["options"]))
    tokenizer.add_tokens(["<tool>"])
    texts = NAMES.get(job["class"], ("<|begin|>", "<|end|>"))
    pairs = [(text, tokenizer.convert_tokens_to_ids(text)) for text in (*texts, "<tool>")]
    inner = tokenizer.backend_tokenizer
    if job["processor"] == "none":  # the library cannot remove one
        inner.post_processor = processors.Sequence([])
    elif job["processor"] != "own":
        inner.post_processor = processor(job["processor"], *pairs)
    tokenizer.save_pretrained(job["folder"])
    if job["processor"] == "none":
        path = Path(job["folder"]) / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": None}))
