"""What readers make of the residual stream: their part of q, k, v, or the MLP's output."""

import torch
from torch import Tensor, nn

from mechbench.errors import UnsupportedHookError
from mechbench.graphs.wiring import ReaderBank
from mechbench.interventions.runs import Runs
from mechbench.interventions.sites import Site


class ReaderValues:
    """The values that a bank of readers would have on other streams than the clean one.

    Attributes:
        layer: of the block that the readers are in.
        site: where their values are patched: ``"q"``, ``"k"``, ``"v"`` or ``"mlp_out"``.

    Raises:
        UnsupportedHookError: values formed in this way are not those of the model itself.
    """

    def __init__(self, model, runs: Runs, bank: ReaderBank):
        _, layer, *_, point = bank.projected.split(".")
        self.model, self.bank, self.layer = model, bank, int(layer)
        self.site = point.removeprefix("hook_") if bank.weight is not None else "mlp_out"
        self.hook_name = Site(self.site, self.layer).hook_name
        for run in ("clean", "corrupt"):
            runs.need(run, [bank.stream, self.hook_name])
        self.stream = runs["clean"][bank.stream]
        self.clean = runs["clean"][self.hook_name]
        self._of_clean = self._form(self.stream)
        self._check(runs["corrupt"])

    def with_change(self, change: Tensor) -> Tensor:
        """The value where ``change [batch pos d_model]`` is added to what the readers read.

        Of heads ``[batch pos head d_head]``, of an MLP ``[batch pos d_model]``. Exactly the clean
        value at positions without change.
        """
        return self.clean + (self._form(self.stream + change) - self._of_clean)

    def _form(self, stream: Tensor) -> Tensor:
        """The value up to a constant: biases of heads are left out."""
        if self.bank.weight is not None:
            assert self.bank.norm is not None
            return torch.einsum("bpd,hdc->bphc", self.bank.norm(stream), self.bank.weight())
        block = self.model.blocks[self.layer]
        parts = dict(block.named_children())
        norm: nn.Module = parts["ln2"] if "ln2" in parts else parts["ln1"]
        out = block.mlp(norm(stream))
        return (
            out[0] if isinstance(out, tuple) else out
        )  # with routing, the weights stand beside it

    def _check(self, corrupt) -> None:
        """The whole corrupted stream must give the corrupted run's own value."""
        found = self.with_change(corrupt[self.bank.stream] - self.stream)
        expected = corrupt[self.hook_name]
        scale = expected.abs().max().clamp(min=1e-6)
        error = ((found - expected).abs().max() / scale).item()
        if not error < torch.finfo(expected.dtype).eps ** 0.5:
            raise UnsupportedHookError(
                f"{self.model.cfg.model_name!r} does not form {self.hook_name} from its input in "
                f"the usual way (relative error {error:.2g}), so its edges cannot be patched one "
                "by one."
            )
