"""The words that name an axis, everywhere: in signatures, in labelled results and in figures.

Axes of activations
    batch      one row per prompt
    pos        token position, 0 is BOS where the tokenizer has one
    head       query head; ``kv_head`` where keys and values are shared between query heads
    query key  the two position axes of an attention pattern
    d_model d_head d_mlp d_vocab    widths

Axes of results
    layer head position neuron    what was patched
    prompt                        one entry per prompt pair (bootstrap resamples this axis)
    answer                        one entry per answer of a prompt (three letters of an acronym)

Suffix letters on local names where several layouts meet: B batch, P pos, S source pos, H head,
G kv head, D d_model, C d_head, M d_mlp, V vocab, L layer. ``W_*`` and ``b_*`` are exempt.
"""

LAYER = "layer"
HEAD = "head"
POSITION = "position"
NEURON = "neuron"
PROMPT = "prompt"
ANSWER = "answer"
