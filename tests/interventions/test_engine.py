"""The planner against the plain reference: every site, source, length and batch size."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mechbench.errors import (
    HookNameError,
    MemoryBudgetError,
    NumericsError,
    StoreError,
    TaskError,
    UnsupportedHookError,
)
from mechbench.interventions import engine
from mechbench.interventions.engine import run_patches
from mechbench.interventions.patches import Patch
from mechbench.interventions.reference import reference_values
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import SITES, Site
from mechbench.interventions.sources import FromRun, Function, Mean, Resample, Value, Zero
from mechbench.interventions.sweeps import sweep
from mechbench.interventions.wavefront import Wavefront
from mechbench.models.contract import Capabilities
from mechbench.tasks.metrics import answer_log_prob
from tests.interventions.conftest import random_metric, random_model, random_pairs

MODEL = random_model()
HERE = sorted(name for name in SITES if Site(name, 0).hook_name in MODEL.hook_dict)
NO_RESTART = Capabilities(
    restart_at_layer=False,
    restart_in_block=False,
    restart_at_position=False,
    additive_heads=False,
    additive_mlp=False,
)
SOURCES = [
    FromRun("corrupt"),
    FromRun("clean"),
    Zero(),
    Mean("corrupt"),
    Resample("clean", seed=1),
    Function(lambda x: 2 * x + 1),
]


@st.composite
def sites(draw, length: int, n_layers: int, n_heads: int) -> Site:
    name = draw(st.sampled_from(HERE))
    axes = SITES[name][1]
    optional = {
        "head": st.none() | st.integers(0, n_heads - 1),
        "neuron": st.none() | st.integers(0, 47),
        "key": st.none() | st.integers(0, length - 1),
    }
    position = draw(
        st.none()
        | st.integers(0, length - 1)
        | st.just("S")
        | st.sets(st.integers(0, length - 1), min_size=2, max_size=3).map(tuple)
    )
    narrowed = {axis: draw(values) for axis, values in optional.items() if axis in axes}
    return Site(name, draw(st.integers(0, n_layers - 1)), position=position, **narrowed)


def reference(model, pairs, cells, metric, direction):
    runs = Runs(model, pairs, direction)
    for patch in (patch for cell in cells for patch in cell):
        if patch.source.run:
            runs.need(patch.source.run, [patch.site.hook_name])
    return reference_values(model, runs, cells, metric)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_planner_equals_reference(data):
    n_layers, n_heads = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2, 4]))
    model = random_model(n_layers, n_heads, seed=data.draw(st.integers(0, 100)))
    length, n_prompts = data.draw(st.integers(3, 9)), data.draw(st.integers(1, 5))
    pairs = random_pairs(
        n_prompts,
        length,
        n_answers=data.draw(st.integers(1, 3)),
        shared_prefix=data.draw(st.integers(0, length)),
        seed=data.draw(st.integers(0, 100)),
    )
    patch = st.builds(Patch, sites(length, n_layers, n_heads), st.sampled_from(SOURCES))
    cells = data.draw(st.lists(st.lists(patch, min_size=1, max_size=5).map(tuple), min_size=1))
    metric = random_metric(pairs)
    direction = data.draw(st.sampled_from(["noise", "denoise"]))
    budget = data.draw(st.sampled_from([None, 20_000]))
    outcome = run_patches(model, pairs, cells, metric, direction=direction, budget_bytes=budget)
    expected = reference(model, pairs, cells, metric, direction)
    torch.testing.assert_close(outcome.values, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("site", HERE)
def test_full_forward_path_equals_wavefront(site, monkeypatch):
    pairs = random_pairs()
    metric = random_metric(pairs)
    axes = ("layer", "head") if "head" in SITES[site][1] else ("layer", "position")
    fast = sweep(MODEL, pairs, metric, site=site, axes=axes)
    monkeypatch.setattr(MODEL, "capabilities", NO_RESTART)
    slow = sweep(MODEL, pairs, metric, site=site, axes=axes)
    assert (fast.receipt.method, slow.receipt.method) == ("wavefront", "full forward")
    assert abs(fast.effect).max() > 1e-3
    torch.testing.assert_close(
        torch.tensor(fast.patched.values), torch.tensor(slow.patched.values), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("direction", ["noise", "denoise"])
@pytest.mark.parametrize("site", HERE)
def test_self_patching_changes_nothing(site, direction):
    pairs = random_pairs()
    own = FromRun("clean" if direction == "noise" else "corrupt")
    swept = sweep(
        MODEL, pairs, random_metric(pairs), site=site, axes=["layer"], source=own,
        direction=direction,
    )  # fmt: skip
    assert swept.receipt.n_unchanged == 0, "the patches must really run"
    assert abs(swept.effect).max() < 1e-5


def test_patching_everything_gives_the_other_run():
    pairs = random_pairs(shared_prefix=0)
    metric = random_metric(pairs)
    noised = sweep(MODEL, pairs, metric, site="resid_pre", axes=["layer"])
    corrupt = sweep(MODEL, pairs, metric, site="z", axes=["layer"], direction="denoise").base
    for layer in range(3):
        assert abs(noised.patched.sel(layer=layer) - corrupt).max() < 1e-5


def test_per_head_patches_of_a_set_equal_the_whole_site():
    pairs = random_pairs()
    metric = random_metric(pairs)
    heads = tuple(Patch(Site("z", 1, head=head), Mean("corrupt")) for head in range(4))
    whole = (Patch(Site("z", 1), Mean("corrupt")),)
    values = run_patches(MODEL, pairs, [heads, whole], metric).values
    torch.testing.assert_close(values[0], values[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("first, then", [("z", "attn_out"), ("mlp_post", "mlp_out")])
def test_two_patches_of_one_half_both_count(first, then):
    pairs = random_pairs(shared_prefix=0)
    metric = random_metric(pairs)
    early, late = Patch(Site(first, 1, position=1)), Patch(Site(then, 1, position=2))
    cells = [(early, late), (early,), (late,)]
    values = run_patches(MODEL, pairs, cells, metric).values
    expected = reference(MODEL, pairs, cells, metric, "noise")
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(values[0], values[2], atol=1e-3)


def test_whole_vocabulary_metric():
    pairs = random_pairs()
    metric = answer_log_prob(pairs)
    cells = [(Patch(Site("resid_mid", 1, position=p)),) for p in range(10)]
    torch.testing.assert_close(
        run_patches(MODEL, pairs, cells, metric).values,
        reference(MODEL, pairs, cells, metric, "noise"),
        atol=1e-5,
        rtol=1e-5,
    )


def test_value_source_writes_the_given_tensor():
    pairs = random_pairs()
    metric = random_metric(pairs)
    runs = Runs(MODEL, pairs)
    name = "blocks.1.attn.hook_pattern"
    runs.need("corrupt", [name])
    given = Patch(Site("pattern", 1, head=2), Value(runs["corrupt"][name]))
    values = run_patches(MODEL, pairs, [(given,), (Patch(given.site),)], metric).values
    torch.testing.assert_close(values[0], values[1], atol=1e-5, rtol=1e-5)


def test_receipt_tells_what_happened():
    pairs = random_pairs(shared_prefix=3)
    metric = random_metric(pairs)
    site = Site("z", 1, head=0)
    receipt = run_patches(MODEL, pairs, [(Patch(site),)], metric).receipt
    assert receipt.restarts == ("layer", "position")
    assert receipt.tokens == tuple(pairs.clean[0].tolist())
    (fired,) = receipt.fired
    assert (fired.hook_name, fired.times) == (site.hook_name, 1)
    runs = Runs(MODEL, pairs)
    for run in ("clean", "corrupt"):
        runs.need(run, [site.hook_name])
    stop = int(metric.positions.max()) + 1
    change = (runs["corrupt"][site.hook_name] - runs["clean"][site.hook_name])[:, 3:stop, 0]
    norm = change.double().flatten(1).pow(2).sum(1).mean().sqrt()
    assert fired.rms_norm == pytest.approx(float(norm), rel=1e-5)


def test_cells_that_cannot_matter_are_not_run():
    pairs = random_pairs(n_answers=1, shared_prefix=4)
    swept = sweep(MODEL, pairs, random_metric(pairs), site="resid_pre", axes=["layer", "position"])
    after = 9 - int(pairs.answer_positions.max())
    assert swept.receipt.n_unchanged == 3 * (4 + after)
    assert abs(swept.effect.sel(position=range(4))).max() == 0


def test_hooks_are_gone_after_an_error(monkeypatch):
    pairs = random_pairs()

    def fail(current):
        raise ValueError("from inside")

    patch = Patch(Site("q", 1, head=0), Function(fail))
    with pytest.raises(ValueError, match="from inside"):
        run_patches(MODEL, pairs, [(patch,)], random_metric(pairs))
    assert MODEL.list_hooks() == {}


def test_out_of_memory_halves_the_budget_and_says_so(monkeypatch, caplog):
    pairs = random_pairs()
    metric = random_metric(pairs)
    cells = [(Patch(Site("resid_pre", 1, position=p)),) for p in range(10)] * 4
    expected = run_patches(MODEL, pairs, cells, metric)
    run = Wavefront.run

    def greedy(self, jobs):
        if len(jobs) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return run(self, jobs)

    monkeypatch.setattr(Wavefront, "run", greedy)
    outcome = run_patches(MODEL, pairs, cells, metric)
    torch.testing.assert_close(outcome.values, expected.values, atol=1e-6, rtol=1e-6)
    assert outcome.receipt.budget_halvings > 0
    assert any("halved" in note for note in outcome.receipt.notes)
    assert caplog.text.count("Memory ran out") == outcome.receipt.budget_halvings


def test_one_cell_too_large_is_an_error(monkeypatch):
    pairs = random_pairs()

    def never(self, jobs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Wavefront, "run", never)
    with pytest.raises(MemoryBudgetError, match="fewer prompts"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 0)),)], random_metric(pairs))


def test_interrupted_work_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    pairs = random_pairs()
    metric = random_metric(pairs)
    cells = [(Patch(Site("z", layer, head=h)),) for layer in range(3) for h in range(4)]
    expected = run_patches(MODEL, pairs, cells, metric).values
    path = tmp_path / "cells.npz"
    run, calls = Wavefront.run, []

    def interrupted(self, jobs):
        calls.append(len(jobs))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run(self, jobs)

    monkeypatch.setattr(Wavefront, "run", interrupted)
    small = {"budget_bytes": 40_000, "checkpoint": path}
    with pytest.raises(KeyboardInterrupt):
        run_patches(MODEL, pairs, cells, metric, **small)
    done_before = sum(calls[:2])
    calls.clear()
    monkeypatch.setattr(
        Wavefront, "run", lambda self, jobs: calls.append(len(jobs)) or run(self, jobs)
    )
    outcome = run_patches(MODEL, pairs, cells, metric, **small)
    torch.testing.assert_close(outcome.values, expected, atol=1e-6, rtol=1e-6)
    assert 0 < done_before and sum(calls) == len(cells) - done_before


def test_checkpoint_of_other_work_is_refused(tmp_path):
    pairs = random_pairs()
    path = tmp_path / "cells.npz"
    metric = random_metric(pairs)
    run_patches(MODEL, pairs, [(Patch(Site("z", 0)),)], metric, checkpoint=path)
    with pytest.raises(StoreError, match="other work"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 1)),)], metric, checkpoint=path)
    path.unlink()
    given = [(Patch(Site("z", 0), Value(torch.full((4, 10, 4, 8), x))),) for x in (1.0, 2.0)]
    run_patches(MODEL, pairs, [given[0]], metric, checkpoint=path)
    with pytest.raises(StoreError, match="other work"):
        run_patches(MODEL, pairs, [given[1]], metric, checkpoint=path)
    path.write_bytes(b"not an archive")
    with pytest.raises(StoreError, match="cannot be read"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 0)),)], metric, checkpoint=path)


def test_progress_reaches_the_end():
    pairs = random_pairs()
    seen = []
    sweep(
        MODEL, pairs, random_metric(pairs), site="resid_pre", axes=["layer", "position"],
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == sorted(seen) and seen[-1] == (30, 30) and len(seen) > 3


def test_bad_requests():
    pairs = random_pairs()
    metric = random_metric(pairs)
    with pytest.raises(TaskError, match="No patches"):
        run_patches(MODEL, pairs, [], metric)
    with pytest.raises(HookNameError, match="resid_pre"):
        Site("resid_prae", 0)
    with pytest.raises(HookNameError, match="axes"):
        Site("resid_pre", 0, head=1)
    with pytest.raises(HookNameError, match="blocks.9"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 9)),)], metric)
    with pytest.raises(UnsupportedHookError, match="head=7"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 1, head=7), Zero()),)], metric)
    with pytest.raises(UnsupportedHookError, match="Position 10"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 1, position=10)),)], metric)
    with pytest.raises(UnsupportedHookError, match="'S'"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 1, position="T")),)], metric)
    with pytest.raises(TaskError, match="noise"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 0)),)], metric, direction="nois")
    with pytest.raises(HookNameError, match="axis"):
        sweep(MODEL, pairs, metric, axes=["layer", "heads"])


def test_nan_weights_are_reported():
    model = random_model(seed=3)
    with torch.no_grad():
        model.blocks[1].mlp.W_out[0, 0] = float("nan")
    pairs = random_pairs()
    with pytest.raises(NumericsError, match="NaN"):
        run_patches(model, pairs, [(Patch(Site("z", 0)),)], random_metric(pairs))


def test_prompt_longer_than_the_context():
    pairs = random_pairs(length=40)
    with pytest.raises(TaskError, match="context"):
        run_patches(MODEL, pairs, [(Patch(Site("z", 0)),)], random_metric(pairs))


def test_default_budget_is_a_quarter_of_free_memory(monkeypatch):
    monkeypatch.setattr(engine, "free_bytes", lambda model: 4_000_000)
    pairs = random_pairs()
    outcome = run_patches(MODEL, pairs, [(Patch(Site("z", 0)),)], random_metric(pairs))
    assert outcome.receipt.budget_bytes == 1_000_000


def test_patched_metric_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Site("z", 0).layer = 1  # pyright: ignore
