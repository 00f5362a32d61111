"""The model card of a model of the common corpus: per task, beside baselines and a control."""

from typing import Any

import yaml

from mechbench.training.markdown import architecture, minutes, minutes_are, table

LEARNT = 0.9


def render_task_card(metrics: dict[str, Any]) -> str:
    """The Markdown of a card; every number comes from ``metrics``."""
    recipe, shipped, test = metrics["recipe"], metrics["seeds"][0], metrics["test"]
    corpus = recipe["corpus"]
    parts = [
        f"# {metrics['name']}",
        "A toy, trained by this repository on text that this repository generates. "
        f"{architecture(recipe['model'], metrics['parameters'])} What is measured on it says "
        "nothing about larger models by itself.",
        "Licence: Apache-2.0, as the repository; no outside data or weights went into it.",
        "## Scores",
        f"Measured here, on {test['prompts']} held-out prompts of each task (seed {test['seed']}) "
        f"of {corpus['sequence_length']} tokens. Accuracy: share of answers that are the most "
        "likely token of the whole vocabulary. Loss: mean cross-entropy of the answers, nats. "
        "Most frequent: accuracy of always saying the task's most frequent answer. Chance: "
        "accuracy of a guess that knows the task's form (`mechbench/training/mixed/`).",
        _scores(metrics),
        _not_learnt(shipped),
        "## Size and cost",
        _cost(metrics),
        *_settings(metrics),
        *_over_training(metrics),
        "## Training",
        f"`mechbench train {metrics['name']}` runs this recipe:",
        f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None)}```",
        f"A step sees {corpus['sequences']} sequences of {corpus['sequence_length']} tokens, drawn "
        "anew from the seed and the step.",
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
        f"The hash is of the first {metrics['hashed_batches']} batches (int32). "
        f"{minutes_are(metrics['seeds'])}",
        f"Trained with Python {metrics['versions']['python']}, torch "
        f"{metrics['versions']['torch']}. Weights are stored in {metrics['dtype']}, and scored as "
        "stored.",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(metrics: dict[str, Any]) -> str:
    """A row for each task: shipped seed, further seeds, control, baselines."""
    shipped, *others = metrics["seeds"]
    control = metrics["control"]
    head = ["task", "answers", "loss", "accuracy"]
    head += [f"accuracy, seed {row['seed']}" for row in others]
    head += [f"loss, {control['name']}", f"accuracy, {control['name']}"] if control else []
    head += ["most frequent", "its loss", "chance"]
    rows = []
    for i, baseline in enumerate(metrics["baselines"]):
        row = [shipped["task"][i], shipped["answers"][i], f"{shipped['task_loss'][i]:.3f}"]
        row += [f"{seed['accuracy'][i]:.2%}" for seed in metrics["seeds"]]
        if control:
            row += [f"{control['task_loss'][i]:.3f}", f"{control['accuracy'][i]:.2%}"]
        row += [f"{baseline['unigram']:.2%}", f"{baseline['unigram_loss']:.3f}"]
        rows.append([*row, f"{baseline['chance']:.2%}"])
    return table(head, rows)


def _not_learnt(shipped: dict[str, Any]) -> str:
    below = [
        f"{task} ({accuracy:.1%})"
        for task, accuracy in zip(shipped["task"], shipped["accuracy"], strict=True)
        if accuracy < LEARNT
    ]
    if not below:
        return f"Every task is above {LEARNT:.0%}."
    return f"Below {LEARNT:.0%}, so not learnt: {', '.join(below)}."


def _cost(metrics: dict[str, Any]) -> str:
    rows = [("parameters", f"{metrics['parameters']:,}")]
    if cost := metrics["cost"]:
        length = f"{cost['n_tokens']} tokens"
        rows += [
            (f"FLOPs per token, forward of {length}", f"{cost['flops_per_token']:,.0f}"),
            (f"cache bytes per token (fp32), {length}", f"{cost['cache_bytes_per_token']:,.0f}"),
        ]
    return table(("", metrics["name"]), rows)


def _settings(metrics: dict[str, Any]) -> list[str]:
    """Accuracy and loss of the other ways to run the model; cards from before had none."""
    settings = metrics.get("settings", [])
    if not settings:
        return []
    rows = [
        (
            row["setting"],
            *(
                f"{accuracy:.2%}, {loss:.3f}"
                for accuracy, loss in zip(row["accuracy"], row["task_loss"], strict=True)
            ),
        )
        for row in settings
    ]
    return [
        "## Other settings",
        "The same weights, run in other ways: accuracy and loss on the same prompts.",
        table(("setting", *settings[0]["task"]), rows),
    ]


def _over_training(metrics: dict[str, Any]) -> list[str]:
    if not metrics["snapshots"]:
        return []
    rows = [
        (row["step"], *(f"{value:.2%}" for value in row["accuracy"]))
        for row in metrics["snapshots"]
    ]
    head = ("step", *(f"accuracy, {task}" for task in metrics["snapshots"][0]["task"]))
    return [
        "## Over training",
        "The snapshots in `snapshots/` (half precision), scored in fp32.",
        table(head, rows),
    ]
