"""Fast paths on PyTorch.

Memory stays in Keras's order, (batch, height, width, channels), and PyTorch's operations see it through permuted views:
what PyTorch calls channels_last. Going through `keras.ops` instead copies the input twice a convolution, and takes six
passes over memory for a batch normalization.
"""

from collections.abc import MutableMapping, Sequence
from typing import Any

import keras
import torch
from keras import ops
from keras.src.backend.common.stateless_scope import in_stateless_scope
from torch.nn import functional as F
from torch.utils.weak import WeakIdKeyDictionary

from kzoo.ops import generic, memory, torch_batches, torch_walk
from kzoo.ops.torch_walk import is_prepared as is_prepared

Tensor = Any

_ONEDNN = hasattr(torch.ops.mkldnn, "_convolution_pointwise")  # what PyTorch's own compiler fuses convolutions with
_PACKED: MutableMapping[Tensor, Any] = WeakIdKeyDictionary()  # kernels as oneDNN likes them


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d` does, without a copy of `x`."""
    x, kernel, bias = _tensors(x, kernel, bias)
    y = F.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias, stride, kernel.shape[0] // 2)
    return y.permute(0, 2, 3, 1)


def conv2d_relu(
    x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d_relu` does, on CPUs without gradients by oneDNN in a layout of its own.

    oneDNN's ReLU, where no residual comes before it, makes 0 of what is not a number.
    """
    x, kernel, bias, residual = _tensors(x, kernel, bias, residual)
    if not _fuses(x) or _differentiates((x, kernel, bias, residual)):
        return generic.conv2d_relu(x, kernel, stride, bias, residual, convolve=conv2d)
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


def _tensors(*values: Any) -> list[Any]:
    """Returns variables as their tensors, and leaves the rest as it is where all is on one device and a tensor already.

    `keras.ops.convert_to_tensor` does the same in ten times the time.
    """
    tensors = [value.value if isinstance(value, keras.Variable) else value for value in values]
    device = getattr(tensors[0], "device", None)
    if all(tensor is None or (isinstance(tensor, torch.Tensor) and tensor.device == device) for tensor in tensors):
        return tensors
    return [None if value is None else ops.convert_to_tensor(value) for value in values]


def _fuses(x: Tensor) -> bool:
    compiling = torch.compiler.is_compiling()  # has fusions of its own, and no fixed number of images
    return not compiling and _ONEDNN and x.is_cpu and x.dtype == torch.float32 and x.numel() > 0


def _differentiates(tensors: Sequence[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.generic.batch_norm` does in one operation; no gradient flows through the statistics."""
    x, gamma, beta = _tensors(x, gamma, beta)
    y, mean, variance = _BatchNorm.apply(x, gamma, beta, epsilon)
    return y, mean, variance


class _BatchNorm(torch.autograd.Function):
    """PyTorch's own kernels, but for the sums of the statistics.

    On CPUs `torch.native_batch_norm` adds up all values of a channel one by one. Of images with an even background
    that loses four digits of float32. Here each pixel's place has sums of its own, over the batch, which then are
    averaged over space (Chan, Golub & LeVeque, 1979, equation 1.5): as fast, and exact to the last bits.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        images = x.permute(0, 3, 1, 2)
        if x.is_cpu:
            mean, variance = _statistics(x)
            inverse_std = (variance + epsilon).rsqrt()
            settings = (gamma, beta, mean, variance, False, 0.0, epsilon)
            if torch.compiler.is_compiling():
                y = torch.native_batch_norm(images, *settings)[0].permute(0, 2, 3, 1)
            else:  # a tensor of its own, no view: what reads it may write over it
                y, unused = torch.empty_like(x), x.new_empty(0)
                torch.native_batch_norm(images, *settings, out=(y.permute(0, 3, 1, 2), unused, unused.clone()))
        else:
            y, mean, inverse_std = torch.native_batch_norm(images, gamma, beta, None, None, True, 0.0, epsilon)
            y, variance = y.permute(0, 2, 3, 1), (inverse_std.pow(-2) - epsilon).clamp(min=0)
        ctx.save_for_backward(x, gamma, mean, inverse_std)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, gamma, mean, inverse_std = ctx.saved_tensors
        images, slope = x.permute(0, 3, 1, 2), slope.permute(0, 3, 1, 2)
        statistics = (None, None, mean, inverse_std, True, ctx.epsilon)
        slopes = torch.ops.aten.native_batch_norm_backward(slope, images, gamma, *statistics, [True, True, True])
        return slopes[0].permute(0, 2, 3, 1), *slopes[1:], None


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and biased variance of each channel of a tensor of shape `(batch, height, width, channels)`."""
    channels = x.shape[-1]
    places = x.reshape(len(x), -1, 1, 1)
    means, variances = torch.batch_norm_update_stats(places, None, None, 0.0)
    means, variances = means.view(-1, channels), variances.view(-1, channels)
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def scale_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Does what `kzoo.ops.generic.scale_shift` does in one pass over `x`."""
    x, scale, shift = _tensors(x, scale, shift)
    return torch.addcmul(shift, x, scale)


def normalize(x: Tensor, largest: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Does what `kzoo.ops.generic.normalize` does, a row at a time: three channels are few for CPUs to loop over."""
    x, *statistics = _tensors(x, largest, mean, std)
    if not x.is_cpu or x.ndim < 3 or _differentiates(statistics):
        return generic.normalize(x, *statistics)
    largest, mean, std = (values.repeat(x.shape[-2]) for values in statistics)
    return x.flatten(-2).div(largest).sub_(mean).div_(std).reshape(x.shape)


def pad_channels(x: Tensor, before: int, after: int) -> Tensor:
    """Does what `kzoo.ops.generic.pad_channels` does, without what Keras prepares for any padding: 80 us."""
    return F.pad(*_tensors(x), (before, after))


@torch.no_grad()
def update_average(average: Any, value: Tensor, momentum: float) -> None:
    """Does what `kzoo.ops.generic.update_average` does, in place."""
    if in_stateless_scope():
        generic.update_average(average, value, momentum)
    else:
        average.value.mul_(momentum).add_(value, alpha=1 - momentum)


@torch.no_grad()
def sgd_step(
    weights: Sequence[Any],
    velocities: Sequence[Any],
    gradients: Sequence[Tensor],
    rate: Tensor,
    *,
    momentum: float,
    nesterov: bool,
    decay: Sequence[float],
) -> bool:
    """Does what `kzoo.ops.generic.sgd_step` says, by a few operations over all weights instead of some for each.

    The rate stays a tensor: reading its value would wait for the GPU.
    """
    values = [weight.value for weight in weights]
    moving = [velocity.value for velocity in velocities]
    slopes = [gradient.to(value.dtype) for gradient, value in zip(gradients, values, strict=True)]
    for amount in set(decay) - {0.0}:
        chosen = [i for i, own in enumerate(decay) if own == amount]
        decayed = torch._foreach_add([slopes[i] for i in chosen], [values[i] for i in chosen], alpha=amount)
        for i, slope in zip(chosen, decayed, strict=True):
            slopes[i] = slope
    torch._foreach_mul_(moving, momentum)
    torch._foreach_add_(moving, slopes)
    steps = torch._foreach_add(slopes, moving, alpha=momentum) if nesterov else moving
    torch._foreach_sub_(values, torch._foreach_mul(steps, ops.convert_to_tensor(rate).to(values[0].dtype)))
    return True


memory.keep_freed()
torch_walk.install()
torch_batches.install()
