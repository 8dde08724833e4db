"""Messages about a job: its card in every state, and the completion reply.

Every variant of a card stays under 10,000 characters in all, its text under 4,000. `answer` says why.
"""

from datetime import datetime

from bot.domain import (
    API_CLIENT,
    Block,
    Card,
    FileId,
    Job,
    JobId,
    JobNotFound,
    JobState,
    JobStatus,
    KeyRefused,
    Message,
    OmniBusy,
    Rating,
    Upload,
    UserId,
    is_direct,
    strip_control_chars,
)
from bot.rendering import answer
from bot.rendering.blocks import (
    MOST_BLOCKS,
    buttons,
    context,
    feedback_buttons,
    picture,
    plain_feedback_buttons,
    plan,
    quote,
    section,
    task,
)
from bot.rendering.markdown.links import chat_link, written
from bot.rendering.markdown.mrkdwn import code, escape, excerpt, moment, shortened
from bot.rendering.status import StatusText, StepsText, describe

TROUBLE_SHOWN_AFTER_SECONDS = 60.0
"""How long polls may fail before the card says so."""

_LONGEST_PROMPT = 300
_LONGEST_PROMPT_WITH_ANSWER = 150
_LONGEST_PROMPT_IN_REPLY = 100
_LONGEST_TOPIC = 100
_MOST_DETAILS_IN_REPLY = 1
_PROMPT_LINES = 3
_MOST_NAMED = 3
_MOST_MENTIONED = 60
_CANCELLABLE = (JobState.QUEUED, JobState.EXECUTING, JobState.UNKNOWN)
_ASKED_AGAIN = "The bot asks Omni once more in about 10 minutes. To follow the job again now, press *Resume*."
_CHECK_IT = "AI-generated: check before you decide."


def render_card(
    card: Card, status: JobStatus, now: datetime, tenant: str, *, asks_feedback: bool = False
) -> tuple[Message, ...]:
    """Render the variants of a card, richest first.

    An unchanged status gives equal messages at any `now`, except that a lasting error appears. Of a status seen later
    only one thing can differ: that the job takes longer than usual.

    Args:
        card: the card.
        status: the status of its job.
        now: aware UTC.
        tenant: Omni's URL without `/api`, for chat addresses without a host.
        asks_feedback: whether an answer has buttons for feedback.
    """
    if card.removed_by is not None:
        return (render_removed(card, status, tenant),)
    job = status.job
    if job is not None and job.state is JobState.COMPLETE and not (status.is_missing or job.is_redacted):
        return _answered(card, status, job, tenant, asks_feedback=asks_feedback)
    link = chat_link(job.chat_url, tenant) if job else None
    shown = describe(status, card.cancelled_by, card.outcome)
    outlook = [_ASKED_AGAIN] if _is_resumable(card, status) else _trouble(status, now)
    details = [*shown.details, *outlook]
    above = [section(shown.heading), *_prompt(job, _LONGEST_PROMPT)]
    below = [section("\n".join(details))] if details else []
    below += [*_buttons(card, status, link), context(_footer(card))]
    text = "\n".join(filter(None, [_said(shown.title, job, _LONGEST_PROMPT), shown.plain_text, *outlook]))
    variants = [Message(text, (*above, *steps, *below)) for steps in _steps(card, shown.steps)]
    return *variants, Message("\n".join([text, *written(link), _footer(card)]))


def render_completion_reply(card: Card, status: JobStatus, tenant: str) -> Message | None:
    """Render the thread reply that notifies the followers of the end; None if there is no news."""
    followers = card.people
    is_cancelled = status.has_ended and status.job is not None and status.job.state is JobState.CANCELLED
    if is_cancelled:
        # A mention would notify the user who cancelled, too.
        followers = tuple(each for each in followers if each != card.cancelled_by)
    if not (status.is_final or card.ended) or not followers:
        return None
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    # The card still shows the end when Omni has deleted the job, but the database does not have it.
    ended = (
        describe(status)
        if status.has_ended or not card.ended
        else StatusText("", "The job has ended; its card shows how")
    )
    details = () if is_cancelled and card.cancelled_by else ended.details[:_MOST_DETAILS_IN_REPLY]
    news = [f"{_mentions(followers)} {ended.title}{' ' * bool(ended.aside)}{ended.aside}."]
    news += [*details, *_spoken_prompt(status.job, _LONGEST_PROMPT_IN_REPLY)]
    text = "\n".join([*news, *written(link)])
    return Message(text, (section(text),))


def rest_in_omni(job: Job, tenant: str) -> Message:
    """Render the thread reply that replaces the file of a long answer, where it can't be uploaded."""
    text = "\n".join(["The rest of the answer is in Omni.", *written(chat_link(job.chat_url, tenant))])
    return Message(text, (section(text),))


def chart(job: Job, image: bytes) -> Upload:
    """Return the chart of an answer, a PNG, as a file with alternative text."""
    topic = _topic(job)
    return Upload("chart.png", f"Chart: {topic}" if topic else "Chart", image, alt=_chart_alt(job))


def with_chart(message: Message, job: Job, file: FileId) -> Message | None:
    """Return the card of an answer with its chart above the buttons; None if it has no blocks, or too many."""
    if not 0 < len(message.blocks) < MOST_BLOCKS:
        return None
    types = [block["type"] for block in message.blocks]
    at = types.index("actions") if "actions" in types else len(types)
    shown = picture(file, _chart_alt(job))
    return Message(message.text, (*message.blocks[:at], shown, *message.blocks[at:]))


def _topic(job: Job) -> str:
    return excerpt(job.topic or "", _LONGEST_TOPIC, 1)


def _chart_alt(job: Job) -> str:
    question = excerpt(job.prompt, _LONGEST_PROMPT, _PROMPT_LINES)
    said = [
        "Chart drawn by Omni.",
        *[f"Topic: {_topic(job)}."] * bool(_topic(job)),
        *[f"Question: {question}"] * bool(question),
    ]
    return " ".join(said)


def rating_report(job: JobId, user: UserId, rating: Rating, reason: str, link: str | None) -> Message:
    """Render a user's rating of an answer for the operator's channel, with neither question nor answer.

    `reason`: the user's own words; may be empty.
    """
    words = strip_control_chars(reason).strip()
    verdict = "found an answer helpful" if rating is Rating.HELPFUL else "did not find an answer helpful"
    verdict = "says what was missing or wrong" if words else verdict
    sign = "👍" if rating is Rating.HELPFUL else "👎"
    line = f"{sign} <@{user}> {verdict} · job {code(job, 60)}"
    text = "\n".join([line, *[escape(words)] * bool(words), *written(link)])
    quoted = [quote(words)] if words else []
    return Message(text, (section(line), *quoted, *buttons(link)))


def render_unfollowed(card: Card, status: JobStatus, tenant: str) -> Message:
    """Render the card whose last follower stopped following."""
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    if status.is_final:
        now = "The job has ended in Omni."
    elif status.job is None:
        now = "That does not cancel the job."
    else:
        is_cancelled = card.cancelled_by is not None
        now = "Omni was asked to cancel the job." if is_cancelled else "The job keeps running in Omni."
    again = f"To follow it again, type {code(f'/omni-job {card.job}', 100)}."
    title = "The bot no longer follows this job"
    blocks = [section(f"🔕 *{title}*\n{now} {again}"), *_prompt(status.job, _LONGEST_PROMPT)]
    blocks += [*buttons(link), context(_footer(card))]
    text = f"{_said(title, status.job, _LONGEST_PROMPT)}\n{now} {again}"
    return Message(text, tuple(blocks))


def render_paused(card: Card, status: JobStatus, tenant: str) -> Message:
    """Render the card of a job that has run for so long that the bot stops polling."""
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    title = "The bot stopped watching this job"
    since = f"It has not ended since {moment(card.tracked_since)}."
    resume = "To follow it again, press *Resume*."
    blocks = [section(f"💤 *{title}*\n{since} {resume}"), *_prompt(status.job, _LONGEST_PROMPT)]
    blocks += [*buttons(link, resume=card.id), context(_footer(card))]
    text = f"{_said(title, status.job, _LONGEST_PROMPT)}\n{since} {resume}"
    return Message(text, tuple(blocks))


def render_removed(card: Card, status: JobStatus, tenant: str) -> Message:
    """Render the card whose answer was removed: without question and answer."""
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    title = f"Removed by <@{card.removed_by}>"
    return Message(title, (section(f"🗑️ *{title}*"), *buttons(link), context(f"Job {code(card.job, 60)}")))


def render_withheld(card: Card, status: JobStatus, tenant: str) -> Message:
    """Render the card of a job that has ended in a shared channel, without the answer."""
    link = chat_link(status.job.chat_url, tenant) if status.job else None
    title = "The job has ended, but its answer is not shown here"
    why = "People of another organization may be able to read this channel."
    there = "Followers get the answer in their DMs with me."
    text = f"{title}. {why} {there}"
    return Message(text, (section(f"🔒 *{title}*\n{why} {there}"), *buttons(link), context(_footer(card))))


def _answered(
    card: Card, status: JobStatus, job: Job, tenant: str, *, asks_feedback: bool
) -> tuple[Message, ...]:
    """Render the card that shows the answer."""
    if not asks_feedback:
        return _framed(card, status, job, tenant)
    richest, *_ = _framed(card, status, job, tenant, feedback_buttons(card.id))
    return richest, *_framed(card, status, job, tenant, plain_feedback_buttons(card.id))


def _framed(card: Card, status: JobStatus, job: Job, tenant: str, *feedback: Block) -> tuple[Message, ...]:
    """The answer with what stands around it. `feedback`: the buttons for feedback, if any."""
    link = chat_link(job.chat_url, tenant)
    shown = describe(status)
    caution = (_CHECK_IT,) * answer.has_answer(job)
    frame = answer.AnswerLayout(
        spoken=_said(shown.title, job, _LONGEST_PROMPT_WITH_ANSWER),
        above=(section(shown.heading), *_prompt(job, _LONGEST_PROMPT_WITH_ANSWER)),
        below=(
            *buttons(
                link,
                show=card.id,
                follow_up=card.id,
                share=card.id if is_direct(card.channel) else None,
                remove=card.id,
            ),
            *feedback,
            context(" ".join([*caution, _footer(card)])),
        ),
        caution="\n".join(filter(None, [shown.plain_text, *caution])),
        signature=(*written(link), _footer(card)),
    )
    return answer.answer_card(job, frame, tenant)


def _steps(card: Card, steps: StepsText) -> list[list[Block]]:
    """The steps of a running job, richest variant first."""
    if not steps.lines:
        return [[]]
    first = steps.earlier + 1
    tasks = [
        *([task(f"{card.job}:earlier", steps.earlier_line, is_done=True)] if steps.earlier else []),
        *(
            task(f"{card.job}:{number}", title, is_done=True)
            for number, title in enumerate(steps.done, start=first)
        ),
        *(
            [task(f"{card.job}:{first + len(steps.done)}", steps.current, is_done=False)]
            if steps.current
            else []
        ),
    ]
    # A plan of one task would say the same twice.
    plans = [[plan(steps.title, tasks)]] if len(tasks) > 1 else []
    return [*plans, tasks, [section("\n".join(steps.lines))]]


def _buttons(card: Card, status: JobStatus, link: str | None) -> list[Block]:
    """The controls of a card without an answer, at most four."""
    state = status.job.state if status.job else None
    if _is_resumable(card, status):
        return buttons(link, resume=card.id)
    if status.is_final:
        if status.has_ended and state is JobState.COMPLETE:
            return buttons(link, follow_up=card.id)
        is_retriable = status.has_ended and card.retried_by is None
        return buttons(link, retry=card.id if is_retriable else None)
    is_cancellable = state in _CANCELLABLE and card.cancelled_by is None
    # Only its user reads a direct message, and follows already.
    follow = None if is_direct(card.channel) else card.id
    return buttons(link, follow=follow, cancel=card.id if is_cancellable else None, stop=card.id)


def _is_resumable(card: Card, status: JobStatus) -> bool:
    """Whether tracking ended because Omni did not find the job, which may be temporary."""
    return status.is_missing and not card.ended


def _prompt(job: Job | None, limit: int) -> list[Block]:
    start = excerpt(job.prompt, limit, _PROMPT_LINES) if job else ""
    return [quote(start)] if start else []


def _said(state: str, job: Job | None, limit: int) -> str:
    """The first line of a notification: the state and the question."""
    start = excerpt(job.prompt, limit, _PROMPT_LINES) if job else ""
    return f"{state}: “{shortened(' '.join(start.split()), 2 * limit)}”" if start else f"{state}."


def _spoken_prompt(job: Job | None, limit: int) -> list[str]:
    start = excerpt(job.prompt, limit, _PROMPT_LINES) if job else ""
    return [f"Question: {shortened(start, 2 * limit)}"] if start else []


def _trouble(status: JobStatus, now: datetime) -> list[str]:
    """Describe failed polls, once they have lasted."""
    since = status.failing_since
    if status.error is None or status.is_final or since is None:
        return []
    if (now - since).total_seconds() <= TROUBLE_SHOWN_AFTER_SECONDS:
        return []
    match status.error:
        case KeyRefused():
            text = (
                f"Omni has refused the bot's key since {moment(since)}. The bot's operator has to fix this."
            )
        case OmniBusy():
            text = f"Omni has been limiting the bot's requests since {moment(since)}; still trying."
        case JobNotFound():
            text = f"Omni has not found this job since {moment(since)}; still trying."
        case _:
            text = f"Omni has not answered since {moment(since)}; still trying."
    return [f"⚠️ {text}"]


def _footer(card: Card) -> str:
    """The requester, the other followers and who retried, or who shared the answer; and the id for support."""
    if card.shared_by is not None:
        return f"Shared by <@{card.shared_by}> · job {code(card.job, 60)}"
    others = [follower for follower in card.people if follower != card.requester]
    is_announced = card.requester == API_CLIENT
    followed = "followed" if is_announced else "also followed"
    named = [f"<@{user}>" for user in others[:_MOST_NAMED]]
    if len(others) > _MOST_NAMED:
        also = f", {followed} by {', '.join(named)} and {len(others) - _MOST_NAMED} more"
    else:
        also = (
            f", {followed} by {' and '.join(filter(None, [', '.join(named[:-1]), *named[-1:]]))}"
            if named
            else ""
        )
    retried = f" · retried by <@{card.retried_by}>" if card.retried_by else ""
    # A user who follows a job by its id may not be the one who asked for it.
    verb = "Asked" if card.asked_by_bot else "Followed"
    first = "Announced by the API" if is_announced else f"{verb} by <@{card.requester}>"
    return f"{first}{also}{retried} · job {code(card.job, 60)}"


def _mentions(users: tuple[UserId, ...]) -> str:
    names = " ".join(f"<@{user}>" for user in users[:_MOST_MENTIONED])
    more = len(users) - _MOST_MENTIONED
    return f"{names} and {more} more:" if more > 0 else f"{names}:"
