"""Pairs of sequences, such as translations, in padded batches."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from fastcell.data.batches import Batches, Epochs
from fastcell.data.sequences import Epoch, Sequences


class SequencePairs(Epochs[Any]):
    """Sources and targets in batches for `fastcell.models.Seq2Seq`.

    A batch is ``(source, source_lengths, target, target_lengths)``: integer ids (S, B)
    and (T, B), 0 past the ends, and lengths (B,). A batch holds pairs with sources of
    similar length. Each epoch is shuffled, as in `Sequences`.

    Parameters
    ----------
    sources, targets : sequences of (S_i,) and (T_i,) arrays of integers
        Equally many of both; none is empty.
    batch_size : int, default 32
    shuffle : bool, default True
    seed : int, default 0
    bucket : bool, default True
        As for `Sequences`.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If there is no pair, their numbers differ, a sequence is empty, or an argument
        is out of range.

    Examples
    --------
    >>> from fastcell.data import SequencePairs
    >>> data = SequencePairs([[5, 6], [7]], [[2, 4, 3], [2, 3]], shuffle=False)
    >>> source, source_lengths, target, target_lengths = data[0]
    >>> source.T.tolist(), source_lengths.tolist()
    ([[7, 0], [5, 6]], [1, 2])
    >>> target.T.tolist(), target_lengths.tolist()
    ([[2, 3, 0], [2, 4, 3]], [2, 3])
    """

    def __init__(
        self,
        sources: Any,
        targets: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = True,
        seed: int = 0,
        bucket: bool = True,
    ) -> None:
        options = {"shuffle": shuffle, "seed": seed, "bucket": bucket}
        self._sources = _ids("sources", sources, batch_size, options)
        self._targets = _ids("targets", targets, batch_size, {"shuffle": False})
        self.shuffle = self._sources.shuffle
        if len(sources) != len(targets):
            raise ValueError(
                f"targets must be as many as sources, {len(sources)}; "
                f"got {len(targets)}"
            )

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self._sources)

    def _make_epoch(self, n: int) -> PairsEpoch:
        return PairsEpoch(cast(Epoch, self._sources.epoch(n)), self._targets)


class PairsEpoch(Batches[Any]):
    """The batches of one epoch of `SequencePairs`."""

    def __init__(self, sources: Epoch, targets: Sequences) -> None:
        self._sources = sources
        self._targets = targets

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._sources)

    def _batch_at(self, place: int) -> Any:
        source, source_lengths, _ = self._sources[place]
        target, target_lengths, _ = self._targets._batch(self.indices(place))
        return source, source_lengths, target, target_lengths

    def indices(self, index: int) -> np.ndarray:
        """Return the indices of the pairs of a batch."""
        return self._sources.indices(index)


def _ids(
    name: str, sequences: Any, batch_size: int, options: dict[str, Any]
) -> Sequences:
    """Return the batches of sequences, checked to be ids."""
    try:
        found = Sequences(sequences, None, batch_size, **options)
    except (TypeError, ValueError) as error:
        message = str(error)
        if message.startswith("sequences"):
            message = name + message.removeprefix("sequences")
        raise type(error)(message) from None
    if found.input_size is not None:
        raise TypeError(f"{name} must be integer ids (T,); got features (T, I)")
    return found
