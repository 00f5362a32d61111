"""Next-token loss on texts, or on what follows questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.tasks.choice_task import ChoiceTask
from mechbench.tasks.tokens import bos_id, texts_ids

QUESTIONS = "questions"


@dataclass(frozen=True)
class ScoredText:
    """Token ids, BOS first; those from ``start`` on are scored."""

    ids: list[int]
    start: int


def scored_texts(model, task: ChoiceTask, source: str, n: int) -> list[ScoredText]:
    """Texts to score, cut to the context.

    Args:
        source: "questions", the task's questions without options, of which the right option's text
            is scored; or the path of a UTF-8 text file, of whose paragraphs (an empty line ends
            one) everything is.
        n: at most so many.

    Raises:
        TaskError: a file that cannot be read, or holds fewer than two paragraphs.
    """
    bos = bos_id(model.tokenizer)
    if source != QUESTIONS:
        rows = texts_ids(model.tokenizer, _paragraphs(source, n))
        return [ScoredText([bos, *ids][: model.cfg.n_ctx], 1) for ids in rows]
    items = task.items[:n]
    asked = [f"Question: {item.question.rstrip('?')}? Answer:" for item in items]
    answers = [f" {item.options[item.gold]}" for item in items]
    starts, ends = texts_ids(model.tokenizer, asked), texts_ids(model.tokenizer, answers)
    found = [ScoredText([bos, *a, *b], 1 + len(a)) for a, b in zip(starts, ends, strict=True)]
    return [text for text in found if len(text.ids) <= model.cfg.n_ctx]


def _paragraphs(source: str, n: int) -> list[str]:
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


@torch.inference_mode()
def text_losses(model, texts: Sequence[ScoredText]) -> tuple[Tensor, Tensor]:
    """Summed loss of each text's scored tokens in nats, and how many there are: ``[text]``."""
    totals, counts = [], []
    for text in texts:
        ids = torch.tensor([text.ids], device=model.cfg.device)
        log_probs = model(ids)[:, :-1].double().log_softmax(-1)
        of_tokens = log_probs.gather(-1, ids[:, 1:, None])[0, text.start - 1 :, 0]
        totals.append(-of_tokens.sum())
        counts.append(len(of_tokens))
    return torch.stack(totals).cpu(), torch.tensor(counts, dtype=torch.float64)
