"""An experiment of two steps on a tiny random model, for the tests of runner and command line."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mechbench.models.variants import gpt2
from mechbench.resources import bundled


def write_tiny_model(folder: Path, **sizes: int) -> Path:
    """A model folder of mechbench's own format: two random layers, the bundled tokenizer.

    ``sizes`` replace those of the config.
    """
    folder.mkdir()
    shipped = bundled("data") / "tokenizers" / "acronyms" / "tokenizer.json"
    tokenizer = json.loads(shipped.read_text(encoding="utf-8"))
    tokens = {*tokenizer["model"]["vocab"], *(t["content"] for t in tokenizer["added_tokens"])}
    small = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_mlp": 16, "n_ctx": 16}
    config = gpt2.GPT2Config(**{**small, **sizes}, d_vocab=len(tokens))
    torch.manual_seed(0)
    state = gpt2.SPEC.build(config, "tiny").state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    described = {
        "format": 1,
        "variant": "gpt2",
        "config": asdict(config),
        "tokenizer": "acronyms",
    }
    (folder / "config.json").write_text(json.dumps(described))
    return folder


def small_spec(model: Path, /, **changes: Any) -> dict[str, Any]:
    """The experiment's spec, with some keys replaced."""
    return {
        "name": "small",
        "model": {"name": str(model)},
        "task": {"name": "acronyms", "n": 4},
        "steps": [
            {"analysis": "residual_sweep", "params": {"control": False, "letters": [1]}},
            {"analysis": "head_sweep", "params": {"letters": [1], "where": ["all"]}},
        ],
        "outputs": {"formats": ["svg"]},
        **changes,
    }
