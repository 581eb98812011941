"""What a package offers is exactly what its ``__all__`` says, in order."""

from __future__ import annotations

import ast
from importlib import import_module

import pytest
from tests.tidy.tree import SRC, Module, modules

PACKAGES = [module for module in modules(SRC) if module.path.name == "__init__.py"]
OFFERING = [package for package in PACKAGES if package.exported is not None]


def by_dotted_name(module: Module) -> str:
    return module.dotted


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order that the linter keeps (RUF022)."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("package", OFFERING, ids=by_dotted_name)
def test_a_package_names_all_that_it_hands_on(package: Module) -> None:
    handed_on = {
        alias.asname or alias.name
        for node in ast.walk(package.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("elspeth")
        for alias in node.names
    }

    assert handed_on - {"api"} == set(package.exported or ()) - {"__version__"}


@pytest.mark.parametrize("package", OFFERING, ids=by_dotted_name)
def test_public_names_stand_in_order(package: Module) -> None:
    names = package.exported or []

    assert sorted(names, key=order) == names


@pytest.mark.parametrize("package", OFFERING, ids=by_dotted_name)
def test_public_names_are_there(package: Module) -> None:
    imported = import_module(package.dotted)

    assert [name for name in package.exported or () if not hasattr(imported, name)] == []


@pytest.mark.parametrize("package", PACKAGES, ids=by_dotted_name)
def test_a_package_only_hands_on(package: Module) -> None:
    """``elspeth`` itself may wait with its imports, so that a command starts fast."""
    own = [node.name for node in package.tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]

    assert own in ([], ["__getattr__"] if package.path.parent == SRC else [])
