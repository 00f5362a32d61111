"""The model card of a model of acronyms: per letter, by seed and over training."""

from typing import Any

import yaml

from mechbench.training.markdown import minutes, minutes_are, table


def render_acronym_card(metrics: dict[str, Any]) -> str:
    """The Markdown of a card; every number comes from ``metrics``."""
    recipe, shipped = metrics["recipe"], metrics["seeds"][0]
    model, corpus = recipe["model"], recipe["corpus"]
    test = metrics["test"]
    parts = [
        f"# {metrics['name']}",
        "A toy for studying the acronym circuit, trained by this repository on text that this "
        f"repository generates. {_architecture(model, metrics['parameters'])} It is not GPT-2, "
        "it knows no English, and what is measured on it says nothing about GPT-2 by itself.",
        "Licence: Apache-2.0, as the repository; no outside data or weights went into it.",
        "## Scores",
        f"Measured here, on {test['prompts']} prompts `The C1T1 C2T2 C3T3 (A1A2` of words that "
        f"training never saw (seed {test['seed']}, letters uniform). Accuracy: the most likely "
        "token of the whole vocabulary is the letter. LD: mean of logit(letter) minus the largest "
        "logit of the other 25 capitals. Loss: the last training batch, nats per token over the "
        "whole text, much of which is random and cannot be predicted.",
        table(
            ("seed", "loss", *_heads("accuracy"), *_heads("LD"), "minutes"),
            (
                (
                    f"{row['seed']}{' (shipped)' if row is shipped else ''}",
                    f"{row['loss']:.3f}",
                    *_accuracies(row),
                    *_logit_diffs(row),
                    minutes(row),
                )
                for row in metrics["seeds"]
            ),
        ),
        minutes_are(metrics["seeds"]),
        "## Over training",
        f"The snapshots in `snapshots/` (seed {shipped['seed']}, half precision), scored in fp32.",
        table(
            ("step", *_heads("accuracy"), *_heads("LD")),
            ((row["step"], *_accuracies(row), *_logit_diffs(row)) for row in metrics["snapshots"]),
        ),
        "## Training",
        f"`mechbench train {metrics['name']}` runs this recipe:",
        f"```yaml\n{yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None)}```",
        f"A step sees {corpus['sequences']} sequences of {corpus['sequence_length']} tokens, drawn "
        "anew from the seed and the step. "
        f"{corpus['acronym_share']:.0%} of the segments of a sequence are acronym strings (0 to 20 "
        "filler words before `The`, 2 to 5 words, 0 to 3 filler words after each, uniform letters "
        "with repeats, closed by the last letter and `)`); the rest is bigram text and repeated "
        "random tokens. Words are random pairs of a capital and a tail; the held-out half of "
        "`data/words/words.txt` never occurs, though its tails do, after other capitals.",
        f"SHA-256 of the first {metrics['hashed_batches']} batches (int32): "
        + "; ".join(f"seed {row['seed']} `{row['data_hash']}`" for row in metrics["seeds"])
        + ".",
        f"Trained with Python {metrics['versions']['python']}, torch "
        f"{metrics['versions']['torch']}.",
    ]
    return "\n\n".join(parts) + "\n"


def _architecture(model: dict[str, Any], parameters: int) -> str:
    return (
        f"Architecture: {model['variant']}, {model['n_layers']} layers of {model['n_heads']} "
        f"heads, width {model['d_model']}, {parameters:,} parameters, context {model['n_ctx']}."
    )


def _heads(measure: str) -> tuple[str, ...]:
    return tuple(f"{measure} {letter}" for letter in (1, 2, 3))


def _accuracies(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{value:.2%}" for value in row["accuracy"])


def _logit_diffs(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{value:.2f}" for value in row["logit_diff"])
