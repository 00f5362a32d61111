"""The fast path: walk the layers once, each cell's rows joining where it enters.

A row is one prompt of one cell. Rows hold the residual stream at the positions from the chunk's
offset on; earlier positions are remembered keys and values. In the last block only the answers'
positions are computed, and only the logits that the metric reads.

Suffixes: J jobs, B prompts, N positions (slots), D d_model, A answers.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

import torch
from torch import Tensor

from mechbench.interventions.plan import AFTER, BETWEEN, Job
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site
from mechbench.interventions.slots import Slots, Step, Writer
from mechbench.models.memory import FrozenPrefix
from mechbench.tasks.metrics import Metric

# Rows x positions that go through a block at once: large enough for full speed of the matrix
# products, small enough for the hidden layer of the MLP to stay in cache.
_TILE_POSITIONS = {"cpu": 1024, "cuda": 65536}


class Wavefront:
    """Runs jobs of one task. See ``plan`` for what a job is."""

    def __init__(self, model, runs: Runs, metric: Metric):
        self.model, self.runs, self.metric = model, runs, metric
        self.writer = Writer(runs)
        self.n_prompts = len(runs.pairs)
        self.answers = Slots(metric.positions)
        self._final_name = f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"

    def hook_names(self, jobs: Sequence[Job]) -> list[str]:
        """What of the base run these jobs are computed from."""
        n_layers = self.model.cfg.n_layers
        first = min((job.flight for job in jobs), default=n_layers)
        names = [f"blocks.{layer}.hook_resid_pre" for layer in range(first, n_layers)]
        if any(job.offset > 0 for job in jobs):
            for layer in range(first, n_layers):
                names += [f"blocks.{layer}.attn.hook_k", f"blocks.{layer}.attn.hook_v"]
        for job in jobs:
            if job.entry != "before":
                names += [Site(site, job.layer).hook_name for site in ("resid_mid", "resid_post")]
                names += [
                    step.hook_name
                    for step in job.steps_at(job.layer)
                    if step.selection.site.name in ("z", "attn_out", "mlp_post", "mlp_out")
                ]
        return list(dict.fromkeys([*names, self._final_name]))

    @cached_property
    def base(self) -> Tensor:
        """The metric of the unpatched run, ``[prompt answer]``."""
        final = self.answers.take(self.runs.base_run[self._final_name])
        return self.metric(self.model.read_answers(final, self.metric.vocab))

    def run(self, jobs: Sequence[Job]) -> Tensor:
        """The metric of jobs of the same positions, sorted by flight: ``[job prompt answer]``."""
        n_layers, d_model = self.model.cfg.n_layers, self.model.cfg.d_model
        region = Slots.consecutive(
            jobs[0].offset, jobs[0].stop, self.n_prompts, self.model.cfg.device
        )
        like = self.model.W_E
        in_flight = sum(job.flight < n_layers for job in jobs)
        rows = like.new_empty(in_flight, self.n_prompts, len(region), d_model)
        final = like.new_empty(len(jobs), self.n_prompts, len(self.answers), d_model)
        active = 0
        for layer in range(jobs[0].flight, n_layers):
            joining = [job for job in jobs[active:] if job.flight == layer]
            self._join(rows[active : active + len(joining)], joining, layer, region)
            active += len(joining)
            self._through_block(rows[:active], jobs[:active], layer, region, final)
        if active < len(jobs):
            self._enter(final[active:], jobs[active:], n_layers - 1, self.answers)
        self.writer.forget_values()
        return self._read(final, region)

    def _through_block(
        self, rows: Tensor, jobs: Sequence[Job], layer: int, region: Slots, final: Tensor
    ) -> None:
        """Run one block on the rows in flight, tile by tile, in place; the last into ``final``."""
        block = self.model.blocks[layer]
        last = layer == self.model.cfg.n_layers - 1
        memory = self._memory(layer, region)
        step = max(1, self._tile() // (self.n_prompts * len(region)))
        for a in range(0, len(rows), step):
            tile = rows[a : a + step]
            n_jobs = len(tile)
            queries = None
            if last:
                local = self.answers.positions - region.positions[:, :1]
                queries = local.clamp(min=0).repeat(n_jobs, 1)  # see _read for those below 0
            with self._patching(
                jobs[a : a + step], layer, region, self.answers if last else region
            ):
                out = block.to_post(
                    block.to_mid(tile.flatten(0, 1), memory=memory, queries=queries)
                )
            (final if last else rows)[a : a + n_jobs] = out.unflatten(0, (n_jobs, self.n_prompts))

    def _tile(self) -> int:
        return _TILE_POSITIONS.get(self.model.cfg.device.type, _TILE_POSITIONS["cpu"])

    def _memory(self, layer: int, region: Slots) -> FrozenPrefix | None:
        start = region.start or 0
        if start == 0:
            return None
        k, v = (self.runs.base_run[f"blocks.{layer}.attn.hook_{x}"] for x in "kv")
        return FrozenPrefix(k[:, :start], v[:, :start])

    def _join(self, rows: Tensor, joining: Sequence[Job], layer: int, region: Slots) -> None:
        """Fill the rows of the jobs whose flight begins at this layer."""
        before = sum(job.entry == "before" for job in joining)
        entered = len(joining) - before
        if entered:
            self._enter(rows[:entered], joining[:entered], layer - 1, region)
        if before:
            rows[entered:] = region.take(self.runs.base_run[f"blocks.{layer}.hook_resid_pre"])

    # --- entering between the halves of a block, or after it ----------------------------------

    def _enter(self, out: Tensor, jobs: Sequence[Job], layer: int, region: Slots) -> None:
        """The residual stream after ``layer`` for jobs that enter in it, ``[J B N D]``.

        Only the positions that a job touches are computed; the others are the base run's.
        """
        out[:] = region.take(self.runs.base_run[f"blocks.{layer}.hook_resid_post"])
        groups: dict[tuple, list[int]] = defaultdict(list)
        for i, job in enumerate(jobs):
            groups[job.entry, self._touched_key(job, layer)].append(i)
        for (entry, _), members in groups.items():
            slots = self._touched(jobs[members[0]], layer, region)
            changed = self._changed([jobs[i] for i in members], entry, layer, slots)
            if slots is region:
                out[members] = changed
            else:
                _scatter(out, members, changed, slots, region)

    @staticmethod
    def _touched_key(job: Job, layer: int) -> tuple:
        """Jobs with equal keys touch the same positions in this layer."""
        return tuple(dict.fromkeys(s.selection.site.position for s in job.steps_at(layer)))

    def _touched(self, job: Job, layer: int, region: Slots) -> Slots:
        positions = [step.selection.positions for step in job.steps_at(layer)]
        if region is self.answers or any(p is None for p in positions):
            return region
        return Slots(torch.cat([p for p in positions if p is not None], 1).to(region.positions))

    def _changed(self, jobs: Sequence[Job], entry: str, layer: int, slots: Slots) -> Tensor:
        """The residual stream after ``layer`` at ``slots``, ``[J B N D]``."""
        if entry == "after":
            return torch.stack([self._stream(job, layer, slots, AFTER) for job in jobs])
        mid = torch.stack([self._stream(job, layer, slots, BETWEEN) for job in jobs])
        block = self.model.blocks[layer]
        out = torch.empty_like(mid)
        step = max(1, self._tile() // (self.n_prompts * len(slots)))
        for a in range(0, len(mid), step):
            tile = mid[a : a + step]
            with self._patching(jobs[a : a + step], layer, slots, slots, only=AFTER):
                post = block.to_post(tile.flatten(0, 1))
            out[a : a + step] = post.unflatten(0, (len(tile), self.n_prompts))
        return out

    def _stream(self, job: Job, layer: int, slots: Slots, stage: tuple[str, str, str]) -> Tensor:
        """The residual stream after one half of a block, ``[B N D]``, with the job's steps in it.

        ``stage`` names the half's sites: the linear one, the sum that is written, the stream.
        """
        linear, written, stream = (Site(name, layer).hook_name for name in stage)
        steps = {step.hook_name: [] for step in job.steps_at(layer)}
        for step in job.steps_at(layer):
            steps[step.hook_name].append(step)
        change: Tensor | float = 0.0
        if linear in steps:
            change = self._linear_change(linear, steps[linear], slots)
        if written in steps:
            base = slots.take(self.runs.base_run[written])
            patched = base + change
            for step in steps[written]:
                self.writer.write(patched, step, slots)
            change = patched - base
        resid = slots.take(self.runs.base_run[stream]) + change
        for step in steps.get(stream, ()):
            self.writer.write(resid, step, slots)
        return resid

    def _linear_change(self, hook_name: str, steps: Sequence[Step], slots: Slots) -> Tensor:
        """What a change of ``z`` or of the neurons writes to the residual stream, ``[B N D]``."""
        current = slots.take(self.runs.base_run[hook_name])
        patched = current.clone()
        for step in steps:
            self.writer.write(patched, step, slots)
        block = self.model.blocks[steps[0].selection.site.layer]
        is_z = steps[0].selection.site.name == "z"
        weight = block.attn.W_O if is_z else block.mlp.W_out[:, None]
        change = (patched - current).view(*current.shape[:2], weight.shape[0], -1)
        units = [step.selection.site.head if is_z else step.selection.site.neuron for step in steps]
        if None not in units:
            chosen = sorted(set(units))
            change, weight = change[:, :, chosen], weight[chosen]
        return change.flatten(2) @ weight.flatten(0, 1)

    # --- patches on rows in flight -----------------------------------------------------------

    @contextmanager
    def _patching(
        self,
        jobs: Sequence[Job],
        layer: int,
        inputs: Slots,
        outputs: Slots,
        only: tuple[str, ...] | None = None,
    ) -> Iterator[None]:
        """Apply the jobs' steps of this layer while it runs on their rows.

        ``inputs`` are the slots of resid_pre, k and v; ``outputs`` those of everything after.
        """
        by_hook: dict[str, list[tuple[int, Step]]] = defaultdict(list)
        for i, job in enumerate(jobs):
            for step in job.steps_at(layer):
                if only is None or step.selection.site.name in only:
                    by_hook[step.hook_name].append((i, step))
        handles = []
        try:
            for name, steps in by_hook.items():
                early = steps[0][1].selection.site.name in ("resid_pre", "k", "v")
                hook = partial(
                    self.writer.write_rows, steps=steps, slots=inputs if early else outputs
                )
                handles.append(self.model.hook_dict[name].add_hook(hook))
            yield
        finally:
            for name, handle in zip(by_hook, handles, strict=False):
                handle.hook.remove()
                self.model.hook_dict[name].fwd_hooks.remove(handle)

    # --- reading -----------------------------------------------------------------------------

    def _read(self, final: Tensor, region: Slots) -> Tensor:
        """The metric from the final residual stream at the answers, ``[J B A D] -> [J B A]``.

        Answers before the region are out of every patch's reach and keep the base value.
        """
        step = max(1, self._tile() // (self.n_prompts * final.shape[2]))
        values = []
        for a in range(0, len(final), step):
            logits = self.model.read_answers(final[a : a + step], self.metric.vocab)
            values.append(self.metric(logits))
        out_of_reach = self.answers.positions < region.positions[:, :1]
        return torch.where(out_of_reach, self.base, torch.cat(values))


def _scatter(out: Tensor, members: list[int], changed: Tensor, slots: Slots, region: Slots) -> None:
    """Write ``changed [J B K D]`` at the slots of the region that hold those positions."""
    local = slots.positions - region.positions[:, :1]
    inside = (local >= 0) & (local < len(region))
    prompts, columns = inside.nonzero(as_tuple=True)
    jobs = torch.tensor(members, device=out.device)[:, None]
    out[jobs, prompts, local[prompts, columns]] = changed[:, prompts, columns]
