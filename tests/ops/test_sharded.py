"""Operations on a part of a batch give what those on all of it give."""

import numpy as np
import pytest
from keras import ops

import kzoo.ops
from kzoo.ops import generic, sharded
from kzoo.shards import Part, computing, current, rows_of_each


def alone(rows, total, first=0, kept=None):
    """A part whose worker has no others."""
    return Part(first, rows, total, 1, lambda x: x, kept, lambda x: x[None])


@pytest.mark.parametrize("shape", [(7, 3, 3, 5), (8, 5), (3, 1)])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_parts_of_a_mask_are_the_mask(shape, workers):
    key = kzoo.ops.dropout_key((3, 4), ops.convert_to_tensor(5, "int32"))
    whole = ops.convert_to_numpy(generic.dropout_mask(key, shape, 0.4))
    rows = rows_of_each(shape[0], workers)
    for first in range(0, shape[0], rows):
        count = min(rows, shape[0] - first)
        mine = sharded.dropout_mask(key, (count, *shape[1:]), 0.4, alone(count, shape[0], first))
        assert (ops.convert_to_numpy(mine) == whole[first : first + count]).all()


def test_mask_of_more_elements_than_can_be_counted_is_told():
    key = kzoo.ops.dropout_key((3, 4), ops.convert_to_tensor(5, "int32"))
    with pytest.raises(ValueError, match=r"fewer than 2,147,483,648 elements in a batch\. Received: 2,147,483,648"):
        sharded.dropout_mask(key, (1, 2**20), 0.5, alone(1, 2**11))


@pytest.mark.parametrize("masked", [False, True])
def test_rows_that_fill_up_a_part_count_nothing(masked):
    random = np.random.RandomState(0)
    x = random.standard_normal((5, 3, 3, 2)).astype(np.float32)
    mask = random.randint(0, 2, (5, 3, 3)).astype(bool)
    gamma, beta = ops.convert_to_tensor([1.0, 2.0]), ops.convert_to_tensor([0.5, -1.0])
    part = alone(5, 3, kept=ops.convert_to_tensor(np.arange(5) < 3))
    given = ops.convert_to_tensor(x), gamma, beta, 1e-5, part
    found = sharded.batch_norm(*given, ops.convert_to_tensor(mask) if masked else None)
    if masked:
        expected = generic.masked_batch_norm(ops.convert_to_tensor(x[:3]), mask[:3], gamma, beta, 1e-5)
    else:
        expected = generic.batch_norm(ops.convert_to_tensor(x[:3]), gamma, beta, 1e-5)
    for ours, theirs in zip((found[0][:3], *found[1:]), expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-5, atol=1e-6)


def test_operations_ask_which_part_is_computed():
    x = ops.convert_to_tensor(np.random.RandomState(0).standard_normal((4, 2, 2, 3)).astype(np.float32))
    gamma, beta = ops.ones((3,)), ops.zeros((3,))
    whole = kzoo.ops.batch_norm(x, gamma, beta, 1e-5)
    twice = Part(0, 4, 8, 2, lambda x: 2 * x, None, lambda x: ops.stack([x, x]))
    with computing(twice):
        assert current() is twice
        found = kzoo.ops.batch_norm(x, gamma, beta, 1e-5)
    assert current() is None
    for ours, theirs in zip(found, whole, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-5, atol=1e-6)
