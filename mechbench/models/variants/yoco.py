"""YOCO (Sun et al. 2024): layers that remember little, then layers that share one memory.

The first layers, the self-decoder, are gated retention or attention in a sliding window; what they
remember has one size. Their output is projected to keys and values once, and the remaining layers,
the cross-decoder, have queries only. Everything else is Llama's: RMSNorm, rotary positions, SwiGLU,
no biases. Checked against the equations in float64, not against the authors' code.

Source: arXiv 2405.05254, sections 2 and 3. What the paper leaves open follows the authors'
published code (microsoft/unilm, folder YOCO): the embedding's scale ``sqrt(d_model)``, the
frequencies of the rotary positions with both ends included, neighbouring pairs, the divisor 16, and
a per-head norm without weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mechbench.errors import SpecError
from mechbench.models.components.attention import Attention
from mechbench.models.components.block import TransformerBlock
from mechbench.models.components.gated_mlp import GatedMLP
from mechbench.models.components.norm import RMSNorm
from mechbench.models.components.retention import (
    FORMS,
    Retention,
    RetentionBlock,
    retention_parts,
)
from mechbench.models.components.rotary import Rotary, geometric_frequencies
from mechbench.models.components.shared_memory import (
    BorrowedMemory,
    MemoryAttention,
    MemoryBlock,
    SharedKeysValues,
    SharedMemory,
    memory_block_parts,
    memory_reads,
)
from mechbench.models.components.span import Window
from mechbench.models.config_checks import require_choice, require_positive
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.hooks import is_hooked
from mechbench.models.memory import GrowingMemory, Memory
from mechbench.models.parts import Reads, Writes, block_parts
from mechbench.models.spec import VariantSpec


@dataclass(frozen=True, kw_only=True)
class YocoConfig:
    """What varies between YOCO models.

    Attributes:
        n_layers: of both halves.
        n_self_layers: how many of them are the self-decoder; the paper has half.
        n_heads: of both halves, which may differ in the authors' code.
        n_kv_heads: keys and values, of the shared memory and of every self-decoder layer. The
            authors group those of attention alone; their retention has as many as queries.
        self_decoder: ``retention`` or ``window``.
        retention_form: ``parallel``, ``recurrent`` or ``chunkwise``; they agree to rounding.
        chunk: positions of a chunk, in chunkwise form.
        decay_divisor: of retention's log decays.
        window: positions that a query of windowed attention sees, itself included.
        rope_frequencies: ``yoco``, ``theta ** -linspace(0, 1, d_head / 2)``, or ``usual``,
            ``theta ** (-2i / d_head)``.
        tied: the unembedding is the transposed embedding.

    Raises:
        SpecError: a name that is not one of these, or layers that leave one half empty.
    """

    n_layers: int
    n_self_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    self_decoder: str = "retention"
    retention_form: str = "parallel"
    chunk: int = 256
    decay_divisor: float = 16.0
    window: int = 1024
    rope_theta: float = 10000.0
    rope_frequencies: str = "yoco"
    norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        for name, known in (
            ("self_decoder", tuple(SELF_DECODERS)),
            ("retention_form", FORMS),
            ("rope_frequencies", tuple(FREQUENCIES)),
        ):
            require_choice(self, name, known)
        if not 0 < self.n_self_layers < self.n_layers:
            raise SpecError(
                f"n_self_layers = {self.n_self_layers} of n_layers = {self.n_layers} leaves one "
                "half empty: give at least 1 and fewer than n_layers."
            )
        require_positive(self, ("chunk", "window"))
        if self.n_heads % self.n_kv_heads or self.d_head % 2:
            raise SpecError(
                f"n_heads = {self.n_heads} must be a multiple of n_kv_heads = {self.n_kv_heads}, "
                f"and d_head = {self.d_head} even, for its features turn in pairs."
            )


def endpoint_frequencies(d_rot: int, theta: float) -> Float[Tensor, " pair"]:
    """From 1 down to ``1 / theta``, both included, evenly in the logarithm; radians per position.

    Source: the authors' code; the paper does not say.
    """
    return theta ** -torch.linspace(0, 1, d_rot // 2, dtype=torch.float64, device="cpu")


FREQUENCIES = {"yoco": endpoint_frequencies, "usual": geometric_frequencies}


def _rotary(cfg: YocoConfig) -> Rotary:
    frequencies = FREQUENCIES[cfg.rope_frequencies](cfg.d_head, cfg.rope_theta)
    return Rotary(frequencies, interleaved=True)


def _norm(cfg: YocoConfig) -> RMSNorm:
    return RMSNorm(cfg.d_model, cfg.norm_eps)


def _mlp(cfg: YocoConfig) -> GatedMLP:
    return GatedMLP(cfg.d_model, cfg.d_mlp, nn.functional.silu)


def _retention_block(cfg: YocoConfig) -> RetentionBlock:
    retention = Retention(
        cfg.d_model,
        cfg.n_heads,
        cfg.n_kv_heads,
        cfg.d_head,
        rotary=_rotary(cfg),
        form=cfg.retention_form,
        chunk=cfg.chunk,
        decay_divisor=cfg.decay_divisor,
        norm_eps=cfg.norm_eps,
    )
    return RetentionBlock(_norm(cfg), retention, _norm(cfg), _mlp(cfg))


def _window_block(cfg: YocoConfig) -> TransformerBlock:
    attn = Attention(
        cfg.d_model,
        cfg.n_heads,
        cfg.n_kv_heads,
        cfg.d_head,
        span=Window(cfg.window),
        rotary=_rotary(cfg),
        bias=False,
    )
    return TransformerBlock(_norm(cfg), attn, _norm(cfg), _mlp(cfg))


SELF_DECODERS = {"retention": _retention_block, "window": _window_block}


def _memory_block(cfg: YocoConfig) -> MemoryBlock:
    attn = MemoryAttention(cfg.d_model, cfg.n_heads, cfg.n_kv_heads, cfg.d_head, _rotary(cfg))
    return MemoryBlock(_norm(cfg), attn, _norm(cfg), _mlp(cfg))


class Yoco(Decoder):
    """YOCO with hook points. See ``HookedModel`` for what it offers.

    ``yoco`` is the shared memory. The cross-decoder cannot be entered without it, so blocks are not
    restarted; but where only some positions' logits are read, it runs at those alone
    (``answer_logits``, ``next_token_logits``), unless a hook looks into it.
    """

    def __init__(self, config: YocoConfig, model_name: str = "yoco"):
        n_cross = config.n_layers - config.n_self_layers
        super().__init__(
            config,
            blocks=[
                *(SELF_DECODERS[config.self_decoder](config) for _ in range(config.n_self_layers)),
                *(_memory_block(config) for _ in range(n_cross)),
            ],
            ln_final=_norm(config),
            learned_positions=False,
            tied=config.tied,
        )
        self.yoco = SharedMemory(_norm(config), config.d_model, config.n_kv_heads, config.d_head)
        initialise(self)
        self.finish(
            hook_config(
                config,
                model_name,
                n_key_value_heads=config.n_kv_heads,
                act_fn="silu",
                normalization_type="RMS",
            ),
            Capabilities(
                restart_at_layer=False,
                restart_in_block=False,
                restart_at_position=False,
                head_weights=False,
            ),
        )

    @property
    def cross_layers(self) -> range:
        """The layers that read the shared memory."""
        return range(self.config.n_self_layers, self.config.n_layers)

    def embed_tokens(
        self, tokens: Int[Tensor, "batch pos"], first_position: int = 0
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.hook_embed(self.embed(tokens) * self.config.d_model**0.5)

    def run_blocks(
        self,
        resid: Float[Tensor, "batch pos d_model"],
        stop: int,
        memories: Sequence[Memory] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        middle = self.config.n_self_layers
        resid = super().run_blocks(resid, min(stop, middle), memories)
        if stop <= middle:
            return resid
        return self._cross(resid, stop, self._share(resid, memories))

    def _share(
        self, resid: Tensor, memories: Sequence[Any] | None, queries: Tensor | None = None
    ) -> SharedKeysValues:
        """The shared memory of a stream, to be read at these of its positions or at all."""
        memory = memories[self.config.n_self_layers] if memories else None
        first = memory.length if memory is not None else 0
        k, v = self.yoco(resid, memory)
        if queries is None:
            queries = torch.arange(resid.shape[1], device=resid.device)[None]
            return SharedKeysValues(k, v, queries + first, square=first == 0)
        return SharedKeysValues(k, v, queries + first, square=False)

    def _cross(self, resid: Tensor, stop: int, shared: SharedKeysValues) -> Tensor:
        for block in self.blocks[self.config.n_self_layers : stop]:
            resid = block(resid, shared)
        return resid

    def new_memories(self) -> list[Memory]:
        """A state or window for each self-decoder layer, and one shared memory for all others.

        The first cross-decoder layer's memory holds it; those of the others hold nothing.
        """
        own = [block.new_memory() for block in self.blocks[: self.config.n_self_layers]]  # pyright: ignore
        shared = GrowingMemory()
        return [*own, shared, *(BorrowedMemory(shared) for _ in self.cross_layers[1:])]

    # --- where few logits are read, the cross-decoder runs at their positions alone ---------------

    def answer_logits(
        self,
        tokens: Int[Tensor, "batch pos"],
        positions: Int[Tensor, "batch answer"],
        vocab: Int[Tensor, " subset"] | None = None,
    ) -> Float[Tensor, "batch answer subset"]:
        if self._looked_into():
            return super().answer_logits(tokens, positions, vocab)
        return self.read_answers(self._read_at(tokens, positions, None), vocab)

    def next_token_logits(
        self, tokens: Int[Tensor, "batch pos"], memories: Sequence[Memory]
    ) -> Float[Tensor, "batch d_vocab"]:
        if self._looked_into():
            return super().next_token_logits(tokens, memories)
        last = torch.full((len(tokens), 1), tokens.shape[1] - 1, device=tokens.device)
        return self.unembed(self.ln_final(self._read_at(tokens, last, memories)))[:, 0]

    def _read_at(
        self, tokens: Tensor, positions: Tensor, memories: Sequence[Memory] | None
    ) -> Tensor:
        """The final residual stream at these positions, ``[batch answer d_model]``."""
        middle = self.config.n_self_layers
        resid = self(tokens, stop_at_layer=middle, memories=memories)
        shared = self._share(resid, memories, positions)
        resid = torch.take_along_dim(resid, positions[..., None], dim=1)
        return self._cross(resid, self.config.n_layers, shared)

    def _looked_into(self) -> bool:
        """Whether a hook reads or writes the cross-decoder, where it expects all positions."""
        inside = tuple(f"blocks.{layer}." for layer in self.cross_layers)
        points = self.hook_dict.items()
        return any(is_hooked(point) for name, point in points if name.startswith(inside))

    # --- the circuit graph ------------------------------------------------------------------------

    def _switch_blocks(self) -> None:
        super()._switch_blocks()
        self.yoco.use_split_qkv_input = self.cfg.use_split_qkv_input

    def block_parts(self, layer: int) -> Iterator[Reads | Writes]:
        block: Any = self.blocks[layer]
        if layer == self.cross_layers[0]:
            yield from memory_reads(self.yoco, "yoco", self.cross_layers, self.cfg.n_heads)
        if layer in self.cross_layers:
            yield from memory_block_parts(layer, block)
        elif self.config.self_decoder == "retention":
            yield from retention_parts(layer, block)
        else:
            yield from block_parts(self.cfg, layer, block)


def _cache_elements(cfg: YocoConfig, n_tokens: int) -> int:
    """The shared keys and values, and what each self-decoder layer keeps, of a size that ends."""
    shared = 2 * cfg.n_kv_heads * cfg.d_head
    if cfg.self_decoder == "retention":
        own = cfg.n_heads * cfg.d_head**2
    else:
        own = shared * min(n_tokens, cfg.window - 1)
    return shared * n_tokens + cfg.n_self_layers * own


TINY = YocoConfig(
    n_layers=3, n_self_layers=2, n_heads=4, n_kv_heads=2, d_model=24, d_head=10, d_mlp=40,
    d_vocab=101, n_ctx=48,
)  # fmt: skip
TINY_RECURRENT = YocoConfig(
    n_layers=2, n_self_layers=1, n_heads=3, n_kv_heads=3, d_model=20, d_head=8, d_mlp=30,
    d_vocab=101, n_ctx=48, retention_form="recurrent", rope_frequencies="usual", tied=False,
)  # fmt: skip
TINY_CHUNKWISE = YocoConfig(
    n_layers=3, n_self_layers=1, n_heads=4, n_kv_heads=4, d_model=24, d_head=12, d_mlp=30,
    d_vocab=101, n_ctx=48, retention_form="chunkwise", chunk=4, decay_divisor=2.0,
)  # fmt: skip
TINY_WINDOW = YocoConfig(
    n_layers=4, n_self_layers=2, n_heads=4, n_kv_heads=2, d_model=24, d_head=10, d_mlp=40,
    d_vocab=101, n_ctx=48, self_decoder="window", window=4,
)  # fmt: skip
BENCH = YocoConfig(
    n_layers=6, n_self_layers=3, n_heads=8, n_kv_heads=8, d_model=256, d_head=32, d_mlp=688,
    d_vocab=1138, n_ctx=512, retention_form="chunkwise", chunk=64,
)  # fmt: skip

SPEC = VariantSpec(
    name="yoco",
    config=YocoConfig,
    build=Yoco,
    presets={
        "tiny": TINY,
        "tiny-recurrent": TINY_RECURRENT,
        "tiny-chunkwise": TINY_CHUNKWISE,
        "tiny-window": TINY_WINDOW,
        "bench": BENCH,
    },
    cache_elements=_cache_elements,
    title="YOCO",
    paper="Sun et al. 2024, arXiv 2405.05254",
    control="llama",
    inspections=("retention_decay", "shared_memory"),
    hook_shapes={
        "yoco.hook_memory": "batch pos d_model",
        "yoco.hook_shared_k": "batch pos kv_head d_head",
        "yoco.hook_shared_v": "batch pos kv_head d_head",
        "attn.hook_log_decay": "batch pos head",
        "attn.hook_decay_mask": "batch head query key",
        "attn.hook_retention": "batch head query key",
        "attn.hook_o_norm": "batch pos head d_head",
        "attn.hook_gate": "batch pos head d_head",
    },
    # in the recurrent and the chunkwise form these are not computed unless they are looked at
    two_paths=r"attn\.hook_(decay_mask|retention)$",
)
