"""Training steps on PyTorch where each of several processes computes a part of the batch."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import keras
import torch
from torch import distributed

from kzoo.shards import Part, computing, rows_of_each

Tensor = Any


class _AllSum(torch.autograd.Function):
    """The sum of a tensor over all workers, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, team: "Team") -> Tensor:
        ctx.team = team
        return team.total(x.detach())

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return _AllSum.apply(slope, ctx.team), None


def sums(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Returns the sums of tensors over all workers, by one exchange for each type."""
    found = list(tensors)
    for dtype in {tensor.dtype for tensor in tensors if tensor is not None}:
        chosen = [i for i, tensor in enumerate(tensors) if tensor is not None and tensor.dtype == dtype]
        flat = torch.cat([tensors[i].reshape(-1) for i in chosen])  # type: ignore[union-attr]
        distributed.all_reduce(flat)
        for i, total in zip(chosen, flat.split([tensors[i].numel() for i in chosen]), strict=True):  # type: ignore[union-attr]
            found[i] = total.view(tensors[i].shape)  # type: ignore[union-attr]
    return found


@dataclasses.dataclass(frozen=True)
class Team:
    """The workers of a training: here processes, with one device each.

    Args:
        processes: Integer, how many processes there are.
        rank: Integer, which one this is, counted from 0.
        on_host: Group of processes in which numbers of the host are exchanged.
        lines: `Lines` to the others, by which small tensors of the host are exchanged. Defaults to `None`.
    """

    processes: int
    rank: int
    on_host: Any
    lines: Any = None

    copies_models: ClassVar[bool] = False

    @property
    def count(self) -> int:
        """How many workers there are."""
        return self.processes

    @property
    def own_workers(self) -> tuple[int, int]:
        """The first worker of this process, and the one after its last."""
        return self.rank, self.rank + 1

    def all_sum(self, x: Tensor) -> Tensor:
        """Returns the sum of a tensor over all workers; its gradient is the sum of theirs."""
        return _AllSum.apply(x, self)

    def all_gather(self, x: Tensor) -> Tensor:
        """Returns a tensor of every worker, stacked in the order of the workers; it has no gradient."""
        x = x.contiguous()
        found = x.new_empty(self.processes, *x.shape)
        if not self._has_lines_for(x):
            distributed.all_gather(list(found.unbind()), x)
            return found
        found[self.rank] = x
        self.lines.gather(_bytes(x), [_bytes(one) for one in found])
        return found

    def total(self, x: Tensor) -> Tensor:
        """Returns the sum of a tensor over all workers, without a gradient."""
        if self._has_lines_for(x):
            return self.all_gather(x).sum(0)
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    def _has_lines_for(self, x: Tensor) -> bool:
        return self.lines is not None and x.device.type == "cpu" and x.nbytes <= self.lines.longest

    def most(self, numbers: Sequence[int]) -> list[int]:
        """Returns the largest of each number over all processes."""
        found = torch.tensor(numbers, dtype=torch.int64)
        distributed.all_reduce(found, distributed.ReduceOp.MAX, group=self.on_host)
        return [int(one) for one in found]

    def from_first(self, content: bytes) -> bytes:
        """Returns what the first process gives."""
        size = torch.tensor([len(content)])
        distributed.broadcast(size, 0, group=self.on_host)
        found = torch.frombuffer(bytearray(content), dtype=torch.uint8) if self.rank == 0 and content else None
        if found is None:
            found = torch.empty(int(size), dtype=torch.uint8)
        if len(found):
            distributed.broadcast(found, 0, group=self.on_host)
        return bytes(found.numpy())

    @contextlib.contextmanager
    def trains(self, model: keras.Model) -> Iterator[keras.Model]:
        """Yields a model as the workers train it: itself, since each process has one."""
        yield model

    def variables(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context in which variables are made where the workers want them: anywhere."""
        return contextlib.nullcontext()

    def place(self, variables: Sequence[Any]) -> None:
        """Brings variables to where the steps take them: they are there."""

    def part(self, total: int) -> Part:
        """Returns the part of a batch of so many rows that this process computes."""
        rows = rows_of_each(total, self.count)
        first = self.rank * rows
        if first < total:
            return Part(first, min(rows, total - first), total, self.count, self.all_sum, None, self.all_gather)
        # There is always something to compute: here one row that counts nothing.
        return Part(0, 1, total, self.count, self.all_sum, keras.ops.zeros((1,), "bool"), self.all_gather)


class WorksInTeams(keras.Model):
    """Model of which each of several processes may compute a part of every batch."""

    _kzoo_team: Team | None = None

    def train_step(self, data: Any) -> Any:
        if self._kzoo_team is None:
            return super().train_step(data)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        loss, answers = self._kzoo_computed(x, y, weight, training=True)
        trainable = self.trainable_weights[:]
        self.optimizer.scale_loss(loss).backward()
        gradients = sums([variable.value.grad for variable in trainable])
        with torch.no_grad():
            self.optimizer.apply(gradients, trainable)
        return self._kzoo_measured(x, y, weight, loss, answers)

    def test_step(self, data: Any) -> Any:
        if self._kzoo_team is None:
            return super().test_step(data)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        return self._kzoo_measured(x, y, weight, *self._kzoo_computed(x, y, weight, training=False))

    def predict_step(self, data: Any) -> Any:
        if self._kzoo_team is None:
            return super().predict_step(data)
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        part = self._kzoo_team.part(len(x))
        return self._kzoo_of_all(self(_own(x, part), training=False), part)

    def _kzoo_computed(self, x: Any, y: Any, weight: Any, training: bool) -> tuple[Tensor, Tensor]:
        """Returns this worker's share of the loss, and the answers to its part of the images."""
        assert self._kzoo_team is not None
        part = self._kzoo_team.part(len(x))
        images, labels, counts = _own(x, part), _own(y, part), None if weight is None else _own(weight, part)
        if part.kept is not None:
            counts = keras.ops.zeros((1,))
        with computing(part):
            answers = self(images, training=training)
            loss = self._compute_loss(x=images, y=labels, y_pred=answers, sample_weight=counts, training=training)
        return loss, answers

    def _kzoo_measured(self, x: Any, y: Any, weight: Any, loss: Tensor, answers: Tensor) -> Any:
        """Counts the loss and the answers of all workers in the metrics, the same on each."""
        assert self._kzoo_team is not None
        with torch.no_grad():
            answers = self._kzoo_of_all(answers, self._kzoo_team.part(len(x)))
            loss = self._kzoo_team.total(loss.detach())
        self._loss_tracker.update_state(loss, sample_weight=len(x))
        return self.compute_metrics(x, y, answers, sample_weight=weight)

    def _kzoo_of_all(self, values: Tensor, part: Part) -> Tensor:
        """Returns the rows of all workers: of each its own among zeros, added up."""
        assert self._kzoo_team is not None
        found = values.new_zeros(part.total, *values.shape[1:])
        if part.kept is None:
            found[part.first : part.first + part.rows] = values.detach()
        return self._kzoo_team.total(found)


def _own(values: Any, part: Part) -> Any:
    return values[part.first : part.first + part.rows]


def _bytes(x: Tensor) -> memoryview:
    """Returns the bytes of a tensor of the host, which are written where they are."""
    return memoryview(x.reshape(-1).view(torch.uint8).numpy())
