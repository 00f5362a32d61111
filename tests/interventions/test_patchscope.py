"""Patchscopes against single forward passes with one plain hook each."""

import pytest
import torch

from mechbench.errors import TaskError, UnsupportedHookError
from mechbench.interventions.patchscope import Target, decode_states, states_at
from mechbench.planted.two_hop import two_hop
from tests.analyses.reading_models import bridged
from tests.analyses.two_hop_models import tiny_gpt2

ROWS = [torch.tensor([0, 7, 9, 3]), torch.tensor([0, 8, 8, 10, 3, 4]), torch.tensor([0, 6, 5, 11])]
AT = [2, 3, 1]
TARGET = torch.tensor([0, 12, 4, 12, 5, 13, 4])


@pytest.fixture
def model():
    return tiny_gpt2()


@torch.no_grad()
def written(model, prompt, layer, position, state, n_new):
    """Greedy tokens of one prompt whose block output is overwritten in every full forward pass."""

    def write(resid, hook):
        resid = resid.clone()
        resid[0, position] = state
        return resid

    ids = prompt.tolist()
    for _ in range(n_new):
        hooks = [(f"blocks.{layer}.hook_resid_post", write)]
        logits = model.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)
        ids.append(int(logits[0, -1].argmax()))
    return ids[len(prompt) :]


@torch.no_grad()
def own_states(model):
    """Block outputs of each row run alone, ``[layer prompt d_model]``."""
    kept = []
    for row, at in zip(ROWS, AT, strict=True):
        _, cache = model.run_with_cache(row[None])
        layers = range(model.cfg.n_layers)
        kept.append(torch.stack([cache[f"blocks.{i}.hook_resid_post"][0, at] for i in layers]))
    return torch.stack(kept, 1)


@pytest.mark.parametrize("kind", ["gpt2", "bridged"])
def test_every_pair_is_a_plain_hook(model, tmp_path, kind):
    model = model if kind == "gpt2" else bridged(tmp_path)
    layers = list(range(model.cfg.n_layers))
    states = states_at(model, ROWS, AT, layers)
    torch.testing.assert_close(states, own_states(model), atol=1e-5, rtol=1e-4)
    target = Target(prompts=[TARGET], positions=[5], layers=layers)
    found = decode_states(model, states, target, max_new_tokens=3)
    assert found.tokens.shape == (1, len(layers), len(layers), 3, 3)
    for source in layers:
        for layer in layers:
            for i in range(3):
                expected = written(model, TARGET, layer, 5, states[source, i], 3)
                assert found.tokens[0, source, layer, i].tolist() == expected


def test_receipt_tells_what_was_written(model):
    states = states_at(model, ROWS, AT, [1])
    target = Target(prompts=[TARGET], positions=[5], layers=[0, 2])
    receipt = decode_states(model, states, target, max_new_tokens=1).receipt
    _, cache = model.run_with_cache(TARGET[None])
    for fired, layer in zip(receipt.fired, (0, 2), strict=True):
        base = cache[f"blocks.{layer}.hook_resid_post"][0, 5]
        expected = (states[0] - base).pow(2).sum(-1).mean().sqrt()
        assert fired.hook_name == f"blocks.{layer}.hook_resid_post" and fired.times == 3
        assert fired.rms_norm == pytest.approx(float(expected), rel=1e-4)
    assert receipt.n_cells == 6 and receipt.tokens == tuple(TARGET.tolist())


def test_a_prompts_own_state_changes_nothing(model):
    layers = list(range(model.cfg.n_layers))
    states = states_at(model, ROWS, AT, layers)
    target = Target(prompts=ROWS, positions=AT, layers=layers)
    tokens = decode_states(model, states, target, max_new_tokens=4).tokens
    for i, row in enumerate(ROWS):
        ids = row.tolist()
        for _ in range(4):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        for layer in layers:
            assert tokens[0, layer, layer, i].tolist() == ids[len(row) :]


def test_planted_bridge_decides_what_the_target_prompt_answers():
    """After block 1 the last token of a planted query holds the bridge, and the rest looks it up.

    The target prompt tells the bridge of the source another value, which comes out.
    """
    planted = two_hop(24)
    clean, answers = planted.task.clean, planted.task.answers[:, 0].tolist()
    last = clean.shape[1] - 1
    for i in range(0, 6):
        source = clean[i].tolist()
        pairs = dict(zip(source[1:-1:2], source[2:-1:2], strict=True))
        middle = pairs[source[-1]]
        rows = [j for j in range(len(clean)) if middle in clean[j, 1:-1:2].tolist() and j != i]
        states = states_at(planted.model, [clean[i]], [last], [0, 1, 2])
        for j in rows[:3]:
            theirs = clean[j].tolist()
            value = dict(zip(theirs[1:-1:2], theirs[2:-1:2], strict=True))[middle]
            target = Target(prompts=[clean[j]], positions=[last], layers=[1])
            tokens = decode_states(planted.model, states, target, max_new_tokens=1).tokens
            assert tokens[0, 1, 0, 0, 0] == value
            assert tokens[0, 0, 0, 0, 0] != answers[i] or value == answers[i]


def test_mappings_between_models(model):
    wide = tiny_gpt2(d_model=48)
    states = states_at(model, ROWS, AT, [0, 1])
    target = Target(prompts=[TARGET], positions=[6], layers=[1, 2])
    matrix = torch.randn(32, 48)
    by_matrix = decode_states(wide, states, target, mapping=matrix, max_new_tokens=1).tokens
    by_function = decode_states(
        wide, states, target, mapping=lambda x: x @ matrix, max_new_tokens=1
    ).tokens
    assert by_matrix.equal(by_function)
    expected = written(wide, TARGET, 2, 6, states[1, 0] @ matrix, 1)
    assert by_matrix[0, 1, 1, 0].tolist() == expected
    with pytest.raises(TaskError, match="mapping"):
        decode_states(wide, states, target)
    with pytest.raises(TaskError, match="does not take states of width 32"):
        decode_states(wide, states, target, mapping=matrix.T)


def test_samples_belong_to_seeds_and_resume(model, tmp_path):
    states = states_at(model, ROWS, AT, [0, 1])
    target = Target(prompts=[TARGET], positions=[6], layers=[0, 1])
    counts = []
    options = {"seeds": (0, 1), "max_new_tokens": 4, "checkpoint": tmp_path}
    both = decode_states(
        model, states, target, progress=lambda d, n: counts.append((d, n)), **options
    )
    assert counts[-1] == (24, 24) and len(both.tokens) == 2
    one = decode_states(model, states, target, seeds=(1,), max_new_tokens=4)
    assert both.tokens[1].equal(one.tokens[0]) and not both.tokens[0].equal(both.tokens[1])
    assert decode_states(model, states, target, **options).tokens.equal(both.tokens)


def test_refusals(model):
    states = states_at(model, ROWS, AT, [0])
    for layers in ([], [3], [-1]):
        with pytest.raises(UnsupportedHookError, match="0 to 2"):
            states_at(model, ROWS, AT, layers)
        with pytest.raises(UnsupportedHookError, match="0 to 2"):
            decode_states(model, states, Target(prompts=ROWS, positions=AT, layers=layers))
    with pytest.raises(TaskError, match="outside prompt 1"):
        states_at(model, ROWS, [2, 6, 1], [0])
    with pytest.raises(TaskError, match="one for each"):
        states_at(model, ROWS, [2], [0])
    with pytest.raises(TaskError, match="2 target prompts for 3"):
        decode_states(model, states, Target(prompts=ROWS[:2], positions=[0, 0], layers=[0]))
