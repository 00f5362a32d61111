"""Captions come through LaTeX as they were written."""

import io
import re
import shutil
import subprocess
import zipfile

import pytest

from mechbench.figures.basket import Basket
from mechbench.figures.basket_zip import zip_bytes
from mechbench.figures.latex import escaped
from tests.figures.gallery import heads, lines

LATEX = next(filter(None, map(shutil.which, ("pdflatex", "tectonic", "lualatex", "xelatex"))), None)
HOSTILE = [
    r"\end{document} \input{/etc/passwd} \write18{touch x} \def\x{}",
    "100 % of L8_H11 & #3 ^ ~ $x_1$ {a}} | <|endoftext|> `` '' \"quoted\" !` ?` -- ---",
    "α β Δ → ± − × 中文 😀 é Ł ß ÷ ° ¼ \x00 \x1b[31m \u200b \u202e \ufeff \ufffd",
    "^^5cinput ^^M \\\\ \\_ [ ] * ** % %%",
    "a" * 400,
]
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage{graphicx}
\begin{document}
Before Figure~\ref{fig:heads}.
\input{figures.tex}
\end{document}
"""


@pytest.mark.parametrize("text", HOSTILE)
def test_only_our_own_commands_are_left_in_a_hostile_caption(text):
    r"""Once commands that we write are taken out, no character that LaTeX acts on is left."""
    latex = escaped(text)
    known = r"\\(textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|ldots){}"
    rest = re.sub(known, "", latex)
    rest = re.sub(r"{}(?=[-`'])", "", rest)
    rest = re.sub(r"\\\((\\[A-Za-z]+|-)\\\)", "", rest)
    rest = re.sub(r"\\[{}$&#%_]", "", rest)
    assert not re.search(r"[\\{}$&#%_^]", rest), rest
    assert "\n" not in latex and latex.isprintable()


@pytest.mark.skipif(LATEX is None, reason="no LaTeX on this machine")
def test_figures_tex_is_typeset_with_hostile_captions(tmp_path):
    basket = Basket().add(heads(), preset="text")
    for text in HOSTILE:
        basket = basket.add(lines(), caption=text)
    with zipfile.ZipFile(io.BytesIO(zip_bytes(basket, ["pdf"]))) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "paper.tex").write_text(DOCUMENT, encoding="utf-8")
    batch = (
        [] if str(LATEX).endswith("tectonic") else ["-interaction=nonstopmode", "-halt-on-error"]
    )
    for _ in range(2):
        done = subprocess.run(
            [str(LATEX), *batch, "paper.tex"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
    assert not (tmp_path / "x").exists()


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
        ("--zip --- !` ``x''", "-{}-zip -{}-{}- !{}` `{}`x'{}'"),
        ("中 😀", r"\textbackslash{}u4e2d \textbackslash{}U0001f600"),
    ],
)
def test_escaped(text, latex):
    assert escaped(text) == latex
