"""Batch normalization by PyTorch's own kernels, which have no public names."""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from kzoo.acceleration import torch_observers
from kzoo.acceleration.registry import Acceleration
from kzoo.shards import Part

Tensor = Any


class BatchNorm(torch.autograd.Function):
    """PyTorch's own kernels, but for the sums of the statistics.

    On CPUs `torch.native_batch_norm` adds up all values of a channel one by one. Of images with an even background
    that loses four digits of float32. Here each pixel's place has sums of its own, over the batch, which then are
    averaged over space (Chan, Golub & LeVeque, 1979, equation 1.5): as fast, and exact to the last bits. Images in
    bfloat16 are read and written as they are; statistics and sums have the dtype of `gamma`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        images = x.permute(0, 3, 1, 2)
        if x.is_cpu:
            mean, variance = _statistics(x, gamma.dtype)
            inverse_std = (variance + epsilon).rsqrt()
            settings = (gamma, beta, mean, variance, False, 0.0, epsilon)
            if torch.compiler.is_compiling():
                y = torch.native_batch_norm(images, *settings)[0].permute(0, 2, 3, 1)
            else:  # a tensor of its own, no view: what reads it may write over it
                y, unused = torch.empty_like(x), gamma.new_empty(0)
                torch.native_batch_norm(images, *settings, out=(y.permute(0, 3, 1, 2), unused, unused.clone()))
        else:
            y, mean, inverse_std = torch.native_batch_norm(images, gamma, beta, None, None, True, 0.0, epsilon)
            y, variance = y.permute(0, 2, 3, 1), (inverse_std.pow(-2) - epsilon).clamp(min=0)
        ctx.save_for_backward(x, gamma, mean, inverse_std)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, mean, inverse_std = ctx.saved_tensors
        if torch.is_grad_enabled():  # for derivatives of this one
            return *_slopes(x, gamma, slope, ctx.epsilon), None
        images, slope = x.permute(0, 3, 1, 2), slope.permute(0, 3, 1, 2)
        statistics = (None, None, mean, inverse_std, True, ctx.epsilon)
        slopes = torch.ops.aten.native_batch_norm_backward(slope, images, gamma, *statistics, [True, True, True])
        return slopes[0].permute(0, 2, 3, 1), *slopes[1:], None


class BatchNormOfParts(torch.autograd.Function):
    """The same where each of several workers has a part of the batch: the statistics are those of all of it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, part: Part
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _statistics_of_all(x, gamma.dtype, part)
        y = torch.native_batch_norm(x.permute(0, 3, 1, 2), gamma, beta, mean, variance, False, 0.0, epsilon)[0]
        ctx.save_for_backward(x, gamma, mean, variance)
        ctx.epsilon, ctx.part = epsilon, part
        ctx.mark_non_differentiable(mean, variance)
        return y.permute(0, 2, 3, 1), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, mean, variance = ctx.saved_tensors
        part: Part = ctx.part
        images, by_image = x.permute(0, 3, 1, 2), slope.permute(0, 3, 1, 2)
        _, by_gamma, by_beta = torch.ops.aten.native_batch_norm_backward(
            by_image, images, gamma, mean, variance, None, None, False, ctx.epsilon, [False, True, True]
        )
        scale_sum, shift_sum = part.all_sum(torch.stack([by_gamma, by_beta])).unbind()
        inverse_std = (variance + ctx.epsilon).rsqrt()
        count = part.total * x.shape[1] * x.shape[2]
        by_slope = gamma * inverse_std
        by_value = -by_slope * inverse_std * scale_sum / count
        by_constant = -by_slope * shift_sum / count - by_value * mean
        by_x = _for_rows(by_constant, x).addcmul(_for_rows(by_value, x), x.flatten(2).to(gamma.dtype))
        by_x = by_x.addcmul_(_for_rows(by_slope, x), slope.flatten(2).to(gamma.dtype)).to(x.dtype).view(x.shape)
        if part.kept is not None:
            by_x = by_x * part.kept.reshape(-1, 1, 1, 1)
        return by_x, by_gamma, by_beta, None, None


def _for_rows(per_channel: Tensor, x: Tensor) -> Tensor:
    """Returns numbers of the channels for each pixel of a row: along it operations are faster than along channels."""
    return per_channel.repeat(x.shape[2])


def _statistics_of_all(x: Tensor, dtype: torch.dtype, part: Part) -> tuple[Tensor, Tensor]:
    """Returns mean and biased variance of each channel over the parts of all workers (Chan et al., equation 1.5)."""
    mean, variance = _statistics(x, dtype)
    count = x.numel() // x.shape[-1] if part.kept is None or bool(part.kept.all()) else 0
    assert part.all_gather is not None
    own = torch.cat([mean, variance, mean.new_full((1,), count)])
    found = part.all_gather(own)
    share = found[:, -1:] / found[:, -1:].sum()
    means, variances = found[:, :-1].tensor_split(2, 1)
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0)


def takes(x: Tensor, gamma: Tensor) -> bool:
    """Returns whether `BatchNorm` takes images: at least one, and where an operation needs no rules but a gradient."""
    known = x.dtype == gamma.dtype or (x.dtype, gamma.dtype) == (torch.bfloat16, torch.float32)
    return known and x.numel() > 0 and not torch_observers.transforms() and ACCELERATION.is_active()


def _slopes(x: Tensor, gamma: Tensor, slope: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients for `x`, `gamma` and `beta`, by operations that have gradients in turn."""
    images = (0, 1, 2)
    dtype, x, slope = x.dtype, x.to(gamma.dtype), slope.to(gamma.dtype)
    centred = x - x.mean(images)
    inverse_std = (centred.square().mean(images) + epsilon).rsqrt()
    normalized = centred * inverse_std
    for_x = slope - slope.mean(images) - normalized * (slope * normalized).mean(images)
    return (for_x * (gamma * inverse_std)).to(dtype), (slope * normalized).sum(images), slope.sum(images)


def _statistics(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns mean and biased variance of each channel of a tensor of shape `(batch, height, width, channels)`."""
    channels = x.shape[-1]
    places = x.reshape(x.shape[0], -1, 1, 1)
    averages = (None, None)  # which the sums would be folded into; narrow images get wide sums by wide averages alone
    if x.dtype != dtype:
        averages = torch.zeros(2, places.shape[1], dtype=dtype, device=x.device).unbind()
    means, variances = torch.batch_norm_update_stats(places, *averages, 0.0)
    means, variances = means.view(-1, channels), variances.view(-1, channels)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def _check() -> bool:
    x = torch.from_numpy(np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2)).requires_grad_()
    gamma, beta = torch.ones(2, dtype=x.dtype), torch.zeros(2, dtype=x.dtype)
    y, mean, variance = BatchNorm.apply(x, gamma, beta, 1e-5)
    centred = x - x.mean((0, 1, 2))
    expected = centred * (centred.square().mean((0, 1, 2)) + 1e-5).rsqrt()
    (slope,), (other,) = (torch.autograd.grad(z.square().mul(x.detach()).sum(), x) for z in (y, expected))
    pairs = ((y, expected), (mean, x.mean((0, 1, 2))), (variance, centred.square().mean((0, 1, 2))), (slope, other))
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)


ACCELERATION = Acceleration(
    "one operation a batch norm",
    does="a batch normalization is one operation of PyTorch, where Keras passes six times over memory",
    brings="PyTorch trains 1.4 times as fast",
    versions={"torch": ">=2.10,<2.15"},
    needs=("torch:native_batch_norm", "torch:batch_norm_update_stats", "torch:ops.aten.native_batch_norm_backward"),
    check=_check,
)
