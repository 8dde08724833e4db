"""Reads the bot's table of cards from outside, and locks it against writes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

CARDS = "SELECT * FROM watches ORDER BY id"
FOLLOWED = 'SELECT w.job, f."user" FROM watches w JOIN followers f ON f.watch = w.id'
BETWEEN_CARD = "SELECT job FROM watches WHERE card_tried_at IS NOT NULL AND card IS NULL"
BETWEEN_REPLY = "SELECT job FROM watches WHERE notice_tried_at IS NOT NULL AND notice IS NULL"
INTENTS = 'SELECT follow, "user" FROM asks WHERE follow IS NOT NULL'
UNREPORTED = "SELECT follow FROM asks WHERE job IS NULL AND told = 0"
OPEN = "SELECT job FROM watches WHERE closed_at IS NULL"


class Table:
    """The cards in one database, SQLite or PostgreSQL, beside the bot that writes them."""

    def __init__(self, url: str) -> None:
        """`url`: as in DATABASE_URL."""
        self._url = make_url(url)
        self._is_file = self._url.get_backend_name() == "sqlite"
        self._reader: sqlite3.Connection | psycopg.Connection[Any] | None = None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def cards(self) -> list[Any]:
        """Every row, as it is committed now."""
        return self._rows(CARDS)

    def followed(self) -> set[tuple[str, str]]:
        """Which job is followed by whom, open and closed ones."""
        return {(job, user) for job, user in self._rows(FOLLOWED)}

    def intents(self) -> set[tuple[str, str]]:
        """Which job was to be followed by whom, by what is kept of their commands."""
        return {(job, user) for job, user in self._rows(INTENTS)}

    def unreported(self) -> set[str]:
        """The jobs to be followed of which it is not known yet what came of a command."""
        return {job for (job,) in self._rows(UNREPORTED)}

    def open_jobs(self) -> set[str]:
        """The jobs with a card that is still open."""
        return {job for (job,) in self._rows(OPEN)}

    def jobs_between_card_and_ts(self) -> set[str]:
        """The jobs of which a card was begun to be posted and its ts is not stored."""
        return {job for (job,) in self._rows(BETWEEN_CARD)}

    def jobs_between_reply_and_ts(self) -> set[str]:
        """The jobs of which a thread reply was begun to be posted and its ts is not stored."""
        return {job for (job,) in self._rows(BETWEEN_REPLY)}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nothing that the bot writes is committed, as long as the context lasts."""
        connection = self._connection()
        try:
            if isinstance(connection, sqlite3.Connection):
                connection.execute("BEGIN IMMEDIATE")
            else:
                connection.execute("BEGIN")
                connection.execute("LOCK TABLE watches IN EXCLUSIVE MODE")
            yield
        finally:
            connection.close()

    def _rows(self, statement: str) -> list[Any]:
        if self._reader is None:
            self._reader = self._connection()
        try:
            return list(self._reader.execute(statement))
        except (sqlite3.OperationalError, psycopg.errors.UndefinedTable) as error:
            if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
                raise
            return []  # no process has come to make it yet

    def _connection(self) -> "sqlite3.Connection | psycopg.Connection[Any]":
        if self._is_file:
            return sqlite3.connect(str(self._url.database), timeout=10.0, isolation_level=None)
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True)
