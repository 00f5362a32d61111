"""States of prompts of different lengths against one run of each."""

import pytest
import torch

from mechbench.errors import TaskError
from mechbench.interventions.states import block_outputs
from tests.interventions.conftest import VOCAB, random_model


def test_states_are_those_of_each_prompt_alone():
    model = random_model()
    prompts = [torch.randint(VOCAB, (n,)) for n in (5, 8, 5)]
    positions = torch.tensor([[1, 4], [7, 0], [2, 2]])
    found = block_outputs(model, prompts, positions)
    assert found.shape == (3, 2, 3, 32)
    for prompt, at, states in zip(prompts, positions, found, strict=True):
        _, cache = model.run_with_cache(prompt[None])
        for layer in range(3):
            expected = cache["resid_post", layer][0, at]
            torch.testing.assert_close(states[:, layer], expected, rtol=0, atol=1e-5)


def test_a_position_outside_its_prompt():
    prompts = [torch.zeros(5, dtype=torch.long), torch.zeros(3, dtype=torch.long)]
    with pytest.raises(TaskError, match="inside prompt 1, which has 3 tokens"):
        block_outputs(random_model(), prompts, torch.tensor([[4], [3]]))
