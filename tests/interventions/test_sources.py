"""What each source writes, by hand."""

import pytest
import torch

from mechbench.interventions.sources import FromRun, Function, Mean, Resample, Value, Zero

NAME = "blocks.0.attn.hook_z"
RUN = {NAME: torch.arange(24.0).reshape(4, 3, 2)}
CURRENT = torch.ones(4, 3, 2)


@pytest.mark.parametrize("seed", range(5))
def test_resample_gives_every_prompt_another_ones_activation(seed):
    value = Resample("corrupt", seed).value(NAME, CURRENT, RUN)
    rows = [RUN[NAME].tolist().index(row) for row in value.tolist()]
    assert sorted(rows) == [0, 1, 2, 3]
    assert all(partner != prompt for prompt, partner in enumerate(rows))
    assert torch.equal(value, Resample("corrupt", seed).value(NAME, CURRENT, RUN))


def test_mean_is_over_prompts_position_by_position():
    value = Mean("corrupt").value(NAME, CURRENT, RUN)
    assert value.shape == CURRENT.shape
    for prompt in range(4):
        for position in range(3):
            expected = sum(RUN[NAME][b, position] for b in range(4)) / 4
            assert torch.equal(value[prompt, position], expected)


def test_the_others():
    assert torch.equal(FromRun("corrupt").value(NAME, CURRENT, RUN), RUN[NAME])
    assert torch.equal(Zero().value(NAME, CURRENT, {}), torch.zeros(4, 3, 2))
    assert torch.equal(Value(RUN[NAME]).value(NAME, CURRENT, {}), RUN[NAME])
    assert torch.equal(Function(lambda x: x + 2).value(NAME, CURRENT, {}), CURRENT + 2)
