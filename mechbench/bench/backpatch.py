"""``mechbench bench backpatch``: all pairs of layers at once against one generation per pair.

On a randomly initialised model of GPT-2 small's shape, whose weights are large enough for most
patches to change the text. Every pair (source layer above target layer) of every prompt is
back-patched at the last position but one, where a question like "the r2 of the r1 of e1 is" names
its subject, and continued greedily. The plain loop runs one whole generation with a hook for each
pair, with this library's ``generate`` and with Hugging Face's, both with their key-value caches;
it is timed on pairs drawn at random (and counted), half of them before the batched sweep and half
after it, and scaled to the number of pairs.
"""

import platform
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from mechbench.bench.measure import Measured, measured
from mechbench.interventions.patched_generation import generate_patched
from mechbench.interventions.state_patches import StatePatch
from mechbench.interventions.states import block_outputs
from mechbench.models.generation import generate
from mechbench.models.loading import load_model

TARGET = 8.0
_SIZES: dict[str, Any] = {}  # of GPT-2 small: the library's defaults
_STD = 0.08  # four times the usual one
_LOOPS = ("plain loop", "Hugging Face")


@dataclass(frozen=True)
class _Case:
    """The pairs to run, and the two models that run them."""

    model: Any
    hugging_face: Any
    prompts: tuple[Tensor, ...]
    position: int
    n_new: int

    @property
    def pairs(self) -> list[tuple[int, int]]:
        layers = range(self.model.cfg.n_layers)
        return [(source, target) for source in layers for target in layers if source > target]


def run_backpatch_bench(
    *,
    n_prompts: int = 16,
    length: int = 12,
    n_new: int = 10,
    n_sampled: int = 24,
    say: Callable[[str], None] = print,
) -> dict:
    """Measure both ways and return JSON-able numbers; ``say`` gets a line per finding.

    Args:
        n_new: tokens of each continuation.
        n_sampled: pairs timed for each plain loop.
    """
    case = _case(n_prompts, length, n_new)
    cells = [(prompt, pair) for prompt in range(n_prompts) for pair in case.pairs]
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(2))
    sample = sorted(order[:n_sampled].tolist())
    halves = [[cells[i] for i in half] for half in (sample[::2], sample[1::2])]
    loops = {"plain loop": _one_by_one, "Hugging Face": _hugging_face_one_by_one}
    runs = {name: [loop(case, halves[0])] for name, loop in loops.items()}
    with measured() as sweep:
        found = _sweep(case, cells)
    for name, loop in loops.items():
        runs[name].append(loop(case, halves[1]))
    index = {cell: i for i, cell in enumerate(cells)}
    expected = found.tokens[[index[cell] for half in halves for cell in half]]
    report = {
        "machine": {"processor": platform.machine(), "threads": torch.get_num_threads()},
        "torch": torch.__version__,
        "n_prompts": n_prompts,
        "prompt_length": length,
        "new_tokens": n_new,
        "n_pairs": len(cells),
        "sampled_pairs": len(sample),
        "different_texts": len(found.tokens.unique(dim=0)),
        "target": TARGET,
        "batched": {**_numbers(sweep), "method": found.method, "n_chunks": found.n_chunks},
    }
    for name in _LOOPS:
        tokens = torch.cat([tokens for tokens, _ in runs[name]])
        differing = int((tokens != expected).any(1).sum())
        assert not differing, f"{name}: {differing} of {len(sample)} continuations differ"
        report[name] = _scaled([work for _, work in runs[name]], len(sample), len(cells), sweep)
    _tell(report, say)
    return report


def _case(n_prompts: int, length: int, n_new: int) -> _Case:
    torch.manual_seed(0)
    config = GPT2Config(initializer_range=_STD, **_SIZES)
    hugging_face = GPT2LMHeadModel(config).eval()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):  # progress bars
        hugging_face.save_pretrained(folder)
        model = load_model(Path(folder))
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, config.vocab_size - 1, (n_prompts, length), generator=draw)
    return _Case(model, hugging_face, tuple(tokens), length - 2, n_new)


def _sweep(case: _Case, cells: Sequence[tuple[int, tuple[int, int]]]):
    """All pairs at once, the states included."""
    states = _states(case)
    n_layers = states.shape[1]
    patches = [
        StatePatch(prompt, target, case.position, prompt * n_layers + source)
        for prompt, (source, target) in cells
    ]
    return generate_patched(
        case.model, case.prompts, states.flatten(0, 1), patches, max_new_tokens=case.n_new
    )


def _states(case: _Case) -> Tensor:
    """``[prompt layer d_model]``."""
    positions = torch.full((len(case.prompts), 1), case.position)
    return block_outputs(case.model, case.prompts, positions)[:, 0]


def _one_by_one(case: _Case, cells) -> tuple[Tensor, Measured]:
    """One call of ``generate`` per pair, with one hook; the states are at hand."""
    states, rows = _states(case), []
    with measured() as work:
        for prompt, (source, target) in cells:

            def write(resid: Tensor, hook, new=states[prompt, source]) -> Tensor:
                resid[:, case.position] = new
                return resid

            done = generate(
                case.model,
                case.prompts[prompt][None],
                max_new_tokens=case.n_new,
                fwd_hooks=[(f"blocks.{target}.hook_resid_post", write)],
            )
            rows.append(done.tokens[0][-case.n_new :])
    return torch.stack(rows), work


def _hugging_face_one_by_one(case: _Case, cells) -> tuple[Tensor, Measured]:
    """The same with Hugging Face's module and its ``generate``."""
    states, rows = _states(case), []
    with measured() as work:
        for prompt, (source, target) in cells:

            def write(module, inputs, output, new=states[prompt, source]):
                hidden = output[0] if isinstance(output, tuple) else output
                if hidden.shape[1] > 1:  # the prompt, not a new token
                    hidden[:, case.position] = new
                return output

            handle = case.hugging_face.transformer.h[target].register_forward_hook(write)
            try:
                tokens = case.prompts[prompt][None]
                done = case.hugging_face.generate(
                    tokens,
                    attention_mask=torch.ones_like(tokens),
                    max_new_tokens=case.n_new,
                    do_sample=False,
                    eos_token_id=None,
                    pad_token_id=0,
                )
            finally:
                handle.remove()
            rows.append(done[0, -case.n_new :])
    return torch.stack(rows), work


def _numbers(work: Measured) -> dict[str, float]:
    return {
        "seconds": work.seconds,
        "cpu_seconds": work.cpu_seconds,
        "peak_bytes": work.peak_bytes,
    }


def _scaled(works: Sequence[Measured], n_sampled: int, n_pairs: int, sweep: Measured) -> dict:
    """What the whole plain loop takes, from its sample."""
    seconds = sum(work.seconds for work in works) / n_sampled
    cpu_seconds = sum(work.cpu_seconds for work in works) / n_sampled
    return {
        "seconds": seconds * n_pairs,
        "cpu_seconds": cpu_seconds * n_pairs,
        "seconds_per_pair": seconds,
        "peak_bytes": max(work.peak_bytes for work in works),
        "ratio_to_batched": seconds * n_pairs / sweep.seconds,
        "cpu_ratio_to_batched": cpu_seconds * n_pairs / sweep.cpu_seconds,
        "differing_continuations": 0,
    }


def _tell(report: dict, say: Callable[[str], None]) -> None:
    batched = report["batched"]
    say(
        f"{report['n_pairs']} pairs of {report['n_prompts']} prompts of {report['prompt_length']} "
        f"tokens, {report['new_tokens']} new tokens each ({report['different_texts']} different): "
        f"{batched['seconds']:.1f} s at once, peak memory {batched['peak_bytes'] / 2**20:.0f} MiB"
    )
    for name in _LOOPS:
        loop = report[name]
        say(
            f"{name}, one generation per pair ({report['sampled_pairs']} pairs timed and scaled): "
            f"{loop['seconds']:.0f} s; at once is {loop['ratio_to_batched']:.1f}x faster (target "
            f"{TARGET:g}; {loop['cpu_ratio_to_batched']:.1f}x in processor time), peak memory "
            f"{loop['peak_bytes'] / 2**20:.0f} MiB, equal tokens"
        )
