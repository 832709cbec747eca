"""SequencePairs: sources and targets stay paired in every epoch."""

from __future__ import annotations

import numpy as np
import pytest
from refusals import refuses

from fastcell.data import SequencePairs


def pairs_of(count=23):
    """Pair i is (i+1 repeated, minus lengths) so that each names the other."""
    random = np.random.default_rng(0)
    sources = [np.full(random.integers(1, 7), i + 1) for i in range(count)]
    targets = [np.full(random.integers(1, 9), 100 + i) for i in range(count)]
    return sources, targets


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("bucket", [False, True])
def test_every_pair_comes_once_an_epoch_and_stays_together(shuffle, bucket):
    sources, targets = pairs_of()
    data = SequencePairs(sources, targets, 4, shuffle=shuffle, bucket=bucket, seed=1)
    assert len(data) == 6
    orders = []
    for epoch in (0, 1):
        seen = []
        for source, source_lengths, target, target_lengths in data.epoch(epoch):
            assert source.shape == (source_lengths.max(), len(source_lengths))
            assert target.shape == (target_lengths.max(), len(target_lengths))
            for b, (n, m) in enumerate(
                zip(source_lengths, target_lengths, strict=True)
            ):
                i = source[0, b] - 1
                assert source[:n, b].tolist() == sources[i].tolist()
                assert target[:m, b].tolist() == targets[i].tolist()
                assert not source[n:, b].any()
                assert not target[m:, b].any()
                seen.append(int(i))
        assert sorted(seen) == list(range(23))
        assert seen == [i for k in range(6) for i in data.epoch(epoch).indices(k)]
        orders.append(seen)
    assert (orders[0] != orders[1]) == shuffle


def test_batches_by_index_and_slice():
    data = SequencePairs(*pairs_of(), 4)
    whole = list(data)
    for batch, same in ((data[-1], whole[-1]), (data[1:3][0], whole[1])):
        for one, other in zip(batch, same, strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(IndexError):
        data[6]


def test_pairs_refuse():
    sources, targets = pairs_of()
    refuses(ValueError, ["targets", "23", "22"], SequencePairs, sources, targets[1:])
    refuses(ValueError, ["sources", "at least one"], SequencePairs, [], [])
    refuses(ValueError, ["targets[0]", "at least one step"], SequencePairs, [[1]], [[]])
    refuses(ValueError, ["sources[1]", "-1"], SequencePairs, [[1], [-1]], [[1], [1]])
    refuses(TypeError, ["sources", "integer ids"], SequencePairs, [[[1.0]]], [[1]])
    refuses(TypeError, ["targets[0]", "integer ids"], SequencePairs, [[1]], [[1.0]])
    refuses(ValueError, ["batch_size", ">= 1"], SequencePairs, sources, targets, 0)
