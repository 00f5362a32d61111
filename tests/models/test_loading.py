"""Names, folders and files that do not load say why; those that do carry their provenance."""

import hashlib
import json
import os
import shutil

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from mechbench.errors import CheckpointError, ModelNotFoundError, SpecError, TokenizerError
from mechbench.models import bundled as bundled_module
from mechbench.models import hub
from mechbench.models.loading import bundled_models, load_model, usual_processing
from mechbench.models.variants.gpt2 import GPT2, TINY
from tests.models.hugging_face_models import write_gpt2

SIZES = {"n_layers": 3, "n_heads": 4, "d_model": 32, "d_mlp": 64, "d_vocab": 101, "n_ctx": 48}


def save_state(model, path):
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with one bundled model and two snapshots of it; returns the folder."""
    folder = tmp_path / "data" / "models" / "tiny-demo"
    (folder / "snapshots").mkdir(parents=True)
    save_state(GPT2(TINY), folder / "model.safetensors")
    for step in (10, 200):
        save_state(GPT2(TINY).half(), folder / "snapshots" / f"step-{step:06d}.safetensors")
    config = {
        "format": 1,
        "variant": "gpt2",
        "config": SIZES,
        "tokenizer": None,
        "summary": "A model for tests",
        "snapshots": [
            {"step": step, "file": f"snapshots/step-{step:06d}.safetensors"} for step in (10, 200)
        ],
    }
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(bundled_module, "bundled", lambda kind: tmp_path / kind)
    return tmp_path / "data"


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_bundled_model_is_listed_and_loaded_with_its_source(data):
    (listed,) = bundled_models()
    assert (listed.name, listed.summary, listed.snapshots) == (
        "tiny-demo",
        "A model for tests",
        (10, 200),
    )
    model = load_model("tiny-demo")
    file = data / "models" / "tiny-demo" / "model.safetensors"
    stored = load_file(file)
    assert stored.keys() == model.state_dict().keys()
    assert all(torch.equal(stored[k], v) for k, v in model.state_dict().items())
    assert (model.source.name, model.source.kind) == ("tiny-demo", "bundled")
    assert model.source.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert model.cfg.model_name == "tiny-demo"


def test_a_snapshot_is_another_set_of_weights(data):
    model = load_model("tiny-demo", snapshot=200)
    stored = load_file(data / "models/tiny-demo/snapshots/step-000200.safetensors")
    assert model.cfg.dtype == torch.float32 and model.source.snapshot == 200
    assert torch.equal(model.W_E, stored["embed.W_E"].float())
    with pytest.raises(CheckpointError, match=r"no snapshot of step 11. Its snapshots: 10, 200"):
        load_model("tiny-demo", snapshot=11)


def test_loading_draws_no_random_numbers(data):
    before = torch.get_rng_state()
    load_model("tiny-demo", fold_ln=True)
    assert torch.equal(before, torch.get_rng_state())


def test_all_problems_of_an_own_config_are_reported_at_once(data):
    folder = data / "models" / "tiny-demo"
    sizes = {k: v for k, v in SIZES.items() if k != "n_ctx"}
    edit(
        folder,
        format=2,
        colour="red",
        config={**sizes, "d_mlp": "64", "heads": 4},
        snapshots=[{"step": "ten", "file": "x"}],
    )
    with pytest.raises(CheckpointError) as error:
        load_model("tiny-demo")
    for expected in (
        "6 problems",
        "key 'colour' is not known",
        "format = 2",
        "config.d_mlp = '64'",
        "config.heads is not known",
        "config.n_ctx is missing",
        "snapshot {'step': 'ten'",
    ):
        assert expected in str(error.value), str(error.value)
    edit(folder, format=1, variant="gtp2")
    with pytest.raises(CheckpointError, match=r"Did you mean 'gpt2'"):
        load_model("tiny-demo")


def test_weights_that_do_not_fit_an_own_config_are_refused(data):
    edit(data / "models" / "tiny-demo", config={**SIZES, "d_mlp": 60})
    with pytest.raises(CheckpointError, match=r"blocks.0.mlp.W_in has shape \[32, 64\]"):
        load_model("tiny-demo")


def test_an_own_folder_anywhere_loads_and_a_missing_tokenizer_is_named(data, tmp_path):
    folder = tmp_path / "elsewhere"
    shutil.copytree(data / "models" / "tiny-demo", folder)
    assert load_model(folder).source.kind == "folder"
    assert load_model(str(folder)).source.name == str(folder)
    edit(folder, tokenizer="lost")
    with pytest.raises(TokenizerError, match="names the tokenizer 'lost'"):
        load_model(folder)


def test_unknown_names_list_the_nearest_ones(data):
    with pytest.raises(ModelNotFoundError, match="Did you mean 'tiny-demo'"):
        load_model("tinydemo")
    with pytest.raises(ModelNotFoundError, match="'gpt2-medium'"):
        load_model("gpt2-medum")
    with pytest.raises(ModelNotFoundError, match="no model folder"):
        load_model("./nowhere")
    with pytest.raises(ModelNotFoundError, match="not the name of a hub model"):
        load_model("owner/na me")


@pytest.mark.parametrize("name", ["gpt2", "somebody/something"])
def test_without_a_connection_the_cache_and_the_ways_out_are_named(data, monkeypatch, name):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(data / "cache"))
    with pytest.raises(ModelNotFoundError) as error:
        load_model(name)
    for expected in (str(data / "cache"), "HF_HUB_OFFLINE", "HF_HOME", "mechbench models"):
        assert expected in str(error.value)


def test_an_unreachable_hub_fails_fast(data, monkeypatch):
    def refuse(*args, **kwargs):
        assert kwargs["etag_timeout"] <= 10
        raise hub.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    with pytest.raises(ModelNotFoundError, match="hub is not reachable"):
        load_model("somebody/something")


def test_a_cached_hub_model_loads_by_either_spelling_with_its_commit(data, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = data / "cache"
    snapshot = cache / "models--gpt2" / "snapshots" / commit
    write_gpt2(snapshot)
    refs = cache / "models--gpt2" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "snapshot_download", _with_cache(cache))
    model = load_model("gpt2")
    assert (model.source.kind, model.source.revision) == ("hub", commit)
    assert model.cfg.model_name == "gpt2"


def _with_cache(cache):
    original = hub.snapshot_download
    return lambda *args, **kwargs: original(*args, **kwargs, cache_dir=cache, local_files_only=True)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_truncated_weight_file_is_named(tmp_path, keep):
    write_gpt2(tmp_path)
    file = tmp_path / "model.safetensors"
    os.truncate(file, keep if keep >= 0 else file.stat().st_size + keep)
    with pytest.raises(CheckpointError, match=r"model.safetensors \([\d,]+ bytes\) is not a comp"):
        load_model(tmp_path)


def test_a_corrupt_header_is_named(tmp_path):
    write_gpt2(tmp_path)
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[8:40] = b"\xff" * 32
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_model(tmp_path)


def test_pickled_weights_are_refused_and_an_empty_folder_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config.json"):
        load_model(tmp_path)
    write_gpt2(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="Python pickle"):
        load_model(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    with pytest.raises(CheckpointError, match="holds neither"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        load_model(tmp_path)


def test_a_model_without_tokenizer_takes_ids_alone(tmp_path):
    write_gpt2(tmp_path)
    model = load_model(tmp_path)
    assert model(torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, 97)
    with pytest.raises(TokenizerError, match="has no tokenizer"):
        model.to_tokens("text")


def test_tokenizers_are_read_checked_and_fit_the_vocabulary(tmp_path, shared_path):
    folder = tmp_path / "model"
    write_gpt2(folder, vocab_size=50257, n_embd=4, n_layer=1, n_head=1)
    for file in shared_path("tokenizers/gpt2").iterdir():
        shutil.copy(file, folder)
    model = load_model(folder)
    assert model.to_tokens("The Chief").tolist() == [[50256, 464, 5953]]
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="cannot be read"):
        load_model(folder)
    small = tmp_path / "small"
    write_gpt2(small)
    shutil.copy(shared_path("tokenizers/gpt2") / "tokenizer.json", small)
    with pytest.raises(TokenizerError, match="ids up to 50256"):
        load_model(small)


def test_options_are_checked_before_anything_is_read():
    with pytest.raises(SpecError, match="dtype='float31'"):
        load_model("nothing", dtype="float31")
    with pytest.raises(SpecError, match="device='gpu'"):
        load_model("nothing", device="gpu")


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16, "torch.bfloat16"])
def test_dtype_by_name_or_value(tmp_path, dtype):
    write_gpt2(tmp_path)
    model = load_model(tmp_path, dtype=dtype, fold_ln=True)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.cfg.dtype == torch.bfloat16
    with pytest.raises(SpecError, match="no training snapshots"):
        load_model(tmp_path, snapshot=3)


ALL, NONE = ("fold_ln", "center_writing_weights", "center_unembed"), ()


@pytest.mark.parametrize(
    ("name", "steps"),
    [("mixed-gpt2", ALL), ("mixed-yoco", NONE), ("twohop", NONE), ("planted-induction", NONE)],
)
def test_the_usual_processing_is_what_the_architecture_allows(name, steps):
    usual = usual_processing(name)
    assert usual.steps == steps
    assert load_model(name, **vars(usual)).source.processing == steps


def test_the_usual_processing_of_folders(data, tmp_path):
    assert usual_processing("tiny-demo").steps == ALL
    edit(data / "models" / "tiny-demo", config={**SIZES, "ln_folded": True})
    assert usual_processing("tiny-demo").steps == ALL[1:]
    write_gpt2(tmp_path / "theirs")
    assert usual_processing(tmp_path / "theirs").steps == ALL
    with pytest.raises(ModelNotFoundError):
        usual_processing("no-such-model")
