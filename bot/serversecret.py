"""What the processes of one database know and nobody else: random, made by the first of them, kept with the follows."""

from secrets import token_hex

from sqlalchemy import insert, select

from bot.tables import secrets
from bot.transactions import Conflict, Transactions

BYTES = 32


async def server_secret(transactions: Transactions, name: str) -> bytes:
    """The secret of that name, the same in every process and after every restart. Raises StoreUnavailable."""
    try:
        return await transactions.whole(_known_or_new(transactions, name))
    except Conflict:
        # Another process has made it in this moment.
        return await transactions.whole(_known_or_new(transactions, name))


async def _known_or_new(transactions: Transactions, name: str) -> bytes:
    async with transactions.begin() as connection:
        value = await connection.scalar(select(secrets.c.value).where(secrets.c.name == name))
        if value is None:
            value = token_hex(BYTES)
            await connection.execute(insert(secrets).values(name=name, value=value))
    return bytes.fromhex(value)
