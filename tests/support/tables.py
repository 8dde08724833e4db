"""Tests over a table that are one collected test, however long the table is."""

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Signature, signature
from typing import Any

import pytest


def for_each(names: str, table: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for every row of a table, and report all rows that fail at once.

    Takes what `pytest.mark.parametrize` takes, and can be stacked in the same way.
    """
    arguments = [name.strip() for name in names.split(",")]
    rows = [tuple(row) if len(arguments) > 1 else (row,) for row in table]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def over_table(**others: Any) -> None:
            failures: list[BaseException] = []
            for row in rows:
                values = dict(zip(arguments, row, strict=True))
                try:
                    test(**others, **values)
                except (Exception, BaseExceptionGroup, pytest.fail.Exception) as failure:  # noqa: BLE001
                    failure.add_note(f"with {values!r:.300}")
                    failures.append(failure)
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(rows)} rows fail", failures)

        left = [each for name, each in signature(test).parameters.items() if name not in arguments]
        over_table.__signature__ = Signature(left)  # type: ignore[attr-defined]
        return over_table

    return decorate
