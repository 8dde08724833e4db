"""What the bot tells a person privately who may not do what they wanted, as mrkdwn.

A job that is not there and a job that is somebody else's read the same: that line is `lines.no_such_job`.
"""

from bot.watch import UserId

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
