"""The text of an article's page, for the sources that ask for it."""


def body_text(html: str, url: str) -> str:
    """The main text of a page without navigation, advertising and comments; empty when there is none to be found."""
    import trafilatura  # 20 MB that most installations never need

    try:
        return trafilatura.extract(html, url=url, include_comments=False, include_tables=False) or ""
    except Exception:  # pages are hostile, and an article without its body is still news
        return ""
