"""A task on a user's own pairs: clean prompt, corrupted prompt, answer and wrong answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mechbench.errors import TaskError, did_you_mean
from mechbench.tasks.dataset_source import is_dataset, open_dataset
from mechbench.tasks.metrics import (
    AnswerLogProb,
    LogitDifference,
    answer_log_prob,
    logit_difference,
)
from mechbench.tasks.pair_rows import PairRow, pair_columns, pair_row
from mechbench.tasks.pair_tokens import PairTokens, one_length, require_one_count, split_pairs
from mechbench.tasks.pairs import PromptPairs
from mechbench.tasks.prompt_rows import BadRow, Table, raise_bad_rows, read_table
from mechbench.tasks.tokens import bos_id, tokenizer_facts

CORRUPTIONS = ("corrupted",)
KINDS = ("logit_diff", "log_prob")
_WANTED = ("clean", "corrupted", "answer")


@dataclass(frozen=True, kw_only=True, eq=False)
class PairsTask:
    """Pairs from a file; the answer is predicted at the last token.

    Attributes:
        clean, corrupted: token ids ``[prompt pos]``.
        answers: token ids ``[prompt]``.
        wrong: token ids ``[prompt n_wrong]``; None where the file names no wrong answer.
        source: JSON-able provenance, with the number of rows that were left out.
    """

    clean: Tensor
    corrupted: Tensor
    answers: Tensor
    wrong: Tensor | None
    source: Mapping[str, Any]
    name: str = "pairs"
    corruptions: tuple[str, ...] = CORRUPTIONS

    def __len__(self) -> int:
        return len(self.clean)

    def pairs(self, corruption: str = "corrupted") -> PromptPairs:
        """The pairs of the file.

        Raises:
            TaskError: an unknown corruption.
        """
        if corruption not in CORRUPTIONS:
            raise TaskError(
                f"corruption={corruption!r} is not known. {did_you_mean(corruption, CORRUPTIONS)}"
            )
        n, length = self.clean.shape
        return PromptPairs(
            name=self.name,
            clean=self.clean,
            corrupt=self.corrupted,
            answer_positions=torch.full((n, 1), length - 1),
            answers=self.answers[:, None],
            position_labels=tuple(str(i) for i in range(length)),
            answer_labels=("answer",),
            spans={"END": torch.full((n,), length - 1)},
            source={**self.source, "corruption": corruption},
        )

    def metric(
        self, kind: str | None = None, *, against: str = "max"
    ) -> LogitDifference | AnswerLogProb:
        """How much the model favours the answer.

        Args:
            kind: ``"logit_diff"``, logit of the answer minus the maximum or mean of the wrong
                answers', in logits, the default where there are wrong answers; or ``"log_prob"``,
                log-probability of the answer, in nats.
            against: ``"max"`` or ``"mean"``, of several wrong answers.

        Raises:
            TaskError: an unknown kind, or ``"logit_diff"`` without wrong answers.
        """
        kind = kind or ("log_prob" if self.wrong is None else "logit_diff")
        if kind not in KINDS:
            raise TaskError(f"metric kind={kind!r} is not known. {did_you_mean(kind, KINDS)}")
        if kind == "log_prob":
            return answer_log_prob(self.pairs())
        if self.wrong is None:
            raise TaskError(
                f"{self.source['file']} names no wrong answers, which 'logit_diff' needs: add a "
                "column wrong, or use 'log_prob'."
            )
        return logit_difference(self.pairs(), self.wrong[:, None], against)


def pairs(
    tokenizer: Any,
    path: Any,
    *,
    clean: str | None = None,
    corrupted: str | None = None,
    answer: str | None = None,
    wrong: str | None = None,
    n: int | None = None,
    length: Literal["most", "refuse"] = "most",
    bad_rows: Literal["refuse", "skip"] = "refuse",
    answer_space: bool = False,
    answer_first_token: bool = False,
    config: str | None = None,
    split: str = "train",
    bos: bool = True,
) -> PairsTask:
    """The task on the pairs of a CSV or JSONL file, a saved data set, or a data set of the hub.

    A row has a clean prompt, a corrupted prompt of as many tokens, the answer that follows the
    clean prompt, and optionally wrong answers (one, a list, or a JSON list in a CSV field).
    Answers are texts, taken as they are written, so they usually begin with a space; columns whose
    name ends in ``_idx``, ``_id`` or ``_token`` hold token ids. MIB's nested rows are read as MIB
    reads them. A column ``label`` of a flat file is not taken for the answer unless it is named:
    EAP-IG's greater-than file keeps the start year there.

    Args:
        tokenizer: Hugging Face's interface, e.g. ``model.tokenizer``.
        path: a ``.csv`` or ``.jsonl`` file, a folder saved by ``datasets``, a name of the hub
            (``owner/name``), or a ``datasets.Dataset``.
        clean, corrupted, answer, wrong: column names; by default the common spellings in
            ``mechbench.tasks.pair_rows``.
        n: how many pairs, the first of those that are usable; all by default.
        length: pairs of other lengths than the most common one are left out and counted in
            ``source`` (``"most"``; of two lengths as common, the shorter), or refused
            (``"refuse"``). Prompts are never padded.
        bad_rows: rows that cannot be used are an error that lists them (``"refuse"``), or are left
            out and counted (``"skip"``).
        answer_space: whether a space is put before answers that begin with none.
        answer_first_token: whether the first token stands for an answer of several.
        config, split: of a data set that has several.
        bos: whether BOS stands at position 0.

    Raises:
        TaskError: no readable rows, a missing column, an ``n`` below 1; bad rows (clean and
            corrupted of different length, answers of several tokens), with lines and tokens;
            different numbers of wrong answers; and unequal lengths where they are refused.
        TokenizerError: no BOS token.

    Source: Mueller et al. 2025 (MIB) and Hanna et al. 2024 (EAP-IG) for their layouts, read in
        their released code.
    """
    if n is not None and n < 1:
        raise TaskError(f"pairs needs n of at least 1, got {n}.")
    bos_ids = [bos_id(tokenizer)] if bos else []
    table = _table(path, config, split)
    columns = pair_columns(
        table, {"clean": clean, "corrupted": corrupted, "answer": answer, "wrong": wrong}
    )
    rows = [row if isinstance(row, BadRow) else pair_row(row, columns) for row in table.rows]
    found = [row for row in rows if isinstance(row, PairRow)]
    tokens = list(split_pairs(tokenizer, found, space=answer_space, first_token=answer_first_token))
    bad = [row for row in [*rows, *tokens] if isinstance(row, BadRow)]
    good = [row for row in tokens if isinstance(row, PairTokens)]
    if bad_rows == "refuse" or not good:
        raise_bad_rows(table.name, bad, len(table.rows))
    kept, other_lengths = one_length(table.name, good, length)
    chosen = kept[:n]
    require_one_count(table.name, chosen)
    clean_ids = torch.tensor([bos_ids + row.clean for row in chosen])
    answers = torch.tensor([row.answers for row in chosen])
    return PairsTask(
        clean=clean_ids,
        corrupted=torch.tensor([bos_ids + row.corrupted for row in chosen]),
        answers=answers[:, 0],
        wrong=answers[:, 1:] if answers.shape[1] > 1 else None,
        source={
            "generator": "pairs",
            "file": table.name,
            "columns": vars(columns),
            "n": len(chosen),
            "left_out": {
                "other_lengths": other_lengths,
                "bad_rows": len(bad),
                "beyond_n": len(kept) - len(chosen),
            },
            "tokenizer": tokenizer_facts(tokenizer),
            "prompts_sha256": sha256(clean_ids.numpy().astype("<i8").tobytes()).hexdigest(),
        },
    )


def _table(path: Any, config: str | None, split: str) -> Table:
    if not is_dataset(path):
        return read_table(path, wanted=_WANTED, keep_spaces=True)
    table = read_table(open_dataset(path, config=config, split=split), wanted=_WANTED)
    return replace(table, name=Path(path).name if Path(path).is_dir() else str(path))
