"""Errors that use cases handle. The tree says what the code that catches each of them does.

OmniError                     Omni did not do what was asked
├── JobNotFound               show it on the card and stop tracking
├── KeyRefused                show it on the card and keep polling, slowly; the operator must act
├── OmniBusy                  pause all requests of the key
├── OmniUnreachable           poll again later
├── AskRefused                show the user why; nothing was submitted
├── ConversationBusy          wait for the conversation's job, then submit again
├── SubmitOutcomeUnknown      reply that the job may run; never submit again
├── NotCancellable            reply that the job ends on its own
└── CancelForbidden           reply that the key may not cancel the job

SlackError                    Slack did not do what was asked
├── NotAllowedHere            use the user's direct messages instead of the channel
├── MessageGone               stop updating the message
├── ViewGone                  reply in another way than in the modal
├── PayloadRefused            try the next plainer variant
├── SlackBusy                 wait `retry_after_seconds`, then repeat
├── SlackUnreachable          repeat later; it had no effect
├── OutcomeUnknown            look for the effect before repeating
├── ScopeMissing              do without, or report to the operator
└── TokenRefused              stop; the operator must act

StoreUnavailable              accept nothing, try again later
├── DatabaseInUse             exit: another process holds the SQLite file
└── DatabaseTooNew            exit: a newer bot wrote the database

OwnershipLost                 stop writing: another process tracks the job
CardChanged                   read the card again, then repeat
TooManyFollows                show the user the limit; nothing was stored
Refused                       reply with its text; nothing was done
AnnouncementRefused           answer the program with its problem; nothing was done
DeliveryUnknown               leave the message alone and log it
InvalidInput                  show the sentences in the modal
NotAJobReference              show its text to the user
DecryptionFailed              report to the operator
SettingsError                 exit and list the problems
PortTaken                     exit and name the setting
WorkspaceNotOpened            exit; the log has the cause
"""

from enum import Enum
from typing import Self


class OmniError(Exception):
    """Omni did not do what was asked. The message is for the log, not for users."""


class JobNotFound(OmniError):
    """No such job for this key: it does not exist, was deleted, or belongs to another organization."""


class KeyRefused(OmniError):
    """Omni refuses the API key (401) or what it asks for (403)."""


class OmniBusy(OmniError):
    """Omni answered 429: the key's requests of this minute are used up."""


class OmniUnreachable(OmniError):
    """No usable response: no connection, a timeout, 5xx, or an undocumented body."""


class WorkspaceNotOpened(Exception):
    """The only workspace could not be opened because of an unexpected error, which was logged."""


class ListRefused(OmniError):
    """Omni does not list conversations for this key (400, 401, 403, 404), or in an undocumented form."""


class SlackError(Exception):
    """Slack did not do what was asked. `code` is Slack's error code, for the log."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NotAllowedHere(SlackError):
    """The bot can't post in this channel: not a member, archived, or forbidden by an admin."""


class Refusal(Enum):
    """Why Slack refused a post, as far as its error code says."""

    NOT_A_MEMBER = "not_in_channel channel_not_found"
    ARCHIVED = "is_archived channel_is_archived"
    RESTRICTED = """
        ekm_access_denied restricted_action restricted_action_read_only_channel
        restricted_action_thread_only_channel restricted_action_non_threadable_channel
        restricted_action_thread_locked posting_to_channel_denied
    """
    OTHER = ""

    @classmethod
    def of(cls, code: str) -> Self:
        """Return the meaning of Slack's error code. Source: docs.slack.dev/reference/methods/chat.postMessage."""
        return next((refusal for refusal in cls if code in refusal.value.split()), cls.OTHER)


class MessageGone(SlackError):
    """The message was deleted or can no longer be edited."""


class ViewGone(SlackError):
    """The modal was closed, or the user's action is too long ago to open one."""


class PayloadRefused(SlackError):
    """Slack does not accept this content; a plainer variant may pass."""


class SlackBusy(SlackError):
    """Slack answered 429 (`ratelimited`, `rate_limited`) and did nothing."""

    def __init__(self, code: str, retry_after_seconds: float) -> None:
        super().__init__(code)
        self.retry_after_seconds = retry_after_seconds


class SlackUnreachable(SlackError):
    """The request certainly had no effect: it did not reach Slack, or Slack reported an outage."""


class OutcomeUnknown(SlackError):
    """The request may have had its effect: the connection broke, timed out, or answered 5xx."""

    @property
    def may_be_the_content(self) -> bool:
        """Whether Slack itself failed, which the same content may cause again."""
        return self.code in ("internal_error", "fatal_error")


class ScopeMissing(SlackError):
    """The app was installed without the scope that this call needs."""


class TokenRefused(SlackError):
    """The bot's token is invalid: the app was uninstalled or the token revoked."""


class StoreUnavailable(Exception):
    """The database did not answer. The write may or may not have been done."""


class OwnershipLost(Exception):
    """The fencing token is outdated: another tracker owns the card, or the card was deleted."""


class CardChanged(Exception):
    """The followers have changed since the card was read, or it became stale. Nothing was written."""


class TooManyFollows(Exception):
    """The user would follow more than `most` running jobs. Nothing was stored."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


class Refused(Exception):
    """The user may not do this, or it can't be done. `reply` is the text for the user."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class AskRefused(OmniError):
    """Omni refused the question (4xx, mostly 400, 403 or 404). Certainly nothing was submitted.

    `status` is the HTTP status, `detail` Omni's text, for the log.
    """

    def __init__(self, status: int, detail: str = "") -> None:
        super().__init__(str(status))
        self.status = status
        self.detail = detail


class ConversationBusy(OmniError):
    """Another job is active in the conversation (409). Certainly nothing was submitted."""


class SubmitOutcomeUnknown(OmniError):
    """Submitting was not answered, or with 5xx: the job may run or not. Never repeated."""


class NotCancellable(OmniError):
    """The job is already delivering its answer (400)."""


class CancelForbidden(OmniError):
    """The key may not cancel that job (403)."""


class DatabaseInUse(StoreUnavailable):
    """Another process of the bot uses this SQLite file; two would post everything twice."""


class DatabaseTooNew(StoreUnavailable):
    """A newer version of the bot has written this database."""


class DecryptionFailed(Exception):
    """Encrypted with a key that is not in `ENCRYPTION_KEY`, or changed since."""


class InvalidInput(ValueError):
    """A modal's input is incomplete. `errors` holds a sentence per block."""

    def __init__(self, **errors: str) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


class NotAJobReference(ValueError):
    """The text names no Omni job. `str(error)` is a sentence for the user."""


class DeliveryUnknown(Exception):
    """A post was not answered and can't be searched for: it may exist or not."""


class SettingsError(Exception):
    """The settings can't be used. `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PortTaken(Exception):
    """The port is in use, or the process may not listen on it."""
