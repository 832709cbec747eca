"""Embedding: a learned vector for each token."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastcell import _core
from fastcell._checks.arrays import check_ids, check_shape, real_array
from fastcell._checks.numbers import integer, seed_of
from fastcell.layers.indexed import IndexedRows
from fastcell.layers.saved import check_saved
from fastcell.module import Module, check_dtype, check_size
from fastcell.named_classes import in_files
from fastcell.parameters import Parameters


class LookedUp(NamedTuple):
    """The values of one call for backward: a copy of the ids, the number of rows."""

    ids: np.ndarray
    rows: int


@in_files
class Embedding(Module):
    """A table of vectors, looked up by integer ids; as ``torch.nn.Embedding``.

    Before a recurrent layer in a `Sequential` the sequence of vectors is not built: see
    `fastcell.layers.indexed`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table.
    padding_idx : int, optional
        A row that starts at zero and gets no gradient; negative counts from the end.
    dtype : dtype, default float32
        float32 or float64.
    seed : int, optional
        Seed of the initial table, standard normal.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range.

    Examples
    --------
    >>> import fastcell
    >>> layer = fastcell.Embedding(10, 3, seed=0)
    >>> layer([[1, 2], [3, 4]]).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: Any = np.float32,
        seed: int | None = None,
    ) -> None:
        self.num_embeddings = integer("num_embeddings", num_embeddings, minimum=1)
        self.embedding_dim = integer("embedding_dim", embedding_dim, minimum=1)
        self.dtype = check_dtype(dtype)
        self.seed = seed_of(seed)
        self.padding_idx = padding_idx
        if padding_idx is not None:
            index = integer("padding_idx", padding_idx)
            if not -self.num_embeddings <= index < self.num_embeddings:
                raise ValueError(
                    f"padding_idx must be a row of {num_embeddings}; got {padding_idx}"
                )
            self.padding_idx = index % self.num_embeddings
        shape = (self.num_embeddings, self.embedding_dim)
        check_size([shape])
        weight = np.random.default_rng(self.seed).standard_normal(shape, self.dtype)
        if self.padding_idx is not None:
            weight[self.padding_idx] = 0
        self._parameters: Parameters = Parameters({"weight": weight})

    def __call__(self, ids: Any) -> np.ndarray:
        """Return the vectors of ids.

        Parameters
        ----------
        ids : array of integers, any shape

        Returns
        -------
        ndarray, shape of ids + (embedding_dim,)

        Raises
        ------
        TypeError
            If ids are not integers.
        ValueError
            If an id is out of range.
        """
        ids = check_ids("ids", ids, self.num_embeddings)
        rows: np.ndarray = self._parameters.arrays()["weight"][ids]
        return rows

    def forward(self, ids: Any) -> tuple[np.ndarray, LookedUp]:
        """Return the vectors of ids, and what `backward` needs: a copy of the ids.

        Parameters and errors are those of a call.
        """
        kept = check_ids("ids", ids, self.num_embeddings).astype(np.int64)
        return self(kept), LookedUp(kept, self.num_embeddings)

    def backward(self, dy: Any, saved: LookedUp) -> tuple[None, dict[str, np.ndarray]]:
        """Return None, because ids have no gradient, and the gradient of the table.

        Raises
        ------
        ValueError
            If the shape of dy is wrong, or `saved` is of a table with other rows.
        TypeError
            If the dtype of dy is wrong, or `saved` is not from `forward`.
        """
        check_saved(saved, LookedUp)
        if saved.rows != self.num_embeddings:
            raise ValueError("saved was made by another layer's forward")
        dy = real_array("dy", dy, self.dtype)
        check_shape("dy", dy, (*saved.ids.shape, self.embedding_dim))
        grad = np.zeros((self.num_embeddings, self.embedding_dim), self.dtype)
        _core.add_rows(saved.ids.reshape(-1), np.ascontiguousarray(dy), grad)
        return None, {"weight": self._without_padding(grad)}

    # The gather path: each row that occurs, once.

    def gather(self, ids: Any) -> tuple[IndexedRows, np.ndarray]:
        """Return the rows that occur with an index into them, and their ids."""
        ids = check_ids("ids", ids, self.num_embeddings)
        used = np.flatnonzero(
            np.bincount(ids.reshape(-1), minlength=self.num_embeddings)
        )
        place = np.zeros(self.num_embeddings, np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        rows = self._parameters.arrays()["weight"][used]
        return IndexedRows(rows, place[ids]), used

    def scatter(self, drows: np.ndarray, used: np.ndarray) -> dict[str, np.ndarray]:
        """Return the gradient of the table from that of the rows of `gather`."""
        grad = np.zeros((self.num_embeddings, self.embedding_dim), self.dtype)
        grad[used] = drows
        return {"weight": self._without_padding(grad)}

    def _without_padding(self, grad: np.ndarray) -> np.ndarray:
        if self.padding_idx is not None:
            grad[self.padding_idx] = 0
        return grad

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        return {
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "padding_idx": self.padding_idx,
            "dtype": self.dtype.name,
            "seed": self.seed,
        }
