"""Text as it should stand in an article: without HTML, control characters and superfluous white space."""

import html
import re

_HIDDEN = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_ELEMENTS = (
    "a|abbr|acronym|address|article|aside|audio|b|big|blockquote|body|br|button|center|cite|code|dd|del|details|div|dl|dt"
    "|em|embed|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link"
    "|main|mark|meta|nav|noscript|object|ol|option|p|param|picture|pre|q|s|samp|script|section|select|small|source|span"
    "|strike|strong|style|sub|summary|sup|svg|table|tbody|td|textarea|tfoot|th|thead|time|title|tr|tt|u|ul|var|video|wbr"
)
"""Only these are tags: ``Apple <AAPL.O> falls`` names a security, and ``profit <5%`` compares."""

_TAG = re.compile(rf"</?(?:{_ELEMENTS})(?:[\s/][^<>]*)?>|<!--.*?-->|<!\[CDATA\[|\]\]>", re.IGNORECASE | re.DOTALL)
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\ufffe\uffff\ud800-\udfff]")
"""Control characters, soft hyphen, zero-width space, word joiner, byte order marks, lone surrogates."""


def clean_text(text: str, limit: int) -> str:
    """One line of plain text: tags and entities resolved, white space single, unwanted characters gone.

    Args:
        text: plain text or HTML, possibly escaped twice as in many RSS descriptions.
        limit: most characters that the result has; longer text is cut. Of the input 4 times as many are looked at.
    """
    text = text[: 4 * limit]
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _TAG.sub(" ", _HIDDEN.sub(" ", text))
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii() or not text.isprintable():
        text = _UNWANTED.sub("", text)
    return " ".join(text.split())[:limit]
