"""Text as it should stand in an article: without HTML, control characters and superfluous white space."""

import html
import re

# Every pattern is linear, whatever stands in the text: what is never closed ends with the text, or where the next tag
# starts. One that looked for its end in vain from each beginning would take minutes for one feed.
_HIDDEN = re.compile(r"<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_ELEMENTS = (
    "a|abbr|acronym|address|article|aside|audio|b|big|blockquote|body|br|button|center|cite|code|dd|del|details|div|dl|dt"
    "|em|embed|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link"
    "|main|mark|meta|nav|noscript|object|ol|option|p|param|picture|pre|q|s|samp|script|section|select|small|source|span"
    "|strike|strong|style|sub|summary|sup|svg|table|tbody|td|textarea|tfoot|th|thead|time|title|tr|tt|u|ul|var|video|wbr"
)
"""Only these are tags: ``Apple <AAPL.O> falls`` names a security, and ``profit <5%`` compares."""

_TAG = re.compile(
    rf"</?(?:{_ELEMENTS})(?:[\s/][^<>]*)?>|<!--.*?(?:-->|\Z)|<!\[CDATA\[|\]\]>", re.IGNORECASE | re.DOTALL
)
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\ufffe\uffff\ud800-\udfff]")
"""Control characters, soft hyphen, zero-width space, word joiner, byte order marks, lone surrogates."""
_REFERENCE = re.compile("&#(?:[xX]([0-9a-fA-F]+)|([0-9]+));?")


def without_false_references(text: str) -> str:
    """The text with U+FFFD for each numeric reference to no character: ``&#55357;`` (half an emoji), 5,000 digits.

    Those make parsers fail, and a whole feed or request with them (html.unescape of Python 3.11, feedparser 6.0.14).
    """
    return _REFERENCE.sub(_true_reference, text) if "&#" in text else text


def _true_reference(match: re.Match[str]) -> str:
    hexadecimal, decimal = match.groups()
    digits = (hexadecimal or decimal).lstrip("0")[:8]  # 7 are enough for every character
    number = int(digits or "0", 16 if hexadecimal else 10)
    return match[0] if 0 < number < 0xD800 or 0xDFFF < number < 0x110000 else "\ufffd"


def clean_text(text: str, limit: int) -> str:
    """One line of plain text: tags and entities resolved, white space single, unwanted characters gone.

    Args:
        text: plain text or HTML, possibly escaped twice as in many RSS descriptions.
        limit: most characters that the result has; longer text is cut. Of the input 4 times as many are looked at.
    """
    text = text[: 4 * limit]
    if "&" in text:
        text = html.unescape(without_false_references(text))
    if "<" in text:
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
    if "&" in text:
        text = html.unescape(without_false_references(text))
    if not text.isascii() or not text.isprintable():
        text = _UNWANTED.sub("", text)
    return " ".join(text.split())[:limit]
