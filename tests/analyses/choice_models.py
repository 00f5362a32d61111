"""A word tokenizer, multiple-choice prompts, and a tiny model into which an anchor is written."""

from functools import cache

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mechbench.models.variants.gpt2 import GPT2, GPT2Config
from mechbench.tasks.multiple_choice import ChoiceTask, multiple_choice

N_CTX, D_MODEL, D_MLP = 96, 64, 48


@cache
def words() -> PreTrainedTokenizerFast:
    """One token per word or sign of the generated questions; labels A-E, 1-5, P-T."""
    from mechbench.tasks import choice_texts

    text = " ".join(
        " ".join(value) for value in vars(choice_texts).values() if isinstance(value, tuple)
    )
    text += (
        " Question Answer Choices Then and met at the gave a to whom Which number is the largest of"
        " Here so which colour who is oldest youngest older than A B C D E 1 2 3 4 5 P Q R S T : ?"
        " , ."
    )
    pieces = [piece for piece, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text)]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(["<bos>", "<unk>", *pieces]))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>")


FOUR = ("ioi", "deduction", "greater_than", "attribute")


def choices(n: int = 12, families=FOUR, **options) -> ChoiceTask:
    """Questions of two to four options; ``options`` as of ``multiple_choice``."""
    return multiple_choice(words(), n, families=families, **options)


def choice_model(seed: int = 1, n_layers: int = 3) -> GPT2:
    """A tiny GPT-2 of the words, with weights large enough that everything matters."""
    torch.manual_seed(seed)
    config = GPT2Config(
        n_layers=n_layers,
        n_heads=4,
        d_model=D_MODEL,
        d_mlp=D_MLP,
        d_vocab=len(words()),
        n_ctx=N_CTX,
        tied=False,
    )
    model = GPT2(config, "gpt2")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            leaf = name.rsplit(".", 1)[-1]
            weight.add_(torch.randn_like(weight) * (0.15 if leaf.startswith("W_") else 0.1))
    model.tokenizer = words()
    return model


SHOUTER = (2, 7)  # layer and neuron whose value vector says the first label
ASKER, POINTER = (0, 0), (1, 2)  # heads: sees the word "colour"; reads the label A
_COLOUR, _A_IN, _SIGNAL, _ONE, *_OUT = range(8)  # reserved dimensions of the stream


@torch.no_grad()
def planted_model(loudness: float = 4.0) -> GPT2:
    """A quiet model that answers B, but A where the question asks for a colour.

    Head ``ASKER`` looks evenly at everything and passes on whether the word "colour" is there;
    neuron ``SHOUTER`` then fires, and its value vector is all that says A. So the anchored rate by
    the whole vocabulary is 1 on the set "attribute" and 0 on the others. Head ``POINTER`` attends
    from the last position to the label A and writes a little of A; nothing else reads labels.
    """
    model = choice_model()
    for name, weight in model.named_parameters():
        if ".ln" not in f".{name}":
            weight.mul_(0.02)
    for norm in (model.ln_final, *(n for b in model.blocks for n in (b.ln1, b.ln2))):
        norm.w.fill_(1.0)
        norm.b.zero_()
    ids = {word: words().convert_tokens_to_ids(word) for word in ("colour", "A", "B", "C", "D")}
    E, U = model.embed.W_E, model.unembed.W_U
    E.copy_(torch.randn(E.shape, generator=torch.Generator().manual_seed(0)) * 0.3)
    E[:, :8] = 0.0
    E[ids["colour"], _COLOUR] = E[ids["A"], _A_IN] = 20.0
    E[:, _ONE] = 1.0
    E[:, 8:] -= E.sum(1, keepdim=True) / (D_MODEL - 8)  # so that centring leaves the flags alone
    for dimension, label in zip(_OUT, "ABCD", strict=True):
        U[:, ids[label]] = 0.0
        U[dimension, ids[label]] = 1.0
    model.unembed.b_U[ids["B"]] = 4.0
    layer, head = ASKER
    asker = model.blocks[layer].attn
    asker.W_Q[head] = asker.W_K[head] = 0.0
    asker.W_V[head, _COLOUR, 0], asker.W_O[head, 0, _SIGNAL] = 1.0, 20.0
    layer, head = POINTER
    pointer = model.blocks[layer].attn
    pointer.W_Q[head, _ONE, 1], pointer.W_K[head, _A_IN, 1] = 10.0, 20.0
    pointer.W_V[head, _A_IN, 0], pointer.W_O[head, 0, _OUT[0]] = 1.0, 0.05
    layer, neuron = SHOUTER
    mlp = model.blocks[layer].mlp
    mlp.W_in[:, neuron] = 0.0
    mlp.W_in[_SIGNAL, neuron], mlp.b_in[neuron] = 4.0, -15.0
    mlp.W_out[neuron] = 0.0
    mlp.W_out[neuron, _OUT[0]] = loudness
    return model
