"""Texts of ephemeral replies about questions, retries and cancellations, in mrkdwn. `replies` has all others."""

from bot.domain import (
    AskRefused,
    CancelForbidden,
    ConversationBusy,
    JobId,
    JobNotFound,
    KeyRefused,
    Message,
    NotCancellable,
    OmniBusy,
    OmniError,
    UserId,
)
from bot.rendering import replies
from bot.rendering.blocks import section, try_again
from bot.rendering.markdown.mrkdwn import code

COMMAND = "/omni-ask"


def help_text() -> str:
    """How to ask."""
    return "\n".join(
        [
            "I ask Omni for you and post one message, which shows the progress and becomes the answer.",
            f"• `{COMMAND} &lt;question&gt;`: ask here.",
            f"• `{COMMAND} &lt;question&gt; private`: get the answer in your direct messages.",
            f"• `{COMMAND}`: choose a model and a topic first.",
            "• Mention me in a card's thread, or press *Ask a follow-up*: ask about its answer.",
            "• Send me a direct message: only you see the answer.",
        ]
    )


def welcome() -> str:
    """The user thanked the bot."""
    return "You're welcome."


# Asking


def usage() -> str:
    """The question is empty."""
    return f"Type a question after `{COMMAND}`. To choose a model and a topic, type the command alone."


def no_channel_default() -> str:
    """The user may not choose the model for everyone in this channel, as by a form that is out of date."""
    return (
        "Only a bot admin can choose the model for everyone's questions in this channel, so I asked nothing. "
        f"Type `{COMMAND}` to ask."
    )


def no_model() -> str:
    """Neither the user nor the operator has chosen a model."""
    return (
        f"I don't know which Omni model to use. Type `{COMMAND}` alone to choose one, "
        "or ask the bot's operator to set a default."
    )


def rejected(error: OmniError) -> str:
    """Omni rejected a question, and no job was created."""
    match error:
        case AskRefused():
            return _refused(error)
        case ConversationBusy():
            return (
                "Omni is still answering another question in this chat. Try again when that answer is here."
            )
        case _:
            return _omni_error(error)


_NO_CREDITS = "Your Omni organization has used up its AI credits. Please ask an Omni admin."

_REWORD = "Omni doesn't accept this question as it is. Shorten or reword it, then ask again."

_BY_STATUS = {
    400: _REWORD,
    402: _NO_CREDITS,
    403: "Omni doesn't allow this question: AI may be turned off for you or your organization, or its AI credits are "
    "used up. Please ask an Omni admin.",
    404: "Omni rejected the question: its model, topic or branch no longer exists, or you can't use it. "
    f"Type `{COMMAND}` alone to choose another.",
    413: _REWORD,
    422: _REWORD,
}


def _refused(error: AskRefused) -> str:
    """A line for each of Omni's reasons. Their wording is not documented, so it only chooses the line."""
    reason = error.detail.casefold()
    if "credit" in reason:
        return _NO_CREDITS
    if "not enabled" in reason:
        return "AI is not turned on in your Omni organization. Please ask an Omni admin to turn it on."
    if "on behalf of" in reason:
        return (
            "This bot's Omni key may not ask on your behalf. Please contact the bot's operator: "
            "the bot needs an organization key, or `ASK_AS=key`."
        )
    return _BY_STATUS.get(
        error.status,
        f"Omni rejected the question with HTTP {error.status}. "
        "Please contact the bot's operator: its log says why.",
    )


def maybe_submitted(question: str | None, *, private: bool = False) -> Message:
    """It is not known whether Omni accepted a question.

    Args:
        question: adds a button that asks it again.
        private: the button, too, sends the card to direct messages.
    """
    text = (
        "Omni didn't respond, so I don't know whether it accepted your question. To avoid asking twice, I won't try "
        "again on my own. Check in Omni. If your question isn't there, ask again."
    )
    button = try_again(question, private=private) if question else []
    return Message(text, (section(text), *button) if button else ())


def retry_maybe_submitted() -> str:
    """The same for a retry."""
    return (
        "Omni didn't respond, so I don't know whether it accepted the question. Check in Omni. "
        "If the question isn't there, press *Retry* again."
    )


def interrupted() -> str:
    """The process ended before it knew the outcome of a question."""
    return (
        "I was restarted while I was asking your question, so I don't know whether Omni accepted it. Check in Omni. "
        "If your question isn't there, ask again."
    )


def job_not_stored(job: JobId) -> str:
    """Omni accepted a question, but its job could not be stored."""
    return (
        f"Omni accepted your question, but I can't reach my database, so there is no card. To follow the job, "
        f"wait a few minutes and type {code(f'{replies.COMMAND} {job}', 80)}."
    )


# Follow-ups


def no_conversation() -> str:
    """Omni does not report the conversation of a job."""
    return f"Omni doesn't say which chat this answer belongs to. To ask a new question, type `{COMMAND}`."


def queued() -> str:
    """A follow-up waits until the conversation's active job has ended."""
    return (
        "Omni is still answering another question in this chat. I'll ask yours right after it, "
        "and let you know if I can't."
    )


def still_busy() -> str:
    """A follow-up waited, and the conversation is still busy."""
    return (
        "I didn't ask your follow-up, because Omni is still answering another question in that chat. "
        "Ask again when that answer is here."
    )


# Retrying


def already_retried(by: UserId | None) -> str:
    """The card's question has already been retried."""
    return f"This question was already retried{f' by <@{by}>' if by else ''}."


def not_retriable() -> str:
    """The job has neither failed nor been cancelled."""
    return "You can only retry a job that failed or was cancelled."


# Cancelling


def cancelled() -> str:
    """Omni has cancelled the job."""
    return "The job was cancelled."


def stops_after_current_step() -> str:
    """Omni accepted the cancellation, and the job still runs its current step."""
    return (
        "Omni will stop after its current step. If that is the last step, you still get the answer. "
        "The card shows the outcome."
    )


def already_ended() -> str:
    """The job had ended already."""
    return "There was nothing to cancel: the job had already ended."


def not_cancelled(error: OmniError) -> str:
    """Omni did not cancel the job."""
    match error:
        case NotCancellable():
            return "It's too late to cancel: Omni is already delivering the answer."
        case CancelForbidden():
            return (
                "Omni doesn't let me cancel this job, because it wasn't started with my API key. "
                "The person who asked, or an Omni admin, can cancel it in Omni."
            )
        case _:
            return _omni_error(error)


def cancel_unconfirmed() -> str:
    """It is not known whether Omni cancelled the job."""
    return (
        "Omni didn't respond, so I don't know whether the job was cancelled. The card will show it. "
        "You can safely press the button again."
    )


def _omni_error(error: OmniError) -> str:
    match error:
        case JobNotFound():
            return replies.no_such_job()
        case KeyRefused():
            return replies.key_refused()
        case OmniBusy():
            return replies.omni_busy()
        case _:
            return replies.omni_down()
