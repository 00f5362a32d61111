"""The scripts of this folder, as the browser is given them."""

from mechbench.resources import bundled


def script(*names: str) -> str:
    """The text of these ``.js`` files, one after the other as one module."""
    folder = bundled("apps") / "components"
    return "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in names)
