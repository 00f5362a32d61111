"""Sizes of exported figures: a column or the text width of a two-column paper."""

from dataclasses import dataclass

from mechbench.errors import MechbenchError, did_you_mean

POINTS_PER_INCH = 72.0


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Width in inches and text sizes in points; the height follows from the panels.

    A figure that would be higher than ``most_height_in``, a page with room for a caption, is laid
    out more densely, and as a last resort as wide as the preset ``wider``.
    """

    name: str
    width_in: float
    most_height_in: float = 8.6
    wider: str | None = None
    title_pt: float = 9.0
    label_pt: float = 8.0
    tick_pt: float = 7.0
    token_pt: float = 6.0

    @property
    def width_pt(self) -> float:
        """Width in points."""
        return self.width_in * POINTS_PER_INCH


PRESETS = {
    p.name: p
    for p in (
        Preset(name="column", width_in=3.25, wider="text"),
        Preset(name="text", width_in=6.75),
    )
}


def find_preset(name: str) -> Preset:
    """The preset called ``name``.

    Raises
        MechbenchError naming the presets where there is none of that name.
    """
    if name not in PRESETS:
        raise MechbenchError(
            f"Unknown figure preset {name!r}. {did_you_mean(name, PRESETS)} "
            f"Presets: {', '.join(PRESETS)}."
        )
    return PRESETS[name]
