"""The fixed names that links and files rely on; imports no SDK, so that pushing needs none."""

UID = "squall"
"""The dashboard's uid: links to ``/d/squall`` survive a rebuild."""

PAGE = "http://127.0.0.1:8080"
"""The page's address where nobody says otherwise; ``squall dashboards push`` writes the one of the settings."""

PAGE_VARIABLE = "page"
"""The dashboard's constant that holds the page's address."""
