"""The axes of hook points by name, in the words of ``mechbench.shapes``."""

from mechbench.models.spec import VariantSpec

# By the last part of the name; what only one architecture has is in its spec.
_COMMON = {
    "hook_embed": "batch pos d_model",
    "hook_pos_embed": "batch pos d_model",
    "hook_resid_pre": "batch pos d_model",
    "hook_resid_mid": "batch pos d_model",
    "hook_resid_post": "batch pos d_model",
    "hook_attn_out": "batch pos d_model",
    "hook_mlp_out": "batch pos d_model",
    "hook_mlp_in": "batch pos d_model",
    "hook_block_in": "batch pos d_model",
    "hook_memory_in": "batch pos d_model",
    "hook_q_in": "batch pos d_model",
    "hook_kv_in": "batch pos d_model",
    "hook_rot_in": "batch pos d_model",
    "hook_gate_in": "batch pos d_model",
    "hook_decay_in": "batch pos d_model",
    "hook_attn_in": "batch pos head d_model",
    "hook_q_input": "batch pos head d_model",
    "hook_k_input": "batch pos kv_head d_model",
    "hook_v_input": "batch pos kv_head d_model",
    "hook_q": "batch pos head d_head",
    "hook_k": "batch pos kv_head d_head",
    "hook_v": "batch pos kv_head d_head",
    "hook_attn_scores": "batch head query key",
    "hook_pattern": "batch head query key",
    "hook_z": "batch pos head d_head",
    "hook_result": "batch pos head d_model",
    "hook_pre": "batch pos d_mlp",
    "hook_post": "batch pos d_mlp",
    "hook_scale": "batch pos one",
    "hook_normalized": "batch pos d_model",
    "hook_rot_q": "batch pos head d_head",
    "hook_rot_k": "batch pos kv_head d_head",
    "hook_pre_linear": "batch pos d_mlp",
}


def hook_axes(name: str, spec: VariantSpec) -> str:
    """The axes of a hook point, as "batch pos d_model"; empty for a name that is not known."""
    own = [words for end, words in spec.hook_shapes.items() if f".{name}".endswith(f".{end}")]
    return own[0] if own else _COMMON.get(name.rsplit(".", 1)[-1], "")
