"""What to set each setting to, and where to get it."""

HINTS = {
    "SLACK_BOT_TOKEN": "the token that starts with xoxb-, from your Slack app's page OAuth & Permissions",
    "SLACK_APP_TOKEN": "the token that starts with xapp-, from your Slack app's page Basic Information, "
    "App-Level Tokens, with the scope connections:write; or leave it out and set both SLACK_SIGNING_SECRET and PORT, "
    "for HTTP mode",
    "SLACK_SIGNING_SECRET": "the 32 hexadecimal digits from your Slack app's page Basic Information; used in HTTP "
    "mode, which is on where PORT is set and SLACK_APP_TOKEN is not",
    "SLACK_CLIENT_ID": "the client id from your Slack app's page Basic Information, or leave it out: then the bot "
    "works in the one workspace of SLACK_BOT_TOKEN, which has to be left out otherwise",
    "SLACK_CLIENT_SECRET": "the 32 hexadecimal digits of the client secret, from your Slack app's page Basic "
    "Information",
    "SLACK_API_URL": "https://slack.com/api/, or leave it out; another is only for tests",
    "OMNI_BASE_URL": "the address at which you log in to Omni, such as https://acme.omniapp.co",
    "OMNI_API_TOKEN": "an API key from Omni, Settings, API access",
    "OMNI_REQUESTS_PER_MINUTE": "a whole number from 1 to 10000; Omni allows 60 unless it agreed to more",
    "OMNI_MODEL_ID": "the id of the Omni model that questions go to, or nothing: then each person chooses one",
    "ACCESS": "workspace (whoever knows a job's id may see it) or owner (only the one whose job it is)",
    "ASK_AS": "asker (each question runs as the Omni user with the asker's e-mail address) or key "
    "(as whoever made OMNI_API_TOKEN)",
    "ALLOWED_CHANNELS": "the ids of Slack channels, such as C0123ABCD, with commas between them, or nothing for all",
    "ALLOWED_USERS": "the ids of Slack people, such as U0123ABCD, with commas between them, or nothing for all",
    "ALLOWED_TEAMS": "the ids of Slack workspaces, such as T0123ABCD, with commas between them, or nothing for "
    "the app's own",
    "ADMIN_USERS": "the ids of Slack people, such as U0123ABCD, with commas between them, or nothing",
    "ALLOW_GUESTS": "true or false",
    "ALLOW_SHARED_CHANNELS": "true or false",
    "MAX_OPEN_FOLLOWS_PER_PERSON": "a whole number from 1 to 10000",
    "MAX_ASKS_PER_HOUR": "a whole number from 1 to 10000",
    "DATABASE_URL": "sqlite:///omni-job-bot.sqlite3, sqlite:////an/absolute/path, or "
    "postgresql://user:password@host/database",
    "ENCRYPTION_KEY": 'what this prints: python -c "from cryptography.fernet import Fernet; '
    'print(Fernet.generate_key().decode())"; several with commas between them, the newest first',
    "NOTIFY_AFTER_SECONDS": "a number of seconds from 0 to 86400",
    "MAX_FOLLOW_HOURS": "a number of hours from 0.1 to 8760; 24 unless your jobs run longer",
    "RETENTION_DAYS": "a number of days from 0.01 to 3650; 30 unless you have another rule",
    "HOST": "the address that PORT listens on: 127.0.0.1, or 0.0.0.0 in a container",
    "PORT": "a port from 1 to 65535 for /healthz, and in HTTP mode for Slack, or nothing for neither",
    "PUBLIC_URL": "the https address under which PORT is reached from outside, such as https://jobs.example.com",
    "METRICS_TOKEN": "at least 16 characters that only you and your Prometheus know, such as `openssl rand -hex 32` "
    "prints, or nothing for no /metrics",
    "LOG_LEVEL": "one of debug, info, warning, error",
    "LOG_FORMAT": "text (key=value) or json (one object per line)",
}
"""What to set and where to get it, told when a setting is missing or malformed."""
