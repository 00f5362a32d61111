"""Models that stay loaded: shared, released in order, one caller at a time."""

from threading import Thread

import pytest
import torch

from mechbench.errors import MechbenchError, ModelNotFoundError
from mechbench.experiments.model_pool import ModelPool
from mechbench.experiments.runner import load_part
from mechbench.experiments.spec import ModelPart
from tests.small_experiment import write_tiny_model


@pytest.fixture
def pool():
    made = []

    def load(part, device):
        if part.name == "missing":
            raise ModelNotFoundError("No such model.")
        made.append(part.name)
        model = torch.nn.Linear(3, 2)
        model.cfg = torch.nn.Module()
        model.cfg.device = device or "cpu"
        return model

    pool = ModelPool(load, most=2)
    pool.made = made
    return pool


def use(pool, name):
    with pool.use(ModelPart(name=name)) as model:
        return model


def test_the_least_recently_used_is_released(pool):
    first = use(pool, "a")
    use(pool, "b")
    assert use(pool, "a") is first
    use(pool, "c")
    assert [line.name for line in pool.loaded()] == ["a", "c"]
    assert pool.loaded()[0].nbytes == 4 * (3 * 2 + 2)
    use(pool, "b")
    assert pool.made == ["a", "b", "c", "b"]


def test_a_model_is_released_when_asked_for(pool):
    use(pool, "a")
    use(pool, "b")
    pool.release(pool.loaded()[0])
    assert [line.name for line in pool.loaded()] == ["b"]
    use(pool, "a")
    assert pool.made == ["a", "b", "a"]


def test_other_options_are_another_model_and_a_failure_keeps_nothing(pool):
    use(pool, "a")
    with pool.use(ModelPart(name="a", fold_ln=False)):
        assert len(pool.made) == 2
    with pytest.raises(ModelNotFoundError):
        use(pool, "missing")
    assert "missing" not in [line.name for line in pool.loaded()]
    with pytest.raises(MechbenchError, match="at least one"):
        ModelPool(lambda part, device: None, most=0)


def test_one_caller_at_a_time_and_others_models_are_free(pool):
    seen = []
    with pool.use(ModelPart(name="a")):
        waiting = Thread(target=lambda: seen.append(use(pool, "a")))
        waiting.start()
        use(pool, "b")
        assert pool.loaded() and not seen
    waiting.join(5)
    assert len(seen) == 1


def test_a_real_model(tmp_path):
    part = ModelPart(name=str(write_tiny_model(tmp_path / "tiny")))
    pool = ModelPool(load_part)
    with pool.use(part, "cpu") as model:
        nbytes = sum(p.nbytes for p in [*model.parameters(), *model.buffers()])
    (line,) = pool.loaded()
    assert line.nbytes == nbytes > 0 and line.device == "cpu"
