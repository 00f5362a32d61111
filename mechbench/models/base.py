"""The model contract: what every mechbench model offers to analyses, tools and the sweep engine.

``HookedModel`` is TransformerLens' ``HookedRootModule`` with everything that its utilities ask of a
custom model, plus the three things the sweep engine needs: embedding, blocks that can be entered
in the middle, and an unembedding that computes only the logits somebody reads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformer_lens import ActivationCache, HookedRootModule

from mechbench.errors import NumericsError, TaskError
from mechbench.models.components.embedding import (
    TiedUnembedding,
    TokenEmbedding,
    Unembedding,
)
from mechbench.models.contract import Capabilities, HookConfig
from mechbench.models.hooks import NamesFilter, firing_names
from mechbench.models.memory import Memory
from mechbench.models.parts import Reads, Writes, block_parts, stream_parts
from mechbench.models.source import ModelSource
from mechbench.models.stacked_weights import StackedWeights
from mechbench.models.text import TokenText


class HookedModel(StackedWeights, TokenText, HookedRootModule, ABC):
    """A decoder-only language model with TransformerLens' hook names and layouts.

    A variant's constructor builds ``embed``, ``blocks``, ``ln_final`` and ``unembed``, then calls
    ``self.finish(cfg, capabilities)`` last.
    """

    embed: TokenEmbedding
    blocks: nn.ModuleList
    ln_final: nn.Module
    unembed: Unembedding | TiedUnembedding
    tokenizer: Any
    config: Any  # of the variant's own config class
    cfg: HookConfig
    source: ModelSource
    capabilities: Capabilities

    def finish(self, cfg: HookConfig, capabilities: Capabilities) -> None:
        """Name the hook points and take the model out of training mode."""
        self.cfg = cfg
        self.capabilities = capabilities
        self.tokenizer = None
        self.source = ModelSource(name=cfg.model_name, kind="random")
        self.setup()
        self.eval()
        self._follow_weights()

    def _apply(self, *args: Any, **kwargs: Any) -> "HookedModel":
        super()._apply(*args, **kwargs)
        self._follow_weights()
        return self

    def _follow_weights(self) -> None:
        self.cfg.device, self.cfg.dtype = self.W_E.device, self.W_E.dtype

    # --- what a variant provides, and weights --------------------------------------------------

    @abstractmethod
    def embed_tokens(
        self, tokens: Int[Tensor, "batch pos"], first_position: int = 0
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream that enters block 0."""

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        return self.embed.W_E

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        return self.unembed.W_U

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        return self.unembed.b_U

    def tl_parameters(self) -> dict[str, Tensor]:
        """All weights by TransformerLens name, a tied unembedding included."""
        unembedding = {"unembed.W_U": self.W_U, "unembed.b_U": self.b_U}
        return dict(self.named_parameters()) | unembedding

    def tokens_to_residual_directions(
        self, tokens: str | int | Int[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch d_model"]:
        """The unembedding column of each token."""
        if isinstance(tokens, str):
            tokens = self.to_single_token(tokens)
        ids = torch.as_tensor(tokens, device=self.cfg.device)
        return self.W_U.T[ids]

    # --- running -----------------------------------------------------------------------------

    def forward(
        self,
        tokens: Int[Tensor, "batch pos"] | str | Sequence[str],
        return_type: str | None = "logits",
        *,
        stop_at_layer: int | None = None,
        memories: Sequence[Memory] | None = None,
    ) -> Any:
        """Logits ``[batch pos d_vocab]`` of every position.

        Args:
            tokens: ids, or text (BOS is put before it).
            return_type: ``"logits"``, ``"loss"`` (mean next-token cross-entropy, nats),
                ``"both"`` or None.
            stop_at_layer: return the residual stream that enters this block instead; negative
                counts from the last block, as in TransformerLens.
            memories: one per layer; tokens then continue the remembered positions.

        Raises:
            TaskError: a prompt longer than the context, an unknown ``return_type``, or a
                ``stop_at_layer`` that the model does not have, or memories of a model that cannot
                go on from them.
        """
        check_return_type(return_type)
        if memories is not None:
            self._check_incremental()
        ids = tokens if isinstance(tokens, Tensor) else self.to_tokens(tokens)
        first = memories[0].length if memories else 0
        self.check_length(first + ids.shape[1])
        resid = self.embed_tokens(ids, first)
        resid = self.run_blocks(resid, self._stop(stop_at_layer), memories)
        if stop_at_layer is not None:
            return resid
        if return_type is None:
            return None
        logits = self.unembed(self.ln_final(resid))
        return logits_or_loss(logits, ids, return_type)

    def run_blocks(
        self,
        resid: Float[Tensor, "batch pos d_model"],
        stop: int,
        memories: Sequence[Memory] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream after the first ``stop`` blocks, from the one that enters block 0."""
        for layer, block in enumerate(self.blocks[:stop]):
            resid = block(resid, memory=memories[layer] if memories else None)
        return resid

    def new_memories(self) -> list[Memory]:
        """An empty memory for each layer, for generation.

        Raises:
            TaskError: the model cannot go on from what it remembers.
        """
        self._check_incremental()
        return [block.new_memory() for block in self.blocks]  # pyright: ignore

    def _check_incremental(self) -> None:
        if not self.capabilities.incremental:
            raise TaskError(f"{self.cfg.model_name!r} cannot continue from remembered positions.")

    def next_token_logits(
        self, tokens: Int[Tensor, "batch pos"], memories: Sequence[Memory]
    ) -> Float[Tensor, "batch d_vocab"]:
        """Logits after the last of these tokens, which continue what is remembered."""
        resid = self(tokens, memories=memories, stop_at_layer=self.cfg.n_layers)
        return self.unembed(self.ln_final(resid[:, -1:]))[:, 0]

    def parts(self) -> Iterator[Reads | Writes]:
        """What writes to and reads from the residual stream, in its order: the circuit graph."""
        yield from stream_parts(self.cfg.n_layers, map(self.block_parts, range(self.cfg.n_layers)))

    def block_parts(self, layer: int) -> Iterator[Reads | Writes]:
        """The parts of one block; an architecture whose blocks have others overrides this."""
        return block_parts(self.cfg, layer, self.blocks[layer])

    def training_loss(
        self,
        tokens: Int[Tensor, "batch pos"],
        generator: torch.Generator,
        scored: Bool[Tensor, "batch pos"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """What training minimises, in nats, and its parts by name, for the log.

        The mean next-token cross-entropy, without parts, of all tokens but the first or of those
        that are ``scored``: each is predicted at the position before. An architecture that trains
        otherwise (in another mode than it is used in, on sampled sub-networks, with auxiliary
        losses) overrides this method; it returns the sum and each term as it enters the sum,
        detached, and draws from ``generator`` and nothing else, so that a resumed run repeats an
        uninterrupted one.
        """
        return self.next_token_loss(tokens, scored), {}

    def next_token_loss(
        self, tokens: Int[Tensor, "batch pos"], scored: Bool[Tensor, "batch pos"] | None = None
    ) -> Float[Tensor, ""]:
        """The mean cross-entropy of all tokens but the first, or of those that are scored, nats."""
        if scored is None:
            return self(tokens, return_type="loss")
        # The last token is predicted and predicts nothing.
        resid = self(tokens[:, :-1], stop_at_layer=self.cfg.n_layers)
        return self.loss_of(resid, tokens, scored)

    def loss_of(
        self,
        resid: Float[Tensor, "batch read d_model"],
        tokens: Int[Tensor, "batch pos"],
        scored: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, ""]:
        """``next_token_loss`` from the final residual stream; only logits that count are computed.

        Args:
            resid: of all positions; where tokens are ``scored`` the last may be missing.
        """
        if scored is None:
            return logits_or_loss(self.unembed(self.ln_final(resid)), tokens, "loss")
        read = resid[:, : tokens.shape[1] - 1][scored[:, 1:]]
        logits = self.unembed(self.ln_final(read))
        return nn.functional.cross_entropy(logits, tokens[:, 1:][scored[:, 1:]])

    def _stop(self, stop_at_layer: int | None) -> int:
        n_layers = self.cfg.n_layers
        if stop_at_layer is None:
            return n_layers
        if not -n_layers <= stop_at_layer <= n_layers:
            raise TaskError(
                f"stop_at_layer={stop_at_layer} is out of range: {self.cfg.model_name!r} has "
                f"{n_layers} blocks, so give 0 to {n_layers}, or a negative number from the end."
            )
        return stop_at_layer + n_layers if stop_at_layer < 0 else stop_at_layer

    def answer_logits(
        self,
        tokens: Int[Tensor, "batch pos"],
        positions: Int[Tensor, "batch answer"],
        vocab: Int[Tensor, " subset"] | None = None,
    ) -> Float[Tensor, "batch answer subset"]:
        """Logits at the positions and of the tokens that a metric reads, and no others.

        Raises:
            NumericsError: for NaN or infinite logits.
        """
        resid = self(tokens, stop_at_layer=self.cfg.n_layers)
        return self.read_answers(torch.take_along_dim(resid, positions[..., None], dim=1), vocab)

    def read_answers(
        self,
        resid: Float[Tensor, "*batch answer d_model"],
        vocab: Int[Tensor, " subset"] | None = None,
    ) -> Float[Tensor, "*batch answer subset"]:
        """Logits from the final residual stream at the answers' positions.

        Raises:
            NumericsError: for NaN or infinite logits.
        """
        logits = self.unembed(self.ln_final(resid), vocab)
        check_finite(logits, self.cfg.model_name)
        return logits

    def generate(self, prompts: Any, **options: Any) -> Any:
        """The prompts continued; see ``mechbench.models.generation.generate``."""
        from mechbench.models.generation import generate  # which needs this module

        return generate(self, prompts, **options)

    def check_length(self, n_tokens: int) -> None:
        """Raises TaskError where ``n_tokens`` do not fit the context."""
        if n_tokens > self.cfg.n_ctx:
            raise TaskError(
                f"A prompt of {n_tokens} tokens does not fit {self.cfg.model_name!r}, whose "
                f"context is {self.cfg.n_ctx} tokens. Shorten it or use a model with more context."
            )

    # --- hooks and caches --------------------------------------------------------------------

    def run_with_cache(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        *model_args: Any,
        names_filter: NamesFilter = None,
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """The output and an ``ActivationCache`` of the hook points that ``names_filter`` means.

        Raises:
            HookNameError: a filter that matches no hook point, or one that is switched off.
            TaskError: ``pos_slice`` while inputs are split by head.
        """
        names = self._hook_names(names_filter)
        if kwargs.get("pos_slice") is not None and self.cfg.splits_heads:
            raise TaskError(
                "pos_slice does not know the head axis of split inputs: turn use_split_qkv_input "
                "and use_attn_in off, or slice the cache afterwards."
            )
        out, cache = super().run_with_cache(
            *model_args, names_filter=names, remove_batch_dim=remove_batch_dim, **kwargs
        )
        if not return_cache_object:
            return out, cache
        return out, ActivationCache(cache, self, has_batch_dim=not remove_batch_dim)

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Sequence[tuple[str | Callable[[str], bool], Callable]] = (),
        bwd_hooks: Sequence[tuple[str | Callable[[str], bool], Callable]] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator["HookedModel"]:
        """TransformerLens' context manager; a name or filter that matches nothing is an error."""
        for name, _ in [*fwd_hooks, *bwd_hooks]:
            self._hook_names(name)
        with super().hooks(list(fwd_hooks), list(bwd_hooks), reset_hooks_end, clear_contexts):
            yield self

    def add_hook(self, name: Any, hook: Any, *args: Any, **kwargs: Any) -> None:
        """TransformerLens' method; a name or filter that matches nothing is an error."""
        self._hook_names(name)
        super().add_hook(name, hook, *args, **kwargs)

    def _hook_names(self, names_filter: NamesFilter) -> list[str]:
        return firing_names(names_filter, self.hook_dict, self.cfg)

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """Whether ``attn.hook_result``, ``[batch pos head d_model]``, fires."""
        self.cfg.use_attn_result = use_attn_result
        for block in self.blocks:
            block.attn.use_result = use_attn_result  # pyright: ignore

    def set_use_split_qkv_input(self, use_split_qkv_input: bool) -> None:
        """Whether ``attn.hook_{q,k,v}_input``, ``[batch pos head d_model]`` before ln1, fire."""
        if use_split_qkv_input and self.cfg.use_attn_in:
            raise TaskError("use_split_qkv_input and use_attn_in exclude each other: turn one off.")
        self.cfg.use_split_qkv_input = use_split_qkv_input
        self._switch_blocks()

    def set_use_attn_in(self, use_attn_in: bool) -> None:
        """Whether ``hook_attn_in``, ``[batch pos head d_model]`` before ln1, fires.

        Raises:
            TaskError: while ``use_split_qkv_input`` is on, or where no block has this hook point.
        """
        if use_attn_in and not any(name.endswith("hook_attn_in") for name in self.hook_dict):
            raise TaskError(
                f"{self.cfg.model_name!r} has no hook_attn_in: its heads do not all read the "
                "stream by themselves. Use use_split_qkv_input where it has hook_q_input."
            )
        if use_attn_in and self.cfg.use_split_qkv_input:
            raise TaskError("use_attn_in and use_split_qkv_input exclude each other: turn one off.")
        self.cfg.use_attn_in = use_attn_in
        self._switch_blocks()

    def set_use_hook_mlp_in(self, use_hook_mlp_in: bool) -> None:
        """Whether ``hook_mlp_in``, ``[batch pos d_model]`` before ln2, fires.

        So does, in architectures that have it, the copy of the stream of whatever else reads it
        as one: ``hook_block_in`` of a routed block, ``hook_kv_in`` of a latent and so on.
        """
        self.cfg.use_hook_mlp_in = use_hook_mlp_in
        self._switch_blocks()

    def _switch_blocks(self) -> None:
        for block in self.blocks:
            block.use_split_qkv_input = self.cfg.use_split_qkv_input  # pyright: ignore
            block.use_attn_in = self.cfg.use_attn_in  # pyright: ignore
            block.use_hook_mlp_in = self.cfg.use_hook_mlp_in  # pyright: ignore


def check_return_type(return_type: str | None) -> None:
    """Raises TaskError where ``forward`` does not know this ``return_type``."""
    if return_type not in ("logits", "loss", "both", None):
        raise TaskError(
            f"return_type={return_type!r} is not known: use 'logits', 'loss', 'both' or None."
        )


def logits_or_loss(logits: Tensor, ids: Tensor, return_type: str | None) -> Any:
    """What ``forward`` returns: logits, the mean next-token cross-entropy in nats, both or None."""
    if return_type is None or return_type == "logits":
        return logits if return_type else None
    loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    return loss if return_type == "loss" else (logits, loss)


def check_finite(logits: Tensor, model_name: str) -> None:
    """Raises NumericsError where a logit is NaN or infinite, and says in how many rows."""
    finite = torch.isfinite(logits)
    if not finite.all():
        bad = int((~finite).flatten(1).any(1).sum())
        raise NumericsError(
            f"{model_name!r} gave NaN or infinite logits in {bad} of {len(logits)} rows. "
            "Check the weights, or load the model with dtype float32."
        )
