"""The command line: `python -m bot`, `python -m bot check`, `python -m bot demo`.

What a command needs is imported when it runs, since all of it together takes a second or two: help, and a setting that
is missing, are told at once.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from bot.errors import StoreUnavailable, TokenRefused
from bot.settings import Settings, SettingsError, read_settings

STOPPED = 0
BROKEN = 1
BAD_SETTINGS = 2
TOKEN_REFUSED = 3
NO_DATABASE = 4
INTERRUPTED = 130

EPILOG = """exit codes:
  0  stopped as asked, or every check passed
  1  broke unexpectedly, or a check failed
  2  a setting is missing or malformed (one line each says which), or the command line is
  3  Slack refuses a token
  4  the database can't be opened, or another process of the bot uses it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands. Returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "demo":
        return asyncio.run(_demo(options.port, open_browser=not options.no_browser))
    try:
        settings = read_settings()
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return BAD_SETTINGS
    try:
        return asyncio.run(_check(settings) if options.command == "check" else _run(settings))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _demo(port: int, *, open_browser: bool) -> int:
    from bot.demo.stage import perform

    return await perform(port=port, open_browser=open_browser)


async def _check(settings: Settings) -> int:
    from bot import logs
    from bot.check import check

    logs.configure(settings.log_level, settings.log_format, settings.secrets)
    code = STOPPED
    async for finding in check(settings):
        print(finding, flush=True)
        code = code if finding.good else BROKEN
    return code


async def _run(settings: Settings) -> int:
    from bot import logs
    from bot.app import run
    from bot.web import PortTaken

    logs.configure(settings.log_level, settings.log_format, settings.secrets)
    try:
        await run(settings)
    except TokenRefused as error:
        print(f"Slack refuses a token ({error.code}). `python -m bot check` says which.", file=sys.stderr)
        return TOKEN_REFUSED
    except StoreUnavailable as error:
        print(f"DATABASE_URL can't be opened: {error}", file=sys.stderr)
        return NO_DATABASE
    except PortTaken as error:
        print(f"PORT can't be listened on: {error}", file=sys.stderr)
        return BAD_SETTINGS
    return STOPPED


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
    commands = parser.add_subparsers(dest="command", metavar="{check,demo}")
    commands.add_parser("check", help="try the tokens, Omni and the database, and say what to do")
    demo = commands.add_parser(
        "demo", help="the whole bot with a simulated Slack and Omni, no account needed"
    )
    demo.add_argument("--port", type=_port, default=8000, help="the page's port; the next free one if taken")
    demo.add_argument("--no-browser", action="store_true", help="do not open the page")
    return parser


if __name__ == "__main__":
    sys.exit(main())
