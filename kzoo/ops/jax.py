"""Fast forms on JAX.

On CPUs the gradient of a convolution's kernel is what costs: XLA computes it as a convolution whose kernel is a whole
feature map. Here it is a sum of matrix products over a few images at a time, small enough for the cache to hold what
they are gathered into. Convolutions go to oneDNN where jaxlib has it; where not, XLA's choice of library for the wider
ones would leave all cores but one idle. GPUs have kernels of their own, and get XLA's.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp
from keras import config, ops

from kzoo.acceleration import jax_onednn, jax_products
from kzoo.acceleration.jax_once import computed_once as computed_once
from kzoo.ops import generic
from kzoo.shards import Part

Tensor = Any

_IMAGES_AT_ONCE = 16
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def divide(x: Tensor, divisor: Tensor) -> Tensor:
    """Does what `kzoo.ops.generic.divide` does.

    XLA would multiply by the reciprocal of a divisor smaller than `x`. For GPUs it divides in float32 to the last two
    units only; a quotient in float64, rounded once, is right.
    """
    x = ops.convert_to_tensor(x)
    divisor = ops.convert_to_tensor(divisor) + 0 * x
    if jax.default_backend() != "gpu" or x.dtype != jnp.float32:
        return x / divisor
    with jax.enable_x64(True):
        quotient = x.astype(jnp.float64) / divisor.astype(jnp.float64)
        return lax.reduce_precision(quotient, exponent_bits=8, mantissa_bits=23).astype(jnp.float32)


def conv2d(x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d` does, on CPUs with gradients of its own."""
    x, kernel = ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)
    x = generic.as_floats(x, kernel)
    y = (_product_of_cpus() if _suits_cpus(x, kernel) else _convolve)(x, kernel, stride=stride)
    return y if bias is None else y + ops.convert_to_tensor(bias)


def _suits_cpus(x: Tensor, kernel: Tensor) -> bool:
    is_fast = x.dtype in (jnp.float32, jnp.float64) or (x.dtype == jnp.bfloat16 and jax_onednn.computes_bfloat16())
    on_cpu = jax.default_backend() == "cpu" and x.dtype == kernel.dtype
    return on_cpu and is_fast and jax_products.takes(x, kernel)


def conv2d_relu(
    x: Tensor, kernel: Tensor, stride: int = 1, bias: Tensor | None = None, residual: Tensor | None = None
) -> Tensor:
    """Does what `kzoo.ops.generic.conv2d_relu` does, on CPUs by one operation of oneDNN."""
    x, kernel = ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)
    others = [ops.convert_to_tensor(tensor) for tensor in (bias, residual) if tensor is not None]
    if not jax_products.takes(x) or not jax_onednn.takes(_multiply_adds(x, kernel, stride), x, kernel, *others):
        return generic.conv2d_relu(x, kernel, stride, bias, residual, convolve=conv2d)
    return _conv2d_relu(x, kernel, others, stride, bias is not None)


def batch_norm_of_parts(
    x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, part: Part
) -> tuple[Tensor, Tensor, Tensor]:
    """Does what `kzoo.ops.sharded.batch_norm` does without a mask, by one exchange, and one more for the gradient."""
    x, gamma, beta = (ops.convert_to_tensor(tensor) for tensor in (x, gamma, beta))
    x = x.astype(gamma.dtype)
    axes, pixels = (0, 1, 2), x.shape[1] * x.shape[2]
    assert part.all_gather is not None
    all_gather, all_sum, total = part.all_gather, part.all_sum, part.total * pixels
    kept = jnp.ones(len(x), x.dtype) if part.kept is None else part.kept.astype(x.dtype)

    @jax.custom_vjp
    def normalized(x: Tensor, gamma: Tensor, beta: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return forward(x, gamma, beta, kept)[0]

    def forward(x: Tensor, gamma: Tensor, beta: Tensor, kept: Tensor) -> Any:
        counts = kept[:, None, None, None]
        count = kept.sum() * pixels
        mean = (counts * x).sum(axes) / jnp.maximum(count, 1)
        variance = (counts * jnp.square(x - mean)).sum(axes) / jnp.maximum(count, 1)
        found = all_gather(jnp.concatenate([mean, variance, count[None]]))
        share = found[:, -1:] / found[:, -1:].sum()
        means, variances = jnp.split(found[:, :-1], 2, 1)
        mean = (share * means).sum(0)  # Chan et al., equation 1.5
        variance = (share * (variances + jnp.square(means - mean))).sum(0)
        inverse_std = lax.rsqrt(variance + epsilon)
        y = (x - mean) * (gamma * inverse_std) + beta
        return (y, mean, variance), (x, gamma, mean, inverse_std, counts)

    def backward(saved: Any, slopes: Any) -> Any:
        x, gamma, mean, inverse_std, counts = saved
        slope = slopes[0] * counts
        unit = (x - mean) * inverse_std
        by_gamma, by_beta = (slope * unit).sum(axes), slope.sum(axes)
        of_all = all_sum(jnp.stack([by_gamma, by_beta])) / total
        by_x = counts * (gamma * inverse_std) * (slope - unit * of_all[0] - of_all[1])
        return by_x, by_gamma, by_beta, jnp.zeros(len(x), x.dtype)

    normalized.defvjp(forward, backward)
    return normalized(x, gamma, beta, kept)


def subsample(x: Tensor, stride: int) -> Tensor:
    """Does what `kzoo.ops.generic.subsample` does, by one operation.

    For images of any size JAX writes the sizes of its result as it writes a convolution's, and so finds the two equal.
    """
    x = ops.convert_to_tensor(x)
    return lax.slice(x, (0, 0, 0, 0), x.shape, (1, stride, stride, 1))


def _convolve(x: Tensor, kernel: Tensor, stride: int, extra_columns: int = 0) -> Tensor:
    pad = kernel.shape[0] // 2
    padding = [(pad, pad), (pad, pad + extra_columns)]
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def _convolve_on_all_cores(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Asks oneDNN, or else for a column too many: XLA gives what has more columns than its input to Eigen.

    What it gives to YNNPACK instead, convolutions of more than 16 channels, runs on one core. Small ones may.
    """
    multiply_adds = _multiply_adds(x, kernel, stride)
    if jax_onednn.takes(multiply_adds, x, kernel):
        return jax_onednn.convolve(x, kernel, stride=stride)
    goes_to_eigen = stride > 1 or kernel.shape[0] == 1 or max(kernel.shape[2:]) <= 16
    if goes_to_eigen or multiply_adds < jax_onednn.FEW:
        return _convolve(x, kernel, stride)
    return _convolve(x, kernel, 1, extra_columns=1)[:, :, :-1]


def _multiply_adds(x: Tensor, kernel: Tensor, stride: int) -> int:
    return math.prod(x.shape[:3]) * math.prod(kernel.shape) // stride**2


def _images_gradient(kernel: Tensor, slope: Tensor, *, shapes: Any, stride: int) -> Tensor:
    if stride > 1:  # the pixels that the kernel left out in between have no slope
        beyond = [size - (count - 1) * stride - 1 for size, count in zip(shapes[0][1:3], slope.shape[1:3], strict=True)]
        between = [(0, 0, 0), *((0, rest, stride - 1) for rest in beyond), (0, 0, 0)]
        slope = lax.pad(slope, jnp.zeros((), slope.dtype), between)
    return _convolve_on_all_cores(slope, kernel[::-1, ::-1].swapaxes(2, 3), 1)


@functools.cache
def _product_of_cpus() -> Any:
    """Returns the convolution as an operation whose derivatives are convolutions and sums of matrix products."""
    jax_onednn.ACCELERATION.is_active()  # tried now, and not while JAX compiles

    def forward(x: Tensor, kernel: Tensor, *, shapes: Any, stride: int) -> Tensor:
        return _convolve_on_all_cores(x, kernel, stride)

    def kernel_gradient(x: Tensor, slope: Tensor, *, shapes: Any, stride: int) -> Tensor:
        return _kernel_gradient(x, slope, shapes[1][0], stride)

    return jax_products.product("convolution", _convolve, (forward, _images_gradient, kernel_gradient))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _conv2d_relu(x: Tensor, kernel: Tensor, others: list[Tensor], stride: int, biased: bool) -> Tensor:
    return jax_onednn.convolve(x, kernel, *others, stride=stride, biased=biased, relu=True)


@_conv2d_relu.defjvp
def _derivative_of_conv2d_relu(stride: int, biased: bool, primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    def definition(x: Tensor, kernel: Tensor, others: list[Tensor]) -> Tensor:
        return ops.relu(sum(others, start=conv2d(x, kernel, stride)))

    return jax.jvp(definition, primals, tangents)


def _kernel_gradient(x: Tensor, dy: Tensor, size: int, stride: int) -> Tensor:
    """Returns the gradient of a kernel of shape `(size, size, channels, filters)`, summed over chunks of the batch.

    Of bfloat16 the sums are float32. What is gathered is moved as integers, since XLA would move it as float32.
    """
    dtype = x.dtype
    if dtype == jnp.bfloat16:
        x, dy = (lax.bitcast_convert_type(tensor, jnp.uint16) for tensor in (x, dy))
    products = functools.partial(_shifted_product if stride == 1 else _patch_product, size=size, stride=stride)
    chunks, rest = divmod(x.shape[0], _IMAGES_AT_ONCE)
    whole = chunks * _IMAGES_AT_ONCE
    total = jnp.zeros((size, size, x.shape[-1], dy.shape[-1]), jnp.promote_types(dtype, jnp.float32))
    if chunks:
        parts = [tensor[:whole].reshape(chunks, _IMAGES_AT_ONCE, *tensor.shape[1:]) for tensor in (x, dy)]
        total, _ = lax.scan(lambda total, part: (total + products(*part), None), total, parts)
    total = total + products(x[whole:], dy[whole:]) if rest else total
    return total.astype(dtype)


def _shifted_product(x: Tensor, dy: Tensor, *, size: int, stride: int) -> Tensor:
    """Gathers the kernel's columns from shifts of `x` and its rows from shifts of `dy`.

    For a 3x3 kernel that is three copies of each for one product, instead of nine of `x`.
    """
    pad, (height, width) = size // 2, x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (0, 0), (pad, pad), (0, 0)))
    dy = jnp.pad(dy, ((0, 0), (pad, pad), (0, 0), (0, 0)))
    columns = jnp.concatenate([x[:, :, j : j + width] for j in range(size)], axis=-1)
    rows = jnp.concatenate([dy[:, i : i + height] for i in reversed(range(size))], axis=-1)
    product = _product(columns, rows)
    return product.reshape(size, x.shape[-1], size, dy.shape[-1]).transpose(2, 0, 1, 3)


def _patch_product(x: Tensor, dy: Tensor, *, size: int, stride: int) -> Tensor:
    """Gathers for each position of the kernel the pixels that it meets: with a stride rows and columns do not part."""
    pad = size // 2
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = ((count - 1) * stride + 1 for count in dy.shape[1:3])
    positions = [(i, j) for i in range(size) for j in range(size)]
    patches = [x[:, i : i + height : stride, j : j + width : stride] for i, j in positions]
    columns = jnp.concatenate(patches, axis=-1)
    return _product(columns, dy).reshape(size, size, x.shape[-1], dy.shape[-1])


def _product(columns: Tensor, rows: Tensor) -> Tensor:
    """Sums over images and space the products of channels, in float32 at least."""
    a, b = columns.reshape(-1, columns.shape[-1]), rows.reshape(-1, rows.shape[-1])
    if a.dtype == jnp.uint16:
        a, b = (lax.bitcast_convert_type(matrix, jnp.bfloat16) for matrix in (a, b))
    is_faster = jax_onednn.takes(math.prod(a.shape) * b.shape[1], a, b)
    if is_faster:
        return jax_onednn.transposed_product(a, b)
    return jnp.matmul(a.T, b, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))


def look_up(table: Any, index: Tensor, kept: dict[Any, Any]) -> Tensor:
    """Does what `kzoo.ops.generic.look_up` does; step by step it reads the index, and converts one number."""
    if isinstance(index, jax.core.Tracer):
        return generic.look_up(table, index, kept)
    return jnp.asarray(table[int(index)], config.floatx())


def move_averages(averages: Sequence[Any], values: Sequence[Tensor], weight: float) -> None:
    """Does what `kzoo.ops.generic.move_averages` does, as one program that writes over what the averages were."""
    moved = _moved([average.value for average in averages], list(values), weight)
    for average, value in zip(averages, moved, strict=True):
        average.assign(value)


@functools.partial(jax.jit, donate_argnums=0)
def _moved(averages: list[Tensor], values: list[Tensor], weight: float) -> list[Tensor]:
    return [average + (value - average) * weight for average, value in zip(averages, values, strict=True)]
