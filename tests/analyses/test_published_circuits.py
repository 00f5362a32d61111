"""The bundled published circuits: every file loads and speaks of components that exist."""

import json
import re
from collections import Counter

import pytest

from mechbench.analyses.common.published import read_circuit, read_published
from mechbench.errors import SpecError
from mechbench.resources import bundled
from mechbench.tasks.registry import TASKS

NAMES = sorted(path.parent.name for path in bundled("circuits").glob("*/circuit.json"))


def test_the_circuits_are_found():
    assert {"acronyms_gpt2", "ioi_gpt2", "greater_than_gpt2", "docstring_attn_only"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_circuit_loads_and_its_parts_exist(name):
    folder = bundled("circuits") / name
    found = read_circuit(folder)
    circuit, sizes = found.circuit, found.circuit["model"]
    assert circuit["name"] == name and circuit["format"] == 1 and circuit["task"] in TASKS
    assert len(set(found.heads)) == len(found.heads) == circuit["size"]["heads"]
    for head in found.heads:
        layer, index = map(int, head.split("."))
        assert 0 <= layer < sizes["n_layers"] and 0 <= index < sizes["n_heads"]
    for mlp in circuit.get("mlps", []):
        assert 0 <= mlp["mlp"] < sizes["n_layers"]
    parts = [*circuit["heads"], *circuit.get("mlps", [])]
    tags = {part[key] for part in parts for key in part if key.endswith("_tag")}
    assert tags <= set(circuit["tags"]) and all("role_tag" in part for part in parts)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"**{tag}**" in readme for tag in circuit["tags"])
    assert found.source.endswith(".") and "None" not in found.source


def test_edges_of_the_docstring_circuit_go_forward_between_its_heads():
    found = read_circuit(bundled("circuits") / "docstring_attn_only")
    seen = set()
    for edge in found.circuit["edges"]:
        sender, receiver = edge.split("->")
        ends = []
        for end in (sender, receiver):
            match = re.fullmatch(r"a(\d+)\.h(\d+)(<[qkv]>)?", end)
            if match:
                ends.append(int(match[1]))
                seen.add(f"{match[1]}.{match[2]}")
                assert bool(match[3]) == (end == receiver)
            else:
                ends.append({"input": -1, "logits": 4}[end])
        assert ends[0] < ends[1]
    assert seen == set(found.heads) and len(set(found.circuit["edges"])) == 24


def test_the_groups_of_ioi():
    found = read_circuit(bundled("circuits") / "ioi_gpt2")
    assert found.heads[:3] == ("9.9", "10.0", "9.6")
    assert Counter(found.roles.values()) == {
        "name mover": 3,
        "backup name mover": 8,
        "negative name mover": 2,
        "S-inhibition": 4,
        "induction": 4,
        "duplicate token": 3,
        "previous token": 2,
    }


@pytest.mark.parametrize("head", ["12.0", "0.12", "a0.h1", "3"])
def test_a_head_that_does_not_exist_is_refused(tmp_path, head):
    circuit = read_circuit(bundled("circuits") / "ioi_gpt2").circuit
    circuit["heads"][4]["head"] = head
    (tmp_path / "circuit.json").write_text(json.dumps(circuit), "utf-8")
    with pytest.raises(SpecError, match=f"the head {head!r}, and GPT-2 small has 12 layers of 12"):
        read_circuit(tmp_path)


def test_numbers_are_asked_for_where_they_are_needed(tmp_path):
    folder = bundled("circuits") / "ioi_gpt2"
    assert read_circuit(folder).numbers == {}
    with pytest.raises(SpecError, match="'ioi_gpt2' cannot be read: published.json"):
        read_published(folder)
    assert (
        read_published(None).numbers == read_circuit(bundled("circuits") / "acronyms_gpt2").numbers
    )
    with pytest.raises(SpecError, match="cannot be read: circuit.json"):
        read_circuit(tmp_path)
