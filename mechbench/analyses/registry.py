"""The analyses by name, for specs and the command line.

Each value is a module with a function of the same name as the key, and every such function is
called in one way::

    fn(model, task, *, seed=0, progress=None, checkpoint=None, **params) -> Result

``progress(done, total)`` is called while it works, ``checkpoint`` is a folder of its own in which
it keeps finished chunks and from which an equal call goes on, and ``params`` are its own keyword
arguments. Head names in params are text ("8.10"), because YAML reads a bare 8.10 as 8.1. The result
type is in ``mechbench.results.<name>`` and the figure in ``mechbench.figures.<name>``, a function
``<name>_figure(result)``.
"""

ANALYSES = {
    "pair_logits": "mechbench.analyses.pair_logits",
    "patch_sweep": "mechbench.analyses.patch_sweep",
    "patched_cell": "mechbench.analyses.patched_cell",
    "joint_patch": "mechbench.analyses.joint_patch",
    "residual_sweep": "mechbench.analyses.residual_sweep",
    "head_sweep": "mechbench.analyses.head_sweep",
    "attention_histogram": "mechbench.analyses.attention_histogram",
    "circuit_evaluation": "mechbench.analyses.circuit_evaluation",
    "ov_copying": "mechbench.analyses.ov_copying",
    "copy_scatter": "mechbench.analyses.copy_scatter",
    "position_swap": "mechbench.analyses.position_swap",
    "bos_swap": "mechbench.analyses.bos_swap",
    "combined_swap": "mechbench.analyses.combined_swap",
    "circuit_search": "mechbench.analyses.circuit_search",
    "circuit_formation": "mechbench.analyses.circuit_formation",
    "compare_published": "mechbench.analyses.compare_published",
    "head_scores": "mechbench.analyses.head_scores",
    "head_circuits": "mechbench.analyses.head_circuits",
    "composition_scores": "mechbench.analyses.composition_scores",
    "direct_attribution": "mechbench.analyses.direct_attribution",
    "logit_lens": "mechbench.analyses.logit_lens",
    "lens_view": "mechbench.analyses.lens_view",
    "attention_view": "mechbench.analyses.attention_view",
    "edge_attribution": "mechbench.analyses.edge_attribution",
    "node_attribution": "mechbench.analyses.node_attribution",
    "circuit_curve": "mechbench.analyses.circuit_curve",
    "circuit_tests": "mechbench.analyses.circuit_tests",
    "circuit_faithfulness": "mechbench.analyses.circuit_faithfulness",
    "circuit_agreement": "mechbench.analyses.circuit_agreement",
    "edge_patching": "mechbench.analyses.edge_patching",
    "acdc": "mechbench.analyses.acdc",
    "path_patching": "mechbench.analyses.path_patching",
    "router_map": "mechbench.analyses.router_map",
    "router_interventions": "mechbench.analyses.router_interventions",
    "token_routes": "mechbench.analyses.token_routes",
    "forced_route": "mechbench.analyses.forced_route",
    "attention_span": "mechbench.analyses.attention_span",
    "pathways": "mechbench.analyses.pathways",
    "expert_load": "mechbench.analyses.expert_load",
    "expert_interventions": "mechbench.analyses.expert_interventions",
    "expert_knockout": "mechbench.analyses.expert_knockout",
    "merged_experts": "mechbench.analyses.merged_experts",
    "latent_attention": "mechbench.analyses.latent_attention",
    "mlp_rings": "mechbench.analyses.mlp_rings",
    "qkv_convolutions": "mechbench.analyses.qkv_convolutions",
    "cache_sizes": "mechbench.analyses.cache_sizes",
    "retention_decay": "mechbench.analyses.retention_decay",
    "shared_memory": "mechbench.analyses.shared_memory",
    "hop_labels": "mechbench.analyses.hop_labels",
    "patchscope": "mechbench.analyses.patchscope",
    "entity_description": "mechbench.analyses.entity_description",
    "attention_knockout": "mechbench.analyses.attention_knockout",
    "sublayer_projection": "mechbench.analyses.sublayer_projection",
    "two_hop_stages": "mechbench.analyses.two_hop_stages",
    "back_patching": "mechbench.analyses.back_patching",
    "back_patched_text": "mechbench.analyses.back_patched_text",
    "anchored_bias": "mechbench.analyses.anchored_bias",
    "choice_lens": "mechbench.analyses.choice_lens",
    "value_vectors": "mechbench.analyses.value_vectors",
    "choice_heads": "mechbench.analyses.choice_heads",
    "value_vector_update": "mechbench.analyses.value_vector_update",
    "edited_choices": "mechbench.analyses.edited_choices",
    "attention_recalibration": "mechbench.analyses.attention_recalibration",
    "label_free_debiasing": "mechbench.analyses.label_free_debiasing",
    "edit_side_effects": "mechbench.analyses.edit_side_effects",
    "compare_choices": "mechbench.analyses.compare_choices",
}
