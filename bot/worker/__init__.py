"""Runs one tracker per job: asyncio tasks in one process, or procrastinate jobs on PostgreSQL."""

from bot.worker.heartbeats import WORKERS
from bot.worker.job_queue import FollowQueue
from bot.worker.pg import open_pool
from bot.worker.pg_notify import PgNotify
from bot.worker.queue_runner import QueueRunners
from bot.worker.runner import TaskRunners
from bot.worker.schema import prepare
