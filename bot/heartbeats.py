"""Whether some process fetches the queue's entries: the hearts of procrastinate's workers, as PostgreSQL keeps them."""

from typing import LiteralString

from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException

from bot.errors import StoreUnavailable
from bot.queueconnector import reason

BEATING: LiteralString = """
    SELECT count(*) AS number FROM procrastinate_workers
    WHERE last_heartbeat > now() - make_interval(secs => %(seconds)s)
"""


async def is_any_heart_beating(connector: BaseConnector, within_seconds: float) -> bool:
    """Whether the heart of some process's worker has beaten within so long. Raises StoreUnavailable."""
    try:
        row = await connector.execute_query_one_async(BEATING, seconds=within_seconds)
    except ConnectorException as error:
        raise StoreUnavailable(reason(error)) from error
    return bool(row["number"])
