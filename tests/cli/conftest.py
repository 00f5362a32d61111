"""A tiny random acronym model on disk, specs about it, and the command line run in this process."""

import json
from dataclasses import asdict

import pytest
import torch
import yaml
from safetensors.torch import save_file

from mechbench.cli import main
from mechbench.models.variants import gpt2
from mechbench.resources import bundled


@pytest.fixture
def mechbench(capsys, monkeypatch):
    """``mechbench("runs", "--store", path)`` -> (exit code, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["mechbench", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def refused(mechbench):
    """Runs a command that must fail as bad input does, and gives its one paragraph."""

    def call(*words):
        code, _, err = mechbench(*words)
        assert code == 2, err
        assert "Traceback" not in err
        last = err.strip().splitlines()[-1]
        assert last.startswith("Error: ")
        return last

    return call


@pytest.fixture
def tiny_folder(tmp_path):
    """A model folder of mechbench's own format: one random layer, the bundled tokenizer."""
    folder = tmp_path / "tiny-model"
    folder.mkdir()
    tokenizer = json.loads(
        (bundled("data") / "tokenizers" / "acronyms" / "tokenizer.json").read_text("utf-8")
    )
    size = len(tokenizer["model"]["vocab"]) + len(
        {t["content"] for t in tokenizer["added_tokens"]} - set(tokenizer["model"]["vocab"])
    )
    config = gpt2.GPT2Config(n_layers=2, n_heads=2, d_model=8, d_mlp=16, n_ctx=16, d_vocab=size)
    torch.manual_seed(0)
    model = gpt2.SPEC.build(config, "tiny")
    state = {k: v.clone() for k, v in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    described = {
        "format": 1,
        "variant": "gpt2",
        "config": asdict(config),
        "tokenizer": "acronyms",
    }
    (folder / "config.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def write_spec(tmp_path, tiny_folder):
    """Writes a small spec with some changes, and gives its path."""

    def write(**changes):
        spec = {
            "name": "small",
            "model": {"name": str(tiny_folder)},
            "task": {"name": "acronyms", "n": 4},
            "steps": [
                {"analysis": "residual_sweep", "params": {"control": False, "letters": [1]}},
                {"analysis": "head_sweep", "params": {"letters": [1]}},
            ],
            "outputs": {"formats": ["svg"]},
        }
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump({**spec, **changes}))
        return path

    return write
