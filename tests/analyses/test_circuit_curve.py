"""Faithfulness curves: by hand from the circuit's forward pass, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import trapezoid

from mechbench.analyses.circuit_curve import circuit_curve
from mechbench.analyses.edge_attribution import edge_attribution
from mechbench.discovery.circuit_forward import CircuitForward
from mechbench.errors import CircuitError, StoreError, TaskError
from mechbench.graphs.selection import select
from mechbench.graphs.sizes import MIB_SIZES, edges_at
from mechbench.graphs.wiring import wire
from mechbench.interventions import kept_file
from mechbench.interventions.sources import FromRun, Mean, Resample, Zero
from mechbench.results.statistics import bootstrap_means, interval
from mechbench.tasks.induction import induction

SIZES = (0.02, 0.1, 0.5, 1.0)


@pytest.fixture
def scores(model, make_task):
    return edge_attribution(model, make_task(n=6, seed=8))


@pytest.fixture
def forward(model, task):
    pairs = task.pairs("all", seed=0)

    def make(source=None):
        return CircuitForward(model, wire(model), pairs, task.metric(), source=source)

    return make


def by_hand(values, forward):
    """Ratio of means, from values [prompt answer]."""
    full, nothing = forward.clean.double().mean(), forward.ablated.double().mean()
    return float((values.double().mean() - nothing) / (full - nothing))


@pytest.mark.parametrize("rule, prune", [("top", True), ("top", False), ("greedy", True)])
def test_faithfulness_is_a_ratio_of_means(model, task, scores, forward, rule, prune):
    result = circuit_curve(
        model, task, scores=scores, sizes=SIZES, rule=rule, prune=prune, n_random=2, seed=0
    )
    run, graph = forward(), wire(model).graph
    for ranking in ("signed", "absolute"):
        for size in SIZES:
            chosen = select(
                graph,
                scores.scores.values,
                rule=rule,
                rank=ranking,
                prune=prune,
                n=edges_at(size, graph.n_edges),
            )
            at = {"ranking": ranking, "size": size}
            found = {
                "faithfulness": by_hand(run(chosen.mask), run),
                "complement_faithfulness": by_hand(run(~chosen.mask), run),
            }
            for name, expected in found.items():
                mean = getattr(result, name).sel(**at, estimate="mean")
                np.testing.assert_allclose(mean, expected, atol=1e-5)
            assert result.n_edges.sel(at) == chosen.n_edges
            assert (chosen.n_edges == result.asked.sel(size=size)) or prune
    assert result.rule == rule and result.prune is prune


def test_the_ends_are_no_edge_and_all(model, task, scores):
    result = circuit_curve(model.double(), task, scores=scores, sizes=(0.0001, 1.0), n_random=1)
    np.testing.assert_array_equal(result.asked, [0, result.n_graph_edges])
    np.testing.assert_allclose(result.faithfulness, np.tile([0.0, 1.0], (3, 2, 1)), atol=1e-12)
    np.testing.assert_allclose(
        result.complement_faithfulness, np.tile([1.0, 0.0], (3, 2, 1)), atol=1e-12
    )


def test_areas_and_which_ranking_mib_takes(model, task, scores):
    result = circuit_curve(model, task, scores=scores, n_random=2)
    for estimated, curve in (
        (result.areas.sel(estimate="mean"), result.faithfulness.sel(estimate="mean")),
        (result.random_areas, result.random),
    ):
        f = curve.values
        np.testing.assert_allclose(
            estimated.sel(area="CPR"), trapezoid(f, MIB_SIZES, axis=-1), atol=1e-12
        )
        np.testing.assert_allclose(
            estimated.sel(area="CMD"), trapezoid(abs(1 - f), MIB_SIZES, axis=-1), atol=1e-12
        )
        log = trapezoid(f, np.log10(MIB_SIZES), axis=-1) / 3
        np.testing.assert_allclose(estimated.sel(area="CPR, log axis"), log, atol=1e-12)
    areas, mib = result.areas, result.mib
    np.testing.assert_array_equal(mib.sel(area="CPR"), areas.sel(ranking="signed", area="CPR"))
    np.testing.assert_array_equal(mib.sel(area="CMD"), areas.sel(ranking="absolute", area="CMD"))


def test_intervals_resample_prompts_together(model, task, scores):
    result = circuit_curve(model, task, scores=scores, sizes=SIZES, n_random=1, seed=3)
    circuit, full, nothing = (
        bootstrap_means(v.mean("answer"), seed=3)
        for v in (result.circuit, result.full, result.nothing)
    )
    f = (circuit - nothing) / (full - nothing)
    low, high = interval(f)
    for name, bound in (("low", low), ("high", high)):
        np.testing.assert_allclose(result.faithfulness.sel(estimate=name), bound, atol=1e-12)
    areas = f.isel(size=0, drop=True).copy(data=trapezoid(f.values, SIZES, axis=-1))
    low, high = interval(areas)
    np.testing.assert_allclose(
        result.areas.sel(area="CPR", estimate="low"), low.transpose("ranking"), atol=1e-12
    )


def test_random_circuits_are_what_the_rule_makes_of_random_scores(model, task, scores, forward):
    result = circuit_curve(model, task, scores=scores, sizes=SIZES, n_random=3, rule="greedy")
    run, graph = forward(), wire(model).graph
    drawn = np.random.default_rng([0, 2]).random(graph.n_edges)
    chosen = select(graph, drawn, rule="greedy", rank="signed", n=edges_at(0.5, graph.n_edges))
    np.testing.assert_allclose(
        result.random.sel(draw=2, size=0.5), by_hand(run(chosen.mask), run), atol=1e-5
    )
    assert result.random_n_edges.sel(draw=2, size=0.5) == chosen.n_edges


@pytest.mark.parametrize(
    "ablation, source",
    [
        ("patching", FromRun("corrupt")),
        ("zero", Zero()),
        ("mean", Mean("corrupt")),
        ("resample", Resample("corrupt", 0)),
    ],
)
def test_ablations(model, task, scores, forward, ablation, source):
    result = circuit_curve(
        model, task, scores=scores, sizes=SIZES, n_random=1, ablation=ablation, seed=0
    )
    run = forward(source)
    np.testing.assert_allclose(result.nothing, run.ablated, atol=1e-5)
    mask = select(run.wiring.graph, scores.scores.values, rank="absolute", n=result.asked.values[2])
    found = result.circuit.sel(ranking="absolute", size=0.5)
    np.testing.assert_allclose(found, run(mask.mask), atol=1e-5)
    assert result.ablation == ablation


def test_held_out_means_other_prompts(model, make_task, scores):
    sizes = {"sizes": (0.1, 1.0), "n_random": 1}
    result = circuit_curve(model, make_task(seed=3), scores=scores, **sizes)
    assert result.held_out
    assert result.chosen_on == {"name": "acronyms", "seed": 8, "n_prompts": 6}
    assert not circuit_curve(model, make_task(seed=8), scores=scores, **sizes).held_out
    unknown = replace(make_task(seed=3), source={})
    assert not circuit_curve(model, unknown, scores=scores, **sizes).held_out


@pytest.fixture
def calls(monkeypatch):
    """How many circuits were evaluated."""
    counted = []
    call = CircuitForward.__call__

    def counting(self, mask):
        counted.append(int(mask.sum()))
        return call(self, mask)

    monkeypatch.setattr(CircuitForward, "__call__", counting)
    return counted


def test_an_interrupted_curve_goes_on(model, task, scores, calls, tmp_path, monkeypatch):
    options = {"scores": scores, "sizes": SIZES, "n_random": 3}
    plain = circuit_curve(model, task, **options)
    n_all = len(calls)
    monkeypatch.setattr(kept_file, "_SECONDS_BETWEEN_SAVES", -1.0)

    def stop(done, total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        circuit_curve(model, task, **options, progress=stop, checkpoint=tmp_path)
    calls.clear()
    shown = []
    again = circuit_curve(
        model,
        task,
        **options,
        progress=lambda *done: shown.append(done),
        checkpoint=tmp_path,
    )
    assert 0 < len(calls) <= n_all - 7
    assert shown == sorted(shown) and shown[-1] == (28, 28)
    assert again.faithfulness.identical(plain.faithfulness) and again.random.identical(plain.random)
    calls.clear()
    circuit_curve(model, task, **options, checkpoint=tmp_path)
    assert calls == [0]  # only the lower end of the scale
    with pytest.raises(StoreError, match="other work"):
        circuit_curve(model, task, **options, checkpoint=tmp_path, seed=1)


def test_equal_sets_are_evaluated_once(model, task, scores, calls):
    circuit_curve(model, task, scores=scores, sizes=(0.5, 1.0), n_random=4)
    n = wire(model).graph.n_edges
    assert calls.count(n) == 1 and calls.count(0) <= 2


class Unchanged:
    """A task whose corruption changes nothing."""

    def __init__(self, task):
        self._task = task
        self.name, self.clean, self.source = task.name, task.clean, task.source
        self.corruptions, self.metric = task.corruptions, task.metric

    def __len__(self):
        return len(self._task)

    def pairs(self, corruption="all"):
        pairs = self._task.pairs()
        return replace(pairs, corrupt=pairs.clean)


def test_a_metric_that_does_not_move_has_no_scale(model, task, scores):
    with pytest.raises(TaskError, match="Faithfulness has no scale.*for the whole model"):
        circuit_curve(model, Unchanged(task), scores=scores)


def test_scores_of_another_model_name_the_differences(make_model, task, scores):
    with pytest.raises(CircuitError, match="n_layers is 3 in the circuit and 2 in the model"):
        circuit_curve(make_model(n_layers=2), task, scores=scores)


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"rule": "threshold"}, CircuitError, "rule='threshold'"),
        ({"n_random": 0}, CircuitError, "n_random=0"),
        ({"sizes": [0.5, 0.1]}, CircuitError, "growing"),
        ({"ablation": "swap"}, TaskError, "ablation='swap'"),
        ({"corruption": "some"}, TaskError, "corruption='some'"),
    ],
)
def test_impossible_requests(model, task, scores, options, error, words):
    with pytest.raises(error, match=words):
        circuit_curve(model, task, scores=scores, **options)


def test_one_prompt_has_no_interval(model, make_task, scores):
    with pytest.raises(TaskError, match="at least 2"):
        circuit_curve(model, make_task(n=1), scores=scores)


def test_edges_at_positions_and_other_tasks(model):
    task = induction(None, n=4, half_length=3, vocab=model.cfg.d_vocab, bos=0)
    scores = edge_attribution(model, task, positions=True)
    result = circuit_curve(model.double(), task, scores=scores, sizes=(0.2, 1.0), n_random=1)
    assert result.n_graph_edges == 7 * wire(model).graph.n_edges
    np.testing.assert_allclose(result.faithfulness.sel(size=1.0), 1.0, atol=1e-9)
    assert result.corruption == task.pairs().source["corruption"]
