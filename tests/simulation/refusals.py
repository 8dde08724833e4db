"""Recognizes ephemeral replies that refuse a command."""

from bot.domain.errors import AskRefused
from bot.rendering import ask_replies, replies

_REFUSALS = {
    replies.no_such_job(),
    replies.chat_without_job(),
    replies.key_refused(),
    replies.omni_down(),
    replies.omni_busy(),
    replies.storage_down(),
    replies.unconfirmed_card(),
    replies.restarting(),
    replies.slack_busy(),
    replies.identity_unavailable(),
    replies.identity_timeout(),
    ask_replies.maybe_submitted(None).text,
    *[ask_replies.rejected(AskRefused(status)) for status in (400, 403, 404)],
    *[ask_replies.rejected(AskRefused(403, why)) for why in ("credit", "not enabled", "on behalf of")],
    ask_replies.retry_maybe_submitted(),
    ask_replies.not_retriable(),
    replies.not_yours(),
    replies.nothing_to_show_here(),
}


def is_refusal(line: str) -> bool:
    """Whether a private line says that nothing, or nothing certain, came of a command."""
    return line in _REFUSALS or any(
        part in line
        for part in (
            "can't post here or in your DMs",
            "can't post in your DMs",
            "doesn't let me post in your DMs",
            "Type the id",
            "Omni accepted your question, but",
            "was already retried",
        )
    )
