"""Captions come through LaTeX as they were written."""

import pytest

from mechbench.figures.latex import escaped


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("50 % & #1_a {b} $x$", r"50 \% \& \#1\_a \{b\} \$x\$"),
        ("a\\b ~ ^", r"a\textbackslash{}b \textasciitilde{} \textasciicircum{}"),
        ("a→b, ±1 × 2, Δ −3", r"a\(\rightarrow\)b, \(\pm\)1 \(\times\) 2, \(\Delta\) \(-\)3"),
        ("α λ Σ σ", r"\(\alpha\) \(\lambda\) \(\Sigma\) \(\sigma\)"),
        ("<|bos|>", r"\textless{}\textbar{}bos\textbar{}\textgreater{}"),
        ("two\n lines ", "two lines"),
        ("1–2 “so” …", r"1--2 ``so'' \ldots{}"),
        ("é Ł ß", "é Ł ß"),
        ("中 😀", r"\textbackslash{}u4e2d \textbackslash{}U0001f600"),
    ],
)
def test_escaped(text, latex):
    assert escaped(text) == latex
