"""``mechbench models``: what it lists is what there is."""

import json

import pytest

from mechbench.cli.catalogue_tables import accuracy_tables, architecture_table, model_table
from mechbench.cli.console import stdout
from mechbench.cli.summary import print_table
from mechbench.experiments.catalogue import architectures, bundled_entries
from mechbench.models.bundled import bundled_models, models_folder
from mechbench.models.hub import GPT2_FAMILY
from mechbench.models.loading import load_model
from mechbench.models.registry import VARIANTS
from mechbench.resources import PLANTED


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setattr(stdout, "width", 100)  # fixed when the module was imported


@pytest.fixture(scope="module")
def listed():
    return {"architectures": architectures(), "bundled": bundled_entries()}


def test_json_holds_all_of_it(mechbench, listed):
    code, out, err = mechbench("models", "--json")
    assert code == 0, err
    assert json.loads(out) == {**listed, "planted": list(PLANTED), "hub": list(GPT2_FAMILY)}


def test_every_architecture_is_listed_with_what_it_offers(listed):
    assert [entry["name"] for entry in listed["architectures"]] == [s.name for s in VARIANTS]
    for entry, spec in zip(listed["architectures"], VARIANTS, strict=True):
        assert (entry["title"], entry["paper"]) == (spec.title, spec.paper)
        assert entry["inspections"] == list(spec.inspections)
        forms = {
            spec.build(config).capabilities.incremental
            for name, config in spec.presets.items()
            if name.startswith("tiny")
        }
        words = {(True,): "yes", (False,): "no", (False, True): "in some forms"}
        assert entry["incremental"] == words[tuple(sorted(forms))]


def test_every_bundled_model_is_listed_with_its_cards_numbers(listed):
    assert [entry["name"] for entry in listed["bundled"]] == [m.name for m in bundled_models()]
    for entry in listed["bundled"]:
        folder = models_folder() / entry["name"]
        metrics = json.loads((folder / "metrics.json").read_text())
        assert entry["architecture"] == metrics["recipe"]["model"]["variant"]
        assert entry["bytes"] == (folder / "model.safetensors").stat().st_size
        assert entry["card"] == str(folder / "card.md")
        assert entry["cost"] == metrics.get("cost")
        assert entry["measured"] == metrics.get("measured", [])
        config = json.loads((folder / "config.json").read_text())["config"]
        kept = json.loads(json.dumps(entry["config"]))
        assert {name: kept[name] for name in config} == config
        shipped = metrics["seeds"][0]
        names = next((shipped[key] for key in ("task", "set", "family") if key in shipped), ())
        assert list(entry["tasks"]) == list(names or ["acronyms"])
        for i, task in enumerate(names):
            score = entry["tasks"][task]
            assert score["accuracy"] == shipped["accuracy"][i]
            assert score["n"] == (shipped["answers"][i] if "answers" in shipped else None)
            assert score["control"] == (
                metrics["control"]["accuracy"][i] if metrics["control"] else None
            )


def test_parameters_are_those_of_the_model(listed):
    for name in ("acronyms-gpt2", "mixed-llama"):
        entry = next(entry for entry in listed["bundled"] if entry["name"] == name)
        trained = (w.numel() for w in load_model(name).parameters() if w.requires_grad)
        assert entry["parameters"] == sum(trained)
    entry = next(entry for entry in listed["bundled"] if entry["name"] == "acronyms-gpt2")
    assert entry["tasks"] == {"acronyms": {"accuracy": 1.0, "control": None, "n": 3 * 4096}}


def test_the_tables_fit_a_terminal_of_100_columns(mechbench, wide):
    code, out, _ = mechbench("models")
    assert code == 0
    lines = out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Cards: ")) <= 100
    assert f"Cards: {models_folder()}/NAME/card.md" in out
    for name in [*(s.name for s in VARIANTS), *(m.name for m in bundled_models())]:
        assert [line for line in lines if line.startswith(f"{name} ")], name
    for name in (*PLANTED, "gpt2-medium"):
        assert name in out


TASKS = ("acronyms", "induction", "names", "facts", "brackets", "recall")
LONG = {
    "name": "mixed-deepseek-v2",
    "architecture": "deepseek_v2",
    "parameters": 1_000_000,
    "bytes": 1_999_999,
    "control": "mixed-llama",
    "snapshots": [],
    "tasks": {task: {"accuracy": 0.0004, "control": 0.9996} for task in TASKS},
}


def test_long_names_and_scores_stay_on_one_line(capsys, wide):
    (scored,) = accuracy_tables([LONG])
    print_table(scored)
    print_table(model_table([LONG]))
    lines = capsys.readouterr().out.splitlines()
    scores, about = (line for line in lines if line.startswith("mixed-deepseek-v2"))
    assert scores.split() == ["mixed-deepseek-v2", *(["0.0", "-99.9"] * 6)]
    assert about.split()[1:] == ["deepseek_v2", "1,000,000", "2.00", "mixed-llama", "none"]


def test_models_of_other_tasks_have_a_table_of_their_own():
    few = LONG | {"name": "few", "tasks": {"names": LONG["tasks"]["names"]}}
    other = LONG | {"name": "other", "tasks": {"two_hop": LONG["tasks"]["names"]}}
    unscored = LONG | {"name": "unscored", "tasks": {}}
    common, own = accuracy_tables([few, unscored, LONG, other])
    assert common.columns == ("name", *TASKS) and own.columns == ("name", "two_hop")
    assert [row[0] for row in common.rows] == ["few", "mixed-deepseek-v2"]
    assert [row[0] for row in own.rows] == ["other"]


def test_many_inspections_wrap_within_their_column(capsys, wide):
    entry = {
        "name": "deepseek_v2",
        "title": "DeepSeek-V2",
        "paper": "DeepSeek-AI 2024, arXiv 2405.04434",
        "inspections": ["expert_load", "expert_knockout", "latent_attention", "routing_map"],
        "incremental": "in some forms",
    }
    print_table(architecture_table([entry]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for name in entry["inspections"]:
        assert name in out
