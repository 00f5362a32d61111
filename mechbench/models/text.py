"""Between text and token ids."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from mechbench.errors import TaskError, TokenizerError
from mechbench.models.contract import HookConfig


class TokenText:
    """A model with a tokenizer, or without one."""

    tokenizer: Any
    cfg: HookConfig

    def _tokenizer(self) -> Any:
        if self.tokenizer is None:
            raise TokenizerError(
                f"{self.cfg.model_name!r} has no tokenizer. Give token ids instead of text, or "
                "load the model from a folder that holds tokenizer.json."
            )
        return self.tokenizer

    def to_tokens(
        self, text: str | Sequence[str], prepend_bos: bool | None = None
    ) -> Int[Tensor, "batch pos"]:
        """Token ids, BOS first unless ``prepend_bos`` is False.

        Raises:
            TokenizerError: no tokenizer, or no BOS token.
            TaskError: texts of unequal token length; the lengths are listed.
        """
        tokenizer = self._tokenizer()
        texts = [text] if isinstance(text, str) else list(text)
        bos = self.cfg.default_prepend_bos if prepend_bos is None else prepend_bos
        prefix = [tokenizer.bos_token_id] if bos else []
        if bos and tokenizer.bos_token_id is None:
            raise TokenizerError("The tokenizer has no BOS token: pass prepend_bos=False.")
        rows = [prefix + tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
        lengths = sorted({len(row) for row in rows})
        if len(lengths) > 1:
            raise TaskError(
                f"The {len(rows)} texts have {lengths} tokens, and one batch needs one length. "
                "Run them one by one, or edit them to the same number of tokens."
            )
        return torch.tensor(rows, device=self.cfg.device)

    def to_str_tokens(self, text: str | Tensor, prepend_bos: bool | None = None) -> list[str]:
        """One string per token of one text, or of ids ``[pos]`` or ``[1 pos]``."""
        ids = self.to_tokens(text, prepend_bos)[0] if isinstance(text, str) else text.flatten()
        return [self._tokenizer().decode([i]) for i in ids.tolist()]

    def to_string(self, tokens: Tensor) -> str | list[str]:
        """Text of ids ``[pos]``, or a list of texts of ids ``[batch pos]``."""
        if tokens.dim() <= 1:
            return self._tokenizer().decode(tokens.reshape(-1).tolist())
        return [self._tokenizer().decode(row) for row in tokens.tolist()]

    def to_single_token(self, string: str) -> int:
        """The id of a string that is one token.

        Raises:
            TokenizerError: it is several; the pieces are listed.
        """
        ids = self._tokenizer()(string, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            pieces = [self._tokenizer().decode([i]) for i in ids]
            raise TokenizerError(f"{string!r} is {len(ids)} tokens {pieces}, and must be one.")
        return ids[0]
