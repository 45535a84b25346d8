"""Private names of Keras and the backends that kzoo reads where there is no public one, beside the accelerations.

Each function says what it does where the name is missing.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kzoo.acceleration.registry import find

_in_stateless_scope = find("keras.src.backend.common.stateless_scope:in_stateless_scope")


def inbound_nodes(operation: Any) -> list[Any]:
    """Returns the calls of a layer or another operation in a functional model, each with its `input_tensors`.

    Raises:
        AttributeError: If this version of Keras does not tell.
    """
    nodes: list[Any] = operation._inbound_nodes
    return nodes


def maker(tensor: Any) -> Any:
    """Returns the operation that a symbolic tensor comes from.

    Raises:
        AttributeError: If this version of Keras does not tell.
    """
    return tensor._keras_history.operation


def calls_of(model: Any) -> list[tuple[Any, list[Any]]]:
    """Returns the layers and operations that a functional model calls, in that order, each with what it gives there.

    Raises:
        AttributeError: If this version of Keras does not tell.
    """
    found: dict[int, tuple[Any, list[Any]]] = {}
    waiting = [(tensor, False) for tensor in reversed(model.outputs)]
    while waiting:
        tensor, inputs_are_done = waiting.pop()
        history = tensor._keras_history
        node = inbound_nodes(history.operation)[history.node_index]
        if inputs_are_done:
            found.setdefault(id(node), (history.operation, list(node.outputs)))
        elif id(node) not in found:
            waiting += [(tensor, True), *((before, False) for before in reversed(node.input_tensors))]
    return list(found.values())


def may_write_in_place() -> bool:
    """Returns whether a variable's tensor may be written to: not in a stateless scope, or where Keras does not tell."""
    return _in_stateless_scope is not None and not _in_stateless_scope()


@contextlib.contextmanager
def variables_without_values() -> Iterator[None]:
    """Makes variables of layers that are built within have shapes alone; they get their values at the end.

    After an error they never do, and take no memory: unless this version of Keras keeps them elsewhere.
    """
    ask = find("keras.src.backend.common.global_state:get_global_attribute")
    waiting = [] if ask is None else ask("uninitialized_variables", [], set_to_default=True)
    before = len(waiting)
    with keras.StatelessScope():
        try:
            yield
        except BaseException:
            del waiting[before:]
            raise


def promotes_widely() -> bool:
    """Returns whether Keras computes products, means and losses of float64 tensors in float64.

    Its type promotion does not on PyTorch and JAX (Keras 3.15), for it never gives a 64-bit type there.
    """
    table = find("keras.src.backend.common.dtypes:BIT64_TO_BIT32_DTYPE")
    return table is None or table["float64"] == "float64"


def set_wide_promotion(wanted: bool) -> None:
    """Lets Keras compute results of float64 tensors in float64 from now on, or not; nothing where that is not found."""
    table = find("keras.src.backend.common.dtypes:BIT64_TO_BIT32_DTYPE")
    if table is not None and promotes_widely() != wanted:
        table["float64"] = "float64" if wanted else "float32"


def tensorflow_uses_onednn() -> bool | None:
    """Returns TensorFlow's own answer: which processors it trusts with oneDNN changes between versions.

    `None` where it does not tell.
    """
    ask = find("tensorflow.python.util._pywrap_util_port:IsMklEnabled")
    return None if ask is None else bool(ask())


def tensorflow_differentiates_forward(*tensors: Any) -> bool:
    """Returns whether forward derivatives by tensors are computed as operations run; yes where it does not tell."""
    pack = find("tensorflow.python.eager.forwardprop_util:pack_tangents")
    return pack is None or bool(pack(list(tensors)).tangents)


def jax_has_started() -> bool:
    """Returns whether JAX has made up its mind about devices and flags; yes where it does not tell."""
    ask = find("jax._src.xla_bridge:backends_are_initialized")
    return True if ask is None else bool(ask())


def forget_validation(model: Any) -> None:
    """Lets the next `fit` of a model validate from the first batch on; nothing where there is nothing to forget.

    Keras keeps the data of a `fit` that an error ended in its validation, and where in them it was.
    """
    if getattr(model, "_eval_epoch_iterator", None) is not None:
        model._eval_epoch_iterator = None


def values_of(model: Any, variables: Sequence[Any]) -> list[Any]:
    """Returns the tensors that variables of a model hold.

    Between two steps of a `fit` Keras on JAX keeps them apart from the variables. Where it does not tell where, they
    are brought back first.
    """
    state = getattr(model, "_jax_state", None)
    if state and not getattr(model, "_jax_state_synced", True):
        held: dict[int, Any] = {}
        for kind in ("trainable_variables", "non_trainable_variables"):
            held.update(zip(map(id, getattr(model, kind)), state.get(kind, ()), strict=False))
        if all(id(variable) in held for variable in variables):
            return [held[id(variable)] for variable in variables]
        model.jax_state_sync()
    return [variable.value for variable in variables]
