"""The hook points of a graph: writers add up to the stream that readers read."""

import pytest
import torch

from mechbench.discovery.circuit_forward import split_inputs
from mechbench.errors import UnsupportedHookError
from mechbench.graphs.wiring import model_facts, wire
from mechbench.models.variants.gpt2 import SPEC


@pytest.fixture
def model():
    return SPEC.build(SPEC.presets["tiny"]).double()


def test_banks_cover_the_graph_in_order(model):
    wiring = wire(model)
    for banks, nodes in (
        (wiring.writers, wiring.graph.writers),
        (wiring.readers, wiring.graph.readers),
    ):
        part = "writers" if banks is wiring.writers else "readers"
        covered = [i for bank in banks for i in range(len(nodes))[getattr(bank, part)]]
        assert covered == list(range(len(nodes)))
    for bank in wiring.readers:
        column = wiring.graph.exists[:, bank.readers]
        assert column[: bank.n_before].all() and not column[bank.n_before :].any()


def test_what_writers_add_is_what_readers_read(model):
    """Each reader's stream is the sum of the outputs before it, and attention's bias."""
    wiring = wire(model)
    tokens = torch.randint(0, model.cfg.d_vocab, (2, 5))
    _, cache = model.run_with_cache(tokens)
    outputs = torch.cat([bank.outputs(cache[bank.hook_name]) for bank in wiring.writers])
    assert len(outputs) == len(wiring.graph.writers)
    for bank in wiring.readers:
        before = {w.name for w in wiring.graph.writers[: bank.n_before]}
        n_biases = sum(f"a{layer}.h0" in before for layer in range(model.cfg.n_layers))
        bias = sum(block.attn.b_O for block in model.blocks[:n_biases])
        total = outputs[: bank.n_before].sum(0) + bias
        torch.testing.assert_close(total, cache[bank.stream])


def test_weights_and_norm_make_the_projection(model):
    wiring = wire(model)
    tokens = torch.randint(0, model.cfg.d_vocab, (2, 5))
    names = {n for b in wiring.readers for n in (b.input, b.projected)}
    with split_inputs(model):
        _, cache = model.run_with_cache(tokens, names_filter=sorted(names))
    projecting = [bank for bank in wiring.readers if bank.weight is not None]
    assert len(projecting) == 3 * model.cfg.n_layers
    for bank in projecting:
        kind = bank.projected[-1]
        made = torch.einsum("bphd,hdc->bphc", bank.norm(cache[bank.input]), bank.weight())
        attn = model.blocks[int(bank.projected.split(".")[1])].attn
        torch.testing.assert_close(made + getattr(attn, f"b_{kind.upper()}"), cache[bank.projected])


def test_facts_tell_models_apart(model):
    facts = model_facts(model)
    assert facts["n_layers"] == model.cfg.n_layers and facts["d_model"] == model.cfg.d_model
    assert facts["name"] == model.source.name and not facts["parallel"] and facts["mlps"]


def test_norms_after_blocks_are_refused(model):
    model.blocks[0].ln1_post = torch.nn.Identity()
    with pytest.raises(UnsupportedHookError, match="normalises what its blocks add"):
        wire(model)
