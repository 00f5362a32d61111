"""Steps are checked against the analyses' own signatures."""

import pytest

from mechbench.errors import SpecError
from mechbench.experiments.spec import parse_spec
from mechbench.experiments.steps import Reference, checked_steps


def steps(*parts):
    data = {"name": "s", "model": {"name": "m"}, "task": {"name": "t"}, "steps": list(parts)}
    return checked_steps(parse_spec(data, origin="The spec"))


def test_parameters_are_converted_to_what_the_analysis_declares():
    (step,) = steps({"analysis": "head_sweep", "params": {"letters": [1, 3], "control": False}})
    assert step.params == {"letters": [1, 3], "control": False}
    assert step.function.__name__ == "head_sweep" and step.id == "head-sweep"


def test_every_problem_is_in_one_message():
    with pytest.raises(SpecError) as caught:
        steps(
            {"analysis": "hed_sweep"},
            {"analysis": "head_sweep", "params": {"leters": [1], "control": "perhaps"}},
            {"analysis": "residual_sweep", "params": {"progress": 1}},
        )
    for part in (
        "no analysis is called 'hed_sweep'. Did you mean 'head_sweep'",
        "no parameter 'leters'. Did you mean 'letters'",
        "control is 'perhaps'",
        "no parameter 'progress'",
    ):
        assert part in str(caught.value)


def test_a_value_can_be_what_an_earlier_step_finds():
    _, step = steps(
        {"analysis": "circuit_search"},
        {"analysis": "ov_copying", "params": {"heads": "@circuit-search.heads"}},
    )
    assert step.params["heads"] == Reference("circuit-search", "heads")


@pytest.mark.parametrize(
    ("reference", "message"),
    [("@circuit-serch.heads", "Did you mean 'circuit-search'"), ("@ov-copying", "no earlier step")],
)
def test_a_reference_to_no_earlier_step_is_an_error(reference, message):
    with pytest.raises(SpecError) as caught:
        steps(
            {"analysis": "circuit_search"},
            {"analysis": "ov_copying", "params": {"heads": reference}},
        )
    assert message in str(caught.value)
