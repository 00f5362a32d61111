"""mechbench: which parts of a transformer do what, and how do you know.

Public names are loaded on first use, so that ``import mechbench`` stays cheap and imports no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "load_model": "mechbench.models.loading",
    "HookedModel": "mechbench.models.base",
    "PromptPairs": "mechbench.tasks.pairs",
    "Site": "mechbench.interventions.sites",
    "Patch": "mechbench.interventions.patches",
    "sweep": "mechbench.interventions.sweeps",
    "run_patches": "mechbench.interventions.engine",
    "path_patch": "mechbench.interventions.path_patching",
}

__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "__version__",
    *_HOME,
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'mechbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
