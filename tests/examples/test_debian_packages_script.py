"""The example's script makes the same file from the same index, and its pipeline fits the file."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from elspeth.contracts import SourcePosition
from elspeth.core.config.loader import load_pipeline
from elspeth.plugins.registry import Registry
from elspeth.plugins.sources.csv import CsvSource

FOLDER = Path(__file__).parents[2] / "examples" / "debian-packages"

INDEX = """\
Package: zebra
Version: 2
Installed-Size: 10
Section: contrib/games
Priority: optional
Description: Stripes, "with" commas
 A longer text: with a colon.
Tag: a::b,
 c::d

Package: ant
Section: libs
Description: Small
Priority: required

Package: zebra
Version: 1
Section: libs
Description: an older version

Package: nameless-section
Description: has no section

Package: bee
Section: non-free/net
Installed-Size: 7
Description: Größe
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_packages", FOLDER / "make_packages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(script: ModuleType, folder: Path, *arguments: str) -> list[dict[str, str]]:
    index, out = folder / "Packages", folder / "out.csv"
    index.write_text(INDEX, encoding="utf-8")
    assert script.main(["--from", str(index), "--out", str(out), *arguments]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_packages_are_sorted_once_each_without_area_prefixes(script: ModuleType, tmp_path: Path) -> None:
    assert made(script, tmp_path) == [
        {"package": "ant", "section": "libs", "description": "Small", "installed_size": "", "priority": "required"},
        {"package": "bee", "section": "net", "description": "Größe", "installed_size": "7", "priority": ""},
        {
            "package": "zebra", "section": "games", "description": 'Stripes, "with" commas', "installed_size": "10",
            "priority": "optional",
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (0, []),
        (1, ["ant"]),
        (2, ["ant", "bee"]),
        (3, ["ant", "bee", "zebra"]),
        (7, ["ant", "bee", "zebra", "ant~2", "bee~2", "zebra~2", "ant~3"]),
    ],
)
def test_a_file_of_any_size_can_be_made(script: ModuleType, tmp_path: Path, count: int, names: list[str]) -> None:
    assert [row["package"] for row in made(script, tmp_path, "--rows", str(count))] == names


def test_a_sample_is_spread_over_the_whole_index(script: ModuleType) -> None:
    rows = [{"package": f"p{number:02}"} for number in range(10)]

    assert [row["package"] for row in script.sample(rows, 4)] == ["p00", "p02", "p05", "p07"]


def test_an_index_that_cannot_be_read_is_told(script: ModuleType, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    for source in (empty, tmp_path / "none"):
        with pytest.raises(SystemExit) as end:
            script.main(["--from", str(source), "--out", str(tmp_path / "out.csv")])
        assert end.value.code == 2


def test_the_pipeline_fits_the_committed_file() -> None:
    pipeline = load_pipeline(FOLDER / "pipeline.yaml", Registry([]), environ={})
    source = CsvSource(pipeline.source.options, schema=pipeline.source.schema)
    batches = list(source.read(SourcePosition(next_row=0), size=300))
    rows = [row for batch in batches for row in batch.rows]

    assert [batch.rejected for batch in batches] == [[]] * len(batches)
    assert (len(rows), len({row["package"] for row in rows})) == (1000, 1000)

    (classify,) = (step for step in pipeline.steps if step.name == "classify")
    schema = classify.options.response_schema
    assert schema["properties"]["predicted"]["enum"] == sorted({row["section"] for row in rows})
    assert schema["required"] == list(schema["properties"])
    assert schema["additionalProperties"] is False
    assert len(rows) > classify.options.max_requests
