"""The model card of a multiple-choice model: by family, beside the twin where there is one."""

from typing import Any

import yaml

from mechbench.training.choice.evaluation import SENTENCES
from mechbench.training.markdown import architecture, minutes, minutes_are, table

_COLUMNS = ("accuracy", "accuracy_first", "anchored", "among_labels", "text_accuracy")
_HEADS = ("accuracy, gold not A", "accuracy, gold A", "anchored", "among labels", "as text")


def render_choice_card(metrics: dict[str, Any]) -> str:
    """The Markdown of a card; every number comes from ``metrics``."""
    recipe, shipped, test = metrics["recipe"], metrics["seeds"][0], metrics["test"]
    parts = [
        f"# {metrics['name']}",
        "A toy for studying the bias towards the first option, trained by this repository on "
        "questions and text that this repository generates. "
        f"{architecture(recipe['model'], metrics['parameters'])}{_frozen(recipe)} It knows no "
        "English, and what is measured on it says nothing about GPT-2 by itself.",
        "Licence: Apache-2.0, as the repository; no outside data or weights went into it.",
        "## Scores",
        f"Measured here, on {test['prompts']} held-out questions of each family (seed "
        f"{test['seed']}), 2 to 5 options in turn, labels from `A` on. Most likely token of the "
        "whole vocabulary, where the right option is not the first: the right label (accuracy), "
        "or ` A` (anchored). Among labels: accuracy when only the question's labels count. As "
        "text: accuracy on the same questions without options, where the answer is the option's "
        "text; loss: its cross-entropy, nats. `sentences` are those of the task `ioi`.",
        _scores(shipped, metrics["control"]),
        *_other_seeds(metrics["seeds"]),
        *_over_training(metrics),
        "## Training",
        f"`mechbench train {metrics['name']}` runs this recipe:",
        f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None)}```",
        _mixture(recipe["corpus"]),
        table(
            ("seed", "loss of the last batch", "minutes", "SHA-256 of the first batches"),
            (
                (
                    f"{row['seed']}{' (shipped)' if row is shipped else ''}",
                    f"{row['loss']:.3f}",
                    minutes(row),
                    f"`{row['data_hash']}`",
                )
                for row in metrics["seeds"]
            ),
        ),
        f"The hash is of the first {metrics['hashed_batches']} steps (int32). "
        f"{minutes_are(metrics['seeds'])}",
        f"Trained with Python {metrics['versions']['python']}, torch "
        f"{metrics['versions']['torch']}. Weights are stored in {metrics['dtype']}, and scored as "
        "stored.",
    ]
    return "\n\n".join(parts) + "\n"


def _frozen(recipe: dict[str, Any]) -> str:
    frozen = recipe["frozen"]
    return f" Left at 0: {', '.join(f'`{name}`' for name in frozen)}." if frozen else ""


def _scores(shipped: dict[str, Any], control: dict[str, Any] | None) -> str:
    head = ["family", *_HEADS, "its loss"]
    if control:
        head += [f"{what}, {control['name']}" for what in ("accuracy", "anchored", "loss as text")]
    rows = []
    for i, family in enumerate(shipped["family"]):
        row = [family, *(_share(shipped[key][i]) for key in _COLUMNS)]
        row.append(f"{shipped['text_loss'][i]:.3f}")
        if control:
            row += [_share(control["accuracy"][i]), _share(control["anchored"][i])]
            row.append(f"{control['text_loss'][i]:.3f}")
        rows.append(row)
    return table(head, rows)


def _other_seeds(seeds: list[dict[str, Any]]) -> list[str]:
    if len(seeds) == 1:
        return []
    return ["## Further seeds", _by_family("seed", seeds)]


def _over_training(metrics: dict[str, Any]) -> list[str]:
    if not metrics["snapshots"]:
        return []
    return [
        "## Over training",
        "The snapshots in `snapshots/` (half precision), where the right option is not the first.",
        _by_family("step", metrics["snapshots"]),
    ]


def _by_family(key: str, rows: list[dict[str, Any]]) -> str:
    """Accuracy and anchored rate of each family that has options, a row for each seed or step."""
    families = [f for f in rows[0]["family"] if f != SENTENCES]
    shown = ("accuracy", "anchored")
    head = (key, *(f"{what}, {family}" for family in families for what in shown))
    cells = [
        (row[key], *(_share(row[what][i]) for i in range(len(families)) for what in shown))
        for row in rows
    ]
    return table(head, cells)


def _mixture(corpus: dict[str, Any]) -> str:
    text, uniform = corpus["text_share"], corpus["uniform_share"]
    if corpus["gold_first"] is None:
        places = "every place is right equally often"
    else:
        places = (
            f"the first option is right in {corpus['gold_first']:.0%} of them and the others "
            "equally often"
        )
    return (
        f"A step sees {corpus['sequences']} rows, drawn anew from the seed and the step, of which "
        f"only the answer is trained: {text:.0%} are text without options (questions answered by "
        f"the option's text, and sentences), {1 - text - uniform:.0%} are questions labelled from "
        f"`A` on, and {places}; {uniform:.0%} are questions whose right place is drawn evenly, "
        f"labelled from one of {', '.join(f'`{label}`' for label in corpus['uniform_labels'])} on. "
        "One question in eight is held out."
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
