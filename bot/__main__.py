"""The command line: `python -m bot` and its commands.

Imports are deferred to the command that needs them, since they take a second or two. So help and missing settings show
at once.
"""

import argparse
import asyncio
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bot import __version__
from bot.domain import SettingsError, StoreUnavailable, TokenRefused
from bot.settings import Settings, read_settings

STOPPED = 0
BROKEN = 1
BAD_SETTINGS = 2
TOKEN_REFUSED = 3
NO_DATABASE = 4
INTERRUPTED = 130

EPILOG = """exit codes:
  0  stopped by a signal, or every check passed
  1  stopped by an unexpected error, or a check failed
  2  a setting is missing, malformed or differs from that of another process (one line each), or the command line is
     malformed
  3  Slack refuses a token
  4  the database can't be opened, copied or restored, or another process uses it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands. Returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "demo":
        return asyncio.run(_demo(options.port, open_browser=not options.no_browser))
    try:
        settings = read_settings()
        _verify_network()
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return BAD_SETTINGS
    _configure_log(settings)
    try:
        if options.command == "workspace":
            return asyncio.run(_workspace(settings, options))
        if options.command == "channel":
            return asyncio.run(_channel(settings, options))
        if options.command in ("backup", "restore"):
            return _copy(settings, options)
        return asyncio.run(_check(settings) if options.command == "check" else _run(settings))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _demo(port: int, *, open_browser: bool) -> int:
    from bot.demo.run import perform

    return await perform(port=port, open_browser=open_browser)


def _verify_network() -> None:
    from bot.network import verify_environment

    verify_environment()


def _configure_log(settings: Settings) -> None:
    from bot.log import configure

    configure(settings.log_level, settings.log_format, settings.secrets)


async def _check(settings: Settings) -> int:
    from bot.cli.check import check

    code = STOPPED
    async for finding in check(settings):
        print(finding, flush=True)
        code = code if finding.good else BROKEN
    return code


async def _workspace(settings: Settings, options: argparse.Namespace) -> int:
    from bot.cli import workspaces

    try:
        if options.action == "add":
            team = workspaces.team_id(options.team)
            omni = workspaces.account(options.omni, _read_key(), options.requests_per_minute, options.model)
            lines = workspaces.add(settings, team, omni)
        elif options.action == "remove":
            lines = workspaces.remove(settings, workspaces.team_id(options.team))
        elif options.action == "encrypt":
            lines = workspaces.encrypt(settings)
        else:
            lines = workspaces.list_all(settings)
        async for line in lines:
            print(line, flush=True)
    except workspaces.Refused as error:
        print(error, file=sys.stderr)
        return BROKEN
    except StoreUnavailable as error:
        print(
            f"DATABASE_URL can't be opened: {error}. With SQLite, stop the bot first; with PostgreSQL it can run.",
            file=sys.stderr,
        )
        return NO_DATABASE
    return STOPPED


async def _channel(settings: Settings, options: argparse.Namespace) -> int:
    from bot.cli import channels, workspaces

    try:
        if options.action == "set":
            default = channels.channel_default(options.model, options.topic)
            channel = channels.channel_id(options.channel)
            lines = channels.set_default(settings, options.team, channel, default)
        elif options.action == "unset":
            lines = channels.unset(settings, options.team, channels.channel_id(options.channel))
        else:
            lines = channels.list_all(settings, options.team)
        async for line in lines:
            print(line, flush=True)
    except workspaces.Refused as error:
        print(error, file=sys.stderr)
        return BROKEN
    except StoreUnavailable as error:
        print(f"DATABASE_URL can't be used: {error}.", file=sys.stderr)
        return NO_DATABASE
    return STOPPED


def _copy(settings: Settings, options: argparse.Namespace) -> int:
    """Back up or restore the SQLite file."""
    from bot.storage import back_up, restore, sqlite_path

    database = sqlite_path(settings.database_url.get_secret_value())
    if database is None:
        print(
            f"{options.command} is for SQLite. For PostgreSQL, see docs/operating.md#backups", file=sys.stderr
        )
        return BROKEN
    try:
        (back_up if options.command == "backup" else restore)(database, options.file)
    except StoreUnavailable as error:
        print(f"Nothing was changed: {error}", file=sys.stderr)
        return NO_DATABASE
    print(f"{database} {'copied to' if options.command == 'backup' else 'restored from'} {options.file}")
    return STOPPED


def _read_key() -> str:
    """Read the key from the terminal without echo, else from stdin. An argument would show in the list of processes."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Omni API key: ").strip()
    return sys.stdin.readline().strip()


async def _run(settings: Settings) -> int:
    with _without_garbage_collection():
        from bot.app import run
        from bot.domain import PortTaken, WorkspaceNotOpened

    try:
        await run(settings)
    except TokenRefused as error:
        print(
            f"Slack refuses a token ({error.code}). To see which one, run `python -m bot check`.",
            file=sys.stderr,
        )
        return TOKEN_REFUSED
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return BAD_SETTINGS
    except StoreUnavailable as error:
        print(f"DATABASE_URL can't be opened: {error}", file=sys.stderr)
        return NO_DATABASE
    except WorkspaceNotOpened:
        print("The workspace can't be opened; the log says why.", file=sys.stderr)
        return BROKEN
    except PortTaken as error:
        print(f"PORT can't be listened on: {error}", file=sys.stderr)
        return BAD_SETTINGS
    return STOPPED


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Suspend garbage collection during imports, whose objects all stay. It would take a sixth of the startup time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535, or 0 for any")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bot",
        description="Follow Omni AI jobs in Slack. Settings come from the environment or .env.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"omni-job-bot {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="{check,backup,restore,workspace,channel,demo}")
    commands.add_parser("check", help="test the tokens, Omni and the database, and print what to fix")
    for name, what in (
        ("backup", "copy the SQLite database, also while the bot runs"),
        ("restore", "replace the SQLite database's content by a copy's; stop the bot first"),
    ):
        commands.add_parser(name, help=what).add_argument("file", type=Path, metavar="FILE", help="the copy")
    _add_workspace_parser(commands.add_parser("workspace", help="assign an Omni to each Slack workspace"))
    _add_channel_parser(commands.add_parser("channel", help="give channels a model and topic of their own"))
    demo = commands.add_parser(
        "demo", help="run the whole bot with a simulated Slack and Omni; needs no account"
    )
    demo.add_argument("--port", type=_port, default=8000, help="the page's port, or the next free one")
    demo.add_argument("--no-browser", action="store_true", help="do not open the page")
    return parser


def _add_workspace_parser(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="{add,list,remove,encrypt}")
    add = actions.add_parser(
        "add", help="set or replace a workspace's Omni; the key is read from the terminal or stdin"
    )
    add.add_argument("team", help="the workspace's id, such as T0123ABCD")
    add.add_argument(
        "--omni", required=True, metavar="ADDRESS", help="the address at which you log in to Omni"
    )
    add.add_argument(
        "--requests-per-minute",
        type=int,
        default=60,
        metavar="N",
        help="how many requests Omni allows the key; default 60",
    )
    add.add_argument("--model", metavar="UUID", help="the model for users who have not chosen one")
    actions.add_parser("list", help="list all workspaces with their Omni, without keys")
    remove = actions.add_parser("remove", help="remove a workspace's Omni")
    remove.add_argument("team", help="the workspace's id")
    actions.add_parser("encrypt", help="re-encrypt all stored tokens with the first key of ENCRYPTION_KEY")


def _add_channel_parser(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="{set,unset,list}")
    default = actions.add_parser("set", help="set or replace a channel's model and topic; the bot may run")
    default.add_argument("channel", help="the channel's id, such as C0123ABCD")
    default.add_argument("--model", required=True, metavar="UUID", help="the Omni model")
    default.add_argument("--topic", metavar="NAME", help="the topic; without it, Omni chooses")
    unset = actions.add_parser("unset", help="delete a channel's model and topic")
    unset.add_argument("channel", help="the channel's id")
    listing = actions.add_parser("list", help="list the channels with a model of their own")
    for action in (default, unset, listing):
        action.add_argument("--team", metavar="ID", help="the workspace's id, if the bot serves several")


if __name__ == "__main__":
    sys.exit(main())
