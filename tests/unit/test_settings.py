"""Settings: one line for each that can't be used, and no secret in any of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from bot.domain.access import AccessPolicy
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
    """Reads the settings from an environment with the least that is needed, changed by the arguments."""
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


def test_four_settings_are_enough_and_the_others_have_defaults(read: Read) -> None:
    found = read()
    assert found.bot_token == "xoxb-1111-bot-secret"
    assert found.app_token == "xapp-1-app-secret"
    assert found.omni_account is not None and found.omni_account.api_token == "omni_osk_key_secret"
    assert found.slack_signing_secret is None
    assert found.slack_api_url == "https://slack.com/api/"
    assert found.omni_requests_per_minute == 60
    assert found.database_url.get_secret_value() == "sqlite+aiosqlite:///omni-job-bot.sqlite3"
    assert found.notify_after_seconds == 30.0
    assert (found.max_follow_hours, found.retention_days) == (24.0, 30.0)
    assert (found.host, found.port, found.metrics_token) == ("127.0.0.1", None, None)
    assert (found.log_level, found.log_format) == ("info", "text")


def test_every_setting_has_a_hint_on_where_to_get_it() -> None:
    assert {name.upper() for name in Settings.model_fields} == set(HINTS)


@pytest.mark.parametrize("name", list(LEAST))
@pytest.mark.parametrize("value", [None, ""])
def test_a_needed_setting_that_is_missing_or_empty_gets_one_line(
    read: Read, name: str, value: str | None
) -> None:
    assert problems(read, **{name: value}) == [f"{name} is not set: set it to {HINTS[name]}"]


def test_each_problem_has_a_line_of_its_own(read: Read) -> None:
    lines = problems(read, SLACK_BOT_TOKEN=None, OMNI_BASE_URL="nonsense", PORT="x", LOG_LEVEL="loud")
    assert [line.split()[0] for line in lines] == ["SLACK_BOT_TOKEN", "OMNI_BASE_URL", "PORT", "LOG_LEVEL"]


@pytest.mark.parametrize(
    "name, value",
    [
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
        ("METRICS_TOKEN", "secret with spaces in it"),
        ("METRICS_TOKEN", "sécret-0123456789"),
    ],
)
def test_a_malformed_setting_gets_one_line_that_names_it_and_tells_no_value(
    read: Read, name: str, value: str
) -> None:
    (line,) = problems(read, **{name: value})
    assert line.startswith(f"{name} ")
    assert line.endswith(f": set it to {HINTS[name]}")
    assert "secret" not in line.removesuffix(HINTS[name]).lower().replace("slack_signing_secret", "")
    assert line.isprintable()


def test_no_secret_is_in_the_repr_of_the_settings(read: Read) -> None:
    shown = f"{read()!r} {read()}"
    assert not [secret for secret in SECRETS.values() if secret in shown]


@pytest.mark.parametrize("name", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "OMNI_BASE_URL", "OMNI_API_TOKEN"])
def test_no_secret_is_in_the_error_or_in_what_it_was_raised_from(read: Read, name: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(**{name: None, "PORT": "x"})
    assert not [
        secret for secret in SECRETS.values() if secret in f"{error.value!r} {error.value.__cause__!r}"
    ]


@pytest.mark.parametrize(
    "typed, kept",
    [
        ("https://acme.omniapp.co", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co/", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co/api", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co/api/", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co//api//", "https://acme.omniapp.co"),
        (" https://acme.omniapp.co/api ", "https://acme.omniapp.co"),
        ("HTTPS://ACME.omniapp.co/api", "https://acme.omniapp.co"),
        ("https://acme.omniapp.co:8443/api", "https://acme.omniapp.co:8443"),
        ("https://acme.example/omni/api", "https://acme.example/omni"),
        ("https://acme.example/api/api", "https://acme.example/api"),
        ("https://acme.example/myapi", "https://acme.example/myapi"),
        ("https://api.acme.example", "https://api.acme.example"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:8080/api/", "http://[::1]:8080"),
    ],
)
def test_omnis_address_is_kept_without_api_and_without_a_slash(read: Read, typed: str, kept: str) -> None:
    assert read(OMNI_BASE_URL=typed).omni_base_url == kept


@pytest.mark.parametrize(
    "typed, kept",
    [
        ("https://slack.com/api", "https://slack.com/api/"),
        ("https://slack.com/api/", "https://slack.com/api/"),
        ("http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api/"),
    ],
)
def test_slacks_address_keeps_its_path_and_ends_with_a_slash(read: Read, typed: str, kept: str) -> None:
    assert read(SLACK_API_URL=typed).slack_api_url == kept


@pytest.mark.parametrize(
    "typed, kept",
    [
        ("sqlite:///x", "sqlite+aiosqlite:///x"),
        ("sqlite:///data/bot.sqlite3", "sqlite+aiosqlite:///data/bot.sqlite3"),
        ("sqlite:////var/lib/bot.sqlite3", "sqlite+aiosqlite:////var/lib/bot.sqlite3"),
        ("sqlite+pysqlite:///x", "sqlite+aiosqlite:///x"),
        ("sqlite+aiosqlite:///x", "sqlite+aiosqlite:///x"),
    ],
)
def test_a_database_is_named_in_any_of_sqlites_spellings(read: Read, typed: str, kept: str) -> None:
    assert read(DATABASE_URL=typed).database_url.get_secret_value() == kept


@pytest.mark.parametrize(
    "typed, kept",
    [
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
    ],
)
def test_a_database_is_named_in_any_of_postgresqls_spellings(read: Read, typed: str, kept: str) -> None:
    assert read(DATABASE_URL=typed).database_url.get_secret_value() == kept


@pytest.mark.parametrize("password", ["p@ss:w/rd?&#%", "%41", "pässwörd", "a b", "[x]"])
def test_a_password_of_any_characters_comes_through_as_it_is(read: Read, password: str) -> None:
    typed = f"postgres://bot:{quote(password, safe='')}@db/bot"
    assert make_url(read(DATABASE_URL=typed).database_url.get_secret_value()).password == password


def test_what_follows_the_question_mark_reaches_the_driver_as_it_is(read: Read) -> None:
    options = {"sslmode": "require", "target_session_attrs": "read-write", "options": "-c search_path=bot"}
    typed = f"postgres://db/bot?{urlencode(options)}"
    assert make_url(read(DATABASE_URL=typed).database_url.get_secret_value()).query == options


@pytest.mark.parametrize(
    "typed",
    [
        "postgres://bot:s3cret@db",
        "postgres://bot:s3cret@db/",
        "postgresql://bot:s3cret@db/?sslmode=require",
        "postgresql://bot:s3cret@db:port/bot",
        "postgresql+asyncpg://bot:s3cret@db/bot",
        "mysql://bot:s3cret@db/bot",
        "redis://:s3cret@db/0",
    ],
)
def test_an_address_that_names_no_database_of_ours_is_refused_and_its_password_not_told(
    read: Read, typed: str
) -> None:
    with pytest.raises(SettingsError) as error:
        read(DATABASE_URL=typed)
    (line,) = error.value.problems
    assert line.startswith("DATABASE_URL ") and line.endswith(f": set it to {HINTS['DATABASE_URL']}")
    assert "s3cret" not in f"{line}{error.value!r}{error.value.__cause__!r}"


def test_the_databases_password_is_in_no_repr_of_the_settings(read: Read) -> None:
    found = read(DATABASE_URL="postgres://bot:s3cret@db/bot?sslmode=require")
    shown = f"{found!r} {found} {found.model_dump()} {found.model_dump_json()} {found.database_url!r}"
    assert "s3cret" not in shown and "@db" not in shown


@pytest.mark.parametrize("typed", ["debug", "DEBUG", "Warning", "ERROR", "info"])
def test_the_log_level_is_read_in_any_case(read: Read, typed: str) -> None:
    assert read(LOG_LEVEL=typed).log_level == typed.lower()


def test_numbers_are_read_as_numbers(read: Read) -> None:
    found = read(OMNI_REQUESTS_PER_MINUTE=" 500 ", NOTIFY_AFTER_SECONDS="0", PORT="8080")
    assert (found.omni_requests_per_minute, found.notify_after_seconds, found.port) == (500, 0.0, 8080)
    found = read(MAX_FOLLOW_HOURS="0.1", RETENTION_DAYS="3650")
    assert (found.max_follow_hours, found.retention_days) == (0.1, 3650.0)


def test_an_empty_optional_setting_counts_as_not_set(read: Read) -> None:
    found = read(PORT="", DATABASE_URL="", NOTIFY_AFTER_SECONDS="", SLACK_SIGNING_SECRET="", LOG_LEVEL="")
    assert found == read()


def test_a_signing_secret_of_32_hexadecimal_digits_is_kept_secret(read: Read) -> None:
    secret = read(SLACK_SIGNING_SECRET="0123456789abcdef" * 2).slack_signing_secret
    assert secret is not None and secret.get_secret_value() == "0123456789abcdef" * 2
    assert "0123" not in repr(secret)


HTTP_MODE = {"SLACK_APP_TOKEN": None, "SLACK_SIGNING_SECRET": "0123456789abcdef" * 2, "PORT": "8080"}


def test_http_mode_needs_no_app_token(read: Read) -> None:
    found = read(**HTTP_MODE)
    assert (found.slack_app_token, found.app_token, found.port) == (None, "", 8080)


def test_an_app_token_means_socket_mode_whatever_else_is_set(read: Read) -> None:
    assert read(**{**HTTP_MODE, "SLACK_APP_TOKEN": SECRETS["SLACK_APP_TOKEN"]}).app_token


@pytest.mark.parametrize("name", ["SLACK_SIGNING_SECRET", "PORT"])
@pytest.mark.parametrize("value", [None, ""], ids=["not set", "empty"])
def test_half_of_http_mode_is_a_missing_app_token(read: Read, name: str, value: str | None) -> None:
    (line,) = problems(read, **{**HTTP_MODE, name: value})
    assert line == f"SLACK_APP_TOKEN is not set: set it to {HINTS['SLACK_APP_TOKEN']}"
    assert "SLACK_SIGNING_SECRET and PORT" in line


def test_a_malformed_half_of_http_mode_is_the_one_problem(read: Read) -> None:
    (line,) = problems(read, **{**HTTP_MODE, "SLACK_SIGNING_SECRET": "short"})
    assert line.startswith("SLACK_SIGNING_SECRET is not 32 hexadecimal digits")


def test_settings_are_read_from_a_file_in_the_working_folder(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\nOMNI_BASE_URL=https://file.omniapp.co/api\nPORT=81\n", "utf-8")
    found = read(OMNI_BASE_URL=None)
    assert (found.omni_base_url, found.port) == ("https://file.omniapp.co", 81)


def test_the_environment_wins_over_the_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OMNI_BASE_URL=https://file.omniapp.co\nPORT=81\n", "utf-8")
    found = read(PORT="82")
    assert (found.omni_base_url, found.port) == ("https://acme.omniapp.co", 82)


def test_other_lines_in_the_file_are_nobodys_business(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SOMETHING_ELSE=1\n", "utf-8")
    assert read() == read()


def test_a_file_that_is_no_text_is_one_problem(read: Read, tmp_path: Path) -> None:
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
def test_whatever_omnis_address_is_it_is_refused_in_one_line_or_a_request_can_be_built_from_it(
    read: Read, typed: str
) -> None:
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
def test_whatever_the_environment_holds_every_setting_has_at_most_one_line(
    read: Read, values: dict[str, Any]
) -> None:
    lines: list[str] = []
    try:
        read(**values)
    except SettingsError as error:
        lines = error.problems
    names = [line.split(" ", 1)[0] for line in lines]
    assert len(set(names)) == len(names) and set(names) <= set(HINTS)
    assert "\n" not in "".join(lines)


def test_whoever_names_nobody_lets_in_the_workspace_and_no_further(read: Read) -> None:
    found = read()
    assert (found.access, found.ask_as, found.omni_model_id) == ("workspace", "asker", None)
    assert not (found.allowed_channels | found.allowed_users | found.allowed_teams | found.admin_users)
    assert not (found.allow_guests or found.allow_shared_channels)
    assert (found.max_open_follows_per_person, found.max_asks_per_hour) == (25, 30)
    assert found.max_lookups_per_minute == 20


def test_ids_are_read_with_commas_or_spaces_between_them(read: Read) -> None:
    found = read(
        ALLOWED_CHANNELS="C0DATA, G0SALES", ALLOWED_USERS="U0ADA,,W0GRACE,", ALLOWED_TEAMS=" T0ACME\tE0ORG "
    )
    assert found.allowed_channels == {"C0DATA", "G0SALES"}
    assert found.allowed_users == {"U0ADA", "W0GRACE"}
    assert found.allowed_teams == {"T0ACME", "E0ORG"}
    assert read(ADMIN_USERS="U0ADA").admin_users == {"U0ADA"}


def test_rules_are_read_in_any_case(read: Read) -> None:
    found = read(ACCESS="Owner", ASK_AS="KEY", ALLOW_GUESTS="true", ALLOW_SHARED_CHANNELS="1")
    assert (found.access, found.ask_as) == ("owner", "key")
    assert found.allow_guests and found.allow_shared_channels
    assert read(OMNI_MODEL_ID="550E8400-E29B-41D4-A716-446655440000").omni_model_id == (
        "550e8400-e29b-41d4-a716-446655440000"
    )


@pytest.mark.parametrize(
    "name, value",
    [
        ("OMNI_MODEL_ID", "secret"),
        ("ACCESS", "secret"),
        ("ASK_AS", "secret"),
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
    ],
)
def test_a_rule_that_can_not_be_read_is_one_problem_and_no_rule(read: Read, name: str, value: str) -> None:
    (line,) = problems(read, **{name: value})
    assert line.startswith(f"{name} ") and line.endswith(f": set it to {HINTS[name]}")
    assert "secret" not in line.lower()


def test_every_rule_reaches_the_gate(read: Read) -> None:
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


@pytest.mark.parametrize(
    "written, taken",
    [
        ("https://Jobs.example.com/", "https://jobs.example.com"),
        ("https://example.com/bots/omni/", "https://example.com/bots/omni"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("", None),
    ],
)
def test_a_public_address_is_taken_without_its_last_slash(
    read: Read, written: str, taken: str | None
) -> None:
    assert read(PORT="8080", PUBLIC_URL=written).public_url == taken


@pytest.mark.parametrize(
    "changed, why",
    [
        ({"PUBLIC_URL": "https://jobs.example.com"}, "leads nowhere while PORT is not set"),
        ({"PUBLIC_URL": "http://jobs.example.com", "PORT": "8080"}, "is not https"),
        ({"PUBLIC_URL": "jobs.example.com", "PORT": "8080"}, "is not a web address"),
    ],
)
def test_a_public_address_that_leads_nowhere_safe_is_refused(
    read: Read, changed: dict[str, str], why: str
) -> None:
    (line,) = problems(read, **changed)
    assert line.startswith(f"PUBLIC_URL {why}") and line.endswith(HINTS["PUBLIC_URL"])


def test_a_bad_port_is_not_told_twice(read: Read) -> None:
    (line,) = problems(read, PORT="x", PUBLIC_URL="https://jobs.example.com")
    assert line.startswith("PORT ")


def test_the_log_is_told_every_secret_and_nothing_else(read: Read) -> None:
    found = read(
        METRICS_TOKEN="0123456789abcdef-token",
        PORT="8080",
        SLACK_SIGNING_SECRET="0123456789abcdef0123456789abcdef",
        DATABASE_URL="postgresql://bot:p%40ss%2Fword@db.example.com/omni?sslmode=require",
    )
    assert found.secrets == {
        *SECRETS.values(),
        "0123456789abcdef-token",
        "0123456789abcdef0123456789abcdef",
        "p@ss/word",
        "p%40ss/word",
        "p%40ss%2Fword",
    }
    assert read().secrets == set(SECRETS.values())
    both = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=, YWJjZGVmMDEyMzQ1Njc4OTAxMjM0NTY3ODlhYmNkZWY="
    assert set(both.split(", ")) <= read(**OAUTH | {"ENCRYPTION_KEY": both}).secrets


@pytest.mark.parametrize("typed", ["JSON", "Json", "json"])
def test_the_log_format_is_read_in_any_case(read: Read, typed: str) -> None:
    assert read(LOG_FORMAT=typed).log_format == "json"


OAUTH: dict[str, str | None] = {
    "SLACK_BOT_TOKEN": None,
    "SLACK_CLIENT_ID": "111.222",
    "SLACK_CLIENT_SECRET": "0123456789abcdef" * 2,
    "ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "PUBLIC_URL": "https://jobs.example.com/",
    "PORT": "8080",
}


def test_where_workspaces_install_the_app_neither_a_bot_token_nor_an_omni_is_needed(read: Read) -> None:
    found = read(**OAUTH | {"OMNI_BASE_URL": None, "OMNI_API_TOKEN": None})
    assert (found.bot_token, found.omni_account, found.public_url) == ("", None, "https://jobs.example.com")
    assert read(**OAUTH).omni_account is not None, "one for those whom ALLOWED_TEAMS names"


@pytest.mark.parametrize(
    "name, value",
    [
        ("SLACK_CLIENT_ID", "hidden"),
        ("SLACK_CLIENT_SECRET", None),
        ("SLACK_CLIENT_SECRET", "hidden"),
        ("ENCRYPTION_KEY", None),
        ("ENCRYPTION_KEY", "hidden"),
        ("PUBLIC_URL", None),
        ("PUBLIC_URL", "http://hidden.example.com"),
        ("PUBLIC_URL", "hidden"),
    ],
)
def test_what_installing_lacks_is_told_in_one_line(read: Read, name: str, value: str | None) -> None:
    (line,) = problems(read, **OAUTH | {name: value})
    assert line.startswith(f"{name} ") and line.endswith(f": set it to {HINTS[name]}")
    assert "hidden" not in line


def test_one_workspace_and_several_can_not_both_be_meant(read: Read) -> None:
    (line,) = problems(read, **OAUTH | {"SLACK_BOT_TOKEN": "xoxb-1"})
    assert line.startswith("SLACK_CLIENT_ID is set beside SLACK_BOT_TOKEN")
    (line,) = problems(read, SLACK_CLIENT_SECRET="0123456789abcdef" * 2)
    assert line.startswith("SLACK_CLIENT_SECRET is set without SLACK_CLIENT_ID")


def test_a_public_address_needs_a_port(read: Read) -> None:
    (line,) = problems(read, PUBLIC_URL="https://jobs.example.com")
    assert line.startswith("PUBLIC_URL leads nowhere while PORT is not set")


@pytest.mark.parametrize("missing", ["OMNI_BASE_URL", "OMNI_API_TOKEN"])
def test_half_an_omni_is_told(read: Read, missing: str) -> None:
    (line,) = problems(read, **OAUTH | {missing: None})
    assert line.startswith(f"{missing} is not set")


def test_a_token_for_figures_that_nobody_can_ask_for_is_refused(read: Read) -> None:
    (line,) = problems(read, METRICS_TOKEN="0123456789abcdef")
    assert line.startswith("METRICS_TOKEN opens nothing while PORT is not set") and line.endswith(
        HINTS["METRICS_TOKEN"]
    )
