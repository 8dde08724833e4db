"""A test over a table fails for each row that fails, and names the row."""

import pytest

from tests.support.tables import for_each


@for_each("factor", [1, 2, 3])
@for_each("number, square", [(2, 4), (3, 6)])
def squares(factor: int, number: int, square: int) -> None:
    assert factor * number**2 == factor * square
    if number == 2:
        with pytest.raises(ZeroDivisionError):
            1 // (factor - 2)


def test_every_failing_row_is_reported() -> None:
    with pytest.raises(BaseExceptionGroup, match="3 of 3 rows fail") as outer:
        squares()
    notes = [
        [*group.__notes__, *(note for failure in group.exceptions for note in failure.__notes__)]
        for group in outer.value.exceptions
        if isinstance(group, BaseExceptionGroup)
    ]
    both = ["with {'number': 2, 'square': 4}", "with {'number': 3, 'square': 6}"]
    assert notes == [
        ["with {'factor': 1}", *both],
        ["with {'factor': 2}", both[1]],
        ["with {'factor': 3}", *both],
    ]


@for_each("text", ["a", "b"])
def test_fixtures_reach_the_test(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXT", text)
