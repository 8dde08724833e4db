"""The protocols through which use cases reach Omni, Slack, the database, metrics and other processes."""

from bot.domain.ports.metrics import NO_METRICS, GaugeSnapshot, Metrics, RequestOutcome
from bot.domain.ports.omni import (
    IdentityMapper,
    OmniConversations,
    OmniJobs,
    OmniQuestions,
    OmniUserDirectory,
    QueuePosition,
)
from bot.domain.ports.slack import EphemeralReply, SlackDirectory, SlackMessages, SlackViews
from bot.domain.ports.storage import (
    CardRepository,
    ChannelDefaultRepository,
    FailedCardRepository,
    JobDurationRepository,
    PreferenceRepository,
    QuestionRepository,
    RatingRepository,
    RemovalRepository,
)
from bot.domain.ports.worker import Find, Follow, MessageBus, Runner, Runners
