"""Edit distance between sequences of labels, for word and label error rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def edit_distance(found: Sequence[Any], wanted: Sequence[Any]) -> int:
    """Return the least number of insertions, deletions and replacements.

    Levenshtein 1966, by the recursion of Wagner and Fischer 1974
    (doi:10.1145/321796.321811). The sum over sentences of words, divided by the number
    of reference words, is the word error rate.

    Examples
    --------
    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(wanted) + 1))
    for i, mine in enumerate(found, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            replaced = diagonal + (mine != other)
            diagonal = row[j]
            row[j] = min(replaced, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def count_errors(
    found: Iterable[Sequence[Any]], wanted: Iterable[Sequence[Any]]
) -> tuple[int, int]:
    """Return the number of edits of all pairs, and the number of reference labels.

    Examples
    --------
    >>> count_errors([[1, 2], [3]], [[1, 2, 2], [1]])
    (2, 4)
    """
    edits = labels = 0
    for mine, other in zip(found, wanted, strict=True):
        edits += edit_distance(mine, other)
        labels += len(other)
    return edits, labels
