"""What style asks of every file and a linter does not check."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

import pytest
from tests.tidy.tree import ROOT, SRC, TESTS, Module, code, modules, texts

MOST_LINES_IN_A_FILE = 500
MOST_LINES_IN_A_FUNCTION = 60
LOGIC = 5
"""A module with at least so many decisions has a test of its own."""

NAMES_THAT_SAY_NOTHING = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc"})
SHARED_TESTS = ("conformance", "golden", "property")

BANNER = re.compile(r"^#\s*[-=#*~_]{4,}|^#{3,}")
DEAD_CODE = re.compile(r"^#\s*(def \w+\(|class \w+[(:]|import \w+$|from \S+ import |return \w+$|\w+ = \w+\(.*\)$)")
PATH_HEADER = re.compile(r"^#\s*\S+/\S+\.py\s*$")
NOTE_TO_SELF = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\B#\d{2,}\b")
ELSEWHERE = re.compile(r"/(work|home/\w+|Users/\w+)/|\b(AGENTS|CLAUDE)\.md\b|\bcopilot\b", re.IGNORECASE)


def test_no_file_is_too_long() -> None:
    long = {module.name: len(module.text.splitlines()) for module in code()}
    long = {name: lines for name, lines in long.items() if lines > MOST_LINES_IN_A_FILE}

    assert long == {}, "what outgrows a file is two things: split it along its nouns"


def test_no_function_is_too_long() -> None:
    long = {
        f"{module.name}:{node.lineno} {node.name}": _lines(node)
        for module in code()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _lines(node) > MOST_LINES_IN_A_FUNCTION
    }

    assert long == {}


def test_modules_are_named_for_their_nouns() -> None:
    vague = [module.name for module in code() if NAMES_THAT_SAY_NOTHING & set(module.path.with_suffix("").parts)]

    assert vague == []


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (BANNER, "banners"),
        (DEAD_CODE, "code that is commented out"),
        (NOTE_TO_SELF, "notes to self and ticket numbers"),
    ],
    ids=["banners", "dead code", "notes"],
)
def test_comments_are_sentences_about_the_code(pattern: re.Pattern[str], what: str) -> None:
    found = [
        f"{module.name}:{line}: {comment}"
        for module in code()
        for line, comment in module.comments
        if pattern.search(comment) and module.path.parent != TESTS / "tidy"
    ]

    assert found == [], what


def test_no_file_begins_with_its_own_path() -> None:
    assert [module.name for module in code() if PATH_HEADER.match(module.text.split("\n", 1)[0])] == []


def test_the_repository_speaks_of_the_project_alone() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts()
        if path.parent != TESTS / "tidy"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if ELSEWHERE.search(line)
    ]

    assert found == []


def test_every_package_has_its_folder_of_tests() -> None:
    """But for one whose modules are all tested by what several packages share."""
    tested = _tested_names()
    untested = {
        module.path.parent
        for module in modules(SRC)
        if module.decisions >= LOGIC and not any(module.dotted in tested[shared] for shared in SHARED_TESTS)
    }
    missing = [
        package.relative_to(SRC).as_posix()
        for package in sorted(untested - {SRC})
        if not any((TESTS / package.relative_to(SRC)).glob("test_*.py"))
    ]

    assert missing == []


def test_the_tests_of_every_module_are_where_a_newcomer_looks() -> None:
    """In the folder of the same name: a file of the same name, or one that imports the module or says its name.

    What all implementers of a Protocol share, and what holds for all inputs, may be in `SHARED_TESTS`.
    """
    tested = _tested_names()
    missing = [
        f"{module.name} ({module.decisions} decisions)"
        for module in modules(SRC)
        if module.path.stem not in {"__init__", "__main__"}
        and module.decisions >= LOGIC
        and not _is_tested(module, tested)
    ]

    assert missing == []


def _is_tested(module: Module, tested: dict[str, set[str]]) -> bool:
    folder = module.path.parent.relative_to(SRC).as_posix()
    if (TESTS / folder / f"test_{module.path.stem}.py").is_file():
        return True
    known = tested[folder].union(*(tested[shared] for shared in SHARED_TESTS))
    return module.dotted in known or f"{module.path.name}" in tested[folder]


def _tested_names() -> dict[str, set[str]]:
    """By folder of tests: the modules that its files import, by themselves or by a package, or name in a docstring."""
    homes = _homes_of_exports()
    found: dict[str, set[str]] = defaultdict(set)
    for test in modules(TESTS):
        names = found[test.path.parent.relative_to(TESTS).as_posix()]
        for source, name in test.imports:
            names.update({source, f"{source}.{name}", homes.get((source, name), source)})
        names.update(re.findall(r"\w+\.py\b", ast.get_docstring(test.tree) or ""))
    return found


def _homes_of_exports() -> dict[tuple[str, str], str]:
    """The module behind each name that a package hands on."""
    return {
        (package.dotted, name): source
        for package in modules(SRC)
        if package.path.name == "__init__.py"
        for source, name in package.imports
    }


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
