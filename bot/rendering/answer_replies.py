"""Private replies about sharing, rating and removing an answer, as mrkdwn.

Each says what happened, then what to do.
"""

from bot.domain import ChannelId, Refusal, UserId
from bot.rendering.markdown.mrkdwn import code

SHARED = "share/"
"""Prefix of the stored request to share an answer, in place of a job that a user typed."""


def shared(channel: ChannelId, permalink: str | None, *, is_link_only: bool = False) -> str:
    """The answer was posted in the channel that the user picked; with `is_link_only` as a link to Omni."""
    if is_link_only:
        card = f"<{permalink}|a card>" if permalink else "a card"
        return f"I shared {card} in <#{channel}>. It only links to Omni: no answers are shown there."
    answer = f"<{permalink}|the answer>" if permalink else "the answer"
    return f"I shared {answer} in <#{channel}>."


def shared_before(channel: ChannelId, permalink: str | None) -> str:
    """The channel that the user picked has a card of the job already."""
    card = f"<{permalink}|a card>" if permalink else "a card"
    return f"This job already has {card} in <#{channel}>, so I posted nothing there."


def not_shared(channel: ChannelId, why: str) -> str:
    """The answer was not shared. `why`: a reply."""
    return f"I didn't share the answer in <#{channel}>. {why}"


def not_shareable() -> str:
    """*Share to channel…* was chosen on a card that is not the user's own answer."""
    return "I can share only an answer in your DMs with me."


def answer_gone() -> str:
    """The answer that is to be shared is no longer in Omni."""
    return "Omni no longer has this job's answer."


def not_both_members(bot_user: UserId) -> str:
    """The user or the bot is not a member of the channel."""
    return f"You and I must both be members of it. To add me, type `/invite` <@{bot_user}> there, then share again."


def refused_there(refusal: str, bot_user: UserId) -> str:
    """Slack refused the answer in the channel. `refusal`: Slack's error code; "" if it is not known."""
    match Refusal.of(refusal):
        case Refusal.NOT_A_MEMBER:
            return not_both_members(bot_user)
        case Refusal.ARCHIVED:
            return "It is archived."
        case Refusal.RESTRICTED:
            return "An admin restricts who can post there."
        case Refusal.OTHER:
            return (
                f"Slack refused it there ({code(refusal, 60)})."
                if refusal
                else "Slack doesn't let me post there."
            )


def members_unknown() -> str:
    """The bot can't find out who is a member of the channel."""
    return "I can't find out whether we are both members of it. Please ask there with `/omni-job` and the job's id."


def readable_by_others() -> str:
    """The channel is shared with another organization."""
    return "People of another organization may be able to read it."


def interrupted() -> str:
    """The process stopped before it shared an answer. Stands alone, in DMs."""
    return (
        "I was interrupted before I could share the answer you picked. "
        "Please choose *Share to channel…* in its menu again."
    )


def feedback_is_off() -> str:
    """The operator has turned feedback off since the card was posted."""
    return "Feedback is turned off here."


def rated(*, is_new: bool) -> str:
    """A rating of an answer is recorded, or was before."""
    return "Thanks for your feedback." if is_new else "You have said that already. Thanks."


def reason_passed_on() -> str:
    """The reason of a rating is in the operator's channel."""
    return "Thanks, I passed that on."


def reason_not_passed_on() -> str:
    """The reason of a rating could not be posted. It is not stored anywhere."""
    return (
        "Your 👎 is counted, but I could not pass on the reason. Please try again later, or tell your admin."
    )


def removed(left: int) -> str:
    """The answer was removed. `left`: how many messages and files could not be deleted."""
    if not left:
        return "I removed the answer, and my replies and files in its thread."
    what = "1 message or file" if left == 1 else f"{left} messages or files"
    return (
        f"I removed the answer, but Slack didn't let me delete {what} of mine, or didn't say whether I did. "
        "Please look at the card and its thread. An admin of this workspace can delete what is left."
    )


def removing() -> str:
    """The removal is stored, and takes long."""
    return "Slack is slow right now. I remove the answer as soon as possible; you don't have to do anything."


def removed_before() -> str:
    """The answer of this card was removed."""
    return "The answer was removed here, so there is nothing to show or do."


def not_removable() -> str:
    """Only some users may remove the answer."""
    return "Only the person who asked for this answer here or shared it, or a bot admin, can remove it."
