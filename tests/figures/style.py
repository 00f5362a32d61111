"""What every figure of the project has to be: checks that any test may call."""

import re
from collections.abc import Iterator

from mechbench.figures.export import paper_bytes
from mechbench.figures.presets import PRESETS
from mechbench.figures.spec import FigureSpec, Heatmap

VECTOR_CELLS = 50_000  # as the README says
_EVIDENCE = re.compile(
    r" Model (?P<model>.+?) \([^)]+\), (?P<n>\d+) prompts of .+?; (?P<rest>.+)\.$"
)
_INTERVAL = re.compile(r"95 % bootstrap interval|^no interval[, ].*\b(because|for)\b")
_OBJECT = re.compile(rb"\n\d+ 0 obj\n(.*?)\nendobj", re.DOTALL)
_EMBEDDED = (b"/TrueType", b"/Type0", b"/CIDFontType2")


def check_caption(spec: FigureSpec) -> None:
    """The caption states the method, and last the model, n and the interval."""
    found = _EVIDENCE.search(spec.caption)
    assert found is not None, f"{spec.name}: no model, n and interval in {spec.caption!r}"
    method = spec.caption[: found.start()]
    assert len(method.split()) >= 8 and method.endswith("."), f"{spec.name}: what is {method!r}?"
    assert found["model"] == spec.provenance["model"], spec.name
    assert int(found["n"]) == spec.provenance["n_prompts"], spec.name
    assert _INTERVAL.search(found["rest"]), f"{spec.name}: what interval is {found['rest']!r}?"
    assert not re.search(r"\b(nan|inf)\b", spec.caption), f"{spec.name}: {spec.caption!r}"


def check_stored(spec: FigureSpec) -> None:
    """What is stored is the figure: it comes back as the same bytes."""
    text = spec.to_json()
    assert FigureSpec.from_json(text).to_json() == text


def check_pdf(spec: FigureSpec, preset: str) -> None:
    """Fonts are embedded as TrueType, cells are vectors, and the figure fits on a page."""
    content = paper_bytes(spec, "pdf", preset=preset)
    fonts = list(_objects(content, b"/Font"))
    assert fonts and all(any(kind in font for kind in _EMBEDDED) for font in fonts), spec.name
    described = list(_objects(content, b"/FontDescriptor"))
    assert described and all(b"/FontFile2" in part for part in described), spec.name
    cells = max((p.values.size for p in spec.panels if isinstance(p, Heatmap)), default=0)
    if cells <= VECTOR_CELLS:
        assert not re.search(rb"/Subtype\s*/Image\b", content), spec.name
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
    assert box is not None
    width, height = (float(side) / 72 for side in box.groups())
    assert width in {p.width_in for p in PRESETS.values()}, spec.name
    assert height <= PRESETS[preset].most_height_in, f"{spec.name} is {height:.1f} in high"


def _objects(content: bytes, kind: bytes) -> Iterator[bytes]:
    for found in _OBJECT.finditer(content):
        if re.search(rb"/Type\s*" + kind + rb"\b", found[1]):
            yield found[1]
