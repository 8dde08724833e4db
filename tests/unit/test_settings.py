"""Settings: each unusable one is reported in one line, which holds no secret."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from bot.domain.access import AccessPolicy, ContentPolicy
from bot.domain.cards import ChannelId, TeamId, UserId
from bot.domain.errors import SettingsError
from bot.settings import HINTS, Settings, read_settings

SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-1111-bot-secret",
    "SLACK_APP_TOKEN": "xapp-1-app-secret",
    "OMNI_API_TOKEN": "omni_osk_key_secret",
}
LEAST = {**SECRETS, "OMNI_BASE_URL": "https://acme.omniapp.co"}

Read = Callable[..., Settings]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Read:
    """Read the settings from an environment with the required ones, changed by the arguments."""
    monkeypatch.chdir(tmp_path)

    def read(**changed: str | None) -> Settings:
        for name in HINTS:
            monkeypatch.delenv(name, raising=False)
        for name, value in {**LEAST, **changed}.items():
            if value is not None:
                monkeypatch.setenv(name, value)
        return read_settings()

    return read


def problems(read: Read, **changed: str | None) -> list[str]:
    with pytest.raises(SettingsError) as error:
        read(**changed)
    return error.value.problems


def test_four_settings_are_required(read: Read) -> None:
    found = read()
    assert found.bot_token == "xoxb-1111-bot-secret"
    assert found.app_token == "xapp-1-app-secret"
    assert found.omni_account is not None and found.omni_account.api_token == "omni_osk_key_secret"
    assert found.slack_signing_secret is None
    assert found.slack_api_url == "https://slack.com/api/"
    assert found.omni_requests_per_minute == 60
    assert found.database_url.get_secret_value() == "sqlite+aiosqlite:///omni-job-bot.sqlite3"
    assert (found.notify_after_seconds, found.chart_on_card) == (30.0, True)
    assert (found.max_follow_hours, found.retention_days) == (24.0, 30.0)
    assert (found.host, found.port, found.metrics_token) == ("127.0.0.1", None, None)
    assert (found.log_level, found.log_format) == ("info", "text")


def test_every_setting_has_a_hint() -> None:
    assert {name.upper() for name in Settings.model_fields} == set(HINTS)


@pytest.mark.parametrize("name", list(LEAST))
@pytest.mark.parametrize("value", [None, ""])
def test_missing_setting_is_one_problem(read: Read, name: str, value: str | None) -> None:
    assert problems(read, **{name: value}) == [f"{name} is not set: set it to {HINTS[name]}"]


def test_each_problem_has_its_own_line(read: Read) -> None:
    lines = problems(read, SLACK_BOT_TOKEN=None, OMNI_BASE_URL="nonsense", PORT="x", LOG_LEVEL="loud")
    assert [line.split()[0] for line in lines] == ["SLACK_BOT_TOKEN", "OMNI_BASE_URL", "PORT", "LOG_LEVEL"]


MALFORMED = [
    ("SLACK_BOT_TOKEN", "xapp-1-swapped-secret"),
    ("SLACK_BOT_TOKEN", "xoxp-a-users-secret"),
    ("SLACK_BOT_TOKEN", "xoxb-secret\n"),
    ("SLACK_BOT_TOKEN", "xoxb-secret "),
    ("SLACK_BOT_TOKEN", "xoxb-secret…"),
    ("SLACK_APP_TOKEN", "xoxb-1111-swapped-secret"),
    ("SLACK_APP_TOKEN", "xapp-secret\r"),
    ("SLACK_SIGNING_SECRET", "not-hex-secret"),
    ("SLACK_SIGNING_SECRET", "secret0123456789abcdef0123456789"),
    ("SLACK_API_URL", "slack.com/api/secret"),
    ("SLACK_API_URL", "http://slack.com/api/secret"),
    ("OMNI_BASE_URL", "acme-secret.omniapp.co"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co/chat/secret"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co/api/v1/secret"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co/secretapi"),
    ("OMNI_BASE_URL", "http://secret.omniapp.co"),
    ("OMNI_BASE_URL", "http://0.0.0.0/secret"),
    ("OMNI_BASE_URL", "http://192.168.1.4/secret"),
    ("OMNI_BASE_URL", "ftp://secret.omniapp.co"),
    ("OMNI_BASE_URL", "https://"),
    ("OMNI_BASE_URL", "https:///secret"),
    ("OMNI_BASE_URL", "https://ada:secret@acme.omniapp.co"),
    ("OMNI_BASE_URL", "https://@secret.omniapp.co"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co?key=secret"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co#secret"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co:secret"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co:99999/secret"),
    ("OMNI_BASE_URL", "https://[::1/secret"),
    ("OMNI_BASE_URL", "https://acme secret.omniapp.co"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co/se cret"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co\\secret"),
    ("OMNI_BASE_URL", "https://acme.omniapp.co/\x7fsecret"),
    ("OMNI_BASE_URL", "https://xn--/secret"),
    ("OMNI_API_TOKEN", "sec ret"),
    ("OMNI_API_TOKEN", "secret\n"),
    ("OMNI_API_TOKEN", "sécret"),
    ("OMNI_REQUESTS_PER_MINUTE", "secret"),
    ("OMNI_REQUESTS_PER_MINUTE", "0"),
    ("OMNI_REQUESTS_PER_MINUTE", "-1"),
    ("OMNI_REQUESTS_PER_MINUTE", "10001"),
    ("OMNI_REQUESTS_PER_MINUTE", "1.5"),
    ("DATABASE_URL", "secret.sqlite3"),
    ("DATABASE_URL", "sqlite://"),
    ("DATABASE_URL", "sqlite:///:memory:"),
    ("DATABASE_URL", "sqlite:///file::memory:?uri=true&x=secret"),
    ("DATABASE_URL", "sqlite://secret/bot.sqlite3"),
    ("DATABASE_URL", "sqlite:///bot.sqlite3?timeout=secret"),
    ("DATABASE_URL", "postgresql://bot:secret@db"),
    ("DATABASE_URL", "mysql://bot:secret@db/bot"),
    ("DATABASE_URL", "postgres://bot:pa@ss:secret@db/bot"),
    ("NOTIFY_AFTER_SECONDS", "secret"),
    ("NOTIFY_AFTER_SECONDS", "-1"),
    ("NOTIFY_AFTER_SECONDS", "86401"),
    ("NOTIFY_AFTER_SECONDS", "nan"),
    ("NOTIFY_AFTER_SECONDS", "inf"),
    ("MAX_FOLLOW_HOURS", "secret"),
    ("MAX_FOLLOW_HOURS", "0"),
    ("MAX_FOLLOW_HOURS", "0.09"),
    ("MAX_FOLLOW_HOURS", "8761"),
    ("MAX_FOLLOW_HOURS", "nan"),
    ("MAX_FOLLOW_HOURS", "inf"),
    ("RETENTION_DAYS", "secret"),
    ("RETENTION_DAYS", "0"),
    ("RETENTION_DAYS", "-1"),
    ("RETENTION_DAYS", "3651"),
    ("RETENTION_DAYS", "nan"),
    ("PORT", "secret"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "80.5"),
    ("PUBLIC_URL", "https://jobs.example.com/secret"),
    ("LOG_LEVEL", "secret"),
    ("LOG_LEVEL", "10"),
    ("LOG_FORMAT", "secret"),
    ("METRICS_TOKEN", "short-secret"),
    ("API_TOKEN", "short-secret-of-31-characters-0"),
    ("API_TOKEN", "secret with spaces in it, and long enough"),
    ("METRICS_TOKEN", "secret with spaces in it"),
    ("METRICS_TOKEN", "sécret-0123456789"),
    ("OMNI_MODEL_ID", "secret"),
    ("ACCESS", "secret"),
    ("ASK_AS", "secret"),
    ("ANSWERS", "secret"),
    ("LINK_ONLY_CHANNELS", "D0SECRET"),
    ("ALLOWED_CHANNELS", "#secret"),
    ("ALLOWED_CHANNELS", "C0DATA;C0SECRET"),
    ("ALLOWED_CHANNELS", "U0SECRET"),
    ("ALLOWED_USERS", "@secret"),
    ("ALLOWED_USERS", "c0secret"),
    ("ALLOWED_TEAMS", "secret.slack.com"),
    ("ADMIN_USERS", "U0ADA, secret"),
    ("ALLOW_GUESTS", "secret"),
    ("ALLOW_SHARED_CHANNELS", "secret"),
    ("MAX_OPEN_FOLLOWS_PER_PERSON", "0"),
    ("MAX_ASKS_PER_HOUR", "secret"),
    ("MAX_LOOKUPS_PER_MINUTE", "2"),
]
"""A value that is no number or address holds the word "secret"."""


def test_malformed_settings_are_reported_without_value(read: Read) -> None:
    for name, value in MALFORMED:
        (line,) = problems(read, **{name: value})
        hint = f": set it to {HINTS[name]}"
        assert line.startswith(f"{name} ") and line.endswith(hint), (name, value, line)
        assert "secret" not in line.removesuffix(hint).lower().replace("slack_signing_secret", ""), line
        assert line.isprintable(), line


def test_repr_holds_no_secret(read: Read) -> None:
    shown = f"{read()!r} {read()}"
    assert not [secret for secret in SECRETS.values() if secret in shown]


@pytest.mark.parametrize("name", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "OMNI_BASE_URL", "OMNI_API_TOKEN"])
def test_error_and_cause_hold_no_secret(read: Read, name: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(**{name: None, "PORT": "x"})
    assert not [
        secret for secret in SECRETS.values() if secret in f"{error.value!r} {error.value.__cause__!r}"
    ]


def test_omni_address_is_normalized(read: Read) -> None:
    cases = [
        ("https://acme.omniapp.co", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co/", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co/api", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co/api/", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co//api//", "https://acme.omniapp.co"),
        (" https://acme.omniapp.co/api ", "https://acme.omniapp.co"),
        ("HTTPS://ACME.omniapp.co/api", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co:8443/api", "https://acme.omniapp.co:8443"),
        ("https://api.acme.example", "https://api.acme.example"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:8080/api/", "http://[::1]:8080"),
    ]
    for typed, kept in cases:
        assert read(OMNI_BASE_URL=typed).omni_base_url == kept, typed


def test_slack_address_ends_with_slash(read: Read) -> None:
    cases = [
        ("https://slack.com/api", "https://slack.com/api/"),
        ("https://slack.com/api/", "https://slack.com/api/"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api/"),
    ]
    for typed, kept in cases:
        assert read(SLACK_API_URL=typed).slack_api_url == kept, typed


def test_sqlite_address_gets_async_driver(read: Read) -> None:
    cases = [
        ("sqlite:///x", "sqlite+aiosqlite:///x"),
        ("sqlite:///data/bot.sqlite3", "sqlite+aiosqlite:///data/bot.sqlite3"),
        ("sqlite:////var/lib/bot.sqlite3", "sqlite+aiosqlite:////var/lib/bot.sqlite3"),
        ("sqlite+pysqlite:///x", "sqlite+aiosqlite:///x"),
        ("sqlite+aiosqlite:///x", "sqlite+aiosqlite:///x"),
    ]
    for typed, kept in cases:
        assert read(DATABASE_URL=typed).database_url.get_secret_value() == kept, typed


def test_postgresql_address_gets_async_driver(read: Read) -> None:
    cases = [
        ("postgres://bot:pw@db/bot", "postgresql+psycopg://bot:pw@db/bot"),
        ("postgresql://bot:pw@db/bot", "postgresql+psycopg://bot:pw@db/bot"),
        ("postgresql+psycopg://bot:pw@db/bot", "postgresql+psycopg://bot:pw@db/bot"),
        ("postgresql://db:6432/bot", "postgresql+psycopg://db:6432/bot"),
        ("postgresql://[::1]/bot", "postgresql+psycopg://[::1]/bot"),
        (
            "postgres://bot:pw@db/bot?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgresql+psycopg://bot:pw@db/bot?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
        ),
        (
            "postgresql:///bot?host=/var/run/postgresql",
            "postgresql+psycopg:///bot?host=%2Fvar%2Frun%2Fpostgresql",
        ),
    ]
    for typed, kept in cases:
        assert read(DATABASE_URL=typed).database_url.get_secret_value() == kept, typed


@pytest.mark.parametrize("password", ["p@ss:w/rd?&#%", "%41", "pässwörd", "a b", "[x]"])
def test_database_password_is_kept_exactly(read: Read, password: str) -> None:
    typed = f"postgres://bot:{quote(password, safe='')}@db/bot"
    assert make_url(read(DATABASE_URL=typed).database_url.get_secret_value()).password == password


def test_database_options_reach_the_driver(read: Read) -> None:
    options = {"sslmode": "require", "target_session_attrs": "read-write", "options": "-c search_path=bot"}
    typed = f"postgres://db/bot?{urlencode(options)}"
    assert make_url(read(DATABASE_URL=typed).database_url.get_secret_value()).query == options


def test_unusable_database_address_hides_password(read: Read) -> None:
    cases = [
        "postgres://bot:s3cret@db",
        "postgres://bot:s3cret@db/",
        "postgresql://bot:s3cret@db/?sslmode=require",
        "postgresql://bot:s3cret@db:port/bot",
        "postgresql+asyncpg://bot:s3cret@db/bot",
        "mysql://bot:s3cret@db/bot",
        "redis://:s3cret@db/0",
    ]
    for typed in cases:
        with pytest.raises(SettingsError) as error:
            read(DATABASE_URL=typed)
        (line,) = error.value.problems
        assert line.startswith("DATABASE_URL ") and line.endswith(f": set it to {HINTS['DATABASE_URL']}"), (
            typed
        )
        assert "s3cret" not in f"{line}{error.value!r}{error.value.__cause__!r}", typed


def test_repr_hides_database_password(read: Read) -> None:
    found = read(DATABASE_URL="postgres://bot:s3cret@db/bot?sslmode=require")
    shown = f"{found!r} {found} {found.model_dump()} {found.model_dump_json()} {found.database_url!r}"
    assert "s3cret" not in shown and "@db" not in shown


@pytest.mark.parametrize("typed", ["debug", "DEBUG", "Warning", "ERROR", "info"])
def test_log_level_is_case_insensitive(read: Read, typed: str) -> None:
    assert read(LOG_LEVEL=typed).log_level == typed.lower()


def test_numbers_are_read_as_numbers(read: Read) -> None:
    found = read(OMNI_REQUESTS_PER_MINUTE=" 500 ", NOTIFY_AFTER_SECONDS="0", PORT="8080")
    assert (found.omni_requests_per_minute, found.notify_after_seconds, found.port) == (500, 0.0, 8080)
    found = read(MAX_FOLLOW_HOURS="0.1", RETENTION_DAYS="3650")
    assert (found.max_follow_hours, found.retention_days) == (0.1, 3650.0)


def test_empty_setting_counts_as_not_set(read: Read) -> None:
    found = read(PORT="", DATABASE_URL="", NOTIFY_AFTER_SECONDS="", SLACK_SIGNING_SECRET="", LOG_LEVEL="")
    assert found == read()


def test_signing_secret_is_kept_secret(read: Read) -> None:
    secret = read(SLACK_SIGNING_SECRET="0123456789abcdef" * 2).slack_signing_secret
    assert secret is not None and secret.get_secret_value() == "0123456789abcdef" * 2
    assert "0123" not in repr(secret)


HTTP_MODE = {"SLACK_APP_TOKEN": None, "SLACK_SIGNING_SECRET": "0123456789abcdef" * 2, "PORT": "8080"}


def test_http_mode_needs_no_app_token(read: Read) -> None:
    found = read(**HTTP_MODE)
    assert (found.slack_app_token, found.app_token, found.port) == (None, "", 8080)


def test_app_token_means_socket_mode(read: Read) -> None:
    assert read(**{**HTTP_MODE, "SLACK_APP_TOKEN": SECRETS["SLACK_APP_TOKEN"]}).app_token


@pytest.mark.parametrize("name", ["SLACK_SIGNING_SECRET", "PORT"])
@pytest.mark.parametrize("value", [None, ""], ids=["not set", "empty"])
def test_incomplete_http_mode_reports_missing_app_token(read: Read, name: str, value: str | None) -> None:
    (line,) = problems(read, **{**HTTP_MODE, name: value})
    assert line == f"SLACK_APP_TOKEN is not set: set it to {HINTS['SLACK_APP_TOKEN']}"
    assert "SLACK_SIGNING_SECRET and PORT" in line


def test_malformed_signing_secret_is_the_only_problem(read: Read) -> None:
    (line,) = problems(read, **{**HTTP_MODE, "SLACK_SIGNING_SECRET": "short"})
    assert line.startswith("SLACK_SIGNING_SECRET is not 32 hexadecimal digits")


def test_settings_are_read_from_env_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# comment\nOMNI_BASE_URL=https://file.omniapp.co/api\nPORT=81\n", "utf-8")
    found = read(OMNI_BASE_URL=None)
    assert (found.omni_base_url, found.port) == ("https://file.omniapp.co", 81)


def test_environment_takes_precedence_over_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OMNI_BASE_URL=https://file.omniapp.co\nPORT=81\n", "utf-8")
    found = read(PORT="82")
    assert (found.omni_base_url, found.port) == ("https://acme.omniapp.co", 82)


def test_unknown_lines_in_file_are_ignored(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SOMETHING_ELSE=1\n", "utf-8")
    assert read() == read()


def test_binary_env_file_is_one_problem(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe\n")
    assert problems(read) == [".env is not UTF-8 text"]


_TYPED = st.one_of(
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    st.lists(
        st.sampled_from(
            [*"https:// http:// acme .omni.co / /api : 8 ? # @ xn-- .. % é [ ] ::1 \\ -".split(), " ", "\t"]
        ),
        max_size=8,
    ).map("".join),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(typed=_TYPED)
def test_any_accepted_omni_address_is_usable(read: Read, typed: str) -> None:
    lines: list[str] = []
    try:
        address = read(OMNI_BASE_URL=typed).omni_base_url
    except SettingsError as error:
        lines = error.problems
    if lines:
        (line,) = lines
        assert line.startswith("OMNI_BASE_URL ") and line.isprintable()
        return
    request = httpx.Client(base_url=str(address)).build_request("GET", "/api/v1/ai/jobs/x")
    assert request.url.path.endswith("/api/v1/ai/jobs/x")
    assert request.url.host and not request.url.query


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.dictionaries(
        st.sampled_from(sorted(HINTS)),
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40),
    )
)
def test_each_setting_has_at_most_one_problem(read: Read, values: dict[str, Any]) -> None:
    lines: list[str] = []
    try:
        read(**values)
    except SettingsError as error:
        lines = error.problems
    names = [line.split(" ", 1)[0] for line in lines]
    assert len(set(names)) == len(names) and set(names) <= set(HINTS)
    assert "\n" not in "".join(lines)


def test_default_access_is_the_own_workspace(read: Read) -> None:
    found = read()
    assert (found.access, found.ask_as, found.omni_model_id) == ("workspace", "asker", None)
    assert not (found.allowed_channels | found.allowed_users | found.allowed_teams | found.admin_users)
    assert not (found.allow_guests or found.allow_shared_channels)
    assert (found.max_open_follows_per_person, found.max_asks_per_hour) == (25, 30)
    assert found.max_lookups_per_minute == 20


def test_ids_are_separated_by_commas_or_spaces(read: Read) -> None:
    found = read(
        ALLOWED_CHANNELS="C0DATA, G0SALES", ALLOWED_USERS="U0ADA,,W0GRACE,", ALLOWED_TEAMS=" T0ACME\tE0ORG "
    )
    assert found.allowed_channels == {"C0DATA", "G0SALES"}
    assert found.allowed_users == {"U0ADA", "W0GRACE"}
    assert found.allowed_teams == {"T0ACME", "E0ORG"}
    assert read(ADMIN_USERS="U0ADA").admin_users == {"U0ADA"}


def test_choices_are_case_insensitive(read: Read) -> None:
    found = read(ACCESS="Owner", ASK_AS="KEY", ALLOW_GUESTS="true", ALLOW_SHARED_CHANNELS="1")
    assert (found.access, found.ask_as) == ("owner", "key")
    assert found.allow_guests and found.allow_shared_channels
    assert read(OMNI_MODEL_ID="550E8400-E29B-41D4-A716-446655440000").omni_model_id == (
        "550e8400-e29b-41d4-a716-446655440000"
    )


def test_content_policy_comes_from_settings(read: Read) -> None:
    assert read().content_policy == ContentPolicy()
    assert read(ANSWERS="Link").content_policy == ContentPolicy(is_link_only_everywhere=True)
    finance = ChannelId("C0FINANCE")
    assert read(LINK_ONLY_CHANNELS="C0FINANCE").content_policy == ContentPolicy(
        link_only_channels=frozenset({finance})
    )


def test_every_rule_reaches_the_access_policy(read: Read) -> None:
    assert read().access_rules == AccessPolicy()
    found = read(
        ALLOWED_CHANNELS="C0DATA",
        ALLOWED_USERS="U0ADA",
        ALLOWED_TEAMS="T0ACME",
        ADMIN_USERS="U0GRACE",
        ALLOW_GUESTS="true",
        ALLOW_SHARED_CHANNELS="true",
        ACCESS="owner",
        ASK_AS="key",
        MAX_OPEN_FOLLOWS_PER_PERSON="2",
        MAX_ASKS_PER_HOUR="3",
    ).access_rules
    assert found == AccessPolicy(
        channels=frozenset({ChannelId("C0DATA")}),
        users=frozenset({UserId("U0ADA")}),
        teams=frozenset({TeamId("T0ACME")}),
        admins=frozenset({UserId("U0GRACE")}),
        allow_guests=True,
        allow_shared_channels=True,
        only_owners=True,
        ask_as_key=True,
        most_open_follows=2,
        most_asks_per_hour=3,
    )


def test_public_address_is_normalized(read: Read) -> None:
    cases = [
        ("https://Jobs.example.com/", "https://jobs.example.com"),
        ("https://example.com/bots/omni/", "https://example.com/bots/omni"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("", None),
    ]
    for written, taken in cases:
        assert read(PORT="8080", PUBLIC_URL=written).public_url == taken, written


def test_unsafe_public_address_is_refused(read: Read) -> None:
    cases = [
        ({"PUBLIC_URL": "https://jobs.example.com"}, "has no effect while PORT is not set"),
        ({"PUBLIC_URL": "http://jobs.example.com", "PORT": "8080"}, "is not https"),
        ({"PUBLIC_URL": "jobs.example.com", "PORT": "8080"}, "is not a web address"),
    ]
    for changed, why in cases:
        (line,) = problems(read, **changed)
        assert line.startswith(f"PUBLIC_URL {why}") and line.endswith(HINTS["PUBLIC_URL"]), changed


def test_bad_port_is_reported_once(read: Read) -> None:
    (line,) = problems(read, PORT="x", PUBLIC_URL="https://jobs.example.com")
    assert line.startswith("PORT ")


def test_secrets_are_exactly_the_secret_values(read: Read) -> None:
    found = read(
        METRICS_TOKEN="0123456789abcdef-token",
        API_TOKEN="0123456789abcdef0123456789abcdef-api",
        PORT="8080",
        SLACK_SIGNING_SECRET="0123456789abcdef0123456789abcdef",
        DATABASE_URL="postgresql://bot:p%40ss%2Fword@db.example.com/omni?sslmode=require",
    )
    assert found.secrets == {
        *SECRETS.values(),
        "0123456789abcdef-token",
        "0123456789abcdef0123456789abcdef-api",
        "0123456789abcdef0123456789abcdef",
        "p@ss/word",
        "p%40ss/word",
        "p%40ss%2Fword",
    }
    assert read().secrets == set(SECRETS.values())
    both = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=, YWJjZGVmMDEyMzQ1Njc4OTAxMjM0NTY3ODlhYmNkZWY="
    assert set(both.split(", ")) <= read(**OAUTH | {"ENCRYPTION_KEY": both}).secrets


@pytest.mark.parametrize("typed", ["JSON", "Json", "json"])
def test_log_format_is_case_insensitive(read: Read, typed: str) -> None:
    assert read(LOG_FORMAT=typed).log_format == "json"


OAUTH: dict[str, str | None] = {
    "SLACK_BOT_TOKEN": None,
    "SLACK_CLIENT_ID": "111.222",
    "SLACK_CLIENT_SECRET": "0123456789abcdef" * 2,
    "ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "PUBLIC_URL": "https://jobs.example.com/",
    "PORT": "8080",
}


def test_oauth_needs_no_bot_token_or_omni(read: Read) -> None:
    found = read(**OAUTH | {"OMNI_BASE_URL": None, "OMNI_API_TOKEN": None})
    assert (found.bot_token, found.omni_account, found.public_url) == ("", None, "https://jobs.example.com")
    assert read(**OAUTH).omni_account is not None, "the Omni of the workspaces in ALLOWED_TEAMS"


def test_incomplete_oauth_is_one_problem(read: Read) -> None:
    cases = [
        ("SLACK_CLIENT_ID", "hidden"),
        ("SLACK_CLIENT_SECRET", None),
        ("SLACK_CLIENT_SECRET", "hidden"),
        ("ENCRYPTION_KEY", None),
        ("ENCRYPTION_KEY", "hidden"),
        ("PUBLIC_URL", None),
        ("PUBLIC_URL", "http://hidden.example.com"),
        ("PUBLIC_URL", "hidden"),
    ]
    for name, value in cases:
        (line,) = problems(read, **OAUTH | {name: value})
        assert line.startswith(f"{name} ") and line.endswith(f": set it to {HINTS[name]}"), (name, value)
        assert "hidden" not in line, (name, value)


def test_bot_token_and_oauth_are_exclusive(read: Read) -> None:
    (line,) = problems(read, **OAUTH | {"SLACK_BOT_TOKEN": "xoxb-1"})
    assert line.startswith("SLACK_CLIENT_ID can't be combined with SLACK_BOT_TOKEN")
    (line,) = problems(read, SLACK_CLIENT_SECRET="0123456789abcdef" * 2)
    assert line.startswith("SLACK_CLIENT_SECRET is set without SLACK_CLIENT_ID")


@pytest.mark.parametrize("missing", ["OMNI_BASE_URL", "OMNI_API_TOKEN"])
def test_incomplete_omni_is_one_problem(read: Read, missing: str) -> None:
    (line,) = problems(read, **OAUTH | {missing: None})
    assert line.startswith(f"{missing} is not set")


@pytest.mark.parametrize("name", ["METRICS_TOKEN", "API_TOKEN"])
def test_token_needs_port(read: Read, name: str) -> None:
    (line,) = problems(read, **{name: "0123456789abcdef" * 2})
    assert line.startswith(f"{name} has no effect while PORT is not set") and line.endswith(HINTS[name])
