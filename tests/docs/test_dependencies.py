"""docs/dependencies.md lists what pyproject.toml declares, with the licences that the packages state."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, metadata

import pytest
from tests.docs.conftest import DOCS, ROOT

PAGE = (DOCS / "dependencies.md").read_text()
LISTED = re.findall(r"^\| `([\w.-]+)` \| [^|]+ \| ([^|]+) \|(?: (yes|no) \|)?", PAGE, re.MULTILINE)


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return {re.split(r"[\s<>=!~\[;]", line)[0] for group in groups for line in group}


def stated_licence(name: str) -> str:
    about = metadata(name)
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
    return " ".join([about.get("License-Expression") or "", (about.get("License") or "")[:100], *classifiers])


def test_every_dependency_is_explained() -> None:
    assert declared() == {name for name, _, _ in LISTED}


@pytest.mark.parametrize(("name", "licence", "is_typed"), LISTED, ids=[name for name, _, _ in LISTED])
def test_a_package_is_what_the_page_says(name: str, licence: str, is_typed: str) -> None:
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed")
    family = re.match(r"[A-Za-z]+", licence)
    assert family is not None
    assert family.group(0) in stated_licence(name)
    if is_typed:
        assert (is_typed == "yes") == any(str(file).endswith("py.typed") for file in installed.files or [])
