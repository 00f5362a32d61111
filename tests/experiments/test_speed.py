"""The speed measurement compares two ways that agree."""

import torch

from mechbench.experiments.speed import load_speed, save_speed
from mechbench.experiments.speed_measurement import measure_speed
from mechbench.models.variants.gpt2 import SPEC
from mechbench.tasks.metrics import answer_log_prob
from mechbench.tasks.pairs import PromptPairs


def test_planner_and_plain_loop_agree_and_both_are_timed(tmp_path):
    config = SPEC.presets["tiny"]
    model = SPEC.build(config, "tiny")
    clean, corrupt = torch.randint(config.d_vocab, (2, 3, 6))
    pairs = PromptPairs(
        name="random",
        clean=clean,
        corrupt=corrupt,
        answer_positions=torch.full((3, 1), 5),
        answers=clean[:, :1],
        position_labels=tuple("abcdef"),
        answer_labels=("next",),
    )
    speed = measure_speed(model, pairs, answer_log_prob(pairs), repeats=1)
    assert speed.n_patches == config.n_layers * 6
    assert speed.n_prompts == 3
    assert speed.largest_difference < 1e-5
    assert speed.planner_s > 0 and speed.plain_s > 0
    assert speed.ratio == speed.plain_s / speed.planner_s
    assert load_speed(tmp_path) is None
    save_speed(tmp_path, speed)
    assert load_speed(tmp_path) == speed
    assert f"{speed.ratio:.1f} times" in speed.sentence
