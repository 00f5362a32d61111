"""Files of a run are whole or absent."""

import errno
import os

import pytest
import torch

from mechbench.errors import StoreError
from mechbench.training.checkpoints import (
    append_metrics,
    keep_metrics_until,
    read_metrics,
    replace_file,
    save_weights,
    write_text,
)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(part):
        part.write_text("ne")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match="No space left on device"):
        replace_file(path, full)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_are_written_contiguous_in_the_asked_precision(tmp_path):
    from safetensors.torch import load_file

    weights = {"W": torch.arange(6.0).reshape(2, 3).T}
    save_weights(tmp_path / "w.safetensors", weights, torch.float16)
    assert torch.equal(load_file(tmp_path / "w.safetensors")["W"], weights["W"].half())


def test_metrics_after_a_step_are_dropped_and_half_lines_ignored(tmp_path):
    write_text(tmp_path / "metrics.jsonl", "")
    for step in (0, 2, 4):
        append_metrics(tmp_path, {"step": step, "loss": 1 / 3})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    assert [line["step"] for line in read_metrics(tmp_path)] == [0, 2, 4]
    keep_metrics_until(tmp_path, 2)
    assert read_metrics(tmp_path) == [{"step": s, "loss": 1 / 3} for s in (0, 2)]
