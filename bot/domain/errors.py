"""Every way the world can refuse: each class says what its catcher should do.

OmniError                     Omni gave no status
├── JobNotFound               final: say so and stop following
├── KeyRefused                the operator must act: say so, keep asking, slowly
├── OmniBusy                  429: everybody waits, nothing ends
└── OmniUnreachable           network, 5xx, nonsense in the body: ask again later

BoardError                    Slack did not do it
├── NotAllowedHere            the bot can't post in this place: use the person's DM
├── MessageGone               the card was deleted or can't be edited any more: stop drawing it
├── ViewGone                  the modal was closed, or the moment to open it has passed: tell the person otherwise
├── PayloadRefused            Slack won't show this content: try a plainer form
├── BoardBusy                 not done; wait `retry_after_seconds`, then do it again
├── BoardUnreachable          certainly not done: do it again later
├── Unanswered                perhaps done: look before doing it again
├── ScopeMissing              the app was installed without a scope: do without, or tell the operator
└── TokenRefused              the app was uninstalled or its token revoked: the operator must act

StoreUnavailable              the database did not answer: nothing was accepted, try again later
ClaimLost                     another process follows the job by now: change nothing more
WatchChanged                  the watch was joined or doubted meanwhile: read it again first
TooManyFollows                the person follows as much as one may: nothing was stored, say so
"""


class OmniError(Exception):
    """Omni gave no status. The message is for the log; people are told by `render`."""


class JobNotFound(OmniError):
    """No such job for this key: it never was, it is gone, or it is another organisation's."""


class KeyRefused(OmniError):
    """Omni refuses the API key (401) or what it asks for (403)."""


class OmniBusy(OmniError):
    """Omni answered 429: the key's requests of this minute are used up."""


class OmniUnreachable(OmniError):
    """No usable answer: no connection, a time-out, 5xx, or a body that is not what Omni documents."""


class SlackError(Exception):
    """Slack did not do what was asked. `code` is Slack's own word for it, for the log."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NotAllowedHere(SlackError):
    """The bot can't post in this place: no member, archived, or forbidden by an admin."""


class MessageGone(SlackError):
    """The message was deleted or can no longer be edited."""


class ViewGone(SlackError):
    """The modal was closed, or what a person did is too long ago for one to be opened."""


class PayloadRefused(SlackError):
    """Slack won't show this content; a plainer form of it may pass."""


class SlackBusy(SlackError):
    """Slack answered 429 (`ratelimited`, `rate_limited`) and did nothing."""

    def __init__(self, code: str, retry_after_seconds: float) -> None:
        super().__init__(code)
        self.retry_after_seconds = retry_after_seconds


class SlackUnreachable(SlackError):
    """The request certainly had no effect: it did not reach Slack, or Slack said it was down."""


class OutcomeUnknown(SlackError):
    """The request may have had its effect: the connection broke, timed out, or answered 5xx."""

    @property
    def may_be_the_content(self) -> bool:
        """Whether it was Slack that broke, which it may do over the same content again."""
        return self.code in ("internal_error", "fatal_error")


class ScopeMissing(SlackError):
    """The app was installed without the scope that this call needs."""


class TokenRefused(SlackError):
    """The bot's token is no longer good: the app was uninstalled or the token revoked."""


class StoreUnavailable(Exception):
    """The database did not answer. What it was asked to do may or may not have been done."""


class OwnershipLost(Exception):
    """The watch is no longer the follow's that asked: another one has claimed it, or it is gone."""


class CardChanged(Exception):
    """Somebody has joined the watch since it was read, or its card's look was doubted, and nothing was written."""


class TooManyFollows(Exception):
    """The person would follow more running jobs than the `most` that one may, and nothing was stored."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most


class NoOmniUser(Exception):
    """There is nobody in whose name to ask. `line` is what to tell the person privately."""

    def __init__(self, line: str) -> None:
        super().__init__("no single Omni user")
        self.line = line


class IdentityUnavailable(OmniError):
    """Whose a job is can't be told at the moment: Slack did not say who the person is. Nothing was shown."""


class AskRefused(OmniError):
    """Omni takes no such question (400, 403, 404): the model, the topic or the user is not allowed or not there.
    Certainly nothing was begun. `detail` is Omni's own text: for the log at debug level, never for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


class ConversationBusy(OmniError):
    """Another job is active in that chat (409). Certainly nothing was begun."""


class SubmitOutcomeUnknown(OmniError):
    """The submit was not answered, or with a 5xx: the job may run or not, and nobody can tell. Never repeated."""


class NotCancellable(OmniError):
    """The job is delivering its answer and can't be cancelled any more (400)."""


class CancelForbidden(OmniError):
    """The key may not cancel that job (403)."""


class DatabaseInUse(StoreUnavailable):
    """Another process of the bot holds this SQLite file: two would post everything twice."""


class DatabaseTooNew(StoreUnavailable):
    """A newer version of the bot has written this database."""


class DecryptionFailed(Exception):
    """What was read was encrypted with a key that is not among ours, or changed since."""


class InvalidInput(ValueError):
    """Something is missing in a modal. `errors` holds a sentence for each block that it concerns."""

    def __init__(self, **errors: str) -> None:
        super().__init__(", ".join(errors))
        self.errors = errors


class NotAJobReference(ValueError):
    """What the person typed names no Omni job. `str(error)` is a sentence to show them."""


class SchemaTooNew(Exception):
    """A newer version of the bot has written these tables."""


class DeliveryUnknown(Exception):
    """A post was not answered and can't be looked for: it may be there or not."""


class SettingsError(Exception):
    """The settings can't be used. `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class WriteConflict(StoreUnavailable):
    """Another process has just stored what was to be stored. Done again, it is found."""


class PortTaken(Exception):
    """The port is taken, or not ours to listen on."""
