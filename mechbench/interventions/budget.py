"""How much memory work may take, and telling a lack of it from other errors."""

import psutil
import torch


def free_bytes(model) -> int:
    """Free memory where the model is."""
    if model.cfg.device.type == "cuda":
        return torch.cuda.mem_get_info(model.cfg.device)[0]
    return psutil.virtual_memory().available


def is_out_of_memory(error: BaseException) -> bool:
    """Whether smaller pieces could help."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "can't allocate memory" in str(error) or "not enough memory" in str(error)
    )
