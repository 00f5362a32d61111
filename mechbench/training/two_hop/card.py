"""The model card of a model of a world: facts, chains by kind, the bridge at the entity."""

from typing import Any

import yaml

from mechbench.training.markdown import architecture, minutes, minutes_are, table

READ_AT = {
    "entity": "`the {r} {e}`, whose answer is read at the entity itself",
    "is": "`the {r} {e} is`, whose answer is read at `is`",
}
SET_TITLES = {
    "one_hop": "one hop",
    "train": "two hops, in training",
    "id_test": "ID-test",
    "id_ood": "ID-OOD",
    "ood_id": "OOD-ID",
}


def render_world_card(metrics: dict[str, Any]) -> str:
    """The Markdown of a card; every number comes from ``metrics``."""
    recipe, test = metrics["recipe"], metrics["test"]
    corpus = recipe["corpus"]
    parts = [
        f"# {_name(metrics)}",
        "A toy for studying two-hop queries, trained by this repository on text that this "
        f"repository generates. {architecture(recipe['model'], metrics['parameters'])} It knows no "
        "English, and what is measured on it says nothing about larger models by itself.",
        "Licence: Apache-2.0, as the repository; no outside data or weights went into it.",
        "## World",
        f"{corpus['n_entities']} people and {corpus['n_relations']} relations between them (world "
        f"seed {corpus['world_seed']}); of every person and relation one fact, which leads to a "
        f"random other person. {corpus['ood_share']:.0%} of the facts are out of distribution "
        "(OOD): they are told alone and never as a part of two hops. Of the chains of two other "
        f"facts {corpus['train_share']:.0%} are told as two hops; the rest is ID-test.",
        f"Two hops are `{{r2}} {{r1}} {{e1}} is`, read at `is`; one hop is "
        f"{READ_AT[corpus['one_hop']]}. The entity stands at the same position in both.",
        "## Scores",
        f"Measured here, on all or at most {test['prompts']} queries of each set (seed "
        f"{test['seed']}). Accuracy: the most likely token of the whole vocabulary is the answer; "
        f"chance is {1 / corpus['n_entities']:.0%}. ID-OOD: the first fact is known in two hops, "
        "the second is not; OOD-ID the reverse.",
        _scores(metrics),
        "## The bridge",
        "Share of ID-test queries whose bridge e2 is the most likely token by the logit lens "
        "(final norm and unembedding) at e1, before the first layer and after each.",
        _bridge(metrics),
        *_over_training(metrics),
        "## Size and cost",
        _cost(metrics),
        "## Training",
        f"`{_command(recipe)}` runs this recipe:",
        f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None)}```",
        f"A step sees {corpus['rows']} rows, drawn anew from the seed and the step: "
        f"{corpus['repeat_share']:.0%} are lines `a : a , b : b , c : c , x : x` of random "
        "entities, and of the others four are two hops to one that is one hop. Only answers are "
        "trained: the last word, or the words after the colons.",
        _training(metrics),
    ]
    return "\n\n".join(parts) + "\n"


def _name(metrics: dict[str, Any]) -> str:
    """The recipe's name, and the seed of another run of it."""
    seed = metrics["recipe"]["seed"]
    return f"{metrics['name']}-seed{seed}" if seed else metrics["name"]


def _command(recipe: dict[str, Any]) -> str:
    changed = f" --set seed={recipe['seed']}" if recipe["seed"] else ""
    return f"mechbench train {recipe['name']}{changed}"


def _scores(metrics: dict[str, Any]) -> str:
    """A row for each set: every seed, and the control."""
    control = metrics["control"]
    head = ["set", "queries", *(_seed_title(metrics, row) for row in metrics["seeds"])]
    head += [control["name"]] if control else []
    rows = []
    for i, name in enumerate(metrics["seeds"][0]["set"]):
        row = [SET_TITLES[name], metrics["seeds"][0]["answers"][i]]
        row += [f"{seed['accuracy'][i]:.2%}" for seed in metrics["seeds"]]
        rows.append(row + ([f"{control['accuracy'][i]:.2%}"] if control else []))
    return table(head, rows)


def _bridge(metrics: dict[str, Any]) -> str:
    """A row for each seed, and the control."""
    rows = [(_seed_title(metrics, row), row["bridge"]) for row in metrics["seeds"]]
    control = metrics["control"]
    rows += [(control["name"], control["bridge"])] if control else []
    after = (f"after {layer}" for layer in range(len(rows[0][1]) - 1))
    return table(
        ("", "before 0", *after),
        ((name, *(f"{share:.2%}" for share in shares)) for name, shares in rows),
    )


def _over_training(metrics: dict[str, Any]) -> list[str]:
    if not metrics["snapshots"]:
        return []
    head = ("step", *(SET_TITLES[name] for name in metrics["snapshots"][0]["set"]))
    rows = [
        (row["step"], *(f"{value:.2%}" for value in row["accuracy"]))
        for row in metrics["snapshots"]
    ]
    return [
        "## Over training",
        "The snapshots in `snapshots/` (half precision), scored in fp32.",
        table((*head, "bridge at e1 after the last layer"), _with_bridge(rows, metrics)),
    ]


def _with_bridge(rows: list[tuple], metrics: dict[str, Any]) -> list[tuple]:
    last = (f"{row['bridge'][-1]:.2%}" for row in metrics["snapshots"])
    return [(*row, share) for row, share in zip(rows, last, strict=True)]


def _cost(metrics: dict[str, Any]) -> str:
    cost = metrics["cost"]
    length = f"{cost['n_tokens']} tokens"
    rows = [
        ("parameters", f"{metrics['parameters']:,}"),
        (f"FLOPs per token, forward of {length}", f"{cost['flops_per_token']:,.0f}"),
        (f"cache bytes per token (fp32), {length}", f"{cost['cache_bytes_per_token']:,.0f}"),
    ]
    return table(("", _name(metrics)), rows)


def _training(metrics: dict[str, Any]) -> str:
    rows = (
        (_seed_title(metrics, row), f"{row['loss']:.3f}", minutes(row), f"`{row['data_hash']}`")
        for row in metrics["seeds"]
    )
    return "\n\n".join(
        [
            table(("", "loss of the last step", "minutes", "SHA-256 of the first steps"), rows),
            f"The hash is of the first {metrics['hashed_batches']} steps (int32). "
            f"{minutes_are(metrics['seeds'])}",
            f"Trained with Python {metrics['versions']['python']}, torch "
            f"{metrics['versions']['torch']}. Weights are stored in {metrics['dtype']}, and scored "
            "as stored.",
        ]
    )


def _seed_title(metrics: dict[str, Any], row: dict[str, Any]) -> str:
    return f"seed {row['seed']}{' (shipped)' if row is metrics['seeds'][0] else ''}"
