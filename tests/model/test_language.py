"""Which language a text is in: the source's word first, then the text itself."""

import pytest

from model.language import UNKNOWN, detect


@pytest.mark.parametrize(
    ("stated", "language"), [("en-US", "en"), ("de", "de"), ("pt_BR", "pt"), ("FR-fr", "fr"), (" it ", "it")]
)
def test_what_the_source_states_wins(stated: str, language: str) -> None:
    assert detect("Oil prices fall on demand worries", stated) == language


@pytest.mark.parametrize("stated", ["", "English", "x-klingon", "und", "mul", "12"])
def test_a_statement_that_names_no_language_is_passed_over(stated: str) -> None:
    assert detect("Gewinnwarnung: Aktien der Deutschen Bank brechen ein", stated) == "de"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Deutsche Bank streicht Stellen", "de"),
        ("La BCE maintient ses taux", "fr"),
        ("Telefónica recorta su dividendo", "es"),
        ("Borsa, Milano chiude in calo", "it"),
        ("Orlen zwiększa zysk", "pl"),
        ("日本銀行は金利を引き上げた", "ja"),
        ("SpiceJet to issue 6.4 crore warrants to promoters", "en"),
    ],
)
def test_headlines_are_told_apart(text: str, language: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize(
    "text", ["Oil slumps", "Infosys Q3 results", "Sensex", "UBS", "Sugar ends quiet amid sufficient stock positions"]
)
def test_a_short_text_full_of_names_is_taken_for_the_likely_language(text: str) -> None:
    assert detect(text) == "en"


def test_likely_languages_are_those_of_the_model() -> None:
    assert detect("Philips schrapt 6000 banen", likely={"nl"}) == "nl"


@pytest.mark.parametrize("text", ["", "   ", "12.5 % (3)", "!?", "\ud800"])
def test_a_text_without_letters_has_no_language(text: str) -> None:
    assert detect(text) == UNKNOWN


def test_a_very_long_text_is_looked_at_in_part() -> None:
    assert detect("Oil prices fall on demand worries. " * 30_000) == "en"
