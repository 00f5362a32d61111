"""Numbers of analyses put on the card of a model folder that is already exported.

``python -m mechbench.training.annotate FOLDER FILE.json``
"""

import argparse
import json
from pathlib import Path

from mechbench.errors import StoreError
from mechbench.training import checkpoints
from mechbench.training.card import render_card
from mechbench.training.measured import read_measured


def annotate(folder: Path, measured: Path) -> None:
    """Put the rows of a JSON file (``measured.py``) in a model folder's metrics and card.

    They take the place of those that were there.

    Raises:
        StoreError: the file holds no such rows, or the folder no metrics, or cannot be written.
    """
    rows = read_measured(measured)
    path = folder / "metrics.json"
    if not path.is_file():
        raise StoreError(f"{folder} has no metrics.json: export the model first.")
    metrics = json.loads(path.read_text(encoding="utf-8")) | {"measured": rows}
    checkpoints.write_text(path, json.dumps(metrics, indent=2) + "\n")
    checkpoints.write_text(folder / "card.md", render_card(metrics))


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m mechbench.training.annotate")
    parser.add_argument("folder", type=Path, help="an exported model folder")
    parser.add_argument("measured", type=Path, help="JSON file of numbers for the card")
    given = parser.parse_args()
    annotate(given.folder, given.measured)


if __name__ == "__main__":
    main()
