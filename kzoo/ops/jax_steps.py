"""How Keras compiles its steps on JAX: with memory that the next step can use again.

XLA allocates what a step computes as one block, in a thread of its own, and frees it at the end of the step. From other
threads than the main one glibc gives blocks of 64 MB or more back to the system. XLA can divide the memory up, but
Keras has no public way to hand options to the compiler.
"""

import contextlib
import functools
import importlib
import os
from typing import Any

import jax
from jax import numpy as jnp
from jax._src import core

from kzoo.ops import memory

_OPTION = "xla_multiheap_size_constraint_per_heap"
_BLOCK = 2**24  # bytes
_POOLS = 16  # each thread that runs steps may have one. With 8 single images take 5 % longer, more keep more memory


def install() -> None:
    """Keeps freed memory, and lets Keras compile the steps of all models for that, from now on.

    Where memory is not kept, or Keras's name for `jax.jit` is not found or is that of Flax's, steps stay as they are.
    """
    if not memory.keep_freed(pools=_POOLS):
        return
    with contextlib.suppress(ImportError, AttributeError):
        trainer: Any = importlib.import_module("keras.src.backend.jax.trainer")
        if trainer.jit is jax.jit and hasattr(core, "trace_state_clean"):
            trainer.jit = jit


def jit(*functions: Any, **options: Any) -> Any:
    """Does what `jax.jit` does, and divides memory into blocks that the largest tensor of the function fits into."""
    plain = jax.jit(*functions, **options)
    if len(functions) != 1 or "compiler_options" in options:
        return plain
    compiled = dict[Any, Any]()

    @functools.wraps(functions[0])
    def step(*arguments: Any) -> Any:
        if not core.trace_state_clean():
            return plain(*arguments)  # a part of another program takes no options
        data = jax.tree.leaves(arguments[-1])  # all else has one shape in all calls
        case = tuple((jnp.shape(tensor), getattr(tensor, "dtype", None)) for tensor in data)
        if case not in compiled:
            chosen = _memory_options(_largest_tensor(plain.trace(*arguments).jaxpr.jaxpr))
            compiled[case] = jax.jit(functions[0], **options, compiler_options=chosen) if chosen else plain
        return compiled[case](*arguments)

    return step


def _largest_tensor(jaxpr: Any) -> int:
    """Returns the bytes of the largest tensor that a program computes."""
    inner = jax.tree.leaves([list(equation.params.values()) for equation in jaxpr.eqns])
    programs = [getattr(program, "jaxpr", program) for program in inner]
    found = [_largest_tensor(program) for program in programs if hasattr(program, "eqns")]
    tensors = [variable.aval for equation in jaxpr.eqns for variable in equation.outvars]
    return max([0, *found, *(tensor.size * tensor.dtype.itemsize for tensor in tensors if hasattr(tensor, "dtype"))])


def _memory_options(largest: int) -> dict[str, int] | None:
    """Returns what divides memory into blocks, where it can be kept then.

    With smaller blocks than a tensor takes XLA would give each tensor a block to itself for all of the step.
    """
    return {_OPTION: max(_BLOCK, largest)} if largest <= memory.LARGEST_KEPT and _compiler_knows(_OPTION) else None


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
