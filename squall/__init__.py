"""The top floor: settings, the command line, and the supervisor of ``squall up``."""
