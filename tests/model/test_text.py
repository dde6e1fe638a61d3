"""Cleaning: what the model sees of live text is what it saw of the text it learned from."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text import MAX_RAW, article_text, clean, normalised


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("AT&amp;T cuts dividend", "AT&T cuts dividend"),
        ("S&amp;amp;P 500 falls", "S&P 500 falls"),
        ("<p>Oil <b>falls</b></p> again", "Oil falls again"),
        ("&lt;p&gt;Oil falls&lt;/p&gt;", "Oil falls"),
        ("Margin <5% and rates >3%", "Margin <5% and rates >3%"),
        ("Tesla recalls cars https://t.co/AbC123 today", "Tesla recalls cars today"),
        ("See www.example.com/a?b=c now", "See now"),
        ("  two\tspaces\n\nand lines ", "two spaces and lines"),
        ("soft\u00adhyphen and zero\u200bwidth", "softhyphen and zerowidth"),
        ("lone \ud800surrogate", "lone surrogate"),
        ("nul \x00 byte", "nul byte"),
        ("Nestlé’s “profit” – 3 %", "Nestlé’s “profit” – 3 %"),
        ("NestlÃ©â€™s profit", "Nestlé’s profit"),
        ("Nestl&Atilde;&copy; falls", "Nestlé falls"),
        ("", ""),
    ],
)
def test_cleaning_keeps_the_words_and_nothing_else(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@given(st.text(max_size=300))
def test_a_cleaned_text_can_be_encoded_and_has_single_spaces(text: str) -> None:
    cleaned = clean(text)

    cleaned.encode("utf-8")
    assert cleaned == " ".join(cleaned.split())


@pytest.mark.parametrize(
    ("title", "summary", "text"),
    [
        ("Oil falls", "Brent is down 3%.", "Oil falls. Brent is down 3%."),
        ("Will oil fall?", "Brent is down.", "Will oil fall? Brent is down."),
        ("Oil falls", "", "Oil falls"),
        ("Oil falls", "Oil falls", "Oil falls"),
        ("Oil falls", "Oil falls again, traders say", "Oil falls again, traders say"),
        ("", "Brent is down.", "Brent is down."),
        ("", "", ""),
    ],
)
def test_an_article_is_one_text(title: str, summary: str, text: str) -> None:
    assert article_text(title, summary) == text


@pytest.mark.parametrize(
    "text", ["<a " * 400_000, "&amp;" * 250_000, "x" * 1_000_000, "http://" * 150_000, "â€" * 500_000]
)
def test_a_text_of_a_million_characters_costs_no_more_than_a_long_one(text: str) -> None:
    started = time.perf_counter()
    cleaned = article_text(text, text)

    assert time.perf_counter() - started < 0.5
    assert len(cleaned) <= 2 * MAX_RAW + 2


def test_copies_of_a_text_are_equal_once_normalised() -> None:
    copies = ["Fed HIKES rates!", "fed hikes rates https://t.co/x", "Fed “hikes” rates…", "<b>Fed</b> hikes&nbsp;rates"]

    assert {normalised(copy) for copy in copies} == {"fed hikes rates"}


@pytest.mark.parametrize("escaped", ["&#", "&amp;#", "&amp;amp;#"])
def test_a_reference_of_thousands_of_digits_costs_no_article(escaped: str) -> None:
    cleaned = clean(f"Oil falls {escaped}{'9' * 5_000}; today")
    assert cleaned.startswith("Oil falls")
    assert cleaned.endswith("today")
