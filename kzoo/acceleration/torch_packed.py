"""Convolutions of folded networks on PyTorch, by the oneDNN calls that PyTorch's own compiler uses."""

from collections.abc import MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.weak import WeakIdKeyDictionary

from kzoo.acceleration import torch_observers
from kzoo.acceleration.registry import Acceleration

Tensor = Any

_PACKED: MutableMapping[Tensor, Any] = WeakIdKeyDictionary()  # kernels as oneDNN likes them


def takes(x: Tensor) -> bool:
    """Returns whether `conv2d_relu` is the faster form for images: float32 on CPUs, not within a compiled program.

    PyTorch's compiler has fusions of its own, and no fixed number of images. Whoever observes operations knows those
    with public names.
    """
    suits = x.is_cpu and x.dtype == torch.float32 and x.numel() > 0
    return suits and not torch.compiler.is_compiling() and not torch_observers.observes() and ACCELERATION.is_active()


def conv2d_relu(x: Tensor, kernel: Tensor, stride: int, bias: Tensor | None, residual: Tensor | None) -> Tensor:
    """Convolves, adds a residual and rectifies, with kernels in a layout of oneDNN's own. Has no derivative.

    oneDNN's ReLU, where no residual comes before it, makes 0 of what is not a number. Arguments and result as for
    `kzoo.ops.generic.conv2d_relu`, all tensors of PyTorch.
    """
    images, pad = x.permute(0, 3, 1, 2), kernel.shape[0] // 2
    geometry = ([pad, pad], [stride, stride], [1, 1], 1)
    after = "relu" if residual is None else "none"
    y = torch.ops.mkldnn._convolution_pointwise(
        images, _packed(kernel, images.shape, geometry), bias, *geometry, after, [None], ""
    ).permute(0, 2, 3, 1)
    return y if residual is None else y.add_(residual).relu_()


def _packed(kernel: Tensor, shape: Sequence[int], geometry: tuple[Any, ...]) -> Tensor:
    """Returns a kernel in the layout that oneDNN chooses for images of that shape, made anew when its values change."""
    copy, case, packed = _PACKED.get(kernel, (None, None, None))
    if case != (shape, geometry) or not torch.equal(copy, kernel):  # a tenth of what packing costs
        weights = kernel.detach().permute(3, 2, 0, 1).contiguous()
        packed = torch.ops.mkldnn._reorder_convolution_weight(weights, *geometry, list(shape))
        _PACKED[kernel] = kernel.detach().clone(), (shape, geometry), packed
    return packed


@torch.no_grad()
def _check() -> bool:
    x, kernel = (torch.from_numpy(np.arange(size, dtype=np.float32) - size / 2) for size in (2 * 25 * 4, 9 * 4 * 4))
    x, kernel = x.reshape(2, 5, 5, 4), kernel.reshape(3, 3, 4, 4)
    y = conv2d_relu(x, kernel, 2, None, torch.ones(2, 3, 3, 4, dtype=x.dtype))
    expected = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), None, 2, 1)
    return torch.allclose(y, (expected.permute(0, 2, 3, 1) + 1).relu(), rtol=1e-4)


ACCELERATION = Acceleration(
    "packed convolutions",
    does="convolutions of folded networks join bias and ReLU, with kernels laid out once instead of at each call",
    brings="7 to 12 % of a folded batch on CPUs",
    versions={"torch": ">=2.10,<2.15"},
    needs=("torch:ops.mkldnn._convolution_pointwise", "torch:ops.mkldnn._reorder_convolution_weight"),
    check=_check,
)
