"""Specs: what is accepted, what is rejected, and what the message says."""

import pytest
import yaml

from mechbench.errors import SpecError
from mechbench.experiments.overrides import apply_overrides
from mechbench.experiments.spec import bundled_specs, load_spec, parse_spec

MINIMAL = {
    "name": "small",
    "model": {"name": "acronyms-gpt2"},
    "task": {"name": "acronyms"},
    "steps": [{"analysis": "residual_sweep"}, {"analysis": "head_sweep", "id": "heads"}],
}


def parsed(**changes):
    return parse_spec({**MINIMAL, **changes}, origin="The spec")


def test_defaults_are_written_out_and_ids_follow_the_analysis():
    canonical = parsed().canonical()
    assert [s["id"] for s in canonical["steps"]] == ["residual-sweep", "heads"]
    assert canonical["task"] == {"name": "acronyms", "n": None, "seed": None, "params": {}}
    assert parse_spec(canonical, origin="again").canonical() == canonical


def test_a_default_that_is_written_out_makes_the_same_spec():
    assert parsed(seed=0, device=None).canonical() == parsed().canonical()
    assert parsed(seed=1).canonical() != parsed().canonical()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": {}}, "Unknown key 'modle'. Did you mean 'model'"),
        ({"task": {"name": "a", "sed": 1}}, "Unknown key 'sed' in 'task'. Did you mean 'seed'"),
        (
            {"steps": [{"analysis": "a"}, {"analysis": "b", "parms": {}}]},
            "Unknown key 'parms' in 'steps.1'. Did you mean 'params'",
        ),
        ({"outputs": {"formats": ["pfd"]}}, "'outputs.formats.0' is 'pfd'"),
        ({"task": {"name": "a", "n": 0}}, "'task.n' is 0"),
        ({"model": {}}, "The key 'model.name' is missing"),
        ({"steps": []}, "at least 1 item"),
        ({"steps": [{"analysis": "a"}, {"analysis": "a"}]}, "two steps are called 'a'"),
        ({"name": "no/slashes"}, "'name' is 'no/slashes'"),
    ],
)
def test_a_wrong_spec_is_rejected_with_the_place_and_the_remedy(changes, message):
    with pytest.raises(SpecError) as caught:
        parsed(**changes)
    assert message in str(caught.value)


def test_every_problem_is_in_one_message():
    with pytest.raises(SpecError) as caught:
        parsed(modle=1, task={"nam": "a"})
    for part in ("'modle'", "'nam'", "'task.name' is missing"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("task.n=8", ("task", "n"), 8),
        ("model.fold_ln=false", ("model", "fold_ln"), False),
        ("steps.heads.params.letters=[1, 3]", ("steps", 1, "params", "letters"), [1, 3]),
        ("steps.residual-sweep.n=4", ("steps", 0, "n"), 4),
        ("steps.1.id=other", ("steps", 1, "id"), "other"),
        ("device=cuda:0", ("device",), "cuda:0"),
        ("outputs.formats=[png]", ("outputs", "formats"), ["png"]),
    ],
)
def test_overrides_set_one_value_of_a_copy(override, path, value):
    before = yaml.safe_dump(MINIMAL)
    found = apply_overrides(MINIMAL, [override])
    for part in path:
        found = found[part]
    assert found == value
    assert yaml.safe_dump(MINIMAL) == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task.n", "not of the form path=value"),
        ("=3", "not of the form path=value"),
        ("task..n=3", "not of the form path=value"),
        ("steps.headz.n=3", "Did you mean 'heads'"),
        ("steps.2.n=3", "index of 0..1"),
        ("name.x=3", "'name' is the value 'small'"),
        ("task.n=[1", "not valid YAML"),
    ],
)
def test_an_override_that_leads_nowhere_is_an_error(override, message):
    with pytest.raises(SpecError, match="--set") as caught:
        apply_overrides(MINIMAL, [override])
    assert message in str(caught.value)


def test_an_override_of_an_unknown_key_is_caught_by_validation(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(MINIMAL))
    with pytest.raises(SpecError, match="'m' in 'task'"):
        load_spec(path, overrides=("task.m=3",))


def test_a_model_on_the_command_line_replaces_name_and_snapshot_only(tmp_path):
    path = tmp_path / "spec.yaml"
    model = {"name": "acronyms-gpt2", "snapshot": 200, "fold_ln": False}
    path.write_text(yaml.safe_dump({**MINIMAL, "model": model}))
    loaded = load_spec(path, model="gpt2").model
    assert (loaded.name, loaded.snapshot, loaded.fold_ln) == ("gpt2", None, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [1", "not valid YAML in line"),
        (b"- 1\n- 2\n", "holds a list"),
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_spec_is_an_error(tmp_path, content, message):
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert message in str(caught.value)


def test_a_spec_that_is_not_there_is_an_error_that_names_the_bundled_ones():
    with pytest.raises(SpecError, match="acronyms"):
        load_spec("acronym")


def test_every_bundled_spec_is_valid():
    assert "acronyms" in bundled_specs()
    for name in bundled_specs():
        assert load_spec(name).steps
