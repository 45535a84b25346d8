"""Who else sees the operations of PyTorch, or makes something else of them than results."""

import torch
from torch.autograd import forward_ad

from kzoo.acceleration.registry import find

# Whether there are transforms of `torch.func`; how many modes see each operation.
_transforms = find("torch._C:_are_functorch_transforms_active")
_dispatch_modes, _function_modes = (find(f"torch._C:_len_torch_{kind}_stack") for kind in ("dispatch", "function"))


def transforms() -> bool:
    """Returns whether a program is traced, mapped or differentiated forward, or PyTorch does not tell.

    That takes operations with names: a function of `torch.autograd`, or one written for the compiler alone, has none of
    the rules.
    """
    level = getattr(forward_ad, "_current_level", 0)
    return level >= 0 or _transforms is None or _transforms() or torch.jit.is_tracing()


def observes() -> bool:
    """Returns whether anybody sees or changes each operation: a transform, a mode, or autocasting."""
    if transforms() or _dispatch_modes is None or _function_modes is None:
        return True
    return bool(_dispatch_modes() or _function_modes()) or torch.is_autocast_enabled("cpu")
