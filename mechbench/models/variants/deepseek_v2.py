"""DeepSeek-V2: latent attention, and MLPs of experts chosen within groups.

Checked against Hugging Face's ``DeepseekV2ForCausalLM``, which has neither the balance losses nor
the dropping of tokens nor the absorbed form of attention; those are checked against the equations.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mechbench.errors import SpecError
from mechbench.models.components.expert_mlp import (
    ExpertMLP,
    Routing,
    communication_balance,
    drop_tokens,
    expert_balance,
    group_balance,
)
from mechbench.models.components.gated_mlp import GatedMLP
from mechbench.models.components.latent_attention import LatentAttention
from mechbench.models.components.latent_block import LatentBlock
from mechbench.models.components.norm import RMSNorm
from mechbench.models.components.rotary import Rotary, geometric_frequencies
from mechbench.models.components.yarn import yarn_frequencies
from mechbench.models.config_keys import ConfigKeys
from mechbench.models.contract import Capabilities, hook_config
from mechbench.models.decoder import Decoder, initialise
from mechbench.models.formats.deepseek_v2 import config_values, stored_tensors
from mechbench.models.parts import Reads, Writes, head_names, head_writes, mlp_reads
from mechbench.models.spec import HuggingFaceFormat, VariantSpec


@dataclass(frozen=True, kw_only=True)
class DeepseekV2Config:
    """What varies between models of the DeepSeek-V2 family.

    Attributes:
        d_q_latent: width of the latent of queries; None where queries read the stream.
        d_content, d_rot: features of a head's query and key, unturned and turned by position.
        n_dense_layers: so many first layers have one MLP, of width ``d_mlp``; the others have
            ``n_experts``, each of width ``d_expert``, and one of width ``n_shared * d_expert``.
        n_groups, n_chosen_groups: a token's experts stand in so many of the groups (devices).
        routed_scale: factor on the routed experts' outputs.
        yarn_factor, yarn_trained_ctx, yarn_fast, yarn_slow: see ``yarn_frequencies``; a factor of 1
            leaves the frequencies as they are.
        rotary_scale, score_scale: factors on turned queries and keys, and on all scores.
        expert_balance, group_balance, communication_balance: weights of the auxiliary losses
            (alpha 1 to 3 of the paper, and its values).
        capacity_factor: see ``drop_tokens``; None drops nothing.
        exempt_share: of sequences, in training, from which nothing is dropped.

    Raises:
        SpecError: groups that do not divide the experts, or too few experts to choose from.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_q_latent: int | None
    d_kv_latent: int
    d_content: int
    d_rot: int
    d_value: int
    d_mlp: int
    n_dense_layers: int
    n_experts: int
    n_shared: int
    n_chosen: int
    d_expert: int
    d_vocab: int
    n_ctx: int
    n_groups: int = 1
    n_chosen_groups: int = 1
    routed_scale: float = 1.0
    rope_theta: float = 10000.0
    yarn_factor: float = 1.0
    yarn_trained_ctx: int = 4096
    yarn_fast: float = 32.0
    yarn_slow: float = 1.0
    rotary_scale: float = 1.0
    score_scale: float = 1.0
    norm_eps: float = 1e-6
    tied: bool = False
    expert_balance: float = 0.003
    group_balance: float = 0.05
    communication_balance: float = 0.02
    capacity_factor: float | None = None
    exempt_share: float = 0.1

    def __post_init__(self) -> None:
        if self.n_experts % self.n_groups:
            raise SpecError(f"{self.n_experts} experts do not make {self.n_groups} equal groups.")
        reached = self.n_chosen_groups * (self.n_experts // self.n_groups)
        if not (1 <= self.n_chosen_groups <= self.n_groups and 1 <= self.n_chosen <= reached):
            raise SpecError(
                f"A token cannot choose {self.n_chosen} experts in {self.n_chosen_groups} of "
                f"{self.n_groups} groups of {self.n_experts // self.n_groups}: choose fewer "
                "experts, or more of the groups."
            )
        if self.d_rot % 2:
            raise SpecError(f"d_rot = {self.d_rot}, which must be even: features turn in pairs.")


def _block(cfg: DeepseekV2Config, layer: int) -> LatentBlock:
    frequencies = geometric_frequencies(cfg.d_rot, cfg.rope_theta)
    if cfg.yarn_factor != 1:
        frequencies = yarn_frequencies(
            cfg.d_rot,
            cfg.rope_theta,
            factor=cfg.yarn_factor,
            trained_ctx=cfg.yarn_trained_ctx,
            fast=cfg.yarn_fast,
            slow=cfg.yarn_slow,
        )
    attn = LatentAttention(
        cfg.d_model,
        cfg.n_heads,
        d_q_latent=cfg.d_q_latent,
        d_kv_latent=cfg.d_kv_latent,
        d_content=cfg.d_content,
        d_rot=cfg.d_rot,
        d_value=cfg.d_value,
        rotary=Rotary(frequencies, interleaved=True),
        rotary_scale=cfg.rotary_scale,
        score_scale=cfg.score_scale * (cfg.d_content + cfg.d_rot) ** -0.5,
    )
    if layer < cfg.n_dense_layers:
        mlp = GatedMLP(cfg.d_model, cfg.d_mlp, nn.functional.silu)
    else:
        mlp = ExpertMLP(
            cfg.d_model,
            cfg.d_expert,
            n_experts=cfg.n_experts,
            n_shared=cfg.n_shared,
            n_chosen=cfg.n_chosen,
            n_groups=cfg.n_groups,
            n_chosen_groups=cfg.n_chosen_groups,
            scale=cfg.routed_scale,
        )
    return LatentBlock(
        RMSNorm(cfg.d_model, cfg.norm_eps), attn, RMSNorm(cfg.d_model, cfg.norm_eps), mlp
    )


class DeepseekV2(Decoder):
    """DeepSeek-V2 with hook points. See ``HookedModel`` for what it offers."""

    def __init__(self, config: DeepseekV2Config, model_name: str = "deepseek-v2"):
        super().__init__(
            config,
            blocks=(_block(config, layer) for layer in range(config.n_layers)),
            ln_final=RMSNorm(config.d_model, config.norm_eps),
            learned_positions=False,
            tied=config.tied,
        )
        initialise(self)
        self.finish(
            hook_config(
                config, model_name, d_head=config.d_value, act_fn="silu", normalization_type="RMS"
            ),
            Capabilities(additive_mlp=config.n_dense_layers >= config.n_layers, head_weights=False),
        )

    def training_loss(
        self,
        tokens: Int[Tensor, "batch pos"],
        generator: torch.Generator,
        scored: Bool[Tensor, "batch pos"] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Cross-entropy and, of each layer of experts, the three balance losses; tokens dropped.

        Source: DeepSeek-V2, section 2.2.3; that the losses of all layers are added is our reading.
        """
        cfg = self.config
        exempt = torch.rand(len(tokens), generator=generator) < cfg.exempt_share
        resid, routings = self.embed_tokens(tokens), []
        for block in self.blocks:
            assert isinstance(block, LatentBlock)
            resid_mid = block.to_mid(resid)
            if isinstance(block.mlp, GatedMLP):
                resid = block.to_post(resid_mid)
                continue
            x = block.mlp_input(resid_mid)
            routing = block.mlp.route(x)
            weights = routing.weights
            if cfg.capacity_factor is not None:
                at = exempt.to(tokens.device)
                weights = drop_tokens(routing, cfg.n_groups, cfg.capacity_factor, at)
            resid = block.written(resid_mid, block.mlp.combine(x, weights))
            routings.append(routing)
        loss = self.loss_of(resid, tokens, scored)
        terms = {"next_token": loss, **self._balance(routings)}
        total = torch.stack(list(terms.values())).sum()
        return total, {name: term.detach() for name, term in terms.items()}

    def _balance(self, routings: list[Routing]) -> dict[str, Tensor]:
        cfg, zero = self.config, self.W_E.new_zeros(())
        groups, reached = cfg.n_groups, cfg.n_chosen_groups
        return {
            "expert_balance": cfg.expert_balance * sum(map(expert_balance, routings), zero),
            "group_balance": cfg.group_balance
            * sum((group_balance(r, groups) for r in routings), zero),
            "communication_balance": cfg.communication_balance
            * sum((communication_balance(r, groups, reached) for r in routings), zero),
        }

    def block_parts(self, layer: int) -> Iterator[Reads | Writes]:
        """Query, latent and shared key read as one each; heads write, then the experts."""
        prefix, block = f"blocks.{layer}", self.blocks[layer]
        assert isinstance(block, LatentBlock)
        heads = head_names(layer, self.cfg.n_heads)
        for part in ("q", "kv", "rot"):
            own = f"{prefix}.attn.hook_{part}_in"
            yield Reads((f"a{layer}<{part}>",), (heads,), f"{prefix}.hook_resid_pre", own, own)
        yield head_writes(layer, block.attn, heads)
        if isinstance(block.mlp, GatedMLP):
            yield mlp_reads(layer, "hook_resid_mid", (f"m{layer}",))
            yield Writes((f"m{layer}",), f"{prefix}.hook_mlp_out")
            return
        routed = tuple(f"m{layer}.e{i}" for i in range(self.config.n_experts))
        experts = (*routed, f"m{layer}.shared")
        yield mlp_reads(layer, "hook_resid_mid", experts)
        yield Writes(experts, f"{prefix}.mlp.hook_expert_out")


def _read_config(keys: ConfigKeys) -> DeepseekV2Config | None:
    values = config_values(keys)
    if not keys.usable:
        return None
    try:
        return DeepseekV2Config(**values)
    except SpecError as error:
        keys.note(str(error))
        return None


TINY = DeepseekV2Config(
    n_layers=3, n_heads=4, d_model=24, d_q_latent=14, d_kv_latent=11, d_content=10, d_rot=6,
    d_value=8, d_mlp=40, n_dense_layers=1, n_experts=6, n_shared=2, n_chosen=3, d_expert=13,
    n_groups=3, n_chosen_groups=2, routed_scale=1.5, d_vocab=101, n_ctx=48,
)  # fmt: skip
TINY_GREEDY = DeepseekV2Config(
    n_layers=2, n_heads=3, d_model=20, d_q_latent=None, d_kv_latent=12, d_content=7, d_rot=4,
    d_value=10, d_mlp=30, n_dense_layers=0, n_experts=5, n_shared=1, n_chosen=2, d_expert=11,
    d_vocab=101, n_ctx=48, yarn_factor=4.0, yarn_trained_ctx=12, rotary_scale=1.1, score_scale=1.3,
    tied=True, capacity_factor=1.0,
)  # fmt: skip
BENCH = DeepseekV2Config(
    n_layers=6, n_heads=8, d_model=256, d_q_latent=128, d_kv_latent=64, d_content=32, d_rot=16,
    d_value=32, d_mlp=688, n_dense_layers=1, n_experts=8, n_shared=1, n_chosen=2, d_expert=228,
    d_vocab=1138, n_ctx=512,
)  # fmt: skip

SPEC = VariantSpec(
    name="deepseek-v2",
    config=DeepseekV2Config,
    build=DeepseekV2,
    presets={"tiny": TINY, "tiny-greedy": TINY_GREEDY, "bench": BENCH},
    cache_elements=lambda cfg, n: cfg.n_layers * (cfg.d_kv_latent + cfg.d_rot) * n,
    title="DeepSeek-V2",
    paper="DeepSeek-AI 2024, arXiv 2405.04434",
    control="llama",
    inspections=("latent_attention", "expert_load", "expert_interventions", "expert_knockout"),
    hook_shapes={
        "attn.hook_q_latent": "batch pos q_latent",
        "attn.hook_kv_latent": "batch pos kv_latent",
        "attn.q_norm.hook_normalized": "batch pos q_latent",
        "attn.kv_norm.hook_normalized": "batch pos kv_latent",
        "attn.hook_q": "batch pos head d_qk",
        "attn.hook_k": "batch pos head d_qk",
        "attn.hook_rot_q": "batch pos head d_rot",
        "attn.hook_rot_k": "batch pos one d_rot",
        "attn.hook_scores_content": "batch head query key",
        "attn.hook_scores_rope": "batch head query key",
        "mlp.hook_router_logits": "batch pos expert",
        "mlp.hook_router_probs": "batch pos expert",
        "mlp.hook_group_scores": "batch pos group",
        "mlp.hook_expert_indices": "batch pos chosen",
        "mlp.hook_expert_weights": "batch pos expert",
        "mlp.hook_expert_out": "batch pos writer d_model",
        "mlp.hook_routed_out": "batch pos d_model",
        "mlp.hook_shared_out": "batch pos d_model",
    },
    axis_sizes=lambda cfg: {
        "q_latent": cfg.d_q_latent or 0,
        "kv_latent": cfg.d_kv_latent,
        "d_qk": cfg.d_content + cfg.d_rot,
        "d_rot": cfg.d_rot,
        "expert": cfg.n_experts,
        "group": cfg.n_groups,
        "chosen": cfg.n_chosen,
        "writer": cfg.n_experts + 1,
    },
    two_paths=r"attn\.hook_scores_(content|rope)$|mlp\.hook_expert_(weights|out)$",
    static_shapes=False,
    hugging_face=HuggingFaceFormat(
        model_type="deepseek_v2",
        read_config=_read_config,
        tensors=stored_tensors,
        prefix="model.",
        repeats={"lm_head.weight": "embed_tokens.weight"},
        ignored=r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
    ),
)
