"""Edge scores along writers' outputs, one prompt, writer bank and step at a time, from the tokens.

Inputs of heads are split and every writer's output is materialised.
"""

import torch

from mechbench.graphs.wiring import wire


def scores_along_activations(model, pairs, metric_of, steps):
    """``[prompt writer reader]``; ``metric_of(logits, prompt)`` reads logits ``[pos d_vocab]``."""
    wiring = wire(model)
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    scores = torch.zeros(
        len(pairs), len(wiring.graph.writers), len(wiring.graph.readers), dtype=torch.float64
    )
    names = [bank.hook_name for bank in wiring.writers]
    for prompt in range(len(pairs)):
        clean, corrupt = (
            _cached(model, tokens[prompt : prompt + 1], names)
            for tokens in (pairs.clean, pairs.corrupt)
        )
        for bank in wiring.writers:
            name = bank.hook_name
            written = bank.outputs(clean[name] - corrupt[name])[:, 0]  # [writer pos d_model]
            for step in range(1, steps + 1):
                at = corrupt[name] + step / steps * (clean[name] - corrupt[name])
                later = [r for r in wiring.readers if r.n_before > bank.writers.start]
                gradients = _gradients(
                    model,
                    pairs.clean[prompt : prompt + 1],
                    lambda logits, prompt=prompt: metric_of(logits[0], prompt),
                    (name, at),
                    [reader.input for reader in later],
                )
                for reader, gradient in zip(later, gradients, strict=True):
                    gradient = gradient[0] if gradient.dim() == 4 else gradient[0][:, None]
                    rows = slice(bank.writers.start, min(bank.writers.stop, reader.n_before))
                    product = torch.einsum("wpd,prd->wr", written, gradient)
                    scores[prompt, rows, reader.readers] += product / steps
    model.set_use_split_qkv_input(False)
    model.set_use_hook_mlp_in(False)
    return scores


def _cached(model, tokens, names):
    with torch.no_grad():
        return model.run_with_cache(tokens, names_filter=names)[1]


def _gradients(model, tokens, metric, replaced, names):
    kept = {}

    def keep(tensor, hook):
        kept[hook.name] = tensor.clone()
        return kept[hook.name]

    name, value = replaced
    value = value.clone().requires_grad_()
    with model.hooks([(name, lambda tensor, hook: value), *((n, keep) for n in names)]):
        total = metric(model(tokens))
    return torch.autograd.grad(total, [kept[n] for n in names])
