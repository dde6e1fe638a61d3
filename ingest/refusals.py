"""Why ingest turns something away: one class of error and the closed list of its reasons."""

from bus.errors import MessageError

REASONS = {
    "private_address": "the host is, or resolves to, a private, loopback, link-local, multicast or reserved address",
    "too_large": "the response is larger than max_body_mb, as sent or after decompression",
    "redirects": "more than 10 redirects",
    "scheme": "a redirect, or an entry of a sitemap index, to something other than http or https",
    "entities": "the XML declares entities (a decompression bomb of a few lines)",
    "too_many_items": "the feed has more items or tags than any news feed",
    "not_a_feed": "the response is no RSS, Atom, RDF, JSON Feed or news sitemap",
    "title": "an item's title is empty or longer than 2,000 characters",
    "record": "a record that was pushed or replayed is not JSON, not CSV, or lacks a field",
}
"""The values of the label ``reason`` of ``squall_ingest_refused_total``."""


class Refused(MessageError):
    """Raised when input is turned away on purpose; ``reason`` is one of :data:`REASONS`."""

    def __init__(self, reason: str, text: str) -> None:
        assert reason in REASONS, reason
        super().__init__(text)
        self.reason = reason
