"""A long line in parts: cut between words, and never inside what is seen as one character."""

import re
import unicodedata
from collections.abc import Iterator

_LONGEST_PART = 400
_FARTHEST_BACK = 100
_REGIONAL_INDICATORS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_WIDE = "\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
_ENDING = (
    "\u3001\u3002\u300b\u300d\u300f\u3011\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\ufe00-\ufe0f\u3099\u309a"
)
_TOKEN = re.compile(
    r"!?\[[^\[\]\n]{0,300}\]\([^()\s]{0,2000}\)|`[^`\n]{1,300}`"  # a link, code
    r"|\*\*[^*\n]{1,300}\*\*|(?<!\w)_[^_\n]{1,300}_(?!\w)|\*[^*\s][^*\n]{0,300}\*|~~[^~\n]{1,300}~~"  # emphasis
    rf"|[{_WIDE}][{_ENDING}]*"  # a script without spaces: a line may end after most characters
    rf"|\s+|(?:(?![!*`~\[_])[^\s{_WIDE}])+|."
)
_SPACED = re.compile(r"\S+\s*|\s+")
_ENDS_A_WORD = re.compile(rf"(?:\s|[{_WIDE}][{_ENDING}]*)\Z")


def wrap(line: str, longest: int) -> Iterator[str]:
    """The line in parts, cut between words and not inside a link; only a word over `longest` is cut itself."""
    longest_part = min(_LONGEST_PART, longest)
    if len(line) <= longest_part:
        yield line
        return
    part = ""
    for word in _words(line, longest):
        if part and len(part) + len(word) > longest_part:
            yield part
            part = ""
        while len(word) > longest:
            end = _between_characters(word, longest)
            yield word[:end]
            word = word[end:]
        part += word
    if part:
        yield part


def _words(line: str, longest: int) -> Iterator[str]:
    """The line between the places where it may be cut; a link and what is bold are one word where short enough."""
    word = ""
    for token in _TOKEN.findall(line):
        for part in [token] if len(token) <= longest else _SPACED.findall(token):
            word += part
            if _ENDS_A_WORD.search(part):
                yield word
                word = ""
    yield word


def _between_characters(word: str, end: int) -> int:
    """The last place up to `end` that is not inside what is seen as one character, an emoji sequence say."""
    for place in range(end, max(0, end - _FARTHEST_BACK), -1):
        if not (_joins(word[place]) or word[place - 1] == "\u200d" or _is_inside_a_flag(word, place)):
            return place
    return end


def _joins(character: str) -> bool:
    skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return skin_tone or unicodedata.category(character) in ("Mn", "Me", "Mc", "Cf")


def _is_inside_a_flag(word: str, place: int) -> bool:
    """A flag is two regional indicators, and they stand in a row without anything between."""
    if word[place] not in _REGIONAL_INDICATORS:
        return False
    before = word[:place]
    return (place - len(before.rstrip(_REGIONAL_INDICATORS))) % 2 == 1
