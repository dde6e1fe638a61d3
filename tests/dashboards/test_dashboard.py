"""The dashboard as it is built: complete, current, and free of what would tie it to one Grafana."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import build as building
from dashboards.names import PAGE, PAGE_VARIABLE, UID

Json = dict[str, Any]
PROVISIONING = Path(building.__file__).parent / "provisioning"


def test_committed_json_is_what_the_code_builds() -> None:
    assert building.stale() == []


def test_building_twice_gives_the_same_text() -> None:
    assert building.build() == building.build()


def test_a_changed_a_missing_and_a_leftover_file_are_stale(tmp_path: Path) -> None:
    building.write(tmp_path)
    assert building.stale(tmp_path) == []

    (tmp_path / "squall.json").write_text("{}")
    (tmp_path / "old.json").write_text("{}")
    assert building.stale(tmp_path) == [tmp_path / "squall.json", tmp_path / "old.json"]

    (tmp_path / "squall.json").unlink()
    assert tmp_path / "squall.json" in building.stale(tmp_path)


def test_identity_is_fixed_and_without_numbers(dashboard: Json, panels: list[Json]) -> None:
    assert dashboard["uid"] == UID
    assert dashboard["title"] == "Squall: market mood and pipeline"
    assert "id" not in dashboard
    assert not [panel["title"] for panel in panels if "id" in panel]


def test_every_panel_has_unit_description_and_a_link_to_the_page(panels: list[Json]) -> None:
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert any(link["url"].startswith(f"${{{PAGE_VARIABLE}:raw}}/") for link in panel["links"]), panel["title"]


def test_titles_are_unique(panels: list[Json]) -> None:
    titles = [panel["title"] for panel in panels]
    assert sorted(set(titles)) == sorted(titles)


def test_data_sources_are_variables_everywhere(dashboard: Json, panels: list[Json]) -> None:
    chosen = {"${prometheus}": "prometheus", "${postgres}": "grafana-postgresql-datasource"}
    places = [*panels, *(target for panel in panels for target in panel["targets"]), *dashboard["annotations"]["list"]]
    for place in places:
        assert chosen[place["datasource"]["uid"]] == place["datasource"]["type"]
    kinds = {variable["name"]: variable["query"] for variable in dashboard["templating"]["list"]}
    assert (kinds["prometheus"], kinds["postgres"]) == ("prometheus", "grafana-postgresql-datasource")


def test_the_page_is_a_constant_of_the_dashboard(dashboard: Json) -> None:
    (constant,) = [variable for variable in dashboard["templating"]["list"] if variable["name"] == PAGE_VARIABLE]
    assert (constant["type"], constant["query"]) == ("constant", PAGE)


def test_every_variable_in_use_exists(dashboard: Json) -> None:
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([A-Za-z]\w*)", json.dumps(dashboard)))
    assert used == names


def test_targets_of_a_panel_have_different_letters(panels: list[Json]) -> None:
    for panel in panels:
        letters = [target["refId"] for target in panel["targets"]]
        assert letters, panel["title"]
        assert len(set(letters)) == len(letters), panel["title"]


def test_panels_do_not_overlap_and_fill_24_columns(dashboard: Json) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        taken = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells |= taken


@pytest.mark.parametrize("file", ["datasources/squall.yml", "dashboards/squall.yml"])
def test_provisioning_files_are_of_version_one(file: str) -> None:
    assert yaml.safe_load((PROVISIONING / file).read_text())["apiVersion"] == 1


def test_provisioned_data_sources_have_the_types_that_the_dashboard_asks_for(dashboard: Json) -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources/squall.yml").read_text())["datasources"]
    asked = {v["query"] for v in dashboard["templating"]["list"] if v["type"] == "datasource"}
    assert {source["type"] for source in sources} == asked
