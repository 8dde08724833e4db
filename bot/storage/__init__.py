"""Tables, migrations and repositories in SQL."""

from bot.storage.backup import back_up, restore
from bot.storage.cards import SqlCardRepository
from bot.storage.channel_defaults import SqlChannelDefaultRepository
from bot.storage.database import Database, shown, sqlite_path
from bot.storage.durations import SqlJobDurationRepository
from bot.storage.installations import (
    BEGUN_FOR_SECONDS,
    ENCRYPTED,
    InstallationStore,
    StateStore,
    delete_uninstalled,
)
from bot.storage.questions import SqlQuestionLookup, SqlQuestionRepository
from bot.storage.rate_limits import SqlRateLimitStore
from bot.storage.removals import SqlRemovalRepository
from bot.storage.tables import secrets, slack_bots, slack_installations, workspaces
from bot.storage.transactions import Transactions, transactional
from bot.storage.undelivered import SqlFailedCardRepository
from bot.storage.user_choices import SqlPreferenceRepository, SqlRatingRepository
