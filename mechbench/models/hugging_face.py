"""Reading models that mechbench re-implements from folders in Hugging Face's layout."""

from pathlib import Path
from typing import Any

import torch

from mechbench.models.base import HookedModel
from mechbench.models.checkpoint import WeightFiles, fill, raise_problems, tensor_problems
from mechbench.models.config_keys import ConfigKeys
from mechbench.models.registry import VARIANTS
from mechbench.models.spec import HuggingFaceFormat, VariantSpec

# Keys that say how a model was trained or is used, not what it computes. What the older versions of
# Hugging Face's library wrote into every file is here too.
_MEANINGLESS = frozenset(
    """
    architectures model_type transformers_version _name_or_path _num_labels dtype torch_dtype
    initializer_range use_cache gradient_checkpointing
    bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id
    output_attentions output_hidden_states output_past return_dict torchscript use_bfloat16
    id2label label2id num_labels problem_type finetuning_task task_specific_params prefix
    chunk_size_feed_forward tokenizer_class is_decoder
    do_sample early_stopping max_length min_length num_beams num_return_sequences
    length_penalty no_repeat_ngram_size repetition_penalty temperature top_k top_p
    """.split()
)


def format_for(model_type: Any) -> tuple[VariantSpec, HuggingFaceFormat] | None:
    """The variant that re-implements a Hugging Face model type, if one does."""
    for spec in VARIANTS:
        if spec.hugging_face is not None and spec.hugging_face.model_type == model_type:
            return spec, spec.hugging_face
    return None


def read_hugging_face(
    config: dict[str, Any], files: WeightFiles, folder: Path, model_name: str, dtype: torch.dtype
) -> HookedModel:
    """A re-implemented model with the weights of a Hugging Face folder.

    Raises:
        CheckpointError: with every config key and tensor that does not fit.
    """
    found = format_for(config.get("model_type"))
    assert found is not None, config.get("model_type")
    spec, hf = found
    keys = ConfigKeys(config)
    keys.ignore(_MEANINGLESS)
    for key, supported in (
        ("is_encoder_decoder", [False]),
        ("pruned_heads", [{}, None]),
        ("quantization_config", [None]),
    ):
        keys.expect(key, supported)
    model_config = hf.read_config(keys)
    keys.check_all_seen()
    problems = list(keys.problems)
    if not keys.usable:
        problems.append("its tensors were not checked, because these sizes are not known")
        raise_problems(folder, problems)
    files = files.without_prefix(hf.prefix)
    stored = list(hf.tensors(model_config))
    repeats = set(hf.repeats) & set(files.headers) - {tensor.name for tensor in stored}
    problems += tensor_problems(stored, files, ignored=hf.ignored, allowed=repeats)
    problems += [
        f"tensor {name} differs from {hf.repeats[name]}, which the config says it equals"
        for name in sorted(repeats)
        if not _equal(files, name, hf.repeats[name])
    ]
    raise_problems(folder, problems)
    model = spec.build_empty(model_config, model_name, dtype)
    fill(model, stored, files)
    return model


def _equal(files: WeightFiles, a: str, b: str) -> bool:
    if b not in files.headers:
        return True  # reported as missing
    tensors = dict(files.tensors([a, b]))
    return torch.equal(tensors[a], tensors[b])
