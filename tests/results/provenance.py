"""A provenance for the results that tests make."""

import numpy as np

from mechbench.results.base import Provenance

PROVENANCE = Provenance(
    model="tiny",
    model_revision="0" * 64,
    processing="none",
    task="acronyms",
    task_seed=None,
    n_prompts=3,
    seed=0,
    dtype="float32",
    device="cpu",
    versions={"numpy": np.__version__},
    wall_time_s=0.25,
    created="2026-01-01T00:00:00+00:00",
    notes=("a note",),
)
