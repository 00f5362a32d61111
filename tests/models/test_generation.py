"""The cache changes nothing but time, and hooks act exactly where their scope says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mechbench.errors import HookNameError, TaskError
from mechbench.models.generation import generate
from mechbench.models.loading import load_model
from mechbench.models.sampling import Sampling
from mechbench.models.variants.gpt2 import GPT2, TINY
from tests.models.hugging_face_models import TINY as HF_SIZES
from tests.models.hugging_face_models import write_gpt2


@pytest.fixture(scope="module")
def model():
    """Weights large enough that every token and every hook matters for what comes next."""
    torch.manual_seed(3)
    model = GPT2(TINY).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


class ToyTokenizer:
    """Digits of base 101 in words: as little of a tokenizer as generation needs."""

    bos_token_id, eos_token_id = 0, 7

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids, skip_special_tokens=False):
        return " ".join(str(i) for i in ids if not (skip_special_tokens and i in (0, 7)))


def step_by_step(model, prompt, n):
    """Greedy continuation by the plainest loop."""
    ids = prompt
    for _ in range(n):
        ids = torch.cat([ids, model(ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return ids


def test_greedy_equals_hugging_face(tmp_path):
    theirs = write_gpt2(tmp_path)
    tokens = torch.randint(1, HF_SIZES["vocab_size"], (3, 5))
    expected = theirs.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
    )
    found = load_model(tmp_path).generate(tokens, max_new_tokens=12)
    assert torch.equal(torch.stack(found.tokens), expected)


@torch.no_grad()
def test_unequal_lengths_come_back_in_order_each_as_it_is_alone(model):
    rows = [torch.randint(101, (1, n)) for n in (4, 9, 4, 1)]
    model.tokenizer = ToyTokenizer()
    texts = [" ".join(map(str, row[0].tolist())) for row in rows]
    found = generate(model, texts, max_new_tokens=6, prepend_bos=False, stop_at_eos=False)
    model.tokenizer = None
    assert found.prompt_lengths == (4, 9, 4, 1)
    for row, tokens in zip(rows, found.tokens, strict=True):
        assert torch.equal(tokens, step_by_step(model, row, 6)[0])


def double(tensor, hook):
    return tensor * 2


def shift_in_place(tensor, hook):
    tensor[:, 0] += 0.5


def towards_the_last_key(tensor, hook):
    by_head = torch.linspace(0, 2, tensor.shape[1])[:, None]
    return torch.cat([tensor[..., :-1], tensor[..., -1:] + by_head[..., None]], dim=-1)


HOOKS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                ["hook_embed", "blocks.1.attn.hook_z", "blocks.0.attn.hook_k"]
                + [
                    "blocks.2.hook_resid_post",
                    "ln_final.hook_normalized",
                    "blocks.1.ln1.hook_scale",
                ]
            ),
            st.sampled_from([double, shift_in_place]),
        ),
        st.tuples(
            st.sampled_from(["blocks.0.attn.hook_pattern", "blocks.2.attn.hook_attn_scores"]),
            st.just(towards_the_last_key),
        ),
    ),
    max_size=3,
)


@settings(max_examples=40, deadline=None)
@given(
    hooks=HOOKS,
    scope=st.sampled_from(["prompt", "every_step"]),
    batch=st.integers(1, 3),
    length=st.integers(1, 6),
    temperature=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 1000),
)
def test_the_cache_changes_nothing(model, hooks, scope, batch, length, temperature, seed):
    prompts = torch.randint(101, (batch, length), generator=torch.Generator().manual_seed(seed))
    options = dict(fwd_hooks=hooks, hook_scope=scope, temperature=temperature, seed=seed)
    fast = generate(model, prompts, max_new_tokens=8, **options)
    slow = generate(model, prompts, max_new_tokens=8, use_cache=False, **options)
    assert torch.equal(torch.stack(fast.tokens), torch.stack(slow.tokens))


@torch.no_grad()
def test_scopes_against_loops_that_know_nothing_of_them(model):
    """Every step: the hook is on during plain full forwards. Prompt: off after the first."""
    prompts = torch.randint(101, (2, 5))
    hooks = [("blocks.1.attn.hook_z", double)]
    with model.hooks(hooks):
        always = step_by_step(model, prompts, 8)
    found = generate(model, prompts, max_new_tokens=8, fwd_hooks=hooks, hook_scope="every_step")
    assert torch.equal(torch.stack(found.tokens), always)

    def only_prompt(tensor, hook):
        return torch.cat([tensor[:, :5] * 2, tensor[:, 5:]], dim=1)

    with model.hooks([("blocks.1.attn.hook_z", only_prompt)]):
        prompt_only = step_by_step(model, prompts, 8)
    found = generate(model, prompts, max_new_tokens=8, fwd_hooks=hooks)
    assert torch.equal(torch.stack(found.tokens), prompt_only)
    never = step_by_step(model, prompts, 8)
    assert not torch.equal(always, prompt_only) and not torch.equal(prompt_only, never)
    assert torch.equal(torch.stack(generate(model, prompts, max_new_tokens=8).tokens), never)


@pytest.mark.parametrize(("scope", "calls"), [("prompt", 1), ("every_step", 6)])
@pytest.mark.parametrize("use_cache", [True, False])
def test_how_often_hooks_fire_and_on_what(model, scope, calls, use_cache):
    seen = []
    hooks = [("blocks.0.hook_resid_pre", lambda tensor, hook: seen.append(tensor.shape[1]))]
    options = dict(fwd_hooks=hooks, hook_scope=scope, use_cache=use_cache, max_new_tokens=6)
    generate(model, torch.randint(101, (2, 5)), **options)
    if use_cache:
        assert seen == [5, 1, 1, 1, 1, 1][:calls]
    else:  # everything again at every step, in the same pieces
        assert seen == [n for i in range(1, 7) for n in [5, 1, 1, 1, 1, 1][: min(i, calls)]]
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_samples_depend_on_seed_and_prompt_and_on_no_other_prompt(model):
    prompts = torch.randint(101, (3, 5))
    options = dict(max_new_tokens=10, temperature=1.0, seed=5)
    all_three = generate(model, prompts, **options).tokens
    for i in (2, 0):
        (alone,) = generate(model, prompts[i], **options).tokens
        assert torch.equal(alone, all_three[i])
    copies = generate(model, prompts[[1, 1, 1]], **options).tokens
    assert torch.equal(copies[0], all_three[1])
    assert len({tuple(row.tolist()) for row in copies}) == 3
    other = generate(model, prompts, **{**options, "seed": 6}).tokens
    assert not torch.equal(torch.stack(other), torch.stack(all_three))
    drawn = generate(model, prompts, temperature=1.0)
    again = generate(model, prompts, temperature=1.0, seed=drawn.seed)
    assert torch.equal(torch.stack(drawn.tokens), torch.stack(again.tokens))


def test_samples_follow_the_probabilities(model):
    prompt = torch.randint(101, (1, 3))
    with torch.no_grad():
        expected = (model(prompt)[0, -1] / 2).softmax(-1)
    n = 4000
    tokens = generate(
        model, prompt.expand(n, -1), max_new_tokens=1, temperature=2.0, seed=0, stop_at_eos=False
    ).tokens
    counts = torch.bincount(torch.stack(tokens)[:, -1], minlength=101).double()
    likely = expected * n > 5
    chi2 = ((counts - n * expected)[likely] ** 2 / (n * expected[likely])).sum()
    degrees = int(likely.sum()) - 1
    assert degrees > 5 and chi2 < degrees + 4 * (2 * degrees) ** 0.5


def test_top_k_and_top_p_by_hand():
    logits = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).log()
    cut = Sampling(temperature=1.0, top_k=2).probabilities(logits)
    assert torch.allclose(cut, torch.tensor([[0, 4 / 7, 0, 3 / 7]]).double())
    cut = Sampling(temperature=1.0, top_p=0.65).probabilities(logits)
    assert torch.allclose(cut, torch.tensor([[0, 4 / 7, 0, 3 / 7]]).double())
    cut = Sampling(temperature=1.0, top_p=0.75).probabilities(logits)
    assert torch.allclose(cut, torch.tensor([[0, 4 / 9, 2 / 9, 3 / 9]]).double())
    assert Sampling(temperature=1.0, top_p=1e-9).probabilities(logits)[0, 1] == 1
    cold = Sampling(temperature=0.5).probabilities(logits)
    assert torch.allclose(cold, torch.tensor([[1, 16, 4, 9]]).double() / 30)


@torch.no_grad()
def test_a_continuation_ends_after_the_end_of_text_token(model):
    prompts = torch.randint(101, (40, 3))
    free = torch.stack(generate(model, prompts, max_new_tokens=12, stop_at_eos=False).tokens)
    tokenizer = ToyTokenizer()
    tokenizer.eos_token_id = int(free[0, 6])
    model.tokenizer = tokenizer
    found = generate(model, prompts, max_new_tokens=12)
    model.tokenizer = None
    lengths = set()
    for row, tokens in zip(free, found.tokens, strict=True):
        ends = [i for i in range(3, 15) if row[i] == tokenizer.eos_token_id]
        assert torch.equal(tokens, row[: ends[0] + 1 if ends else 15])
        lengths.add(len(tokens))
    assert len(lengths) > 1


def test_texts_without_special_tokens(model):
    model.tokenizer = ToyTokenizer()
    found = generate(model, ["5 6", "8"], max_new_tokens=3)
    model.tokenizer = None
    assert found.prompt_lengths == (3, 2)
    assert found.texts[0].startswith("5 6 ") and "5 6" + found.completions[0] == found.texts[0]
    assert generate(model, torch.ones(1, 1, dtype=torch.long)).texts is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_new_tokens": 44}, "at most 43 new tokens"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_k": 0, "temperature": 1.0}, "top_k=0"),
        ({"top_p": 1.5, "temperature": 1.0}, "top_p=1.5"),
        ({"top_k": 3}, "give a temperature above 0"),
        ({"hook_scope": "always"}, "hook_scope='always'"),
    ],
)
def test_bad_options_are_refused_before_the_model_runs(model, options, expected):
    calls = []
    handle = model.embed.register_forward_hook(lambda *args: calls.append(args))
    with pytest.raises(TaskError, match=expected):
        generate(model, torch.zeros(1, 5, dtype=torch.long), **options)
    with pytest.raises(TaskError, match="nothing to continue"):
        generate(model, torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(HookNameError, match="hook_q"):
        generate(
            model, torch.zeros(1, 5, dtype=torch.long), fwd_hooks=[("blocks.0.hook_q", double)]
        )
    handle.remove()
    assert not calls
