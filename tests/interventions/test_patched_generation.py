"""Patched generation against one hooked generation per patch, the plainest way of doing it."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from mechbench.errors import MemoryBudgetError, StoreError, TaskError, UnsupportedHookError
from mechbench.interventions import generation_work
from mechbench.interventions.patched_generation import (
    NOTHING,
    StatePatch,
    completions,
    generate_patched,
)
from mechbench.models.generation import generate
from mechbench.models.loading import load_model
from tests.interventions.conftest import VOCAB, random_model

N_NEW = 4


class Tokenizer:
    """Ids as words; one of them ends a text."""

    bos_token_id, eos_token_id = 0, 7

    def decode(self, ids, skip_special_tokens=False):
        return "".join(f" {i}" for i in ids if not (skip_special_tokens and i in (0, 7)))


@pytest.fixture(scope="module")
def bridged(tmp_path_factory):
    """A model that always runs whole prompts, by full forward passes."""
    folder = tmp_path_factory.mktemp("bridged")
    torch.manual_seed(1)
    config = transformers.GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=2,
    )
    module = transformers.GPTNeoXForCausalLM(config).eval()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    module.save_pretrained(folder)
    return load_model(folder)


@pytest.fixture(params=["gpt2", "bridged"])
def model(request):
    return random_model() if request.param == "gpt2" else request.getfixturevalue("bridged")


def random_prompts(*lengths, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(VOCAB, (n,), generator=draw) for n in lengths]


def random_states(n, d_model=32, seed=1):
    return 3 * torch.randn(n, d_model, generator=torch.Generator().manual_seed(seed))


def all_patches(prompts, n_states, n_layers=3):
    return [
        StatePatch(p, layer, position, (layer + position + p) % n_states)
        for p, prompt in enumerate(prompts)
        for layer in range(n_layers)
        for position in range(len(prompt))
    ]


def plain_loop(model, prompts, states, patches, n_new=N_NEW, stop_at_eos=False):
    """One generation per patch, with one hook on a whole prompt."""
    rows = []
    for patch in patches:

        def write(resid, hook, patch=patch):
            resid = resid.clone()
            resid[:, patch.position] = states[patch.state]
            return resid

        found = generate(
            model,
            prompts[patch.prompt][None],
            max_new_tokens=n_new,
            fwd_hooks=[(f"blocks.{patch.layer}.hook_resid_post", write)],
            stop_at_eos=stop_at_eos,
        )
        new = found.tokens[0][len(prompts[patch.prompt]) :].tolist()
        rows.append(new + [NOTHING] * (n_new - len(new)))
    return torch.tensor(rows)


def test_every_patch_is_one_hooked_generation(model):
    prompts, states = random_prompts(6, 9, 6, 1), random_states(5)
    patches = all_patches(prompts, 5)
    found = generate_patched(model, prompts, states, patches, max_new_tokens=N_NEW)
    expected = plain_loop(model, prompts, states, patches)
    assert torch.equal(found.tokens, expected)
    assert len(expected.unique(dim=0)) > 3 * len(prompts)  # patches matter


@settings(max_examples=12, deadline=None)
@given(data=st.data(), budget=st.sampled_from([1, 60_000, None]))
def test_order_repetition_and_chunks_change_nothing(data, budget):
    model, prompts, states = random_model(), random_prompts(5, 3), random_states(4)
    some = st.sampled_from(all_patches(prompts, 4))
    patches = data.draw(st.lists(some, min_size=1, max_size=8))
    found = generate_patched(model, prompts, states, patches, max_new_tokens=2, budget_bytes=budget)
    assert torch.equal(found.tokens, plain_loop(model, prompts, states, patches, 2))


def test_a_states_own_place_gives_the_unpatched_continuation(model):
    prompts = random_prompts(7, 7)
    _, cache = model.run_with_cache(
        torch.stack(prompts), names_filter=lambda name: name.endswith("hook_resid_post")
    )
    states = torch.stack([cache["resid_post", layer] for layer in range(3)]).flatten(0, 2)
    patches = [
        StatePatch(p, layer, position, (layer * 2 + p) * 7 + position)
        for p in range(2)
        for layer in range(3)
        for position in (2, 6)
    ]
    found = generate_patched(model, prompts, states, patches, max_new_tokens=N_NEW)
    unpatched = generate(model, torch.stack(prompts), max_new_tokens=N_NEW).tokens
    expected = torch.stack([unpatched[patch.prompt][7:] for patch in patches])
    assert torch.equal(found.tokens, expected)


def test_the_end_of_text_ends_a_row_alone():
    model, prompts, states = random_model(seed=4), random_prompts(4, 4, 4), random_states(6)
    model.tokenizer = Tokenizer()
    patches = all_patches(prompts, 6)
    free = generate_patched(
        model, prompts, states, patches, max_new_tokens=8, stop_at_eos=False
    ).tokens
    Tokenizer.eos_token_id = int(free[:, 2].mode().values)
    found = generate_patched(model, prompts, states, patches, max_new_tokens=8).tokens
    assert torch.equal(found, plain_loop(model, prompts, states, patches, 8, stop_at_eos=True))
    assert 0 < (found == NOTHING).any(1).sum() < len(found)


def test_samples_depend_on_the_seed_and_not_on_the_company():
    model, prompts, states = random_model(), random_prompts(5, 5), random_states(4)
    patches = all_patches(prompts, 4)
    options = dict(max_new_tokens=6, temperature=1.5)
    first = generate_patched(model, prompts, states, patches, seed=3, **options).tokens
    alone = generate_patched(model, prompts, states, patches[7:8], seed=3, **options).tokens
    other = generate_patched(model, prompts, states, patches, seed=4, **options).tokens
    assert torch.equal(first[7:8], alone)
    assert (first != other).any(1).float().mean() > 0.5


def test_interrupted_work_goes_on_where_it_stopped(tmp_path):
    model, prompts, states = random_model(), random_prompts(5, 6), random_states(4)
    patches = all_patches(prompts, 4)
    file = tmp_path / "patches.chunks"
    options = dict(max_new_tokens=3, budget_bytes=1, checkpoint=file)

    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_patched(model, prompts, states, patches, progress=stop, **options)
    seen = []
    found = generate_patched(
        model, prompts, states, patches, progress=lambda *a: seen.append(a), **options
    )
    assert seen[0] == (5, len(patches)) and seen[-1] == (len(patches), len(patches))
    assert torch.equal(found.tokens, plain_loop(model, prompts, states, patches, 3))
    with pytest.raises(StoreError, match="other work"):
        generate_patched(model, prompts, states + 1, patches, **options)


def test_memory_that_runs_out_halves_the_chunks(monkeypatch):
    model, prompts, states = random_model(), random_prompts(6), random_states(4)
    patches = all_patches(prompts, 4, n_layers=1)
    expected = plain_loop(model, prompts, states, patches, 2)
    whole = generation_work.continued

    def scarce(run, tokens, *args, **kwargs):
        if len(tokens) > limit:
            raise MemoryError
        return whole(run, tokens, *args, **kwargs)

    monkeypatch.setattr("mechbench.interventions.patched_generation.continued", scarce)
    limit = 1
    found = generate_patched(model, prompts, states, patches, max_new_tokens=2)
    assert torch.equal(found.tokens, expected)
    limit = 0
    with pytest.raises(MemoryBudgetError, match="alone does not fit"):
        generate_patched(model, prompts, states, patches, max_new_tokens=2)


@pytest.mark.parametrize(
    "patch, states, n_new, error, match",
    [
        (StatePatch(0, 3, 0, 0), 1, 2, UnsupportedHookError, "block 0 to 2"),
        (StatePatch(0, -1, 0, 0), 1, 2, UnsupportedHookError, "Layer -1 is out of range"),
        (StatePatch(0, 0, 5, 0), 1, 2, TaskError, "has 5 tokens"),
        (StatePatch(0, 0, 0, 1), 1, 2, TaskError, "1 prompts and 1 states"),
        (StatePatch(0, 0, 0, 0), 1, 0, TaskError, "must be 1 or more"),
        (StatePatch(0, 0, 0, 0), 1, 29, TaskError, "context is 32"),
    ],
)
def test_what_cannot_be_patched_is_refused(patch, states, n_new, error, match):
    with pytest.raises(error, match=match):
        generate_patched(
            random_model(),
            random_prompts(5),
            random_states(states),
            [patch],
            max_new_tokens=n_new,
        )


def test_other_refusals():
    model, prompts = random_model(), random_prompts(5)
    patch = StatePatch(0, 0, 0, 0)
    with pytest.raises(TaskError, match="No patches"):
        generate_patched(model, prompts, random_states(1), [])
    with pytest.raises(TaskError, match=r"give \[state, 32\]"):
        generate_patched(model, prompts, random_states(1, d_model=16), [patch])
    with pytest.raises(TaskError, match="at least one token"):
        generate_patched(model, [prompts[0][:0]], random_states(1), [patch])


def test_completions_are_what_is_added_to_the_prompt():
    prompts = [torch.tensor([0, 5]), torch.tensor([0, 5]), torch.tensor([3])]
    tokens = torch.tensor([[8, 7, NOTHING], [8, 7, NOTHING], [9, 9, 9]])
    tokenizer = Tokenizer()
    tokenizer.eos_token_id = 7
    assert completions(tokenizer, prompts, tokens) == [" 8", " 8", " 9 9 9"]
