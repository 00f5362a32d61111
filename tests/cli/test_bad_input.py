"""Every bad input is one paragraph on stderr and exit code 2, before anything is lost."""

import errno
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from mechbench.interventions.wavefront import Wavefront
from mechbench.models import hub


def edit_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_an_unknown_model_name_lists_the_nearest(refused, write_spec, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = refused("run", write_spec(), "--model", "acronym-gpt2", "--out", tmp_path / "r")
    assert "'acronym-gpt2'" in message and "'acronyms-gpt2'" in message


def test_a_model_folder_that_is_not_there(refused, write_spec, tmp_path):
    refused("run", write_spec(), "--model", tmp_path / "nothing", "--out", tmp_path / "r")


def test_a_hub_that_cannot_be_reached(refused, write_spec, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise hub.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    message = refused("run", write_spec(), "--model", "owner/model", "--out", tmp_path / "r")
    assert "'owner/model'" in message and "not reachable" in message


def test_an_unknown_key_of_a_spec_names_the_nearest(refused, write_spec, tmp_path):
    message = refused("run", write_spec(modle=1), "--out", tmp_path / "r")
    assert "Unknown key 'modle'. Did you mean 'model'" in message
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"analysis": "head_swep"}, "Did you mean 'head_sweep'"),
        ({"analysis": "head_sweep", "params": {"leters": [1]}}, "Did you mean 'letters'"),
        ({"analysis": "head_sweep", "params": {"letters": "all"}}, "letters is 'all'"),
        ({"analysis": "head_sweep", "params": {"seed": 3}}, "has no parameter 'seed'"),
    ],
)
def test_a_wrong_step_is_found_before_anything_is_loaded(
    refused, write_spec, tmp_path, step, message
):
    spec = write_spec(steps=[step], model={"name": "never-loaded"})
    assert message in refused("run", spec, "--out", tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "task.m=3"], "'m' in 'task'"),
        (["--set", "steps.heads.n=3"], "leads nowhere"),
        (["--set", "task.name=acronym"], "Did you mean 'acronyms'"),
        (["--set", "task.params.lettrs=2"], "Did you mean 'letters'"),
        (["--device", "gpu"], "gpu"),
    ],
)
def test_a_wrong_setting_is_an_error(refused, write_spec, tmp_path, words, message):
    assert message in refused("run", write_spec(), *words, "--out", tmp_path / "r")


def test_a_spec_that_is_not_there(refused):
    assert "'acronyms'" in refused("run", "acronyns")


def test_truncated_weights(refused, write_spec, tiny_folder, tmp_path):
    path = tiny_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors" in refused("run", write_spec(), "--out", tmp_path / "r")


def test_an_unsupported_key_in_a_config(refused, write_spec, tiny_folder, tmp_path):
    edit_config(tiny_folder, lambda config: config["config"].update(rotary=True))
    assert "rotary" in refused("run", write_spec(), "--out", tmp_path / "r")


def test_a_model_without_a_tokenizer(refused, write_spec, tiny_folder, tmp_path):
    edit_config(tiny_folder, lambda config: config.pop("tokenizer"))
    assert "tokenizer" in refused("run", write_spec(), "--out", tmp_path / "r")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "no prompts"),
        ("The Ant Bee Cow,ABC\nThe Ant Bee,AB\n", "unequal lengths"),
        ("The Ant Bee Cow,AbC\n", "line 2"),
        ("The Ant Bee,ABC\n", "line 2"),
    ],
)
def test_prompts_that_do_not_fit(refused, write_spec, tmp_path, rows, message):
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,acronym\n" + rows)
    spec = write_spec(task={"name": "prompts", "params": {"path": str(path)}})
    assert message in refused("run", spec, "--out", tmp_path / "r").lower()


def test_answers_of_several_tokens(refused, write_spec, tmp_path):
    spec = write_spec(task={"name": "ioi", "n": 4})
    message = refused("run", spec, "--out", tmp_path / "r")
    assert "one token" in message and "[' A', 'ar', 'on']" in message


def test_a_prompt_longer_than_the_context(refused, write_spec, tiny_folder, tmp_path):
    def shorten(config):
        config["config"]["n_ctx"] = 8

    edit_config(tiny_folder, shorten)
    weights = load_file(tiny_folder / "model.safetensors")
    name = next(k for k, v in weights.items() if len(v) == 16 and "pos" in k.lower())
    weights[name] = weights[name][:8].clone()
    save_file(weights, tiny_folder / "model.safetensors")
    assert "8 tokens" in refused("run", write_spec(), "--out", tmp_path / "r")


def test_weights_that_are_not_numbers(refused, write_spec, tiny_folder, tmp_path):
    weights = load_file(tiny_folder / "model.safetensors")
    weights["blocks.0.mlp.W_in"][0, 0] = torch.nan
    save_file(weights, tiny_folder / "model.safetensors")
    assert "nan" in refused("run", write_spec(), "--out", tmp_path / "r").lower()


def test_a_head_that_the_model_does_not_have(refused, write_spec, tmp_path):
    steps = [{"analysis": "circuit_evaluation", "params": {"heads": [[9, 9]]}}]
    assert "9.9" in refused("run", write_spec(steps=steps), "--out", tmp_path / "r")


def test_memory_that_is_too_small_for_one_patch(refused, write_spec, tmp_path, monkeypatch):
    def run_out(self, jobs):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Wavefront, "run", run_out)
    message = refused("run", write_spec(), "--out", tmp_path / "r")
    assert "does not fit in memory" in message and "fewer prompts" in message


def test_an_output_folder_that_cannot_be_written(refused, write_spec, tmp_path):
    (tmp_path / "file").write_text("")
    message = refused("run", write_spec(), "--out", tmp_path / "file" / "runs")
    assert "file" in message


def test_a_full_disk_keeps_what_is_there(refused, mechbench, write_spec, tmp_path, monkeypatch):
    store = tmp_path / "r"
    real = os.fsync
    left = 12

    def fsync(descriptor):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert "disk is full" in refused("run", write_spec(), "--out", store)
    monkeypatch.setattr(os, "fsync", real)
    code, _, err = mechbench("run", write_spec(), "--out", store, "--resume")
    assert code == 0, err


def test_a_run_folder_of_another_spec(refused, mechbench, write_spec, tmp_path):
    store = tmp_path / "r"
    assert mechbench("run", write_spec(), "--out", store)[0] == 0
    (folder,) = (p for p in store.iterdir() if p.is_dir())
    message = refused("run", write_spec(seed=7), "--out", folder, "--resume")
    assert "written by another spec" in message and "seed (there 0, given 7)" in message
    assert "folder of one run" in refused("run", write_spec(), "--out", folder)


@pytest.mark.parametrize("words", [["show", "none"], ["export", "none"]])
def test_a_run_that_is_not_there(refused, tmp_path, words):
    assert "There are no runs" in refused(*words, "--store", tmp_path)
    (tmp_path / "20260101-000000-small-01234567").mkdir()
    assert "No run 'none'" in refused(*words, "--store", tmp_path)


def test_an_export_format_that_does_not_exist(refused, mechbench, write_spec, tmp_path):
    store = tmp_path / "r"
    assert mechbench("run", write_spec(), "--out", store)[0] == 0
    assert "pfd" in refused("export", "small", "--store", store, "--format", "pfd")
    assert "colum" in refused("export", "small", "--store", store, "--preset", "colum")


def test_a_recipe_with_an_unknown_key(refused, tmp_path):
    message = refused("train", "acronyms-gpt2", "--set", "step=3", "--out", tmp_path / "t")
    assert "steps" in message
    assert "'acronyms-gpt2'" in refused("train", "acronym-gpt2")


def test_a_training_folder_that_is_taken(refused, mechbench, tmp_path):
    small = [
        *("--set", "steps=1", "--set", "corpus.sequences=2", "--set", "snapshots=[]"),
        *("--set", "model.n_layers=1", "--set", "model.d_model=16", "--set", "model.d_mlp=16"),
        *("--set", "evaluation.prompts=2", "--set", "optimiser.warmup_steps=0"),
    ]
    words = ["train", "acronyms-gpt2", *small, "--out", tmp_path / "t"]
    code, out, err = mechbench(*words)
    assert code == 0, err
    assert "already holds a training run" in refused(*words)
    assert mechbench(*words, "--resume")[0] == 0


def test_discovering_an_unknown_task_or_corruption(refused, tmp_path):
    out = ("--out", tmp_path / "r")
    assert "'ioi'" in refused("discover", "planted-induction", "iio", *out)
    words = ("planted-induction", "planted-induction", "--n", 4)
    assert "'abc'" in refused("discover", *words, "--corruption", "abc", *out)


def test_a_circuit_of_another_model_names_the_differences(refused, tmp_path):
    circuit = {
        "format": 1,
        "edges": ["input->logits"],
        "model": {"name": "planted-memory", "n_layers": 9},
        "task": {"name": "planted-memory"},
    }
    (tmp_path / "circuit.json").write_text(json.dumps(circuit))
    given = f"steps.circuit.params.circuit={tmp_path / 'circuit.json'}"
    words = ("planted-induction", "planted-induction", "--n", 4, "--edges", 6, "--set", given)
    message = refused("discover", *words, "--out", tmp_path / "r")
    assert "'planted-memory'" in message and "n_layers is 9" in message


def test_an_edge_that_does_not_exist_names_the_nearest(refused, write_spec, tmp_path):
    step = {"analysis": "edge_patching", "params": {"edges": ["a0.h9->m1"]}}
    message = refused("run", write_spec(steps=[step]), "--out", tmp_path / "r")
    assert "'a0.h9'" in message and "Did you mean" in message
