"""Opening a dataset: a folder saved by ``datasets``, one of data files, or a name of the hub."""

import re
from pathlib import Path
from typing import Any

from mechbench.errors import TaskError

_HUB_NAME = r"[\w.-]+/[\w.-]+"


def is_dataset(source: Any) -> bool:
    """Whether ``source`` names a folder, or a dataset of the hub, and not a file of rows."""
    if not isinstance(source, str | Path) or Path(source).suffix.lower() in (".csv", ".jsonl"):
        return False
    return Path(source).is_dir() or (
        isinstance(source, str)
        and not Path(source).exists()
        and re.fullmatch(_HUB_NAME, source) is not None
    )


def open_dataset(source: str | Path, *, config: str | None = None, split: str = "train") -> Any:
    """One split of a dataset, as ``datasets.Dataset``.

    Args:
        source: a folder of ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``, a folder that
            ``datasets.load_dataset`` reads, or a name of the hub (``owner/name``).
        config: the configuration of a dataset that has several (MIB's ``4_answer_choices``).
        split: which split of several.

    Raises:
        TaskError: nothing can be loaded from there, or there is no such split or configuration.
    """
    from datasets import load_dataset, load_from_disk  # seconds to import

    folder = Path(source)
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        if not saved:
            return load_dataset(str(source), config, split=split)
        found = load_from_disk(str(source))
    except (OSError, ValueError) as error:
        raise TaskError(
            f"The dataset {str(source)!r} (config={config!r}, split={split!r}) cannot be loaded: "
            f"{' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, dict):
        return found
    if split not in found:
        raise TaskError(
            f"The dataset {folder.name!r} has no split {split!r}; it has {list(found)}."
        )
    return found[split]


def open_parquet(path: str | Path) -> Any:
    """A parquet file, as ``datasets.Dataset``.

    Raises:
        TaskError: the file cannot be read.
    """
    import pyarrow.parquet as parquet  # seconds to import, with datasets
    from datasets import Dataset
    from pyarrow import ArrowException

    try:
        return Dataset(parquet.read_table(path))
    except (OSError, ArrowException) as error:
        raise TaskError(
            f"The parquet file {Path(path).name!r} cannot be read: {' '.join(str(error).split())}"
        ) from error
