"""The errors that Squall raises on purpose; every one names the value, where it came from and what to do next."""


class SquallError(Exception):
    """Base of every error that a user can meet; the command line prints it as one line and exits with 1."""


class LogError(SquallError):
    """Raised when the log cannot do what was asked of it."""


class UnknownTopic(LogError):
    """Raised when a topic does not exist, or was deleted under a running role."""


class LogFull(LogError):
    """Raised when the disk that holds the log is full; nothing of the failed transaction was written."""


class LogCorrupt(LogError):
    """Raised when the file of the embedded log is not a readable SQLite database."""


class LogUnreachable(LogError):
    """Raised when the log's server or file does not answer in time; the same call may succeed later."""


class RecordTooLarge(LogError):
    """Raised when the log refuses a record for its size: no later attempt can succeed."""


class Fenced(LogError):
    """Raised when a transaction comes from a consumer that has lost its partitions; another one does their work."""


class MessageError(SquallError):
    """Raised when bytes are not the message that they should be."""


class ConfigError(SquallError):
    """Raised when a settings, sources or watchlist file does not say what it must; names file, line and expectation."""


class BundleError(SquallError):
    """Raised when a model bundle is missing, corrupt or incompatible."""


class ArchiveError(SquallError):
    """Raised when the archive's database cannot be opened, read or written."""
