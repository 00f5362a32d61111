"""What ``mechbench dashboard`` was started with, handed over in the environment."""

import os
from dataclasses import dataclass
from pathlib import Path

STORE, MODELS, LOGIN = "MECHBENCH_STORE", "MECHBENCH_MODELS", "MECHBENCH_LOGIN"


@dataclass(frozen=True)
class Settings:
    """``store`` holds the runs, ``models`` folders of models; ``login`` asks who the user is."""

    store: Path
    models: tuple[Path, ...]
    login: bool


def settings() -> Settings:
    """The settings of this process."""
    folders = os.environ.get(MODELS, "").split(os.pathsep)
    return Settings(
        store=Path(os.environ.get(STORE, "runs")).absolute(),
        models=tuple(Path(folder).absolute() for folder in folders if folder),
        login=os.environ.get(LOGIN) == "1",
    )
