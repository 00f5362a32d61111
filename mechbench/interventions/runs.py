"""The clean and the corrupted run of a task, cached at the hook points that somebody asked for."""

from collections.abc import Iterable, Mapping
from functools import cached_property

import torch
from torch import Tensor

from mechbench.errors import TaskError
from mechbench.models.fingerprint import weight_fingerprint
from mechbench.models.hooks import matching_names
from mechbench.tasks.pairs import PromptPairs


class Runs:
    """Activations of both runs, computed once and only where needed.

    ``direction="noise"`` patches into the clean run, ``"denoise"`` into the corrupted one.
    """

    def __init__(self, model, pairs: PromptPairs, direction: str = "noise"):
        if direction not in ("noise", "denoise"):
            raise TaskError(f"direction={direction!r} is not known: use 'noise' or 'denoise'.")
        model.check_length(pairs.n_positions)
        self.model = model
        self.pairs = pairs.to(model.cfg.device)
        self.base = "clean" if direction == "noise" else "corrupt"
        self._caches: dict[str, dict[str, Tensor]] = {"clean": {}, "corrupt": {}}

    @cached_property
    def weights(self) -> str:
        """The fingerprint of the model's weights, taken once, as the activations are."""
        return weight_fingerprint(self.model)

    def __getitem__(self, run: str) -> Mapping[str, Tensor]:
        return self._caches[run]

    @property
    def base_run(self) -> Mapping[str, Tensor]:
        """The run that is patched."""
        return self[self.base]

    @property
    def base_tokens(self) -> Tensor:
        return self.tokens(self.base)

    def tokens(self, run: str) -> Tensor:
        return self.pairs.clean if run == "clean" else self.pairs.corrupt

    @torch.inference_mode()
    def need(self, run: str, hook_names: Iterable[str]) -> None:
        """Make sure that a run is cached at these hook points.

        Raises:
            HookNameError: a name that is no hook point of this model.
        """
        missing = [n for n in dict.fromkeys(hook_names) if n not in self._caches[run]]
        if not missing:
            return
        matching_names(missing, self.model.hook_dict)
        _, cache = self.model.run_with_cache(
            self.tokens(run),
            names_filter=missing,
            return_cache_object=False,
            stop_at_layer=self.model.cfg.n_layers,
        )
        self._caches[run].update(cache)
