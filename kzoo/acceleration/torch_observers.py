"""Who else sees the operations of PyTorch, or makes something else of them than results."""

import torch
from torch.autograd import forward_ad

from kzoo.acceleration.registry import find

# Whether there are transforms of `torch.func`, and modes that see each operation.
_TRANSFORMS = find("torch._C:_are_functorch_transforms_active")
_MODES = [find(f"torch._C:{name}") for name in ("_len_torch_dispatch_stack", "_len_torch_function_stack")]


def transforms() -> bool:
    """Returns whether a program is traced, mapped or differentiated forward, or PyTorch does not tell.

    That takes operations with names: a function of `torch.autograd`, or one written for the compiler alone, has none of
    the rules.
    """
    level = getattr(forward_ad, "_current_level", 0)
    return torch.jit.is_tracing() or level >= 0 or _TRANSFORMS is None or _TRANSFORMS()


def observes() -> bool:
    """Returns whether anybody sees or changes each operation: a transform, a mode, or autocasting."""
    if transforms() or any(counts is None or counts() for counts in _MODES):
        return True
    return torch.is_autocast_enabled("cpu")
