"""Cuts long lines between words, and never inside a character as displayed."""

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
    """Cut a line between words and not inside a link. Only a word over `longest` is cut itself."""
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
    """Yield the parts between which the line may be cut. A short link or bold text is one part."""
    word = ""
    for token in _TOKEN.findall(line):
        for part in [token] if len(token) <= longest else _SPACED.findall(token):
            word += part
            if _ENDS_A_WORD.search(part):
                yield word
                word = ""
    yield word


def _between_characters(word: str, end: int) -> int:
    """The last index up to `end` that is not inside a displayed character, such as an emoji sequence."""
    for index in range(end, max(0, end - _FARTHEST_BACK), -1):
        if not (_joins(word[index]) or word[index - 1] == "\u200d" or _is_inside_a_flag(word, index)):
            return index
    return end


def _joins(character: str) -> bool:
    skin_tone = "\U0001f3fb" <= character <= "\U0001f3ff"
    return skin_tone or unicodedata.category(character) in ("Mn", "Me", "Mc", "Cf")


def _is_inside_a_flag(word: str, index: int) -> bool:
    """Whether the index is inside a flag: two regional indicators, in a row without separators."""
    if word[index] not in _REGIONAL_INDICATORS:
        return False
    before = word[:index]
    return (index - len(before.rstrip(_REGIONAL_INDICATORS))) % 2 == 1
