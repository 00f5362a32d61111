"""Entering a block between its halves, or after it.

A patch of what a half writes changes the residual stream by a known amount, so the half itself is
not run again; and only the positions that the patch touches go through the rest of the block.

Suffixes: J jobs, B prompts, N positions (slots), D d_model.
"""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from mechbench.interventions.in_flight import jobs_per_tile, patching
from mechbench.interventions.plan import AFTER, BETWEEN, Job
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site
from mechbench.interventions.slots import Slots, Step, Writer


class Entry:
    """Computes the residual stream after a block for jobs that enter inside it or after it."""

    def __init__(self, model, runs: Runs, writer: Writer):
        self.model, self.runs, self.writer = model, runs, writer
        self.n_prompts = len(runs.pairs)

    @staticmethod
    def hook_names(job: Job) -> list[str]:
        """What of the base run an entering job is computed from."""
        streams = [Site(site, job.layer).hook_name for site in ("resid_mid", "resid_post")]
        written = ("z", "attn_out", "mlp_post", "mlp_out")
        steps = [s for s in job.steps_at(job.layer) if s.selection.site.name in written]
        return streams + [step.hook_name for step in steps]

    def fill(self, out: Tensor, jobs: Sequence[Job], layer: int, region: Slots) -> None:
        """The residual stream after ``layer`` for jobs that enter in it, ``[J B N D]``.

        Of consecutive positions only those that a job touches are computed; the others are the
        base run's. Of single ones (the answers, after the last block) all are.
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
        if region.start is None or any(p is None for p in positions):
            return region
        return Slots(torch.cat([p for p in positions if p is not None], 1).to(region.positions))

    def _changed(self, jobs: Sequence[Job], entry: str, layer: int, slots: Slots) -> Tensor:
        """The residual stream after ``layer`` at ``slots``, ``[J B N D]``."""
        if entry == "after":
            return torch.stack([self._stream(job, layer, slots, AFTER) for job in jobs])
        mid = torch.stack([self._stream(job, layer, slots, BETWEEN) for job in jobs])
        block = self.model.blocks[layer]
        out = torch.empty_like(mid)
        step = jobs_per_tile(self.model, self.n_prompts, len(slots))
        for a in range(0, len(mid), step):
            tile = mid[a : a + step]
            here = jobs[a : a + step]
            with patching(
                self.model, self.writer, here, layer, inputs=slots, outputs=slots, only=AFTER
            ):
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
            chosen = sorted({unit for unit in units if unit is not None})
            change, weight = change[:, :, chosen], weight[chosen]
        return change.flatten(2) @ weight.flatten(0, 1)


def _scatter(out: Tensor, members: list[int], changed: Tensor, slots: Slots, region: Slots) -> None:
    """Write ``changed [J B K D]`` at the slots of the region that hold those positions."""
    local = slots.positions - region.positions[:, :1]
    inside = (local >= 0) & (local < len(region))
    prompts, columns = inside.nonzero(as_tuple=True)
    jobs = torch.tensor(members, device=out.device)[:, None]
    out[jobs, prompts, local[prompts, columns]] = changed[:, prompts, columns]
