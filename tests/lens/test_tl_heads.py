"""Head detection on text and singular vectors of weights, against their definitions."""

import pytest
import torch
from transformer_lens import FactoredMatrix
from transformer_lens.head_detector import detect_head
from transformer_lens.SVDInterpreter import SVDInterpreter

TEXT = "a b c a b c a"


class Letters:
    """A tokenizer of the letters a to z; BOS is 28, and spaces are dropped."""

    bos_token_id = 28

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [ord(c) - ord("a") for c in text if c != " "]}

    def decode(self, ids):
        return "".join("<bos>" if i == 28 else chr(i + ord("a")) for i in ids)


def attended(tokens, kind, query, key):
    """Whether a head of this kind would attend from ``query`` to ``key``."""
    if kind == "previous_token_head":
        return key == query - 1
    if kind == "duplicate_token_head":
        return key < query and tokens[key] == tokens[query]
    return 0 < key <= query and key - 1 < query and tokens[key - 1] == tokens[query]


@pytest.fixture
def reading(case):
    case.model.tokenizer = Letters()
    yield case
    case.model.tokenizer = None


@pytest.mark.parametrize("kind", ["previous_token_head", "duplicate_token_head", "induction_head"])
def test_detect_head(reading, kind):
    tokens = reading.model.to_tokens(TEXT)
    assert tokens.tolist() == [[28, 0, 1, 2, 0, 1, 2, 0]]
    patterns = reading.plain.cache(tokens)
    found = detect_head(reading.model, TEXT, kind)
    without_bos = detect_head(reading.model, TEXT, kind, exclude_bos=True)
    row = tokens[0].tolist()
    for layer in range(2):
        pattern = patterns[f"blocks.{layer}.attn.hook_pattern"][0]
        for head in range(3):
            hits = [
                (float(pattern[head, q, k]), k)
                for q in range(8)
                for k in range(q + 1)
                if attended(row, kind, q, k) and not (kind == "induction_head" and k - 1 == q)
            ]
            total = float(pattern[head].sum())
            assert abs(float(found[layer, head]) - sum(h for h, _ in hits) / total) < 1e-6
            rest = total - float(pattern[head, :, 0].sum())
            expected = sum(h for h, k in hits if k) / rest
            assert abs(float(without_bos[layer, head]) - expected) < 1e-6


def test_detect_head_over_several_texts_and_the_absolute_measure(reading):
    texts = [TEXT, "d e d e d e e"]
    each = torch.stack([detect_head(reading.model, text, "induction_head") for text in texts])
    torch.testing.assert_close(detect_head(reading.model, texts, "induction_head"), each.mean(0))
    found = detect_head(reading.model, TEXT, "previous_token_head", error_measure="abs")
    tokens = reading.model.to_tokens(TEXT)
    pattern = reading.plain.cache(tokens)["blocks.1.attn.hook_pattern"][0, 2]
    wanted = torch.diag(torch.ones(7), -1)
    expected = 1 - (pattern - wanted).abs().sum() / 8
    assert abs(float(found[1, 2]) - float(expected)) < 1e-3


def test_text_runs_and_is_written_back(reading):
    model, tokens = reading.model, reading.model.to_tokens(TEXT)
    torch.testing.assert_close(model(TEXT), reading.plain.run(tokens), rtol=0, atol=1e-10)
    assert model.to_str_tokens("ab") == ["<bos>", "a", "b"]
    assert model.to_string(tokens) == ["<bos>abcabca"] and model.to_single_token("c") == 2
    W_U = reading.plain.weights["unembed.W_U"]
    assert torch.equal(model.tokens_to_residual_directions("c"), W_U[:, 2])


def test_attribution_of_tokens_given_as_text(reading):
    cache = reading.clean_cache
    stack = cache.decompose_resid()
    torch.testing.assert_close(cache.logit_attrs(stack, "c", "d"), cache.logit_attrs(stack, 2, 3))


def test_gpt2_tokenizer_reads_text(shared_path):
    transformers = pytest.importorskip("transformers")
    from mechbench.models.variants.gpt2 import GPT2, GPT2Config

    tokenizer = transformers.AutoTokenizer.from_pretrained(shared_path("tokenizers/gpt2"))
    sizes = dict(n_layers=1, n_heads=2, d_model=8, d_mlp=8, d_vocab=50257, n_ctx=16)
    model = GPT2(GPT2Config(**sizes))
    model.tokenizer = tokenizer
    text = " one two one two one"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert model.to_tokens(text).tolist() == [[50256, *ids]]
    found = detect_head(model, text, "induction_head")
    pattern = model.run_with_cache(model.to_tokens(text))[1]["pattern", 0][0]
    score = sum(pattern[:, q, k] for q, k in [(3, 2), (4, 3), (5, 2), (5, 4)])
    torch.testing.assert_close(found[0], (score / pattern.sum((1, 2))).detach())


@pytest.mark.parametrize("kind", ["OV", "w_in", "w_out"])
def test_singular_vectors(case, kind):
    found = SVDInterpreter(case.model).get_singular_vectors(
        kind, 1, num_vectors=3, head_index=2 if kind == "OV" else None
    )
    W = case.plain.weights
    if kind == "OV":
        matrix = W["blocks.1.attn.W_V"][2] @ W["blocks.1.attn.W_O"][2]
    else:
        matrix = W["blocks.1.mlp.W_out"]
    if kind == "w_in":
        matrix = W["blocks.1.mlp.W_in"].T * W.get("blocks.1.ln2.w", 1)
    # Row i of V is an eigenvector of matrix' matrix; its sign is free.
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    expected = W["unembed.W_U"].T @ vectors.flip(1)[:, :3]
    torch.testing.assert_close(found[:, 0].abs().double(), expected.abs(), rtol=0, atol=1e-5)


def test_stacked_weights_make_factored_matrices(case):
    W = case.plain.weights
    ov = FactoredMatrix(case.model.W_V, case.model.W_O)
    expected = W["blocks.1.attn.W_V"][2] @ W["blocks.1.attn.W_O"][2]
    torch.testing.assert_close(ov[1, 2].AB.detach(), expected)
    qk = FactoredMatrix(case.model.W_Q, case.model.W_K.transpose(-1, -2))
    expected = W["blocks.0.attn.W_Q"][1] @ W["blocks.0.attn.W_K"][1].T
    torch.testing.assert_close(qk[0, 1].AB.detach(), expected)
    assert torch.equal(case.model.W_in[1], W["blocks.1.mlp.W_in"])
    assert torch.equal(case.model.W_out[1], W["blocks.1.mlp.W_out"])
