"""Steps of Keras's trainer on JAX, compiled so that the next step can use their memory again.

XLA allocates what a step computes as one block, in a thread of its own, and frees it at the end of the step. From other
threads than the main one glibc gives blocks of 64 MB or more back to the system, and smaller ones too unless the
process is tuned to keep them. XLA can divide the memory up, but Keras has no public way to hand it options.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from kzoo.acceleration import jax_once, jax_products, process
from kzoo.acceleration.registry import Acceleration, NotHereError, find

_OPTION = "xla_multiheap_size_constraint_per_heap"
_BLOCK = 2**24  # bytes
_IS_OUTERMOST = "jax._src.core:trace_state_clean"


def takes(model: Any) -> bool:
    """Returns whether a model's steps are compiled here: not if eager, several at a time, or on several devices."""
    return (
        not model.run_eagerly
        and model.jit_compile
        and model.steps_per_execution == 1
        and keras.distribution.distribution() is None
        and model._kzoo_team is None
        and is_active()
    )


def is_active() -> bool:
    """Returns whether there are options to compile with."""
    return ACCELERATION.is_active() or jax_once.ACCELERATION.is_active()


def compiled(step: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Returns what Keras makes of a step, a function of a state and an iterator of batches, compiled with options."""
    compiled_step = jit(step, donate_argnums=0)
    return lambda state, iterator: compiled_step(state, next(iterator))


def jit(
    step: Callable[..., Any], *, options_for: Callable[[Any], dict[str, Any]] | None = None, **options: Any
) -> Callable[..., Any]:
    """Does what `jax.jit` does to a step, with the options that are on.

    One divides the step's memory into blocks that its largest tensor fits into. How large that is depends on the size
    of a batch. So the step is compiled once for every shape of its data, its last argument; JAX does the same.
    `options_for` finds the options for a program, those that are on by default.
    """
    plain = jax.jit(step, **options)
    is_outermost = find(_IS_OUTERMOST)
    by_shape = dict[Any, Any]()

    @functools.wraps(step)
    def compiled_for_shape(*arguments: Any) -> Any:
        if not is_outermost():
            return plain(*arguments)  # a part of another program takes no options
        data = jax.tree.leaves(arguments[-1])
        shapes = tuple((jnp.shape(tensor), getattr(tensor, "dtype", None)) for tensor in data)
        if shapes not in by_shape:
            chosen = (options_for or _options)(plain.trace(*arguments).jaxpr.jaxpr)
            by_shape[shapes] = jax.jit(step, **options, compiler_options=chosen) if chosen else plain
        return by_shape[shapes](*arguments)

    return compiled_for_shape


def _options(program: Any) -> dict[str, Any]:
    options: dict[str, Any] = dict(jax_once.OPTIONS) if jax_once.ACCELERATION.is_active() else {}
    return options | (_memory_options(program) if ACCELERATION.is_active() else {})


def _largest_tensor(jaxpr: Any) -> int:
    """Returns the bytes of the largest tensor that a program computes."""
    parameters = [list(equation.params.values()) for equation in jaxpr.eqns]
    inner = jax.tree.leaves([parameters, [jax_products.program(equation) for equation in jaxpr.eqns]])
    programs = [getattr(program, "jaxpr", program) for program in inner]
    found = [_largest_tensor(program) for program in programs if hasattr(program, "eqns")]
    tensors = [variable.aval for equation in jaxpr.eqns for variable in equation.outvars]
    return max([0, *found, *(tensor.size * tensor.dtype.itemsize for tensor in tensors if hasattr(tensor, "dtype"))])


def _memory_options(program: Any) -> dict[str, Any]:
    """Returns what divides memory into blocks, where it can be kept then.

    With smaller blocks than a tensor takes XLA would give each tensor a block to itself for all of the step.
    """
    largest = _largest_tensor(program)
    return {_OPTION: max(_BLOCK, largest)} if largest <= process.LARGEST_KEPT and _compiler_knows(_OPTION) else {}


@functools.cache
def _compiler_knows(option: str) -> bool:
    """Returns whether the backend is XLA's for CPUs and takes the option, which the user has not set."""
    if jax.default_backend() != "cpu" or option in os.environ.get("XLA_FLAGS", ""):
        return False
    try:
        jax.jit(lambda x: x, compiler_options={option: _BLOCK}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _check() -> bool:
    if not process.keeps_freed():
        raise NotHereError("freed memory is not kept: set KZOO_TUNE_PROCESS=1 before kzoo is imported")
    if jax.default_backend() != "cpu":
        raise NotHereError("for CPUs: other devices have allocators of their own")
    if find(jax_once.JIT) is not jax.jit:
        raise NotHereError("Keras compiles by Flax")
    step = jit(lambda state, x: x.sum() + state, options_for=_memory_options)
    return _compiler_knows(_OPTION) and float(step(1.0, np.ones(3))) == 4


ACCELERATION = Acceleration(
    "steps use their memory again",
    does="steps are compiled to divide their memory into blocks that the C library keeps from one step to the next",
    brings="on CPUs JAX trains 1.5 times as fast (batch 32 and 128, AVX-512)",
    versions={"keras": ">=3.15,<3.16", "jax": ">=0.10.2,<0.13"},
    needs=(jax_once.JIT, _IS_OUTERMOST),
    check=_check,
)
