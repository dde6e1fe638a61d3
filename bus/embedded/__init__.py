"""The log in one SQLite file: the default on one machine, for several processes at once, with no server to install."""

from bus.embedded.log import EmbeddedLog

__all__ = ["EmbeddedLog"]
