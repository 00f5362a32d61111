"""Next-token loss on texts."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.tasks.choice_task import ChoiceTask
from mechbench.tasks.tokens import bos_id, texts_ids

QUESTIONS = "questions"


def read_texts(task: ChoiceTask, source: str, n: int) -> list[str]:
    """Texts to score: a file's paragraphs, or the task's questions without options and labels.

    Args:
        source: "questions", or the path of a UTF-8 text file; a paragraph ends at an empty line.

    Raises:
        TaskError: a file that cannot be read or is empty.
    """
    if source == QUESTIONS:
        return [
            f"Question: {item.question.rstrip('?')}? Answer: {item.options[item.gold]}"
            for item in task.items[:n]
        ]
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            f"text={source!r} cannot be read ({error}). Give a UTF-8 text file, or {QUESTIONS!r}."
        ) from error
    found = [" ".join(part.split()) for part in text.split("\n\n")]
    found = [part for part in found if part][:n]
    if len(found) < 2:
        raise TaskError(f"text={source!r} holds {len(found)} paragraphs, and two are needed.")
    return found


def encoded_texts(model, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, BOS first, cut to the context."""
    bos = bos_id(model.tokenizer)
    return [[bos, *ids][: model.cfg.n_ctx] for ids in texts_ids(model.tokenizer, texts)]


@torch.inference_mode()
def text_losses(model, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Summed next-token loss of each text in nats, and how many tokens it is over: ``[text]``."""
    totals, counts = [], []
    for row in rows:
        ids = torch.tensor([list(row)], device=model.cfg.device)
        log_probs = model(ids)[:, :-1].double().log_softmax(-1)
        totals.append(-log_probs.gather(-1, ids[:, 1:, None]).sum())
        counts.append(len(row) - 1)
    return torch.stack(totals).cpu(), torch.tensor(counts, dtype=torch.float64)
