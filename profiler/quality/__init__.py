"""What quantization does to a model: perplexity on a text, and KLD from a reference.

The reference is the unquantized model, or any file of the same vocabulary, always with an f16 KV cache; what is
compared with it is another file, another KV cache, or both.

Definitions are those of llama.cpp's llama-perplexity. The text's tokens, with BOS first where the vocabulary adds one,
are cut into windows of n_ctx; each window is read from an empty cache, its first token replaced by BOS where there is
one. Scored are the predictions made in the second half: at positions n_ctx/2 to n_ctx-2, each of the next token.
Source: tools/perplexity/perplexity.cpp of the pinned llama.cpp.

Two things are more exact here. The reference's distribution is stored in 16 bits as there, but spaced by the
square root and normalized again (reference.py): llama-perplexity spaces evenly and cuts off 16 below the largest. And
the KLD is a sum of terms that are never negative (rows.py), so that small ones do not drown in rounding.
"""
