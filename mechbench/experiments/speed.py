"""What the sweep planner saved in a run, as it is stored: reading it needs no torch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mechbench.results.files import read_text, write_atomically

_FILE = "speed.json"


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds of one sweep, and how far the two ways disagree (in the metric's units)."""

    n_patches: int
    n_prompts: int
    planner_s: float
    plain_s: float
    largest_difference: float

    @property
    def ratio(self) -> float:
        """How many times faster the planner is."""
        return self.plain_s / self.planner_s

    @property
    def sentence(self) -> str:
        """The measurement in words."""
        return (
            f"Speed, measured in this run: {self.n_patches} patches of the residual stream on "
            f"{self.n_prompts} prompts take {self.planner_s:.2f} s with the sweep planner and "
            f"{self.plain_s:.2f} s in a plain loop, {self.ratio:.1f} times as long; the values "
            f"differ by at most {self.largest_difference:.0e} logits."
        )


def save_speed(folder: Path, speed: Speed) -> None:
    """Store a measurement in a run's folder."""
    write_atomically(folder / _FILE, json.dumps(asdict(speed), indent=1) + "\n")


def load_speed(folder: Path) -> Speed | None:
    """The measurement in a run's folder, or None."""
    path = folder / _FILE
    return Speed(**json.loads(read_text(path, "speed measurement"))) if path.is_file() else None
