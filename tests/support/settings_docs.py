"""Writes `.env.example` and the tables of `docs/settings.md` from the settings.

Run as `uv run python -m tests.support.settings_docs` after a setting has changed.
"""

import re
import textwrap
from itertools import groupby
from pathlib import Path

from pydantic import SecretStr

import bot
from bot.settings import Settings, about

ROOT = Path(bot.__file__).parents[1]
EXAMPLE = ROOT / ".env.example"
PAGE = ROOT / "docs" / "settings.md"
BEGIN, END = "<!-- written from the settings -->\n", "<!-- end of what is written -->\n"
"""What `page` writes between."""


def sections() -> list[tuple[str, list[str]]]:
    """The names of the settings, by section, in order."""
    return [
        (title, list(names))
        for title, names in groupby(Settings.model_fields, lambda name: about(name).section)
    ]


def default(name: str) -> str:
    """The default as it would be set; empty if there is none."""
    value = Settings.model_fields[name].get_default()
    match value:
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}"
        case str():
            return value
    return ""


def example() -> str:
    """The text of `.env.example`."""
    needed = sum(field.is_required() for field in Settings.model_fields.values())
    parts = [
        f"# Copy this file to .env and fill in the {needed} that are required. The environment wins over .env.\n"
    ]
    for title, names in sections():
        parts.append(f"\n# {title}\n" + "".join(f"\n{_commented(name)}" for name in names))
    return "".join(parts)


def _commented(name: str) -> str:
    text = about(name)
    is_required = Settings.model_fields[name].is_required()
    parts = (
        [text.unset, text.description, text.where]
        if is_required
        else [text.description, text.unset, text.where]
    )
    comment = _wrapped(" ".join(_sentence(part) for part in parts if part))
    value = f"{name.upper()}={text.example or default(name)}\n"
    return comment + (value if is_required else f"# {value}")


def _sentence(markdown: str) -> str:
    """The text without the addresses of its links, as a sentence."""
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", markdown)
    return f"{text[0].upper()}{text[1:]}."


def _wrapped(text: str) -> str:
    """The text as a comment, with each piece of code on one line."""
    kept = re.sub("`[^`]+`", lambda code: code[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(kept, 117, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines).replace("\0", " ")


def tables() -> str:
    """The part of `docs/settings.md` that lists every setting."""
    return "\n".join(
        f"### {title}\n\n| Name | Meaning | Default | Where to get it |\n| --- | --- | --- | --- |\n"
        + "".join(_row(name) for name in names)
        for title, names in sections()
    )


def _row(name: str) -> str:
    text = about(name)
    value = f"`{default(name)}`" if default(name) else text.unset
    cells = " | ".join([f"`{name.upper()}`", text.description, value, text.where])
    return re.sub(r" +\|", " |", f"| {cells} |") + "\n"


def page(old: str) -> str:
    """`docs/settings.md` with new tables between the two marks."""
    before, rest = old.split(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    EXAMPLE.write_text(example(), "utf-8")
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
