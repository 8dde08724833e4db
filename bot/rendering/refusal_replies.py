"""Texts of the private replies about posts that Slack refused, as mrkdwn: each says why, then what to do.

Slack's error code is shown only where it is all that is known.
"""

from dataclasses import dataclass

from bot.domain import ChannelRef, Refusal, UserId, is_direct
from bot.rendering.markdown.mrkdwn import code

_LET_THE_APP_POST = "ask an admin of this workspace to let the app post"


@dataclass(frozen=True, slots=True)
class RefusedPost:
    """A post that Slack refused."""

    code: str
    """Slack's error code; "" if it is not known, or the bot did not even try."""
    channel: ChannelRef
    bot_user: UserId


def moved_to_dm(refused: RefusedPost) -> str:
    """The bot can't post in the channel, so the card is in the user's DMs."""
    return _sentences(
        f"{_why(refused, 'the card')}, so I sent the card to your DMs.",
        _to_have_it_here(refused, "To have it here, "),
    )


def not_allowed_anywhere(refused: RefusedPost) -> str:
    """The bot can post neither in the channel nor in the user's DMs, or the card was to go to the DMs only."""
    if is_direct(refused.channel):
        return no_direct_messages(refused.code)
    if not refused.code:
        return f"I can't post here or in your DMs. Please {_LET_THE_APP_POST}."
    what_to_do = _to_have_it_here(refused, "Please ") or f"Please {_LET_THE_APP_POST}."
    return _sentences(f"{_why(refused, 'the card')}, and I can't post in your DMs.", what_to_do)


def no_direct_messages(refusal: str) -> str:
    """Slack refuses the card in the user's DMs, where it was to go. `refusal`: Slack's error code, or ""."""
    which = f" ({code(refusal, 60)})" if refusal else ""
    return (
        f"Slack doesn't let me post in your DMs{which}. "
        f"Please {_LET_THE_APP_POST}, or run the command in a channel that I'm in."
    )


def not_shown_here(refused: RefusedPost, link: str | None) -> str:
    """The bot can't post in the thread. `link`: to the job's chat in Omni."""
    return _sentences(
        f"{_why(refused, 'it')}, so I can't show it in this thread.",
        _to_have_it_here(refused, "To see it here, "),
    ) + _in_omni(link)


def no_files_here(link: str | None) -> str:
    """Slack refused the CSV file; the rest was shown."""
    return (
        "Slack doesn't let me add a CSV file here. If the app has the scope `files:write`, "
        f"an admin of this workspace can change that.{_in_omni(link)}"
    )


def slack_down(link: str | None) -> str:
    """Slack refused some of the messages."""
    return f"Slack did not accept all of it. Please press the button again in a minute.{_in_omni(link)}"


def _why(refused: RefusedPost, what: str) -> str:
    match Refusal.of(refused.code):
        case Refusal.NOT_A_MEMBER if is_direct(refused.channel):
            return "I can't post in DMs between other people"
        case Refusal.NOT_A_MEMBER:
            return "I'm not in this channel"
        case Refusal.ARCHIVED:
            return "This channel is archived"
        case Refusal.RESTRICTED:
            return "An admin restricts who can post here"
        case Refusal.OTHER:
            return (
                f"Slack refused {what} here ({code(refused.code, 60)})"
                if refused.code
                else "I can't post here"
            )


def _to_have_it_here(refused: RefusedPost, begin: str) -> str:
    """Return what the user can do about it; "" if there is nothing."""
    match Refusal.of(refused.code):
        case Refusal.NOT_A_MEMBER if not is_direct(refused.channel):
            return f"{begin}type `/invite` <@{refused.bot_user}>, then try again."
        case Refusal.RESTRICTED:
            return f"{begin}{_LET_THE_APP_POST}."
        case _:
            return ""


def _sentences(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _in_omni(link: str | None) -> str:
    return f" The data is <{link.replace('&', '&amp;')}|in Omni>." if link else " The data is in Omni."
