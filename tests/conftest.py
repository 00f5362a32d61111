"""Shared by all tests: the folder of reference models, seeds, one thread."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared_path():
    """Path below the folder of reference material beside the checkout; skips where it is absent."""

    def find(name: str) -> Path:
        path = _SHARED / name
        if not path.exists():
            pytest.skip(f"reference material {name!r} is not beside this checkout")
        return path

    return find


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
