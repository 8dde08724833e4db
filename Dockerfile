# The bot as an image: `docker build -t omni-job-bot .`, then
# `docker run --read-only --tmpfs /tmp --env-file .env -v omni-job-bot:/data omni-job-bot`.
#
# The images below are named by tag, not by digest: a rebuild takes Debian's and Python's security updates. What pip's
# registry hands out is held to the hashes in uv.lock. Dependabot raises the tags.

FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.11-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
# The image's own Python, and no links into a cache that stays behind.
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-default-groups
COPY bot ./bot
RUN python -m compileall -q bot

FROM python:3.11-slim-bookworm
# Nothing here can install anything, and nobody is root. The number is for Kubernetes' runAsNonRoot.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bot \
    && install --directory --owner=bot --mode=0700 /data
WORKDIR /app
COPY LICENSE ./
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DATABASE_URL=sqlite:////data/omni-job-bot.sqlite3 \
    HOST=0.0.0.0 \
    PORT=8080
# Only the SQLite file is written, and only here; with PostgreSQL nothing is.
VOLUME /data
EXPOSE 8080
USER 10001
STOPSIGNAL SIGTERM
# /healthz, not /readyz: a restart does not help while Slack can't be reached.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-m", "bot.cli.healthcheck"]
ENTRYPOINT ["python", "-m", "bot"]
