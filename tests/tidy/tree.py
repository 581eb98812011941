"""The files of this repository, as the checks of this folder look at them."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "elspeth"
TESTS = ROOT / "tests"
_CODE_FOLDERS = ("src", "tests", "docs", "examples")
_TEXT_FOLDERS = (*_CODE_FOLDERS, ".ci", ".github")
_TEXT_SUFFIXES = frozenset(
    {"", ".cfg", ".csv", ".ini", ".json", ".jsonl", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
)
_DECISIONS = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.While,
    ast.Try,
    ast.Match,
    ast.BoolOp,
    ast.comprehension,
)


@dataclass(frozen=True)
class Module:
    """A Python file; ``name`` is its place from the root of the repository."""

    path: Path

    @property
    def name(self) -> str:
        """The path from the root, for messages."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def dotted(self) -> str:
        """The name by which a module of the package is imported."""
        parts = self.path.relative_to(SRC.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        """The whole file."""
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def comments(self) -> list[tuple[int, str]]:
        """Every comment with its line."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]

    @property
    def decisions(self) -> int:
        """How many places in it decide something: branches, loops, handlers, conditions."""
        return sum(isinstance(node, _DECISIONS) for node in ast.walk(self.tree))

    @property
    def exported(self) -> list[str] | None:
        """``__all__`` as it stands in the file, None without one."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]:
                return list(ast.literal_eval(node.value))
        return None

    @property
    def imports(self) -> set[tuple[str, str]]:
        """Every ``from MODULE import NAME``, and ``import MODULE`` with an empty name."""
        found: set[tuple[str, str]] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.update((node.module, alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                found.update((alias.name, "") for alias in node.names)
        return found


@cache
def modules(folder: Path) -> tuple[Module, ...]:
    """The Python files at and below a folder."""
    return tuple(Module(path) for path in sorted(folder.rglob("*.py")))


@cache
def code() -> tuple[Module, ...]:
    """Every Python file of the repository."""
    return tuple(module for folder in _CODE_FOLDERS for module in modules(ROOT / folder))


@cache
def texts() -> tuple[Path, ...]:
    """Every text file of the repository; what tools leave behind is none."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in _TEXT_FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return tuple(
        sorted(
            path
            for path in found
            if path.suffix in _TEXT_SUFFIXES
            and not {"__pycache__", ".elspeth"} & set(path.parts)
            and path.name not in {".coverage", ".env", ".git"}
        )
    )
