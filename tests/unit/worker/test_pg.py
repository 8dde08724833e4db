"""The queue reaches the database at the same address, and in the same way, as the tables do."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from bot.worker.pg import conninfo, reason


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_url_parameters_are_kept(scheme: str) -> None:
    said = conninfo_to_dict(
        conninfo(
            f"{scheme}://ada:p%40ss%2F%20word@db.example:6543/omni%20bot"
            "?sslmode=verify-full&sslrootcert=/etc/ssl/our%20ca.pem&connect_timeout=2"
        )
    )
    assert said.items() >= {
        ("host", "db.example"),
        ("port", "6543"),
        ("user", "ada"),
        ("password", "p@ss/ word"),
        ("dbname", "omni bot"),
        ("sslmode", "verify-full"),
        ("sslrootcert", "/etc/ssl/our ca.pem"),
        ("connect_timeout", "2"),
    }


def test_url_gets_timeouts() -> None:
    said = conninfo_to_dict(conninfo("postgresql://db.example/omni"))
    assert int(str(said["connect_timeout"])) == 5
    idle, interval, times = (int(str(said[f"keepalives_{what}"])) for what in ("idle", "interval", "count"))
    assert idle + interval * times < 10
    assert "password" not in said and "sslmode" not in said


def test_a_reason_is_one_line() -> None:
    assert reason(ValueError("connection lost\n\tThis probably means trouble.\n")) == "connection lost"
    assert reason(TimeoutError()) == "TimeoutError"
