"""What quantization does to a model: perplexity on a text, and divergence from the unquantized model.

Definitions are those of llama.cpp's llama-perplexity. The text's tokens, BOS first where the vocabulary asks for it,
are cut into windows of n_ctx; each window is put into an empty cache, its first token replaced by BOS where there is
one. What is scored are the predictions made in the second half: those of positions n_ctx/2 to n_ctx-2 for the token
after.
Source: tools/perplexity/perplexity.cpp of the pinned llama.cpp.

Two things are more exact here. The unquantized model's distribution is kept in 16 bits as there, but spaced by the
square root and made to sum to one (reference.py): llama-perplexity spaces evenly and cuts off 16 below the largest. And
the divergence is added up from terms that are never negative (rows.py), so that small ones do not drown in rounding.
"""
