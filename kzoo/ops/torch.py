"""Fast forms on PyTorch.

Memory stays in Keras's order, (batch, height, width, channels), and PyTorch's operations see it through permuted views:
what PyTorch calls channels_last. Going through `keras.ops` instead copies the input twice a convolution, and takes six
passes over memory for a batch normalization.
"""

from collections.abc import Sequence
from typing import Any

import keras
import torch
from keras import ops
from torch.nn import functional as F

from kzoo.acceleration import names, torch_norm, torch_observers, torch_packed, torch_steps
from kzoo.ops import generic, sharded
from kzoo.shards import Part

Tensor = Any


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d` does, without a copy of `x`."""
    x, kernel, bias = _tensors(x, kernel, bias)
    if not x.is_floating_point():
        x = x.to(kernel.dtype)
    y = F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias, stride, kernel.shape[0] // 2)
    return y.permute(0, 2, 3, 1)


def conv2d_relu(
    x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d_relu` does, on CPUs without gradients by oneDNN in a layout of its own."""
    x, kernel, bias, residual = _tensors(x, kernel, bias, residual)
    if _differentiates((x, kernel, bias, residual)) or not torch_packed.takes(x):
        return generic.conv2d_relu(x, kernel, stride, bias, residual, convolve=conv2d)
    return torch_packed.conv2d_relu(x, kernel, stride, bias, residual)


def _tensors(*values: Any) -> list[Any]:
    """Returns variables as their tensors, and leaves the rest as it is where all is on one device and a tensor already.

    `keras.ops.convert_to_tensor` does the same in ten times the time.
    """
    tensors = [value.value if isinstance(value, keras.Variable) else value for value in values]
    device = getattr(tensors[0], "device", None)
    if all(tensor is None or (isinstance(tensor, torch.Tensor) and tensor.device == device) for tensor in tensors):
        return tensors
    return [None if value is None else ops.convert_to_tensor(value) for value in values]


def _differentiates(tensors: Sequence[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.generic.batch_norm` does in one operation; no gradient flows through the statistics."""
    x, gamma, beta = _tensors(x, gamma, beta)
    if not torch_norm.takes(x, gamma):
        return generic.batch_norm(x, gamma, beta, epsilon)
    y, mean, variance = torch_norm.BatchNorm.apply(x, gamma, beta, epsilon)
    return y, mean, variance


def batch_norm_of_parts(
    x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, part: Part
) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.sharded.batch_norm` does without a mask, in one operation."""
    x, gamma, beta = _tensors(x, gamma, beta)
    if not torch_norm.takes(x, gamma):
        return sharded.batch_norm(x, gamma, beta, epsilon, part)
    y, mean, variance = torch_norm.BatchNormOfParts.apply(x, gamma, beta, epsilon, part)
    return y, mean, variance


def scale_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Does what `kzoo.ops.generic.scale_shift` does in one pass over `x`."""
    x, scale, shift = _tensors(x, scale, shift)
    if x.dtype == scale.dtype:
        return torch.addcmul(shift, x, scale)
    if x.dtype != torch.bfloat16 or x.ndim != 4:
        return generic.scale_shift(x, scale, shift)
    unchanged = torch.zeros_like(scale), torch.ones_like(scale)  # mean and variance
    return F.batch_norm(x.permute(0, 3, 1, 2), *unchanged, scale, shift, eps=0.0).permute(0, 2, 3, 1)


def normalize(x: Tensor, largest: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Does what `kzoo.ops.generic.normalize` does, a row at a time: three channels are few for CPUs to loop over."""
    x, *statistics = _tensors(x, largest, mean, std)
    if not x.is_cpu or x.ndim < 3 or _differentiates(statistics) or torch_observers.transforms():
        return generic.normalize(x, *statistics)
    largest, mean, std = (values.repeat(x.shape[-2]) for values in statistics)
    return x.flatten(-2).div(largest).sub_(mean).div_(std).reshape(x.shape)


def pad_channels(x: Tensor, before: int, after: int) -> Tensor:
    """Does what `kzoo.ops.generic.pad_channels` does, without what Keras prepares for any padding: 80 us."""
    return F.pad(*_tensors(x), (before, after))


@torch.no_grad()
def update_average(average: Any, value: Tensor, momentum: float) -> None:
    """Does what `kzoo.ops.generic.update_average` does, in place."""
    if names.may_write_in_place():
        average.value.mul_(momentum).add_(value.detach(), alpha=1 - momentum)
    else:
        generic.update_average(average, value, momentum)


def sgd_step(
    weights: Sequence[Any],
    velocities: Sequence[Any] | None,
    gradients: Sequence[Tensor],
    rate: Tensor,
    *,
    momentum: float,
    nesterov: bool,
    decay: Sequence[float],
    factors: Sequence[float],
) -> bool:
    """Does what `kzoo.ops.generic.sgd_step` says, by a few operations over all weights."""
    if not torch_steps.ACCELERATION.is_active():
        return False
    values = [variable.value for variable in weights]
    moving = None if velocities is None else [variable.value for variable in velocities]
    options: Any = {"momentum": momentum, "nesterov": nesterov, "decay": decay, "factors": factors}
    torch_steps.sgd_step(values, moving, gradients, ops.convert_to_tensor(rate), **options)
    return True


@torch.no_grad()
def move_averages(averages: Sequence[Any], values: Sequence[Tensor], weight: float) -> None:
    """Does what `kzoo.ops.generic.move_averages` does, by one operation over all."""
    if torch_steps.ACCELERATION.is_active():
        torch_steps.move_averages([average.value for average in averages], list(values), weight)
    else:
        generic.move_averages(averages, values, weight)


def look_up(table: Any, index: Tensor, kept: dict[Any, Any]) -> Tensor:
    """Does what `kzoo.ops.generic.look_up` does, with the table converted once for each type and device."""
    key = (keras.config.floatx(), index.device)
    if key not in kept:
        kept[key] = torch.as_tensor(table, dtype=getattr(torch, key[0]), device=index.device)
    return kept[key][index]
