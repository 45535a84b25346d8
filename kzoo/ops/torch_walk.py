"""Runs functional models on PyTorch without planning each call anew.

Keras walks the graph of a functional model at every call: it sorts it by depth, looks for each layer's inputs in nested
structures, and keeps every tensor until the end. Here the walk is planned once, and a tensor is dropped after its last
reader, so that the next one takes its memory, which the cache still holds. Where a layer of kzoo alone reads what
another has made, it may write over that.
"""

import collections
import functools
from typing import Any, NamedTuple

import keras
import torch
from keras import tree
from keras.src.backend import get_autocast_scope
from torch.nn.modules.module import _has_any_global_hook

Tensor = Any

_DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Whether there are transforms of `torch.func`, or modes that see each operation. PyTorch has no public names for that.
_OBSERVERS = [
    getattr(torch._C, name, None)
    for name in ("_are_functorch_transforms_active", "_len_torch_dispatch_stack", "_len_torch_function_stack")
]


class _Visit(NamedTuple):
    """One operation of a planned walk; tensors are numbered."""

    operation: Any
    reads: list[int]
    listed: bool  # whether it takes a list of tensors, or the one
    options: dict[str, Any]  # its other arguments
    writes: int
    done: list[int]  # what nobody reads afterwards
    spare: int  # what is read here alone and made by a layer that does not need it, among the tensors
    maker: Any  # that layer


class _Plan(NamedTuple):
    graph: Any  # what was planned
    visits: list[_Visit] | None
    outputs: list[int]


def _plan(function: Any) -> _Plan:
    """Plans the walk through a functional model, whose inputs are the tensors 0, 1, ...

    There are no visits if an operation takes other tensors than one or a list of them, or gives more than one.
    """
    graph = function._nodes_by_depth
    unplanned = _Plan(graph, None, [])
    numbers = {id(tensor): i for i, tensor in enumerate(function.inputs)}
    visits = list[_Visit]()
    makers = dict[int, Any]()
    for node in (node for depth in sorted(graph, reverse=True) for node in graph[depth]):
        if node.is_input:
            continue
        arguments, options = node.arguments.args, node.arguments.kwargs
        first = arguments[0] if len(arguments) == 1 else None
        tensors = first if type(first) is list else [first]
        if not all(id(tensor) in numbers for tensor in tensors):
            return unplanned
        if len(node.input_tensors) != len(tensors) or len(node.outputs) != 1:
            return unplanned
        numbers[id(node.outputs[0])] = number = len(numbers)
        reads = [numbers[id(tensor)] for tensor in tensors]
        visits.append(_Visit(node.operation, reads, type(first) is list, options, number, [], 0, None))
        if getattr(node.operation, "makes_spare", False) and len(reads) == 1 + visits[-1].listed:
            makers[number] = node.operation
    outputs = [numbers[id(tensor)] for tensor in function.outputs]
    wanted = set(outputs)
    for visit in reversed(visits):
        visit.done.extend(set(visit.reads) - wanted)
        wanted.update(visit.reads)
    readers = collections.Counter([*(number for visit in visits for number in visit.reads), *outputs])
    for i, visit in enumerate(visits):
        spare = [number for number in visit.reads if readers[number] == 1 and number in makers]
        if spare and getattr(visit.operation, "in_place", None):
            visits[i] = visit._replace(spare=spare[0], maker=makers[spare[0]])
    return _Plan(graph, visits, outputs)


def _plan_of(function: Any) -> _Plan:
    plan = vars(function).get("_kzoo_plan")
    if plan is None or plan.graph is not function._nodes_by_depth:
        plan = _plan(function)
        object.__setattr__(function, "_kzoo_plan", plan)  # past Keras, which would track it
    return plan


def _planned(walk: Any) -> Any:
    """Returns Keras's method that walks a graph, with the planned walk in its place where there is one."""

    @functools.wraps(walk)
    def run_through_graph(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = tree.flatten(inputs)
        is_plain_call = not args and set(kwargs) == {"operation_fn"} and not torch.compiler.is_compiling()
        plan = None
        if is_plain_call and all(isinstance(tensor, torch.Tensor) for tensor in tensors):
            plan = _plan_of(self)
        if plan is None or plan.visits is None:
            return walk(self, inputs, *args, **kwargs)
        values = [*tensors, *([None] * len(plan.visits))]
        writes_over = not _is_traced()
        for visit in plan.visits:
            operation, reads, listed, options, writes, done, *_ = visit
            argument = [values[i] for i in reads] if listed else values[reads[0]]
            y = _write_over(visit, argument, values[visit.spare]) if writes_over and visit.maker is not None else None
            if y is None:
                y = kwargs["operation_fn"](operation)(argument, **options)
            values[writes] = y if isinstance(y, torch.Tensor) else tree.flatten(y)[0]
            del argument, y
            for i in done:
                values[i] = None
        return tree.pack_sequence_as(self._outputs_struct, [values[i] for i in plan.outputs])

    return run_through_graph


def _write_over(visit: _Visit, argument: Any, spare: Tensor) -> Tensor | None:
    """Returns the result in the memory of what is read here alone, or `None` where anybody might miss that."""
    operation, maker = visit.operation, visit.maker
    if not (operation.is_as_defined() and maker.is_as_defined() and is_prepared(operation, argument)):
        return None
    if is_watched(maker) or not spare.is_cpu or (spare.requires_grad and spare._base is not None):
        return None  # the gradients of what is written over through a view take copies
    if operation.in_place == "relu":
        return spare.relu_()
    if operation.in_place == "add" and len(argument) == 2 and argument[0].shape == argument[1].shape:
        return spare.add_(argument[0] if spare is argument[1] else argument[1])
    return None


def _is_traced() -> bool:
    """Returns whether PyTorch does, or may do, something else with operations than compute them."""
    return torch.jit.is_tracing() or any(observes is None or observes() for observes in _OBSERVERS)


def is_prepared(layer: Any, inputs: Any) -> bool:
    """Does what `kzoo.ops.generic.is_prepared` says: yes to plain, unmasked tensors of the layer's own dtype.

    Not where PyTorch's hooks want to see the call.
    """
    dtype = _DTYPES.get(layer.compute_dtype)
    return (
        all(
            type(tensor) is torch.Tensor
            and tensor.dtype == dtype
            and not tensor.is_meta
            and not hasattr(tensor, "_keras_mask")
            for tensor in (inputs if isinstance(inputs, list) else [inputs])
        )
        and layer.variable_dtype == layer.compute_dtype
        and get_autocast_scope() is None
        and not is_watched(layer)
    )


def is_watched(layer: Any) -> bool:
    """Returns whether PyTorch's hooks want to see the calls of a layer."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or _has_any_global_hook()


def install() -> None:
    """Lets functional models walk by plan from now on."""
    walk = getattr(keras.Function, "_run_through_graph", None)  # Keras has no public name for it
    if walk is not None and not hasattr(walk, "__wrapped__"):
        keras.Function._run_through_graph = _planned(walk)
