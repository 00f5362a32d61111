"""One spec of each panel kind, with awkward cases: repeated tokens, markup, NaN, long labels."""

import numpy as np

from mechbench.figures.graph import Edge, Graph, Node
from mechbench.figures.spec import (
    Bars,
    Boxes,
    BoxSeries,
    Diverging,
    FigureSpec,
    Fit,
    Heatmap,
    Histogram,
    Lines,
    Points,
    Reference,
    Sequential,
    Series,
    Table,
)

PROVENANCE = {"model": "acronyms-gpt2", "seed": 0, "spec_hash": "ab12", "git": None}
TOKENS = ("<|bos|>", "The", " Chief", " Executive", " Officer", " (", "C", "E", "the", "the", "$x$")
AWKWARD = ("<b>x</b>", "&lt;", "_a", "$\\alpha$", "中", "😀", "\n", "%{x}", "the", "the", "")


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def heads() -> FigureSpec:
    values = _rng().normal(size=(12, 12)) ** 3
    values[3, 4] = np.nan
    return FigureSpec(
        name="heads",
        title="Effect of each head on the third letter",
        caption="Denoising, acronyms-gpt2, n = 64 prompts, mean; cells with |effect| > 4 outlined.",
        panels=(
            Heatmap(
                values=values,
                rows=tuple(map(str, range(12))),
                cols=tuple(map(str, range(12))),
                x_title="head",
                y_title="layer",
                value_title="logit difference restored",
                marked=tuple((int(r), int(c)) for r, c in np.argwhere(np.abs(values) > 4)),
                first_row="bottom",
            ),
        ),
        provenance=PROVENANCE,
    )


def residual() -> FigureSpec:
    values = np.clip(_rng().normal(0.5, 0.3, size=(3, 24, 11)), 0, 1)
    return FigureSpec(
        name="residual",
        title="Residual stream patching",
        caption="Fraction recovered for each letter, n = 64.",
        panels=tuple(
            Heatmap(
                values=v,
                rows=tuple(map(str, range(24))),
                cols=TOKENS,
                title=f"letter {i + 1}",
                x_title="position",
                y_title="layer" if i == 0 else "",
                value_title="fraction recovered",
                colour=Sequential(low=0.0, high=1.0),
            )
            for i, v in enumerate(values)
        ),
        columns=3,
        provenance=PROVENANCE,
    )


def lens() -> FigureSpec:
    values = _rng().uniform(size=(6, 11))
    text = tuple(tuple(AWKWARD[(r + c) % 11] for c in range(11)) for r in range(6))
    return FigureSpec(
        name="lens",
        title="Logit lens",
        caption="Most probable token at each layer and position.",
        panels=(
            Heatmap(
                values=values,
                rows=tuple(map(str, range(6))),
                cols=AWKWARD,
                x_title="token",
                y_title="layer",
                value_title="probability",
                colour=Sequential(low=0.0, high=1.0, palette="cividis"),
                cell_text=text,
            ),
        ),
        provenance=PROVENANCE,
    )


def lines() -> FigureSpec:
    x = np.arange(0, 20)
    curves = [1 - np.exp(-x / s) for s in (2.0, 6.0, 14.0)]
    labels = ("circuit by sweep order", "random heads", "all but the circuit")
    return FigureSpec(
        name="faithfulness",
        title="Faithfulness as heads are added to the circuit",
        caption="Mean ablation of all other heads; bands: 95 % bootstrap over 64 prompts.",
        panels=(
            Lines(
                x=x,
                series=tuple(
                    Series(label=t, values=y, low=y - 0.08, high=y + 0.08, dashed=i == 2)
                    for i, (t, y) in enumerate(zip(labels, curves, strict=True))
                ),
                references=(Reference(value=1.0, label="full model"),),
                x_title="heads kept",
                y_title="faithfulness (fraction of the full model's logit difference)",
            ),
            Lines(
                x=np.array([1, 10, 100, 1000]),
                series=(Series(label="", values=np.array([0.1, 0.4, 0.9, 0.99])),),
                x_title="training step",
                y_title="accuracy per letter",
                x_scale="log",
                markers=True,
            ),
        ),
        columns=2,
        provenance=PROVENANCE,
    )


def curve() -> FigureSpec:
    """Faithfulness by the part of edges kept, on a logarithmic axis, with a control band."""
    kept = np.array([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    circuit, random = kept**0.15, kept**1.5
    return FigureSpec(
        name="faithfulness-curve",
        title="Faithfulness by edges kept",
        caption="EAP-IG, resample ablation; random: mean and range of 20 circuits of each size.",
        panels=(
            Lines(
                x=kept,
                series=(
                    Series(label="EAP-IG", values=circuit, low=circuit - 0.05, high=circuit + 0.05),
                    Series(
                        label="random circuits",
                        values=random,
                        low=random - 0.1 * (1 - kept),
                        high=random + 0.15 * (1 - kept),
                        dashed=True,
                    ),
                ),
                references=(Reference(value=1.0, label="full model"), Reference(value=0.0)),
                x_title="part of edges kept",
                y_title="faithfulness",
                x_scale="log",
                markers=True,
            ),
        ),
        provenance=PROVENANCE,
    )


def bars() -> FigureSpec:
    values = _rng().uniform(-0.2, 1, size=(3, 6))
    return FigureSpec(
        name="controls",
        title="",
        caption="Bars: mean; lines: 95 % bootstrap interval.",
        panels=(
            Bars(
                groups=("faithfulness", "completeness", "minimality", "swap", "BOS swap", "both"),
                series=tuple(
                    Series(label=t, values=v, low=v - 0.1, high=v + 0.1)
                    for t, v in zip(("circuit", "random", "complement"), values, strict=True)
                ),
                title="The circuit against its controls",
                y_title="fraction",
                references=(Reference(value=1.0),),
            ),
        ),
        provenance=PROVENANCE,
    )


def boxes() -> FigureSpec:
    values = np.sort(_rng().uniform(0, 30, size=(2, 5, 4)), axis=1)
    values[1, :, 2] = np.nan
    names = ("low", "q1", "values", "q3", "high")
    return FigureSpec(
        name="stages",
        title="",
        caption="Boxes: quartiles; whiskers: 5 to 95 %.",
        panels=(
            Boxes(
                groups=("first hop", "propagation", "second hop", "prediction"),
                series=tuple(
                    BoxSeries(label=t, **dict(zip(names, v, strict=True)))
                    for t, v in zip(("correct", "incorrect"), values, strict=True)
                ),
                title="Stages",
                y_title="layer",
                references=(Reference(value=32.0, label="last layer"),),
            ),
        ),
        provenance=PROVENANCE,
    )


def points() -> FigureSpec:
    rng = _rng()
    x = rng.normal(size=60)
    y = 0.8 * x + rng.normal(0, 0.4, size=60)
    labels = tuple(f"L{i // 12}H{i % 12}" for i in range(60))
    return FigureSpec(
        name="scatter",
        title="Attribution against exact patching",
        caption="Each point is a head; line: least squares.",
        panels=(
            Points(
                x=x,
                y=y,
                groups=tuple(("mover", "propagator", "_previous")[i % 3] for i in range(60)),
                labels=labels,
                named=tuple(int(i) for i in np.argsort(-np.abs(x + y))[:8]),
                fits=(Fit(slope=0.8, intercept=0.0, label="fit, r = 0.89"),),
                references=(Reference(value=0.0, axis="x"), Reference(value=0.0)),
                x_title="patching effect (logits)",
                y_title="attribution (logits)",
            ),
        ),
        provenance=PROVENANCE,
    )


def histogram() -> FigureSpec:
    rng = _rng()
    edges = np.linspace(0, 1, 21)
    return FigureSpec(
        name="attention",
        title="Attention of L8H11",
        caption="Attention paid by the last token, n = 512.",
        panels=tuple(
            Histogram(
                edges=edges,
                series=tuple(
                    Series(label=t, values=np.histogram(rng.beta(*ab, size=512), edges)[0])
                    for t, ab in (("to its own word", (5, 2)), ("to other words", (1, 6)))
                ),
                title=title,
                x_title="attention",
                y_title="prompts",
                references=(Reference(value=0.5, axis="x", label="half"),),
            )
            for title in ("first letter", "second letter")
        ),
        columns=2,
        provenance=PROVENANCE,
    )


def table() -> FigureSpec:
    return FigureSpec(
        name="circuit-table",
        title="Heads of the circuit",
        caption="Effect with 95 % interval.",
        panels=(
            Table(
                columns=("head", "group", "effect", "interval"),
                rows=tuple(
                    (f"L{i}H{i}", ("mover", "propagator")[i % 2], f"{i / 7:.2f}", f"[{i - 1}, {i}]")
                    for i in range(6)
                ),
            ),
        ),
        provenance=PROVENANCE,
    )


def mixed() -> FigureSpec:
    return FigureSpec(
        name="overview",
        title="Everything at once, under a title that is long enough that it has to be broken",
        caption="All kinds of panel.",
        panels=tuple(
            p
            for make in (heads, residual, lines, bars, points, histogram, table)
            for p in make().panels[:1]
        ),
        columns=2,
        shared_colour=False,
        provenance=PROVENANCE,
    )


def big() -> FigureSpec:
    values = _rng().normal(size=(48, 25))
    return FigureSpec(
        name="big",
        title="GPT-2 XL",
        caption="Clipped at two.",
        panels=(
            Heatmap(
                values=values,
                rows=tuple(map(str, range(48))),
                cols=tuple(map(str, range(25))),
                x_title="head",
                y_title="layer",
                value_title="effect (logits)",
                colour=Diverging(limit=2.0),
            ),
        ),
        provenance=PROVENANCE,
    )


def circuit() -> FigureSpec:
    """Ten nodes and fifteen edges, with awkward labels."""
    rng = _rng()
    groups = {"1.2": "previous token", "3.0": "previous token", "5.9": "letter mover"}
    heads = ("1.2", "3.0", "5.9", "8.1", "8.11", "9.9")
    rank = {"input": 0, "MLP 0": 2, **{h: 2 * int(h.split(".")[0]) + 1 for h in heads}}
    rank |= {"m_<8>": 18, "logits": 25}
    nodes = tuple(
        Node(
            id=name,
            label=name,
            rank=r,
            group=groups.get(name, "letter mover" if name in heads else "_other"),
            weight=r / 7 if name in heads else None,
        )
        for name, r in rank.items()
    )
    pairs = [(a, b) for a in rank for b in rank if rank[a] < rank[b]]
    chosen = [("input", "1.2", "v"), ("input", "3.0", "q"), ("9.9", "logits", "")]
    chosen += [(*pairs[k], "") for k in rng.choice(len(pairs), 20, replace=False)]
    edges = {
        (a, b): Edge(source=a, target=b, port=p or ("qkv"[k % 3] if b in heads else ""), score=s)
        for k, ((a, b, p), s) in enumerate(zip(chosen, rng.normal(size=23) ** 3, strict=True))
    }
    return FigureSpec(
        name="circuit",
        title="The acronym circuit",
        caption="EAP-IG, n = 64 prompts; the 15 edges with the largest scores.",
        panels=(
            Graph(
                nodes=nodes,
                edges=tuple(edges.values())[:15],
                rank_labels={r: f"layer {(r - 1) // 2}" for r in range(1, 25)} | {0: "embedding"},
                score_title="effect",
            ),
        ),
        provenance=PROVENANCE,
    )


def crowd() -> FigureSpec:
    """Sixty nodes and two hundred edges, as a circuit of GPT-2 small may have."""
    rng = _rng()
    per_layer = [3, 5, 2, 4, 1, 6, 3, 4, 7, 8, 5, 1]
    nodes = [Node(id="input", label="input", rank=0, group="embedding and logits")]
    for layer, count in enumerate(per_layer):
        for head in sorted(rng.choice(12, count, replace=False).tolist()):
            role = ("name mover", "S-inhibition", "induction", "duplicate token")[head % 4]
            nodes.append(
                Node(
                    id=f"a{layer}.h{head}", label=f"{layer}.{head}", rank=2 * layer + 1, group=role
                )
            )
        if layer not in (4, 7, 10):
            mlp = f"m{layer}"
            nodes.append(Node(id=mlp, label=f"MLP {layer}", rank=2 * layer + 2, group="MLP"))
    nodes.append(Node(id="logits", label="logits", rank=25, group="embedding and logits"))
    pairs = [
        (a, b, port)
        for a in nodes
        for b in nodes
        if a.rank < b.rank
        for port in (("q", "k", "v") if b.id.startswith("a") else ("",))
    ]
    closeness = np.array([1.0 / (b.rank - a.rank) for a, b, _ in pairs])
    chosen = rng.choice(len(pairs), 200, replace=False, p=closeness / closeness.sum())
    scores = rng.normal(size=200) ** 3 / 10
    return FigureSpec(
        name="crowd",
        title="Indirect object identification",
        caption="EAP-IG, n = 200 prompts, 200 of 32,491 edges; faithfulness 0.87.",
        panels=(
            Graph(
                nodes=tuple(nodes),
                edges=tuple(
                    Edge(source=pairs[k][0].id, target=pairs[k][1].id, port=pairs[k][2], score=s)
                    for k, s in zip(chosen, scores, strict=True)
                ),
                rank_labels={0: "embedding", 25: "logits"}
                | {2 * k + 1: f"layer {k} heads" for k in range(12)},
            ),
        ),
        provenance=PROVENANCE,
    )


SPECS = {
    f.__name__: f
    for f in (
        heads,
        residual,
        lens,
        lines,
        curve,
        bars,
        boxes,
        points,
        histogram,
        table,
        mixed,
        big,
        circuit,
        crowd,
    )
}
