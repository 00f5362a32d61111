"""Direct effects: what heads add to the logit difference without any later layer."""

import torch
import xarray as xr

from mechbench.analyses.common.attention import head_activations, z_name
from mechbench.analyses.common.frame import per_prompt
from mechbench.analyses.common.weights import final_scale, letter_readout, require_layer_norm
from mechbench.tasks.acronym_task import AcronymTask


@torch.inference_mode()
def direct_effects(model, task: AcronymTask) -> xr.DataArray:
    """Each head's direct part of (correct letter - mean of the other letters), in logits.

    Axes (layer head prompt answer). The final norm's divisor is that of the clean run, so the parts
    add up; positive helps the answer.
    """
    require_layer_norm(model)
    device, layers = model.cfg.device, range(model.cfg.n_layers)
    tokens, at = task.clean.to(device), list(task.frame.answers)
    resid = model(tokens, stop_at_layer=model.cfg.n_layers)[:, at]
    letters = letter_readout(model, task.capitals.to(device))  # [26 d_model]
    correct = letters[task.letters.to(device)]
    others = (letters.sum(0) - correct) / (len(letters) - 1)
    directions = (correct - others) / final_scale(model, resid)
    zs = head_activations(model, tokens, z_name, layers)
    parts = []
    for layer in layers:
        out = torch.einsum("bahc,hcd->bahd", zs[layer][:, at], model.blocks[layer].attn.W_O)
        parts.append(torch.einsum("bahd,bad->hba", out, directions))
    heads = {"layer": layers, "head": range(model.cfg.n_heads)}
    return per_prompt(torch.stack(parts), task, meaning="direct effect on LD", **heads)
