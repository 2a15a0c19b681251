"""What the values of a column, or of several, say about what is to be predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kagglekit.base.errors import UserError
from kagglekit.base.walking import natural_key
from kagglekit.competitions import label_cells

_SEPARATORS = ("|", ",", ";", " ")
_ORDERED = ("diagnos", "level", "grade", "stage", "sever", "isup", "score", "rank", "rating")
"""Parts of the names of columns whose whole numbers are grades."""
_CODES = ("label", "class", "categ", "id", "species", "type", "target")
"""Parts of the names of columns whose whole numbers are codes of classes."""
_MOST_GRADES = 10
_UNKNOWN = ("", "nan", "na")
"""Cells without a number, in small letters."""
_ROUND = (0.0, 1.0, 10.0, 100.0, 1000.0)
"""Numbers that are the end of a range if they are the smallest or largest one."""


@dataclass(frozen=True)
class Values:
    """The values of one column."""

    name: str
    texts: Sequence[str]
    asked: Sequence[str] = ()
    """Cells of the sample submission that are written as these may be, or its columns."""

    @property
    def distinct(self) -> list[str]:
        """The different values, in natural order. An empty cell is none."""
        return sorted(set(self.texts) - {""}, key=natural_key)

    @property
    def lacking(self) -> bool:
        """Whether a cell has no value."""
        return any(text.lower() in _UNKNOWN for text in self.texts)

    @property
    def numbers(self) -> list[float] | None:
        """The different values as numbers; None if not all are, or there is none."""
        try:
            return sorted({float(text) for text in set(self.texts) if text.lower() not in _UNKNOWN}) or None
        except ValueError:
            return None

    @property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        numbers = self.numbers
        return numbers is not None and all(number == int(number) for number in numbers if abs(number) < 1e15)

    @property
    def flags(self) -> bool:
        """Whether all are 0 or 1."""
        return self.numbers in ([0.0], [1.0], [0.0, 1.0])

    @property
    def differs_always(self) -> bool:
        """Whether each row has another text, such as an address."""
        return self.numbers is None and len(set(self.texts)) == len(self.texts)

    @property
    def marks(self) -> dict[str, bool] | None:
        """Value -> whether it means yes; None if one means neither yes nor no."""
        return label_cells.marks(set(self.texts))

    def kind(self) -> str:
        """Return the kind of target that the values are most probably of. Raises UserError for lists in brackets."""
        numbers = self.numbers
        if all(text.startswith("[") and text.endswith("]") for text in self.distinct):
            raise UserError(
                f"column {self.name!r} has lists in brackets, such as {self.texts[0]!r}: write the plugin without "
                "--from, with the hooks train_table and submission."
            )
        if self.separator():
            return "labels"
        if numbers is None or self.flags:
            return "classes"
        consecutive = self.whole and numbers == list(range(int(numbers[0]), int(numbers[0]) + len(numbers)))
        if consecutive and len(numbers) <= _MOST_GRADES and self._is_called(_ORDERED):
            return "grades"
        repeated = len(numbers) * 2 <= len(self.texts)
        few = len(numbers) == 2 or (consecutive and len(numbers) <= _MOST_GRADES)
        if self.whole and repeated and (self._is_called(_CODES) or few):
            return "classes"
        return "numbers"

    def _is_called(self, parts: Iterable[str]) -> bool:
        return any(part in self.name.lower() for part in parts)

    def separator(self) -> str:
        """Return what separates several labels in a cell; empty if nothing does.

        It does if the parts are fewer than the different cells (names of classes with spaces have more words), or if
        the sample submission joins the parts in another way.
        """
        if self.numbers is not None:
            return ""
        cells = self.distinct
        for separator in _SEPARATORS:
            parts = _parts(cells, separator)
            joined_anew = not set(self.asked) <= set(cells) and _parts(self.asked, separator) <= parts
            if any(separator in cell for cell in cells) and (len(parts) < len(cells) or joined_anew):
                return separator
        return ""

    def range(self) -> tuple[float | None, float | None]:
        """Return the ends of the numbers' range, as far as the smallest and largest ones are round."""
        numbers = self.numbers or [0.5]
        low, high = (end if end in _ROUND else None for end in (numbers[0], numbers[-1]))
        return _plain(low), _plain(high)


def _parts(cells: Iterable[str], separator: str) -> set[str]:
    return {part.strip() for cell in cells for part in cell.split(separator)} - {""}


def _plain(end: float | None) -> float | None:
    return int(end) if end is not None and end == int(end) else end


def set_kind(columns: Sequence[Values]) -> str:
    """Return the kind of target that several columns are most probably of."""
    marks = [column.marks for column in columns]
    if all(marks):
        rows = zip(*(column.texts for column in columns), strict=True)
        sums = {sum(means[text] for means, text in zip(marks, row, strict=True) if means) for row in rows}
        return "classes" if sums == {1} else "labels"
    every = [column.numbers or [] for column in columns]
    return "shares" if all(numbers and numbers[0] >= 0 and numbers[-1] <= 1 for numbers in every) else "numbers"
