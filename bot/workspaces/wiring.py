"""Builds the object graph between the ports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

from slack_bolt.async_app import AsyncApp

from bot.delivery import (
    AnswerRemover,
    BlockSupport,
    CardCharts,
    CardLifecycle,
    CardOutcomes,
    CompletionThread,
    MessagePoster,
    MessageUpdater,
)
from bot.domain import AccessPolicy, Card, ModelId, SlackUser, TeamId, UserId
from bot.domain.ports import (
    NO_METRICS,
    CardRepository,
    ChannelDefaultRepository,
    EphemeralReply,
    FailedCardRepository,
    Follow,
    IdentityMapper,
    JobDurationRepository,
    Metrics,
    OmniJobs,
    OmniQuestions,
    PreferenceRepository,
    QuestionRepository,
    RatingRepository,
    RemovalRepository,
    Runner,
    SlackDirectory,
    SlackMessages,
    SlackViews,
)
from bot.handlers import (
    AnswerHandlers,
    CommandHandlers,
    HomeTabs,
    InteractionRunner,
    MessageHandlers,
    ModalHandlers,
)
from bot.ratelimit import RateLimiter
from bot.services import (
    AnnouncementService,
    AskService,
    CancelService,
    FeedbackService,
    FollowService,
    Intents,
    JobDataService,
    JobResults,
    Lookups,
    ModelCatalog,
    PolicyAuthorization,
    QuestionSubmitter,
    RemoveService,
    SharedChannels,
    ShareService,
    Targets,
)
from bot.settings import Settings
from bot.tracking import ConversationList, JobEventBus, JobTracker, TypicalDurations
from bot.user_limit import UserLimit


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's decisions for one workspace."""

    tenant: str
    """Omni's address. Only chats at this address become links."""
    settings: Settings
    access: AccessPolicy
    default_model: ModelId | None = None
    """The Omni model for users who have not chosen one."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to Slack, Omni, the database and the time."""

    omni: OmniJobs
    questions: OmniQuestions
    identities: IdentityMapper
    messages: SlackMessages
    directory: SlackDirectory
    people: Lookups[UserId, SlackUser]
    """The directory's users, cached."""
    views: SlackViews
    cards: CardRepository
    failed_cards: FailedCardRepository
    job_durations: JobDurationRepository
    pending_questions: QuestionRepository
    preferences: PreferenceRepository
    removals: RemovalRepository
    channel_defaults: ChannelDefaultRepository
    ratings: RatingRepository
    reply_to_response_url: EphemeralReply
    now: Callable[[], datetime]
    """The time, aware UTC."""
    team: TeamId
    bot_user: UserId
    user_limit: UserLimit
    """Limits the requests to Omni that each user causes."""
    events: JobEventBus = field(default_factory=JobEventBus)
    """Webhook events of the team's jobs."""
    conversations: ConversationList = field(default_factory=ConversationList)
    """The list of conversations of the Omni key."""
    metrics: Metrics = NO_METRICS


class Listener(Protocol):
    """Handles a kind of Slack requests."""

    def register(self, app: AsyncApp) -> None:
        """Register listeners with Bolt."""
        ...


@dataclass(frozen=True, slots=True)
class Components:
    """The built components of a workspace."""

    tracker: JobTracker
    durations: TypicalDurations
    runner: Runner
    updater: MessageUpdater
    poster: MessagePoster
    submitter: QuestionSubmitter
    announcements: AnnouncementService
    home_tabs: HomeTabs
    interactions: InteractionRunner
    listeners: tuple[Listener, ...]

    def register(self, app: AsyncApp) -> None:
        """Register all listeners, which must match `manifest.yml`."""
        for listener in self.listeners:
            listener.register(app)


def build_components(
    ports: Ports, policy: Policy, edits: RateLimiter, outcomes: CardOutcomes, run: Callable[[Follow], Runner]
) -> Components:
    """Build the components. `run` creates the runner for the tracking function that it gets."""
    shared_channels = SharedChannels(ports.directory, allow_shared=policy.access.allow_shared_channels)
    is_shared = partial(shared_channels.is_shared, fresh=True)
    authorization = PolicyAuthorization(
        policy.access,
        omni=ports.omni,
        people=ports.people,
        identities=ports.identities,
        cards=ports.cards,
        questions=ports.pending_questions,
        now=ports.now,
        user_limit=ports.user_limit,
    )
    block_support = BlockSupport()
    updater = MessageUpdater(ports.messages, ports.cards, edits, block_support, ports.metrics)
    poster = MessagePoster(ports.messages, ports.cards, ports.now, block_support)
    thread = CompletionThread(
        cards=ports.cards,
        preferences=ports.preferences,
        poster=poster,
        now=ports.now,
        tenant=policy.tenant,
        notify_after_seconds=policy.settings.notify_after_seconds,
    )
    lifecycle = CardLifecycle(
        messages=ports.messages,
        cards=ports.cards,
        failed_cards=ports.failed_cards,
        updater=updater,
        poster=poster,
        thread=thread,
        remover=AnswerRemover(
            messages=ports.messages,
            cards=ports.cards,
            removals=ports.removals,
            updater=updater,
            poster=poster,
            tenant=policy.tenant,
        ),
        charts=CardCharts(
            messages=ports.messages,
            cards=ports.cards,
            updater=updater,
            thread=thread,
            now=ports.now,
            is_on_card=policy.settings.chart_on_card,
        ),
        block_support=block_support,
        outcomes=outcomes,
        is_shared=is_shared,
        content_policy=policy.settings.content_policy,
        now=ports.now,
        tenant=policy.tenant,
        asks_feedback=policy.settings.feedback == "on",
        metrics=ports.metrics,
    )
    durations = TypicalDurations(ports.job_durations, ports.now)
    tracker = JobTracker(
        omni=ports.omni,
        cards=ports.cards,
        lifecycle=lifecycle,
        now=ports.now,
        durations=durations,
        follow_for_seconds=policy.settings.max_follow_hours * 3_600.0,
        events=ports.events,
        list_hint=ports.conversations.hint,
    )
    runner = run(tracker.track)

    def question_of(card: Card) -> str:
        is_hidden = policy.settings.content_policy.is_link_only(card.channel)
        return "" if is_hidden else tracker.question_of(card.job)

    targets = Targets(ports.messages, shared_channels.is_shared)
    intents = Intents(ports.pending_questions, poster.tasks, ports.now)
    follow_service = FollowService(
        omni=ports.omni,
        messages=ports.messages,
        cards=ports.cards,
        questions=ports.pending_questions,
        intents=intents,
        failed_cards=ports.failed_cards,
        outcomes=outcomes,
        authorization=authorization,
        targets=targets,
        start=runner.start,
        question_of=question_of,
        now=ports.now,
        bot_user=ports.bot_user,
    )
    announcements = AnnouncementService(
        policy=policy.access,
        directory=ports.directory,
        people=ports.people,
        cards=ports.cards,
        failed_cards=ports.failed_cards,
        outcomes=outcomes,
        start=runner.start,
        now=ports.now,
    )
    job_data_service = JobDataService(
        omni=ports.omni,
        results=JobResults(ports.omni, ports.now),
        messages=ports.messages,
        cards=ports.cards,
        removals=ports.removals,
        poster=poster,
        authorization=authorization,
        is_shared=is_shared,
        content_policy=policy.settings.content_policy,
        now=ports.now,
        tenant=policy.tenant,
        bot_user=ports.bot_user,
    )
    submitter = QuestionSubmitter(
        omni=ports.omni,
        omni_questions=ports.questions,
        messages=ports.messages,
        questions=ports.pending_questions,
        intents=intents,
        outcomes=outcomes,
        follow_service=follow_service,
        start=runner.start,
        steps=poster.tasks,
        now=ports.now,
        events=ports.events,
    )
    ask_service = AskService(
        omni=ports.omni,
        cards=ports.cards,
        questions=ports.pending_questions,
        authorization=authorization,
        content_policy=policy.settings.content_policy,
        targets=targets,
        lifecycle=lifecycle,
        intents=intents,
        submitter=submitter,
        now=ports.now,
        default_model=policy.default_model,
        channel_defaults=ports.channel_defaults,
    )
    remove_service = RemoveService(
        messages=ports.messages,
        cards=ports.cards,
        removals=ports.removals,
        authorization=authorization,
        start=runner.start,
    )
    share_service = ShareService(
        omni=ports.omni,
        cards=ports.cards,
        questions=ports.pending_questions,
        directory=ports.directory,
        intents=intents,
        outcomes=outcomes,
        authorization=authorization,
        content_policy=policy.settings.content_policy,
        is_shared=is_shared,
        follow_service=follow_service,
        start=runner.start,
        now=ports.now,
        bot_user=ports.bot_user,
    )
    cancel_service = CancelService(
        omni=ports.questions, cards=ports.cards, authorization=authorization, start=runner.start
    )
    feedback_service = FeedbackService(
        omni=ports.omni,
        messages=ports.messages,
        cards=ports.cards,
        ratings=ports.ratings,
        authorization=authorization,
        is_shared=is_shared,
        is_on=policy.settings.feedback == "on",
        reports_to=policy.settings.feedback_channel,
        tenant=policy.tenant,
        now=ports.now,
        metrics=ports.metrics,
    )
    models = ModelCatalog(
        omni=ports.questions,
        questions=ports.pending_questions,
        now=ports.now,
        default_model=policy.default_model,
        channel_defaults=ports.channel_defaults,
    )
    interactions = InteractionRunner(ports.reply_to_response_url, ports.views, ports.messages)
    command_handlers = CommandHandlers(
        follow_service=follow_service,
        job_data_service=job_data_service,
        ask_service=ask_service,
        cancel_service=cancel_service,
        interactions=interactions,
        team=ports.team,
    )
    modal_handlers = ModalHandlers(
        follow_service=follow_service,
        ask_service=ask_service,
        feedback_service=feedback_service,
        authorization=authorization,
        models=models,
        views=ports.views,
        interactions=interactions,
        team=ports.team,
    )
    answer_handlers = AnswerHandlers(
        job_data_service=job_data_service,
        share_service=share_service,
        remove_service=remove_service,
        modal_handlers=modal_handlers,
        interactions=interactions,
        team=ports.team,
    )
    home_tabs = HomeTabs(
        cards=ports.cards,
        preferences=ports.preferences,
        messages=ports.messages,
        views=ports.views,
        authorization=authorization,
        interactions=interactions,
        state_of=tracker.state_of,
        question_of=question_of,
        now=ports.now,
        team=ports.team,
        notify_after_seconds=policy.settings.notify_after_seconds,
    )
    listeners = (
        command_handlers,
        modal_handlers,
        answer_handlers,
        MessageHandlers(follow_service, ask_service, interactions, team=ports.team, bot_user=ports.bot_user),
        home_tabs,
    )
    return Components(
        tracker,
        durations,
        runner,
        updater,
        poster,
        submitter,
        announcements,
        home_tabs,
        interactions,
        listeners,
    )
