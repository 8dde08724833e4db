"""Texts of the private replies about following jobs, as mrkdwn: each says what happened, then what to do.

A job that does not exist and a job of another user read the same. No text of an API appears here, and no address
but Slack's permalinks and links to Omni chats.
"""

from collections.abc import Sequence

from bot.domain import Card, CardFailure, JobId, JobNotFound, KeyRefused, OmniBusy, OmniError
from bot.rendering import answer_replies
from bot.rendering.markdown.mrkdwn import code, moment, one_line

COMMAND = "/omni-job"

MOST_LISTED = 20
"""Most jobs in one list. Each link to a card costs a request."""
_LONGEST_QUESTION = 100
_LONGEST_LIST = 3_900
"""Most characters of the jobs in a list. Slack cuts a text after 4,000.
Source: docs.slack.dev/reference/methods/chat.postMessage."""


def help_text() -> str:
    """Describe the command."""
    return "\n".join(
        [
            "I follow an Omni AI job in one message, the card. It shows what the job is doing, and then its answer.",
            f"• `{COMMAND} &lt;id&gt;`: follow a job. A link to an Omni chat works, too.",
            f"• `{COMMAND} &lt;id&gt; private`: follow it in your DMs with me.",
            f"• `{COMMAND} list`: list the running jobs you follow.",
            f"• `{COMMAND} help`: show this help.",
            "*Follow* on a card adds you to those I notify; *Stop following* in its menu removes only you.",
            "To ask Omni something new, type `/omni-ask`.",
        ]
    )


def usage(reason: str | None = None) -> str:
    """Say what to type. `reason`: a sentence of the bot's own on what was wrong with the input."""
    example = f"`{COMMAND} 550e8400-e29b-41d4-a716-446655440000`"
    text = f"Type the id of an Omni AI job, for example {example}. For more, type `{COMMAND} help`."
    return f"{reason} {text}" if reason else text


def already_followed(permalink: str | None, *, has_ended: bool = False) -> str:
    """The job already has a card in this channel. `has_ended`: the card shows how the job ended."""
    card = f"<{permalink}|a card>" if permalink else "a card"
    following = "" if has_ended else " You follow it now. The card will show how it ends."
    return f"This job already has {card} here.{following}"


def no_such_job() -> str:
    """Omni does not know the job, or it belongs to another user."""
    return (
        "Omni has no such job. Check the id: it must be the id of an AI job in the Omni organization "
        "that this bot is connected to."
    )


def chat_without_job() -> str:
    """The chat has no job."""
    return (
        "I found no AI job in that Omni chat. If one has just started, try again in a moment, "
        f"or use the job's own id: `{COMMAND} &lt;id&gt;`."
    )


def key_refused() -> str:
    """Omni refuses the bot's key."""
    return "Omni refuses this bot's key, so I can't look anything up. Please contact the bot's operator."


def omni_down() -> str:
    """Omni gives no usable response."""
    return "Omni isn't responding right now. Please try again in a minute."


def omni_busy() -> str:
    """Omni limits the bot's requests."""
    return "Omni is limiting this bot's requests right now. Please try again in a minute."


def not_looked_up(error: OmniError) -> str:
    """Looking up a job or a chat failed."""
    match error:
        case JobNotFound():
            return no_such_job()
        case KeyRefused():
            return key_refused()
        case OmniBusy():
            return omni_busy()
        case _:
            return omni_down()


def slack_busy() -> str:
    """A required request to Slack failed."""
    return "Slack doesn't let me do that right now, so I started nothing. Please try again in a minute."


def busy() -> str:
    """Too much background work is queued."""
    return "I have too much to do right now, so I started nothing. Please try again in a minute."


def storage_down() -> str:
    """The database is unavailable."""
    return (
        "I can't reach my database right now, so nothing was changed. Please try again in a minute. "
        "If that doesn't help, contact the bot's operator."
    )


def unconfirmed_card(job: JobId | None = None) -> str:
    """Slack did not respond to the card's post. `job`: its id, where the reply stands alone."""
    which = f" for job {code(job, 60)}" if job else ""
    return (
        f"Slack did not confirm the card{which}. If you don't see it in a minute, or it stops updating, "
        f"{f'type `{COMMAND}` with the id' if job else 'run the command again'}."
    )


def card_failed(why: CardFailure, job: JobId) -> str:
    """The card could not be posted. Stands alone, in DMs, and may come minutes after the command."""
    if why is CardFailure.UNCONFIRMED:
        return unconfirmed_card(job)
    reason = {
        CardFailure.NO_SUCH_JOB: no_such_job(),
        CardFailure.KEY_REFUSED: key_refused(),
        CardFailure.NOWHERE: "Slack didn't let me post its card, neither where you asked for it nor here. "
        f"To try again, type `{COMMAND}` with the id.",
    }
    return f"You asked me to follow job {code(job, 60)}. {reason[why]}"


def unfollowed(n_left: int) -> str:
    """The user stopped following; `n_left` others still follow."""
    if n_left == 0:
        return "You no longer follow this job, and no one else does. This doesn't cancel it."
    others = "One other person still follows it" if n_left == 1 else f"{n_left} others still follow it"
    return f"You no longer follow this job. {others}, so the card keeps updating."


def joined() -> str:
    """*Follow* was pressed."""
    return "You follow this job now. Its card will show how it ends."


def followed_before() -> str:
    """*Follow* was pressed by a follower."""
    return "You follow this job already. Its card will show how it ends."


def too_late_to_follow() -> str:
    """*Follow* was pressed as the job ended."""
    return "This job has just ended: its card shows how."


def resumed() -> str:
    """*Resume* was pressed, by this user or by another just before."""
    return "I'm following this job again. Its card will show how it ends."


def not_resumable() -> str:
    """*Resume* was pressed on a card that has been deleted from the database."""
    return f"That was too long ago to resume. To follow the job, type `{COMMAND}` with the id on the card."


def not_following() -> str:
    """*Stop following* was pressed by a user who is no follower."""
    return f"You don't follow this job. To follow it, type `{COMMAND}` with the id on the card."


def nothing_to_follow() -> str:
    """The message shortcut found no job in its message."""
    return "I found no Omni job id and no link to an Omni chat in that message."


def follows(open_follows: Sequence[tuple[Card, str | None, str | None]]) -> str:
    """List the running jobs a user follows, each with its card's permalink and its question where they are known."""
    if not open_follows:
        return f"You aren't following any running jobs. To follow one, type `{COMMAND} &lt;id&gt;`."
    lines = ["You follow these running jobs:"]
    for card, permalink, question in open_follows[:MOST_LISTED]:
        channel = card.channel.id
        where = "DMs" if channel.startswith("D") else f"<#{channel}>"
        link = f" · <{permalink}|card>" if permalink else ""
        title = f"{one_line(question, _LONGEST_QUESTION)} · " if question else ""
        line = f"• {title}{code(card.job, 60)} in {where}, asked {moment(card.requested_at)}{link}"
        if sum(map(len, lines)) + len(line) > _LONGEST_LIST:
            break
        lines.append(line)
    if (left_out := len(open_follows) + 1 - len(lines)) > 0:
        lines.append(f"and {left_out} more.")
    return "\n".join(lines)


def card_is_late() -> str:
    """The card is stored and could not be posted yet."""
    return "Got it. Slack or Omni is slow right now, so the card will follow as soon as possible."


def nothing_to_show_here() -> str:
    """A button was pressed on a card that the database does not have."""
    return f"I no longer know this card. To get a new one, type `{COMMAND}` with the id on the card."


def already_shown(permalink: str | None) -> str:
    """The data or steps are in the thread already."""
    there = f"<{permalink}|here in the card's thread>" if permalink else "in the card's thread"
    return f"That was already shown: see {there}."


def not_fetched(error: OmniError) -> str:
    """Loading a job's result failed."""
    if isinstance(error, JobNotFound):
        return (
            "Omni has nothing more to show for this job. It keeps data and steps for 14 days, "
            "and only of jobs that were answered."
        )
    return not_looked_up(error)


def nothing_found(is_data: bool) -> str:
    """The job's result has no data, or no steps."""
    if is_data:
        return "There's no data to show: none of this job's queries returned rows."
    return "Omni reports no steps for this job."


def data_pending() -> str:
    """No query's rows arrived in time."""
    return "Omni hasn't delivered this job's data yet. Please press the button again in a minute."


def data_pending_in_part() -> str:
    """Some queries' rows were shown, and others did not arrive in time."""
    return "Some of this job's queries have no rows yet. Omni shows them once they are there."


def unconfirmed_in_thread() -> str:
    """Slack did not respond to a post in the thread."""
    return (
        "Slack did not confirm all of it. Please check the card's thread. "
        "I don't post it again, because it might appear twice."
    )


def restarting() -> str:
    """The process stops before the request was handled."""
    return "I'm restarting. If no card appears in a minute, run the command again."


def interrupted(reference: str) -> str:
    """The process stopped before it looked up the job. `reference`: as stored. Stands alone, in DMs."""
    if reference.startswith(answer_replies.SHARED):
        return answer_replies.interrupted()
    return (
        f"I was interrupted before I could follow the job you asked for ({code(reference, 60)}). "
        f"Please run `{COMMAND}` again."
    )


def broken() -> str:
    """The bot has a defect."""
    return "Something went wrong on my side; the details are in my log. Please contact the bot's operator."


def not_for_you() -> str:
    """The user is a guest, of another organization, or not among the allowed users."""
    return "You can't use this bot. If you need it, please ask the bot's operator."


def not_here() -> str:
    """The channel is not among the allowed channels."""
    return "This bot can't be used in this channel. You can use it in your DMs with me."


def identity_unavailable() -> str:
    """Slack did not say who the user is."""
    return "Slack can't confirm who you are right now, so I can't do that. Please try again in a minute."


def identity_timeout() -> str:
    """Slack did not say in time who the user is."""
    return "Slack is slow and hasn't confirmed who you are, so I did nothing. Please try again in a minute."


def identity_scope_missing() -> str:
    """The app lacks the scope to look users up."""
    return (
        "I'm not allowed to look up who you are, so I can't do anything for you. "
        "Please contact the bot's operator: the Slack app lacks the scope `users:read`."
    )


def not_yours() -> str:
    """The user may not cancel or retry another user's job."""
    return "Only the person who started this job, or a bot admin, can do that."


def no_omni_user() -> str:
    """No active Omni user, or more than one, has the user's email address."""
    return (
        "I couldn't match your Slack email to one active Omni user, so I can't ask on your behalf. "
        "Please ask an Omni admin to check your account."
    )


def too_many_follows(most: int) -> str:
    """The user follows as many running jobs as allowed."""
    return (
        f"You follow {most} running jobs, and that's the limit per person. "
        "Stop following one, or wait until one has ended."
    )


def too_many_questions(most: int) -> str:
    """The user has asked as many questions as allowed within an hour."""
    return f"You have asked {most} questions within an hour, and that's the limit per person. Please try again later."


def too_many_requests() -> str:
    """The user has caused as many requests to Omni as allowed within a minute."""
    return (
        "You have reached the limit of requests per person and minute, so I didn't ask Omni. "
        "Please wait 20 seconds, then try again."
    )


def kept_private(permalink: str | None) -> str:
    """The card is in the user's DMs because the channel is shared, or may be."""
    return (
        "People of another organization may be able to read this channel, so I sent "
        f"{_the_card(permalink)} to your DMs."
    )


def sent_privately(permalink: str | None) -> str:
    """The card is in the user's DMs, as requested."""
    return f"As requested, I sent {_the_card(permalink)} to your DMs."


def not_shown_where_shared() -> str:
    """Data and steps are not shown in a shared channel."""
    return (
        "People of another organization may be able to read this channel, so I don't show any of the answer here. "
        "To see it, follow the job in your DMs with me."
    )


def not_shown_in_link_only() -> str:
    """Data and steps are not shown in a link-only channel."""
    return "In this conversation I show only links to Omni, no answers and no data. To see them, press *Open in Omni*."


def _the_card(permalink: str | None) -> str:
    return f"<{permalink}|the card>" if permalink else "the card"
