"""What pages compute at once is computed by a command as well: as a run, stored and drawn."""

import pytest

from mechbench.experiments.runner import run_experiment
from mechbench.experiments.saved import saved_figures
from mechbench.experiments.spec import parse_spec
from mechbench.results.store import RunStore
from tests.small_experiment import small_spec, write_tiny_model


@pytest.mark.parametrize(
    "step",
    [
        {"analysis": "pair_logits"},
        {"analysis": "attention_view", "params": {"layer": 1, "run": "corrupted"}},
        {"analysis": "lens_view", "params": {"prompt": 2}},
        {"analysis": "patch_sweep", "params": {"site": "resid_pre", "direction": "denoise"}},
        {"analysis": "patched_cell", "params": {"layer": 1, "head": 0, "attention_head": 1}},
    ],
    ids=lambda step: step["analysis"],
)
def test_a_run_of_it_is_stored_and_drawn(tmp_path, step):
    spec = small_spec(write_tiny_model(tmp_path / "tiny"), steps=[step])
    run = run_experiment(parse_spec(spec, origin="The spec"), RunStore(tmp_path / "runs"))
    (name,) = run.steps()
    assert saved_figures(run)[name].provenance["n_prompts"] == 4
    again = run.load_result(name)
    assert again.identical(run.load_result(name)) and (run.figures / f"{name}.svg").is_file()
    assert not (run.path / "partial" / name).exists()
