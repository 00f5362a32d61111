"""The pictures of the README from those that the tests took; ``make screenshots`` calls it."""

import sys
from pathlib import Path

from PIL import Image

from mechbench.resources import bundled

NAMES = ("readme-patching", "readme-figures")
FOLDER = bundled("apps") / "screenshots"
MOST_BYTES = 300_000
_LOWEST = 1500  # pixels of a picture's height; what is below is cut off


def main(taken: Path) -> None:
    """Writes each picture with few colours, so that it stays small."""
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        picture = Image.open(taken / f"{name}.png").convert("RGB")
        picture = picture.crop((0, 0, picture.width, min(picture.height, _LOWEST)))
        few = picture.quantize(256, dither=Image.Dither.NONE)
        few.save(FOLDER / f"{name}.png", optimize=True)
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
