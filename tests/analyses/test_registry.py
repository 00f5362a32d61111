"""Every registered analysis keeps the calling convention, and has a result and a figure."""

from importlib import import_module
from inspect import Parameter, signature

import pytest

from mechbench.analyses.registry import ANALYSES
from mechbench.results.base import Result


@pytest.mark.parametrize("name", ANALYSES)
def test_calling_convention(name):
    function = getattr(import_module(ANALYSES[name]), name)
    parameters = signature(function).parameters
    assert list(parameters)[:2] == ["model", "task"]
    options = [p for p in parameters.values() if p.name not in ("model", "task")]
    assert all(p.kind is Parameter.KEYWORD_ONLY and p.default is not p.empty for p in options)
    assert {"seed", "progress", "checkpoint"} <= set(parameters)
    kind = signature(function).return_annotation
    assert issubclass(kind, Result)
    assert kind.__module__ == f"mechbench.results.{name}"
    assert kind.__name__.lower() == name.replace("_", "")
    figure = getattr(import_module(f"mechbench.figures.{name}"), f"{name}_figure")
    assert next(iter(signature(figure).parameters.values())).annotation is kind
    assert function.__doc__ and "Source:" in function.__doc__
