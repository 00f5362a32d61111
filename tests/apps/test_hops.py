"""Multi-hop: the grid and its texts, the other views, files of queries, and links."""

import time

import pytest

from apps.common.text import plain
from mechbench.figures.back_patched_text import text_rows
from mechbench.results.back_patching import MEASURES, BackPatching
from mechbench.results.store import RunStore

_N = 24


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    """The folder of a store with finished back-patching of a bundled model, and its id."""
    from apps.parts.hops import back_spec
    from mechbench.experiments.runner import run_experiment

    store = RunStore(tmp_path_factory.mktemp("hops") / "runs")
    task = {"name": "two_hop", "n": _N, "seed": 0, "params": {"kinds": ["id_test"]}}
    spec = back_spec(
        "twohop", task, split=0, most=0, method="generate", max_new_tokens=2, positions=["t1", "t2"]
    )
    return store.root, run_experiment(spec, store).run_id


def clean(shown):
    assert not shown.exception and not shown.error and not shown.warning, (
        shown.exception,
        [e.value for e in shown.error],
        [w.value for w in shown.warning],
    )
    return shown


def over(root, run_id):
    """Waits until the job is finished."""
    for _ in range(900):
        status = RunStore(root).open(run_id).status()
        if status.state not in ("queued", "running"):
            break
        time.sleep(0.1)
    assert status.state == "finished", status.error


def test_the_page_before_anything_is_run(page, tmp_path):
    shown = clean(page(tmp_path, "hops"))
    assert "back_patching(" in shown.code[0].value and "two_hop" in shown.code[0].value
    assert "fold_ln" not in shown.code[0].value  # a looped model cannot be folded


def test_back_patching_from_the_button_to_the_grid(page, tmp_path):
    shown = page(tmp_path, "hops", n=16, method="argmax", positions="t1")
    shown.button[0].click().run()
    run_id = shown.query_params["run"]
    over(tmp_path, run_id)
    clean(shown.run())
    result = RunStore(tmp_path).open(run_id).load_result("back-patching")
    assert isinstance(result, BackPatching) and result.method == "argmax"
    assert any("Click a cell" in c.value for c in shown.caption)
    assert any("inflated by the number of tries" in m.value for m in shown.markdown)


def test_a_link_restores_cell_texts_and_controls(page, patched):
    root, run_id = patched
    shown = clean(
        page(root, "hops", run=run_id, source=3, target=1, position="t1", first=1, many=2)
    )
    controls = shown.table[0].value
    assert list(controls.columns)[1].startswith("cell 3 to 1, n=")
    assert list(controls["share right"]) == [plain(name) for name in ("unpatched", *MEASURES)]
    (script,) = [
        c.value for c in shown.code if "back_patched_text(" in c.value and "import" in c.value
    ]
    table = shown.table[1].value
    assert len(table) == 2
    assert {"unpatched", "patched", "other query", "noise", "reversed"} <= set(table.columns)
    result = RunStore(root).open(run_id).load_result("back-patching")
    names: dict = {}
    exec(script, names)
    said = names["back_patched_text_result"]
    members = result.queries("incorrect", rule="text", position="t1", cell=(3, 1), right=None)
    assert tuple(said.texts["query"].values) == members[1:3]
    assert [list(map(plain, row)) for row in text_rows(said)[1]] == table.values.tolist()
    at = dict(state="own", position="t1", source_layer=3, target_layer=1, prompt=list(members[1:3]))
    of_grid = [result.texts[int(i)] for i in result.said.sel(at)]
    assert said.texts.sel(run="patched").values.tolist() == of_grid


def test_figures_of_grid_cell_and_texts(page, patched):
    root, run_id = patched
    shown = clean(page(root, "hops", run=run_id, source=0, target=2, figures=1, rates=1))
    titles = " ".join(s.value for s in shown.subheader)
    for part in (
        "incorrect set, own states",
        "Layer 0 written into layer 2",
        "what the model says",
    ):
        assert plain(part) in titles
    assert "not run" in shown.table[0].value.to_string()  # a forward cell has no such controls


def test_the_copied_script_of_the_grid_gives_the_grid(page, patched):
    root, run_id = patched
    shown = clean(page(root, "hops", run=run_id))
    (script,) = [c.value for c in shown.code if "back_patching(" in c.value and "import" in c.value]
    names: dict = {}
    exec(script, names)
    result = RunStore(root).open(run_id).load_result("back-patching")
    again = names["back_patching_result"]
    assert again.grid.equals(result.grid) and again.rates.equals(result.rates)
    assert any("mechbench run" in c.value for c in shown.code)


def test_texts_of_queries_that_a_cell_makes_right(page, patched):
    root, run_id = patched
    result = RunStore(root).open(run_id).load_result("back-patching")
    at = dict(rule="text", position="t1", cell=(2, 0))
    right = result.queries("incorrect", right=True, **at)
    wrong = result.queries("incorrect", right=False, **at)
    assert right and sorted(right + wrong) == sorted(result.queries("incorrect", right=None, **at))
    shown = clean(page(root, "hops", run=run_id, source=2, target=0, which="right here", many=24))
    table = shown.table[1].value
    assert [int(q) for q in table["query"]] == list(right)
    assert all(text.startswith("✓") for text in table["patched"])
    none = clean(page(root, "hops", run=run_id, source=2, target=0, first=900))
    assert any("none of them from number 900" in i.value for i in none.info)


def test_the_correct_set_is_kept_apart_and_the_diagonal_is_told(page, patched):
    root, run_id = patched
    shown = clean(page(root, "hops", run=run_id, set="correct", source=4, target=1))
    result = RunStore(root).open(run_id).load_result("back-patching")
    n = result.n_run("correct")
    assert any(f"share of {n} queries" in c.value for c in shown.caption)
    diagonal = clean(page(root, "hops", run=run_id, source=2, target=2))
    assert any("nothing is changed" in i.value for i in diagonal.info)
    assert len(diagonal.table) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"source": "9", "target": "abc"},
        {"view": "nose"},
        {"n": "-1"},
        {"run": "../.."},
        {"rule": "x", "set": "neither"},
        {"source": "2", "target": "1", "temperature": "9", "many": "0"},
        {"tokens": "0", "positions": "t3"},
    ],
)
def test_bad_parameters_are_told_and_replaced(page, patched, bad):
    root, run_id = patched
    shown = page(root, "hops", **{"run": run_id, **bad})
    assert not shown.exception and not shown.error
    good = {"source", "target"} if bad.get("source") == "2" else set()
    assert len(shown.warning) == len(set(bad) - good)


def test_a_run_of_something_else(page, stored):
    shown = page(stored[0].path.parent, "hops", run=stored[0].run_id)
    assert not shown.exception and "no back-patching" in shown.warning[0].value.replace("\\", "")
    labels = page(stored[0].path.parent, "hops", run=stored[0].run_id, view="hop labels", n=4)
    assert not labels.exception and not labels.error


def test_hop_labels_say_why(page, tmp_path):
    shown = clean(page(tmp_path, "hops", view="hop labels", n=12))
    table = shown.dataframe[0].value
    assert len(table) == 12 and set(table["set"]) <= {"correct", "incorrect", "neither"}
    for _, row in table.iterrows():
        hops = row["first hop"].startswith("✓") and row["second hop"].startswith("✓")
        assert ("hop wrong" in row["why"]) == (not hops)
    some = clean(page(tmp_path, "hops", view="hop labels", n=12, labels_set="correct"))
    assert set(some.dataframe[0].value["set"]) == {"correct"}
    assert "hop_labels(" in some.code[0].value


def test_stages_are_a_job_of_their_own(page, tmp_path, patched):
    root, run_id = patched
    shown = clean(page(root, "hops", view="stages", run=run_id, n=12))
    shown.button[0].click().run()
    stages = shown.query_params["run"]
    assert stages != run_id
    over(root, stages)
    clean(shown.run())
    assert any("Stages of two" in s.value for s in shown.subheader)


def test_what_states_say(page, tmp_path):
    shown = clean(page(tmp_path, "hops", view="what states say", n=6, **{"from": 2, "into": 1}))
    table = shown.table[0].value
    assert list(table.columns) == ["prompt", "answer", "says"] and len(table) == 6
    own = page(tmp_path, "hops", view="what states say", n=6, own_prompt="no placeholder")
    assert not own.exception and own.error
    sampled = page(
        tmp_path, "hops", view="what states say", n=4, scope_method="sample", scope_prompt="words",
        scope_tokens=2, **{"from": 2, "into": 1},
    )  # fmt: skip
    assert "says (2)" in clean(sampled).table[0].value.columns


@pytest.mark.parametrize(
    "experiment", ["entity_description", "attention_knockout", "sublayer_projection"]
)
def test_what_writes_them(page, tmp_path, experiment):
    shown = clean(page(tmp_path, "hops", view="what writes them", n=16, experiment=experiment))
    assert f"{experiment}(" in shown.code[0].value and shown.subheader


_HEADER = "e1_label,e2_label,e3_label,r1_template,r2_template\n"


def rows_of_the_world(n):
    """Queries of the bundled world in the published layout."""
    from mechbench import load_model
    from mechbench.tasks.registry import build_task

    task = build_task("two_hop", load_model("twohop").tokenizer, n=n, seed=0)
    lines = [f"{q.e1.name},{q.e2.name},{q.e3.name},{q.r1} {{}},{q.r2} {{}}" for q in task.queries]
    return (_HEADER + "\n".join(lines) + "\n").encode()


def test_a_file_of_queries(page, tmp_path):
    shown = clean(page(tmp_path, "hops", task="two_hop_file", view="hop labels", n=5))
    assert any("Bring a CSV or JSONL" in i.value for i in shown.info)
    shown.file_uploader[0].upload("own.csv", rows_of_the_world(6), "text/csv").run()
    clean(shown)
    kept = shown.query_params["file"]
    assert (tmp_path / "prompts" / f"{kept}.csv").is_file()
    assert len(shown.dataframe[0].value) == 5 and "family='relation_first'" in shown.code[0].value
    again = clean(page(tmp_path, "hops", task="two_hop_file", view="hop labels", n=6, file=kept))
    assert len(again.dataframe[0].value) == 6


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n", "no column 'e1_label'"),
        (_HEADER.encode() + b"a,,c,{} x,{} y\n", "line 2: e2_label must be text"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_other_files_are_refused_in_words(page, tmp_path, content, told):
    shown = page(tmp_path, "hops", task="two_hop_file")
    shown.file_uploader[0].upload("own.csv", content, "text/csv").run()
    assert not shown.exception and told in shown.error[0].value.replace("\\", "")
    assert "file" not in shown.query_params


def test_an_id_of_no_file(page, tmp_path):
    shown = page(tmp_path, "hops", task="two_hop_file", file="0123456789abcdef")
    assert not shown.exception and "bring the file again" in shown.warning[0].value
