"""The public names, pinned: adding or removing one is a decision."""

import re
from importlib.metadata import version

import pytest

import mechbench

PUBLIC = {
    "__version__",
    "load_model",
    "HookedModel",
    "PromptPairs",
    "Site",
    "Patch",
    "sweep",
    "run_patches",
    "path_patch",
}


def test_public_names_are_the_pinned_ones():
    assert set(mechbench.__all__) == PUBLIC
    assert PUBLIC <= set(dir(mechbench))


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_loads_and_is_documented(name):
    value = getattr(mechbench, name)
    assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = mechbench.swep


def test_the_version_is_the_one_of_the_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+", mechbench.__version__)
    assert version("mechbench") == mechbench.__version__
