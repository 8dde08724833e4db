"""What the bot tells one person privately, as mrkdwn. What went wrong is said in words, with what to do next.

A job that is not there and a job that is somebody else's read the same. Nothing here comes from an API's
own texts, and no address appears but Slack's permalinks and links to chats on the tenant's own Omni.
"""

from collections.abc import Sequence

from bot.domain import Card, CardFailure, JobId, JobNotFound, KeyRefused, OmniBusy, OmniError, UserId
from bot.rendering.markdown.mrkdwn import code, moment

COMMAND = "/omni-job"

MOST_LISTED = 20
"""How many of a person's follows are listed, each with a link that costs a request."""


def help_text() -> str:
    """What the command can do."""
    return "\n".join(
        [
            "I follow an Omni AI job in one message: what it is doing now, and in the end its answer.",
            f"• `{COMMAND} &lt;id&gt;`: follow a job. The address of an Omni chat works as well.",
            f"• `{COMMAND} &lt;id&gt; private`: follow it in your direct messages with me.",
            f"• `{COMMAND} list`: the jobs you follow that are still running.",
            f"• `{COMMAND} help`: this text.",
            "*Stop following* under a card ends it for you; the others there keep following.",
            "To ask Omni something new, type `/omni-ask`.",
        ]
    )


def usage(reason: str | None = None) -> str:
    """What to type. `reason` is a sentence of our own on what was wrong with what was typed."""
    typed = f"`{COMMAND} 550e8400-e29b-41d4-a716-446655440000`"
    say = f"Type the id of an Omni AI job, like this: {typed}. `{COMMAND} help` tells more."
    return f"{reason} {say}" if reason else say


def already_followed(permalink: str | None, *, has_ended: bool = False) -> str:
    """A second command for the same job in the same place. `has_ended`: the card says how."""
    card = f"<{permalink}|its card>" if permalink else "its card"
    return (
        f"This job has {card} here already.{'' if has_ended else ' You follow it, and are told how it ends.'}"
    )


def moved_to_dm(permalink: str | None, bot_user: UserId) -> str:
    """The card had to go to the person's direct messages."""
    card = f"<{permalink}|the card>" if permalink else "the card"
    return (
        f"I'm not a member of this conversation, so {card} is in your direct messages with me. "
        f"To have it here, type `/invite` <@{bot_user}> and then the command again."
    )


def not_allowed_anywhere(bot_user: UserId) -> str:
    """The card could be posted neither here nor in the person's direct messages."""
    return (
        "I can't post here or in your direct messages. "
        f"In a channel, type `/invite` <@{bot_user}> and then the command again; "
        "otherwise ask an admin of this workspace to let the app post."
    )


def no_such_job() -> str:
    """Omni does not know the job, or it belongs to somebody else."""
    return (
        "Omni knows no such job. Check the id: it has to be the id of an AI job in the Omni organisation "
        "that this bot was set up for."
    )


def chat_without_job() -> str:
    """A chat's address was given, and the chat shows no job."""
    return (
        "I found no AI job in that Omni chat. If one has only just begun, try again in a moment, "
        f"or use the job's own id: `{COMMAND} &lt;id&gt;`."
    )


def key_refused() -> str:
    """Omni refuses the bot's key."""
    return "Omni refuses this bot's key, so nothing can be looked up. Please tell whoever operates the bot."


def omni_down() -> str:
    """Omni gives no usable answer."""
    return "Omni does not answer at the moment. Please try again in a minute."


def omni_busy() -> str:
    """Omni limits the bot's requests."""
    return "Omni is limiting this bot's requests at the moment. Please try again in a minute."


def not_looked_up(error: OmniError) -> str:
    """Omni did not tell of a job, or of a chat."""
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
    """Slack did not do what was needed for it."""
    return "Slack does not let me do that at the moment, and nothing was begun. Please try again in a minute."


def busy() -> str:
    """The bot has more to do than it can do at once."""
    return "I have too much to do at the moment, so nothing was begun. Please try again in a minute."


def storage_down() -> str:
    """The bot can't reach its own database."""
    return (
        "I can't reach my own storage at the moment, so nothing was changed. Please try again in a minute; "
        "if that does not help, tell whoever operates the bot."
    )


def unconfirmed_card(job: JobId | None = None) -> str:
    """Slack gave no answer to the post of the card, and nobody can look. `job`: where the line stands alone."""
    which = f" of the job {code(job, 60)}" if job else ""
    return (
        f"Slack did not confirm the card{which}. If you don't see it in a minute, or it stands still, "
        f"type {f'`{COMMAND}` with its id' if job else 'the command again'}."
    )


def given_up(why: CardFailure, job: JobId) -> str:
    """A follow came to nothing. Stands alone, in direct messages, and may come minutes after the command."""
    if why is CardFailure.UNCONFIRMED:
        return unconfirmed_card(job)
    reason = {
        CardFailure.NO_SUCH_JOB: no_such_job(),
        CardFailure.KEY_REFUSED: key_refused(),
        CardFailure.NOWHERE: "Slack let me post its card neither where you asked for it nor here. "
        f"To try again, type `{COMMAND}` with its id.",
    }
    return f"You asked me to follow the job {code(job, 60)}. {reason[why]}"


def unfollowed(n_left: int) -> str:
    """The person stopped following; `n_left` others still do."""
    if n_left == 0:
        return "You no longer follow this job, and nobody else does. That does not cancel it."
    others = "One other person still follows it" if n_left == 1 else f"{n_left} others still follow it"
    return f"You no longer follow this job. {others}, so the card stays current."


def resumed() -> str:
    """The person pressed *Resume*, or somebody else had just done so."""
    return "The job is followed again, and you are told how it ends."


def not_resumable() -> str:
    """The follow that *Resume* was pressed for has been forgotten."""
    return (
        f"That was too long ago to go on with. To follow the job, type `{COMMAND}` with the id on the card."
    )


def not_following() -> str:
    """Somebody who does not follow the job pressed *Stop following*."""
    return f"You don't follow this job. To follow it, type `{COMMAND}` with the id on the card."


def nothing_to_follow() -> str:
    """The shortcut was used on a message that names no job."""
    return "I found no id of an Omni job and no address of an Omni chat in that message."


def follows(open_follows: Sequence[tuple[Card, str | None]]) -> str:
    """A person's running follows, each with the permalink of its card where there is one."""
    if not open_follows:
        return f"You follow no running job. To follow one, type `{COMMAND} &lt;id&gt;`."
    lines = [_follow(card, permalink) for card, permalink in open_follows[:MOST_LISTED]]
    if len(open_follows) > MOST_LISTED:
        lines.append(f"and {len(open_follows) - MOST_LISTED} more.")
    return "\n".join(["You follow these running jobs:", *lines])


def _follow(watch: Card, permalink: str | None) -> str:
    card = f" · <{permalink}|card>" if permalink else ""
    return f"• {code(watch.job, 60)} in {_place(watch)}, asked {moment(watch.requested_at)}{card}"


def _place(card: Card) -> str:
    channel = card.channel.id
    return "direct messages" if channel.startswith("D") else f"<#{channel}>"


def card_is_late() -> str:
    """The follow is stored, and its card could not be posted yet."""
    return "Noted. Slack or Omni is slow at the moment; the card comes as soon as they let me."


def nothing_to_show_here() -> str:
    """A button under an answer was pressed whose card is not known any more, or never was."""
    return f"I no longer know this card. To have it back, type `{COMMAND}` with the id on the card."


def already_shown(permalink: str | None) -> str:
    """What was asked for stands in the thread already."""
    there = f"<{permalink}|here in the card's thread>" if permalink else "in the card's thread"
    return f"That was shown already: see {there}."


def not_fetched(error: OmniError) -> str:
    """Omni did not hand over what a job has found."""
    match error:
        case JobNotFound():
            return (
                "Omni has nothing more to show of this job. It keeps the data and the steps of answered jobs only, "
                "for 14 days."
            )
        case KeyRefused():
            return key_refused()
        case OmniBusy():
            return omni_busy()
        case _:
            return omni_down()


def nothing_found(is_data: bool) -> str:
    """The job has a result, and what was asked for is not in it."""
    if is_data:
        return "This answer rests on no data that Omni lets me show: no query of the job has rows."
    return "Omni tells no steps of this job."


def data_pending() -> str:
    """The queries' rows are not there yet, after several looks."""
    return "Omni has not handed over this job's data yet. Please press the button again in a minute."


def data_pending_in_part() -> str:
    """Some of the queries' rows were shown, and others are not there yet."""
    return "Some queries of this job have no rows yet. Omni shows them once they are there."


def not_shown_here(bot_user: UserId, link: str | None) -> str:
    """The thread is closed to the bot."""
    return (
        f"I can't post in this thread. If I'm no member here, type `/invite` <@{bot_user}>.{_in_omni(link)}"
    )


def no_files_here(link: str | None) -> str:
    """Everything else was shown, but Slack takes no file of the bot's in this thread."""
    return (
        "Slack lets me put no CSV file here. An admin of this workspace can change that, "
        f"if the app has the scope `files:write`.{_in_omni(link)}"
    )


def slack_down(link: str | None) -> str:
    """Slack did not take all that was to be shown."""
    return f"Slack did not take all of it. Please press the button again in a minute.{_in_omni(link)}"


def unconfirmed_in_thread() -> str:
    """Slack gave no answer to something that was put into the thread."""
    return (
        "Slack did not confirm all of it; please look in the card's thread. "
        "I don't repeat it, so as not to show it twice."
    )


def _in_omni(link: str | None) -> str:
    return f" The data is <{link.replace('&', '&amp;')}|in Omni>." if link else " The data is in Omni."


def restarting() -> str:
    """The process ends before the request was answered."""
    return "I'm being restarted. If no card appears in a minute, type the command again."


def interrupted(follow: str) -> str:
    """A follow whose process ended before it was looked up. `follow`: as of an `PendingQuestion`. Stands
    alone, in direct
    messages."""
    return (
        f"I was interrupted before I could follow the job that you asked for ({code(follow, 60)}). "
        f"Please run `{COMMAND}` again."
    )


def broken() -> str:
    """A defect of the bot."""
    return "Something in me broke over this, and it is in my log. Please tell whoever operates the bot."


_ASK = "If you need it, please ask whoever operates it."


def not_for_you() -> str:
    """A guest, somebody of another organisation, or somebody the operator has not named."""
    return f"You can't use this bot. {_ASK}"


def not_here() -> str:
    """A conversation that the operator has not named."""
    return "This bot can't be used in this conversation. Its direct messages are open to you."


def not_known() -> str:
    """Slack did not say who the person is."""
    return (
        "Slack does not tell me at the moment who you are, so I can't do that. Please try again in a minute."
    )


def slack_is_slow() -> str:
    """Slack has not said in time who the person is."""
    return "Slack is slow and has not said who you are, so I did nothing. Please run it again in a minute."


def cannot_know() -> str:
    """The app was installed without the scope that tells who people are."""
    return (
        "I'm not allowed to look up who you are, so I can't do anything for you. "
        "Please tell whoever operates the bot: the Slack app lacks the scope `users:read`."
    )


def not_yours() -> str:
    """Somebody else's job was to be cancelled or asked again."""
    return "Only the one who asked or followed first can do that, or an admin of this bot."


def no_omni_user() -> str:
    """No active Omni user, or more than one, has the person's e-mail address."""
    return (
        "I did not find exactly one active Omni user with your Slack e-mail address, so I can't ask Omni in your name. "
        "Please ask an Omni admin to look at your account."
    )


def too_many_follows(most: int) -> str:
    """The person follows as many running jobs as one may."""
    return (
        f"You follow {most} running jobs, and one person can't follow more at a time. "
        "Stop following one, or wait until one has ended."
    )


def too_many_asks(most: int) -> str:
    """The person has asked as much as one may within an hour."""
    return f"You have asked {most} times within an hour, and one person can't ask more often. Please try again later."


def too_many_requests() -> str:
    """The person has caused as many requests to Omni as one may within a minute."""
    return (
        "You have asked for more than one person can within a minute, so I didn't ask Omni. "
        "Please wait 20 seconds, then try again."
    )


def kept_private(permalink: str | None, bot_user: UserId) -> str:
    """The card went to the person's direct messages, because others would read along, or may."""
    card = f"<{permalink}|the card>" if permalink else "the card"
    return (
        "This conversation is shared with another organisation, or I can't see whether it is, so "
        f"{card} is in your direct messages with me. If it is your own organisation's alone, "
        f"type `/invite` <@{bot_user}> and then the command again."
    )


def sent_privately(permalink: str | None) -> str:
    """The card is in the person's direct messages, as they wished."""
    card = f"<{permalink}|the card>" if permalink else "the card"
    return f"As you wished, {card} is in your direct messages with me."


def not_shown_where_shared() -> str:
    """Data or steps were asked for where people of another organisation would read along."""
    return (
        "This conversation is shared with another organisation, or I can't see whether it is, "
        "so I show nothing of the answer here. Follow the job in my direct messages to see it."
    )
