"""Products of two tensors in forms of kzoo's, as operations of JAX that have all derivatives.

`jax.custom_vjp` allows a gradient of one's own, and no other derivative: no forward mode, and the gradient of that
gradient is whatever its program has. A product that is linear in both factors needs neither. Its gradients are such
products too, and the gradients of these are among the three again, so three operations have derivatives of every order
and mode, each computed by the form that is fast. JAX has a place for operations like that, though no public one. In
other versions, and where they are mapped (`vmap`), the products are what they are defined as.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from kzoo import shards
from kzoo.acceleration.registry import Acceleration, find

Tensor = Any
Form = Callable[..., Tensor]

_PRIMITIVE = "jax.extend.core:Primitive"
_BATCHERS = "jax.interpreters.batching:primitive_batchers"
_LINEAR = "jax.interpreters.ad:defbilinear"
_LOWER_FUN = "jax.interpreters.mlir:lower_fun"
_REGISTER = "jax.interpreters.mlir:register_lowering"

_forms = dict[Any, Form]()  # by their operations


def product(name: str, definition: Form, forms: tuple[Form, Form, Form]) -> Form:
    """Makes an operation of a product, whose derivatives are computed by given forms.

    Args:
        name: String, what it is called in JAX's programs.
        definition: Function of tensors `a` and `b`, linear in each, and of keyword arguments, in operations of JAX.
        forms: Three functions for CPUs, of two tensors, `shapes` (those of `a`, `b` and the product), and the same
            keyword arguments: the product, of `a` and `b`; the gradient for `a`, of `b` and a slope shaped as the
            product; the gradient for `b`, of `a` and a slope. They need no derivatives.

    Returns:
        Function like `definition`.
    """

    def of_factors(a: Tensor, b: Tensor, *, shapes: Any, **how: Any) -> Tensor:
        return definition(a, b, **how)

    def for_a(b: Tensor, slope: Tensor, *, shapes: Any, **how: Any) -> Tensor:
        a = jax.ShapeDtypeStruct(shapes[0], slope.dtype)
        return jax.linear_transpose(lambda a: definition(a, b, **how), a)(slope)[0]

    def for_b(a: Tensor, slope: Tensor, *, shapes: Any, **how: Any) -> Tensor:
        b = jax.ShapeDtypeStruct(shapes[1], slope.dtype)
        return jax.linear_transpose(lambda b: definition(a, b, **how), b)(slope)[0]

    times = _operation(f"kzoo_{name}", forms[0], of_factors, 2)
    to_a = _operation(f"kzoo_{name}_gradient_a", forms[1], for_a, 0)
    to_b = _operation(f"kzoo_{name}_gradient_b", forms[2], for_b, 1)
    # The sum of y(a, b) * c is linear in all three. Each operation takes two, and gives its gradient for the third.
    define = find(_LINEAR)
    define(times, lambda c, _, b, **how: to_a.bind(b, c, **how), lambda c, a, _, **how: to_b.bind(a, c, **how))
    define(to_a, lambda a, _, c, **how: to_b.bind(a, c, **how), lambda a, b, _, **how: times.bind(a, b, **how))
    define(to_b, lambda b, _, c, **how: to_a.bind(b, c, **how), lambda b, a, _, **how: times.bind(a, b, **how))

    def of(a: Tensor, b: Tensor, **how: Any) -> Tensor:
        y = jax.eval_shape(functools.partial(definition, **how), a, b)
        return times.bind(a, b, shapes=(a.shape, b.shape, y.shape), **how)

    return of


def _operation(name: str, form: Form, definition: Form, place: int) -> Any:
    """Returns an operation whose result has the shape at a place of `shapes`."""
    primitive = find(_PRIMITIVE)(name)

    def shape_of(a: Any, _: Any, *, shapes: Any, **how: Any) -> Any:
        return jax.core.ShapedArray(shapes[place], a.dtype)

    def on_many(operands: Any, axes: Any, **parameters: Any) -> tuple[Tensor, int]:
        return jax.vmap(functools.partial(definition, **parameters), tuple(axes))(*operands), 0

    _forms[primitive] = form
    primitive.def_impl(functools.partial(run, primitive))
    primitive.def_abstract_eval(shape_of)
    find(_BATCHERS)[primitive] = on_many
    find(_REGISTER)(primitive, find(_LOWER_FUN)(definition, multiple_results=False))
    find(_REGISTER)(primitive, find(_LOWER_FUN)(form, multiple_results=False), platform="cpu")
    return primitive


def run(primitive: Any, *operands: Any, **parameters: Any) -> Tensor:
    """Computes an operation at once. It is compiled for that also under `jax.disable_jit`, as JAX's operations are."""
    with jax.disable_jit(False):
        return _compiled(primitive, tuple(parameters.items()))(*operands)


@functools.cache
def _compiled(primitive: Any, parameters: tuple[tuple[str, Any], ...]) -> Form:
    return jax.jit(functools.partial(primitive.bind, **dict(parameters)))


def takes(*tensors: Tensor) -> bool:
    """Returns whether tensors can be factors here: not in a program for any size, or that others divide by hand."""
    is_known = all(isinstance(size, int) for tensor in tensors for size in tensor.shape)
    is_divided = not jax.sharding.get_abstract_mesh().empty and shards.current() is None
    return is_known and not is_divided and ACCELERATION.is_active()


def program(equation: Any) -> Any:
    """Returns the program of an equation that is one of these operations, as CPUs run it, or `None` of others."""
    form = _forms.get(equation.primitive)
    if form is None:
        return None
    operands = (jax.ShapeDtypeStruct(operand.aval.shape, operand.aval.dtype) for operand in equation.invars)
    return jax.make_jaxpr(functools.partial(form, **equation.params))(*operands)


def _check() -> bool:
    def definition(a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    forms: tuple[Form, Form, Form] = (
        lambda a, b, shapes: definition(a, b),
        lambda b, slope, shapes: definition(slope, b.T),
        lambda a, slope, shapes: definition(a.T, slope),
    )
    own = product("check", definition, forms)
    a, b = (jnp.asarray(np.arange(6).reshape(shape) / 6, jnp.float32) for shape in ((2, 3), (3, 2)))

    def results(product: Form) -> list[Tensor]:
        def total(a: Tensor, b: Tensor) -> Tensor:
            return jnp.sin(product(a, b)).sum()

        gradient = jax.grad(total, (0, 1))
        mapped = jax.vmap(product, (None, 0))(a, jnp.stack([b, 2 * b]))
        twice = jax.grad(lambda b: sum(jnp.square(slope).sum() for slope in gradient(a, b)))(b)
        return [mapped, *gradient(a, b), *jax.jvp(gradient, (a, b), (a, b))[1], twice]

    pairs = zip(results(own), results(definition), strict=True)
    return all(np.allclose(ours, theirs, rtol=1e-4, atol=1e-4) for ours, theirs in pairs)


ACCELERATION = Acceleration(
    "gradients of convolutions on JAX",
    does="the gradient of a kernel is a sum of matrix products over a few images, where XLA convolves with whole maps",
    brings="JAX trains 1.6 times as fast on CPUs, with oneDNN in its products (batch 128, AVX-512)",
    versions={"jax": ">=0.10.2,<0.13"},
    needs=(_PRIMITIVE, _BATCHERS, _LINEAR, _LOWER_FUN, _REGISTER),
    check=_check,
)
