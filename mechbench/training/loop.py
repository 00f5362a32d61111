"""The training loop: deterministic from the recipe's seed, resumable at its checkpoints."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from mechbench.errors import NumericsError, SpecError, StoreError, did_you_mean
from mechbench.models.base import HookedModel
from mechbench.models.registry import variant
from mechbench.training import checkpoints
from mechbench.training.corpora import corpus_of, score
from mechbench.training.corpus_kind import Batch, Corpus
from mechbench.training.model_folder import snapshot_file, snapshot_steps, write_model
from mechbench.training.recipe import OptimiserRecipe, Recipe

OnStep = Callable[[int, int, dict[str, Any]], None]


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: a model folder (``config.json``, ``model.safetensors``, ``snapshots/``) with the
            run's ``recipe.json``, ``metrics.jsonl`` and last checkpoint.
        model: the trained model.
        metrics: one mapping per evaluated step: ``step``, ``loss`` (of that step's batch, nats)
            and its parts where the architecture has any, the corpus' scores with ``accuracy``
            per letter or task, ``processor_seconds`` (of all threads) so far.
    """

    folder: Path
    model: HookedModel
    metrics: list[dict[str, Any]]


def train(
    recipe: Recipe, out: Path, *, resume: bool = False, on_step: OnStep | None = None
) -> TrainedRun:
    """The run of a recipe, trained in ``out``.

    An interrupt (Ctrl-C) leaves the last checkpoint; ``resume=True`` goes on from it and ends with
    the weights, bit for bit, of a run that was never interrupted (same machine, same threads).
    ``resume=True`` in an empty folder starts at the beginning.

    Args:
        on_step: called after every step with the steps done, the steps in all, and a mapping with
            ``loss``, its parts, ``learning_rate`` and, where the step was evaluated, the scores.

    Raises:
        StoreError: ``out`` holds a run already and ``resume`` is false, or holds another recipe's
            run, or cannot be written.
        TokenizerError: the recipe's tokenizer lacks words of its corpus.
        NumericsError: the loss is not finite.
    """
    run = _Run(recipe, out)
    _claim(out, recipe, resume)
    if (out / checkpoints.CHECKPOINT).is_file():
        run.load()
    else:
        run.keep({})
    while run.step < recipe.steps:
        metrics = run.advance()
        metrics |= run.keep(metrics)
        if on_step is not None:
            on_step(run.step, recipe.steps, metrics)
    write_model(out, recipe, run.model)
    return TrainedRun(out, run.model, checkpoints.read_metrics(out))


def initial_model(recipe: Recipe, tokenizer: Tokenizer) -> HookedModel:
    """The untrained model of a recipe; its weights depend on the seed alone.

    Raises:
        SpecError: the recipe freezes weights that the model does not have.
    """
    spec = variant(recipe.model["variant"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = spec.build(recipe.model_config_for(tokenizer), recipe.name)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if _is_matrix(name):
                parameter *= recipe.initial_scale
    _freeze(model, recipe.frozen)
    return model


def _freeze(model: HookedModel, ends: tuple[str, ...]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for end in ends:
        if not any(name.endswith(end) for name in names):
            known = sorted({name.split(".", 2)[-1] for name in names})
            raise SpecError(f"frozen: no weight's name ends in {end!r}. {did_you_mean(end, known)}")
    for name, parameter in model.named_parameters():
        if name.endswith(ends):
            parameter.requires_grad_(False)


def learning_rate(recipe: OptimiserRecipe, step: int, steps: int) -> float:
    """The rate of the step after ``step`` done ones: linear warm-up, then a cosine."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, steps - recipe.warmup_steps)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return recipe.learning_rate * (recipe.final_share + (1 - recipe.final_share) * cosine)


class _Run:
    """The moving parts of one run."""

    def __init__(self, recipe: Recipe, out: Path):
        self.recipe, self.out = recipe, out
        self.tokenizer = recipe.load_tokenizer()
        self.corpus: Corpus = corpus_of(recipe, self.tokenizer)
        self.model = initial_model(recipe, self.tokenizer)
        self.optimiser = _optimiser(self.model, recipe.optimiser)
        self.step = 0
        self.started = time.process_time()

    def load(self) -> None:
        """Go to the last checkpoint."""
        self.step, seconds = checkpoints.load_checkpoint(self.out, self.model, self.optimiser)
        self.started = time.process_time() - seconds
        checkpoints.keep_metrics_until(self.out, self.step)

    def advance(self) -> dict[str, Any]:
        """One optimiser step; its loss (nats per token) and learning rate."""
        rate = learning_rate(self.recipe.optimiser, self.step, self.recipe.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        generator = torch.Generator().manual_seed(_loss_seed(self.recipe.seed, self.step))
        self.optimiser.zero_grad(set_to_none=True)
        loss, logged = self._backward(self.corpus.batches(self.step), generator)
        if not math.isfinite(loss):
            raise NumericsError(
                f"The loss is {loss} at step {self.step}. Lower optimiser.learning_rate "
                "or lengthen optimiser.warmup_steps."
            )
        nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optimiser.clip_norm)
        self.optimiser.step()
        self.step += 1
        return {"loss": loss, **logged, "learning_rate": rate}

    def _backward(
        self, batches: tuple[Batch, ...], generator: torch.Generator
    ) -> tuple[float, dict[str, float]]:
        """Gradients of the mean loss over all scored tokens; the loss and its parts."""
        total, logged = 0.0, dict[str, float]()
        n_scored = sum(batch.n_scored for batch in batches)
        for batch in batches:
            share = batch.n_scored / n_scored
            scored = None if batch.scored is None else torch.from_numpy(batch.scored)
            ids = torch.from_numpy(batch.ids)
            loss, parts = self.model.training_loss(ids, generator, scored)
            (share * loss).backward()
            total += share * loss.item()
            for name, value in parts.items():
                logged[name] = logged.get(name, 0.0) + share * value.item()
        return total, logged

    def keep(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Write what this step calls for; the scores where it is evaluated.

        The checkpoint comes last, so whatever it promises is there.
        """
        recipe, step = self.recipe, self.step
        last = step == recipe.steps
        kept = step in snapshot_steps(recipe)
        scores: dict[str, Any] = {}
        seconds = time.process_time() - self.started
        if kept or last or step % recipe.evaluation.every == 0:
            scores = score(recipe, self.model, self.tokenizer, recipe.evaluation.prompts)
            line = {"step": step, **metrics, **scores, "processor_seconds": round(seconds, 1)}
            checkpoints.append_metrics(self.out, line)
        if kept:
            path = self.out / snapshot_file(step)
            checkpoints.save_weights(path, self.model.state_dict(), torch.float16)
        if last or step % recipe.checkpoint_every == 0:
            checkpoints.save_checkpoint(self.out, self.model, self.optimiser, step, seconds)
        return scores


def _claim(out: Path, recipe: Recipe, resume: bool) -> None:
    """Make ``out`` this recipe's folder, or say why it cannot be."""
    written = out / checkpoints.RECIPE
    content = recipe.model_dump(mode="json")
    if (out / checkpoints.CHECKPOINT).is_file():
        if not resume:
            raise StoreError(
                f"{out} already holds a training run: go on with it (resume), or choose another "
                "folder."
            )
        if not written.is_file() or json.loads(written.read_text(encoding="utf-8")) != content:
            raise StoreError(
                f"{out} holds a run of another recipe; a run is resumed with its own recipe only. "
                "Choose another folder."
            )
        return
    checkpoints.write_text(written, json.dumps(content, indent=2) + "\n")
    checkpoints.write_text(out / checkpoints.METRICS, "")


def _optimiser(model: nn.Module, recipe: OptimiserRecipe) -> torch.optim.AdamW:
    """AdamW; weight decay on weight matrices, not on biases and norms."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        (decayed if _is_matrix(name) else plain).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        betas=(recipe.beta_1, recipe.beta_2),
        fused=True,
    )


def _loss_seed(seed: int, step: int) -> int:
    """Of the draws that a model makes in a step: of both numbers, so that runs can be resumed."""
    return int(np.random.SeedSequence([seed, step, 2]).generate_state(1, np.uint64)[0] >> 1)


def _is_matrix(parameter_name: str) -> bool:
    return parameter_name.rsplit(".", 1)[-1].startswith("W_")
