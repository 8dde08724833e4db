"""The simulated OAuth is as strict as Slack's: each code works once, for ten minutes, one redirect and one app."""

from collections.abc import Mapping

import pytest

from bot.demo.slack.oauth import CODE_SECONDS, OAuth
from bot.demo.slack.web_api.call import Refused
from bot.demo.slack.workspace import Workspace

BACK = "https://jobs.example.com/slack/oauth_redirect"


class Slack:
    def __init__(self) -> None:
        self.now = 1_777_896_000.0
        self.oauth = OAuth(Workspace(lambda: self.now), lambda: self.now, lambda: "xoxb-new")
        self.oauth.app.redirect_urls.add(BACK)
        self.client = (self.oauth.app.client_id, self.oauth.app.client_secret)

    def query(self, **changed: str) -> Mapping[str, str]:
        query = {"client_id": self.client[0], "scope": "commands", "redirect_uri": BACK, "state": "s"}
        return query | changed

    def code(self) -> str:
        return self.oauth.allow(self.query(), "U0ADABYRON").split("code=")[1].split("&")[0]

    def refusal(self, code: str, client: tuple[str, str] | None = None, redirect_uri: str = BACK) -> str:
        with pytest.raises(Refused) as refused:
            self.oauth.exchange(client or self.client, {"code": code, "redirect_uri": redirect_uri})
        return refused.value.error


@pytest.fixture
def slack() -> Slack:
    return Slack()


def test_code_works_once(slack: Slack) -> None:
    code = slack.code()
    answer = slack.oauth.exchange(slack.client, {"code": code, "redirect_uri": BACK})
    assert (answer["access_token"], answer["team"]["id"]) == ("xoxb-new", "T0OMNIDEMO")
    assert slack.refusal(code) == "invalid_code"


def test_code_is_valid_for_ten_minutes(slack: Slack) -> None:
    code = slack.code()
    slack.now += CODE_SECONDS + 1
    assert slack.refusal(code) == "code_expired"


def test_code_belongs_to_one_app_and_redirect(slack: Slack) -> None:
    client_id, secret = slack.client
    assert slack.refusal(slack.code(), ("1.2", secret)) == "invalid_client_id"
    assert slack.refusal(slack.code(), (client_id, "0" * 32)) == "bad_client_secret"
    assert slack.refusal(slack.code(), redirect_uri=BACK + "/") == "bad_redirect_uri"
    assert slack.refusal(slack.code(), redirect_uri="") == "bad_redirect_uri"


@pytest.mark.parametrize(
    "changed, error",
    [
        ({"client_id": "1.2"}, "invalid_client_id"),
        ({"redirect_uri": "https://elsewhere.example"}, "bad_redirect_uri"),
        ({"scope": ""}, "no_scopes"),
    ],
)
def test_undeclared_scopes_are_not_requested(slack: Slack, changed: dict[str, str], error: str) -> None:
    with pytest.raises(Refused, match=error):
        slack.oauth.allow(slack.query(**changed), "U0ADABYRON")
