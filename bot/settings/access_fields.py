"""The settings for Slack and Omni, and for who may do what."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.settings.values import (
    ANY_CASE,
    REQUIRED_WITH_CLIENT_ID,
    ApiToken,
    AppToken,
    BotToken,
    ChannelIds,
    ClientId,
    ClientSecret,
    OmniModelId,
    OmniUrl,
    SettingDoc,
    SigningSecret,
    SlackApiUrl,
    TeamIds,
    UserIds,
)


class AccessFields(BaseSettings):
    """The settings for Slack, for Omni, and for who may do what."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True, frozen=True
    )

    slack_bot_token: Annotated[
        BotToken | None,
        SettingDoc(
            "Slack",
            "The bot's token, `xoxb-…`",
            "the token that starts with xoxb-, from your Slack app's page OAuth & Permissions",
            unset="required, except for [several workspaces](deploying.md#several-workspaces)",
            where="Slack app, OAuth & Permissions: the Bot User OAuth Token",
        ),
    ]
    slack_app_token: Annotated[
        AppToken | None,
        SettingDoc(
            "Slack",
            "The app-level token for Socket Mode, `xapp-…`",
            "the token that starts with xapp-, from your Slack app's page Basic Information, App-Level Tokens, with "
            "the scope connections:write; or leave it out and set both SLACK_SIGNING_SECRET and PORT, for HTTP mode",
            unset="required, except in [HTTP mode](deploying.md#http-mode)",
            where="Slack app, Basic Information, App-Level Tokens: one with the scope `connections:write`",
        ),
    ]
    slack_signing_secret: Annotated[
        SigningSecret | None,
        SettingDoc(
            "Slack",
            "The secret that Slack signs its requests with in [HTTP mode](deploying.md#http-mode). HTTP mode is on if "
            "this and `PORT` are set and `SLACK_APP_TOKEN` is not",
            "the 32 hexadecimal digits from your Slack app's page Basic Information; it is used in HTTP mode, which "
            "is on if PORT is set and SLACK_APP_TOKEN is not",
            where="Slack app, Basic Information",
        ),
    ] = None
    slack_client_id: Annotated[
        ClientId | None,
        SettingDoc(
            "Slack",
            "The client id for [several workspaces](deploying.md#several-workspaces), which install the app by OAuth. "
            "Leave `SLACK_BOT_TOKEN` out then",
            "the client id from your Slack app's page Basic Information, without SLACK_BOT_TOKEN; or leave it out to "
            "serve the one workspace of SLACK_BOT_TOKEN",
            where="Slack app, Basic Information, App Credentials: two numbers with a dot between them",
        ),
    ] = None
    slack_client_secret: Annotated[
        ClientSecret | None,
        Field(validate_default=True),
        REQUIRED_WITH_CLIENT_ID,
        SettingDoc(
            "Slack",
            "The client secret that belongs to `SLACK_CLIENT_ID`",
            "the 32 hexadecimal digits of the client secret, from your Slack app's page Basic Information",
            where="Slack app, Basic Information, App Credentials",
        ),
    ] = None
    slack_api_url: Annotated[
        SlackApiUrl,
        SettingDoc(
            "Slack",
            "The address of Slack's Web API. Only tests change it",
            "https://slack.com/api/, or leave it out; only tests change it",
        ),
    ] = "https://slack.com/api/"
    omni_base_url: Annotated[
        OmniUrl | None,
        SettingDoc(
            "Omni",
            "Omni's address, with or without `/api`",
            "the address at which you log in to Omni, such as https://acme.omniapp.co",
            unset="required, except for [several workspaces](deploying.md#several-workspaces)",
            where="Where you log in to Omni",
        ),
    ]
    omni_api_token: Annotated[
        ApiToken | None,
        SettingDoc(
            "Omni",
            "The API key",
            "an API key from Omni, Settings, API access",
            unset="required, except for [several workspaces](deploying.md#several-workspaces)",
            where="Omni, Settings, API access",
        ),
    ]
    # Source of the default: docs.omni.co/api/rate-limits.
    omni_requests_per_minute: Annotated[
        int,
        Field(ge=1, le=10_000),
        SettingDoc(
            "Omni",
            "How many requests per minute Omni allows this key, 1 to 10000",
            "a whole number from 1 to 10000; Omni allows 60 unless it agreed to more",
            where="60 unless Omni agreed to more",
        ),
    ] = 60
    omni_list_conversations: Annotated[
        bool,
        SettingDoc(
            "Omni",
            "Whether the bot may list Omni's conversations while it follows many jobs, to see which have moved: "
            "`true` or `false`; see [what it reads](security.md#the-list-of-conversations)",
            "true or false",
        ),
    ] = True
    omni_model_id: Annotated[
        OmniModelId | None,
        SettingDoc(
            "Omni",
            "The id of the Omni model that answers questions of users who have not chosen one",
            "the id of an Omni model, or leave it out to let each user choose one",
            unset="not set: each user chooses",
            where="Omni, the model's address",
        ),
    ] = None
    access: Annotated[
        Literal["workspace", "owner"],
        ANY_CASE,
        SettingDoc(
            "Who may do what",
            "Who may see a job: everyone who knows its id (`workspace`), or only its owner in Omni (`owner`); "
            "see [Who may](using.md#who-may)",
            "workspace (everyone who knows a job's id may see it) or owner (only its owner may)",
        ),
    ] = "workspace"
    ask_as: Annotated[
        Literal["asker", "key"],
        ANY_CASE,
        SettingDoc(
            "Who may do what",
            "Whose permissions questions run with: those of the Omni user with the asker's email address (`asker`), "
            "or those of the API key's owner (`key`)",
            "asker (each question runs as the Omni user with the asker's email address) or key (each runs as the "
            "owner of OMNI_API_TOKEN)",
        ),
    ] = "asker"
    allowed_channels: Annotated[
        ChannelIds,
        SettingDoc(
            "Who may do what",
            "The channels where the bot may be used, besides its direct messages: channel ids, separated by commas",
            "the ids of Slack channels, such as C0123ABCD, separated by commas, or leave it out to allow all",
            unset="empty: everywhere",
            where="Slack, the channel's details",
        ),
    ] = frozenset()
    allowed_users: Annotated[
        UserIds,
        SettingDoc(
            "Who may do what",
            "The users who may use the bot: user ids, separated by commas",
            "the ids of Slack users, such as U0123ABCD, separated by commas, or leave it out to allow all",
            unset="empty: everyone in the allowed workspaces",
            where="Slack, a profile, Copy member ID",
        ),
    ] = frozenset()
    allowed_teams: Annotated[
        TeamIds,
        SettingDoc(
            "Who may do what",
            "The workspaces whose members may use the bot: workspace ids, separated by commas. Include your own",
            "the ids of Slack workspaces, such as T0123ABCD, separated by commas, or leave it out for the app's own",
            unset="empty: your own workspace",
            where="Slack in a browser, the address",
        ),
    ] = frozenset()
    admin_users: Annotated[
        UserIds,
        SettingDoc(
            "Who may do what",
            "Admins: they may use the bot anywhere, see every job, and cancel and retry other users' jobs. User ids, "
            "separated by commas",
            "the ids of Slack users, such as U0123ABCD, separated by commas, or leave it out to have no admins",
            unset="empty: no one",
        ),
    ] = frozenset()
    allow_guests: Annotated[
        bool,
        SettingDoc(
            "Who may do what",
            "Whether the workspace's guests may use the bot: `true` or `false`",
            "true or false",
        ),
    ] = False
    allow_shared_channels: Annotated[
        bool,
        SettingDoc(
            "Who may do what",
            "Whether answers are posted in channels that are shared with other organizations: `true` or `false`",
            "true or false",
        ),
    ] = False
    answers: Annotated[
        Literal["full", "link"],
        ANY_CASE,
        SettingDoc(
            "Who may do what",
            "What Slack gets of a job: everything (`full`) or only [links to Omni](security.md#links-only) (`link`)",
            "full (questions, answers and data are shown in Slack) or link (only the state of jobs and links to Omni)",
        ),
    ] = "full"
    link_only_channels: Annotated[
        ChannelIds,
        SettingDoc(
            "Who may do what",
            "The channels that get only links while `ANSWERS` is `full`: channel ids, separated by commas",
            "the ids of Slack channels, such as C0123ABCD, separated by commas, or leave it out for none",
            unset="empty: none",
        ),
    ] = frozenset()
    max_open_follows_per_person: Annotated[
        int,
        Field(ge=1, le=10_000),
        SettingDoc(
            "Who may do what",
            "How many running jobs one user may follow, 1 to 10000",
            "a whole number from 1 to 10000",
        ),
    ] = 25
    max_asks_per_hour: Annotated[
        int,
        Field(ge=1, le=10_000),
        SettingDoc(
            "Who may do what",
            "How many questions one user may ask per hour, 1 to 10000",
            "a whole number from 1 to 10000",
        ),
    ] = 30
    max_lookups_per_minute: Annotated[
        int,
        Field(ge=3, le=10_000),
        SettingDoc(
            "Who may do what",
            "How many requests to Omni one user may cause per minute by commands and clicks, 3 to 10000; half of them "
            "at once. Each process counts its own",
            "a whole number from 3 to 10000",
        ),
    ] = 20
