"""Gate expressions: a checked subset of Python over one row.

    row['urgency'] >= 4 and lower(row.get('team', '')) in ('legal', 'press')

Allowed are reads of the row's fields (``row['x']``, ``row.get('x', default)``,
and places inside JSON fields such as ``row['x']['y'][0]``), constants,
comparisons, ``in`` (also with a literal list, tuple or set), ``and or not``,
``+ - * / // %``, conditional expressions and the functions of `ARITY`.
Everything else is an `ExpressionError` that points at the offending character.

What passes the check is compiled once, to a function that sees nothing but the
row and those functions. It cannot loop, and the two operators and the function
that could make much out of little (``*``, ``%``, `round`) are guarded, so its
cost is bounded by the size of the expression and of the row.
"""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import CodeType
from typing import Any, NoReturn, TypeAlias

from elspeth.contracts import ElspethError

__all__ = ["Expression", "ExpressionError", "ExpressionFailure", "did_you_mean"]

LENGTH_LIMIT = 10_000
DEPTH_LIMIT = 100
PRODUCT_LIMIT_BITS = 1_000_000
ROUND_LIMIT_DIGITS = 1_000
MANY = 1_000

ARITY: Mapping[str, tuple[int, int]] = {
    "abs": (1, 1),
    "endswith": (2, 2),
    "len": (1, 1),
    "lower": (1, 1),
    "max": (1, MANY),
    "min": (1, MANY),
    "round": (1, 2),
    "startswith": (2, 2),
    "upper": (1, 1),
}

_FAILURES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)

Evaluator: TypeAlias = Callable[[Mapping[str, Any]], object]


class ExpressionError(ElspethError):
    """The text is no expression that a gate may use. ``offset`` counts characters from 0."""

    exit_code = 2

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset


class ExpressionFailure(ElspethError):  # noqa: N818 - what happened to one row, not a fault of the program
    """The expression has no value for this row: a field is missing, or a value is not of the right kind."""


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint with the known word that ``word`` was perhaps meant to be."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A checked expression. Two are equal when their texts are.

    ``fields`` are read by ``row['x']`` and must be there, ``optional_fields`` by ``row.get``.
    ``offsets`` says where each of them is read first. ``is_boolean`` is true when no row can give
    anything but true or false.
    """

    text: str
    fields: frozenset[str]
    optional_fields: frozenset[str]
    offsets: Mapping[str, int]
    is_boolean: bool
    function: Evaluator = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Checks and compiles ``text``; raises `ExpressionError`, whatever the text."""
        source = text.strip()
        start = len(text) - len(text.lstrip())
        if not source:
            raise ExpressionError("the expression is empty", 0)
        if len(source) > LENGTH_LIMIT:
            raise ExpressionError(f"the expression is longer than {LENGTH_LIMIT:,} characters", start)
        line = on_one_line(source, start)
        tree = parse_tree(line, start)
        check = Check(line, start)
        check.expression(tree.body)
        return cls(
            text=text,
            fields=frozenset(check.required),
            optional_fields=frozenset(check.offsets.keys() - check.required),
            offsets=check.offsets,
            is_boolean=is_boolean(tree.body),
            function=compile_tree(tree),
        )

    def evaluate(self, row: Mapping[str, Any]) -> object:
        """The expression's value for the row; raises `ExpressionFailure` when it has none."""
        try:
            return self.function(row)
        except _FAILURES as error:
            raise ExpressionFailure(self._reason(error, row)) from error

    def evaluate_each(self, rows: Sequence[Mapping[str, Any]]) -> list[object]:
        """The expression's value for each row, or the `ExpressionFailure` of a row for which it has none."""
        try:
            return list(map(self.function, rows))
        except _FAILURES:
            return [self._value_or_failure(row) for row in rows]

    def _value_or_failure(self, row: Mapping[str, Any]) -> object:
        try:
            return self.evaluate(row)
        except ExpressionFailure as failure:
            return failure

    def values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that it reads and the row has, in the order in which they are read."""
        return {name: row[name] for name in self.offsets if name in row}

    def _reason(self, error: Exception, row: Mapping[str, Any]) -> str:
        match error:
            case KeyError(args=(str(key),)) if key in self.fields and key not in row:
                return f"the row has no field {key!r}"
            case KeyError(args=(key,)):
                return f"there is no entry {key!r}"
            case ZeroDivisionError():
                return "division by zero"
            case OverflowError():
                return "a number is too large"
            case ArithmeticError():
                return "these decimals have no such result"
            case RecursionError():
                return "a value is nested too deeply"
        empty = [f"row[{name!r}]" for name in self.offsets if row.get(name) is None]
        return f"{error} ({' and '.join(empty)} is empty)" if empty else str(error)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


def on_one_line(source: str, start: int) -> str:
    """The same text with every line break as a space, so that a long expression may be folded in YAML.

    Strings must not span lines and comments must not occur: joining lines would change their meaning.
    Mistakes that come from other languages are told apart from mere syntax errors here.
    """
    masked = mask_strings(source, start)
    for pattern, wrong, right in FOREIGN_OPERATORS:
        match = pattern.search(masked)
        if match is not None:
            raise ExpressionError(f"{wrong} is no operator here", start + match.start(), f"write {right}")
    return source.replace("\n", " ").replace("\r", " ")


FOREIGN_OPERATORS = (
    (re.compile(r"&&"), "&&", "and"),
    (re.compile(r"\|\|"), "||", "or"),
    (re.compile(r"==="), "===", "=="),
    (re.compile(r"<>"), "<>", "!="),
    (re.compile(r":="), ":=", "== to compare"),
    (re.compile(r"(?<![=!<>:])=(?!=)"), "=", "== to compare"),
    (re.compile(r"!(?!=)"), "!", "not"),
)


def mask_strings(source: str, start: int) -> str:
    """The source with the inside of every string blanked, at the same length."""
    masked = list(source)
    quote, position = "", 0
    while position < len(source):
        character = source[position]
        if quote:
            if character in "\r\n":
                raise ExpressionError("a string must end on its line", start + position)
            if character == "\\":
                masked[position : position + 2] = "  "[: len(source) - position]
                position += 1
            elif character == quote:
                quote = ""
            else:
                masked[position] = " "
        elif character == "#":
            raise ExpressionError("comments cannot stand in an expression", start + position)
        elif character in "'\"":
            if source.startswith(character * 3, position):
                raise ExpressionError("strings with three quotes are not allowed", start + position)
            quote = character
        position += 1
    return "".join(masked)


def parse_tree(line: str, start: int) -> ast.Expression:
    """Python's own parse of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(line, mode="eval")
    except SyntaxError as error:
        offset = min(max((error.offset or 1) - 1, 0), len(line) - 1)
        raise ExpressionError(f"this is no valid expression: {error.msg}", start + offset) from error
    except ValueError as error:
        raise ExpressionError("a character cannot stand in an expression", start) from error
    except (RecursionError, MemoryError) as error:
        raise ExpressionError("the expression is nested too deeply", start) from error


class Check:
    """Walks a tree, refuses what is not allowed and collects the fields that are read."""

    def __init__(self, line: str, start: int) -> None:
        self.line = line.encode("utf-8", "surrogatepass")
        self.start = start
        self.required: set[str] = set()
        self.offsets: dict[str, int] = {}

    def offset(self, node: ast.expr) -> int:
        """The node's place in characters; the tree has it in bytes of UTF-8."""
        return self.start + len(self.line[: node.col_offset].decode("utf-8", "surrogatepass"))

    def refuse(self, node: ast.expr, message: str, hint: str | None = None) -> NoReturn:
        """Raises the error at the node."""
        raise ExpressionError(message, self.offset(node), hint)

    def expression(self, node: ast.expr, depth: int = 0) -> None:
        """Checks a node and all below it."""
        if depth > DEPTH_LIMIT:
            self.refuse(node, "the expression is nested too deeply")
        match node:
            case ast.Constant():
                self.constant(node)
            case ast.Subscript():
                self.access(node, depth)
            case ast.Call():
                self.call(node, depth)
            case ast.Compare():
                self.comparison(node, depth)
            case ast.BoolOp() | ast.BinOp() | ast.UnaryOp() | ast.IfExp():
                self.operator(node)
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.expression(child, depth + 1)
            case ast.Name():
                self.name(node)
            case _:
                self.forbidden(node)

    def forbidden(self, node: ast.expr) -> NoReturn:
        """Says of anything else what to write in its place."""
        match node:
            case ast.Attribute(value=ast.Name(id="row"), attr=attribute):
                self.refuse(node, "a row's fields are not attributes", f"write row[{attribute!r}]")
        self.refuse(node, *FORBIDDEN.get(type(node).__name__, ("this cannot stand in a gate", None)))

    def constant(self, node: ast.Constant) -> None:
        """Text, numbers, true, false and none."""
        if not isinstance(node.value, str | int | float | None):
            self.refuse(node, f"a value of type {type(node.value).__name__} cannot stand in a gate")
        if node.value in (float("inf"), float("-inf")):
            self.refuse(node, "this number is too large")

    def name(self, node: ast.Name) -> NoReturn:
        """No name means anything by itself."""
        if node.id == "row":
            self.refuse(node, "the row itself is no value", "write row['field']")
        words = {"true": "True", "false": "False", "null": "None", "none": "None"}
        if node.id.lower() in words:
            self.refuse(node, f"{node.id!r} means nothing here", f"write {words[node.id.lower()]}")
        if node.id in ARITY:
            self.refuse(node, f"{node.id!r} is a function", f"write {node.id}(...)")
        self.refuse(node, f"{node.id!r} means nothing here", f"write row[{node.id!r}] for the field")

    def operator(self, node: ast.expr) -> None:
        """Which operators there are."""
        symbol: ast.operator | ast.unaryop | None = getattr(node, "op", None)
        if isinstance(symbol, ast.Pow | ast.MatMult | ast.LShift | ast.RShift | ast.UAdd | ast.Invert):
            self.refuse(node, f"the operator {SYMBOLS[type(symbol)]} is not allowed in a gate")
        if isinstance(symbol, ast.BitAnd | ast.BitOr | ast.BitXor):
            right = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "!="}[type(symbol)]
            self.refuse(node, f"the operator {SYMBOLS[type(symbol)]} is not allowed in a gate", f"write {right}")

    def comparison(self, node: ast.Compare, depth: int) -> None:
        """Operands are expressions; to the right of ``in`` a literal collection may stand, too."""
        self.expression(node.left, depth + 1)
        for symbol, operand in zip(node.ops, node.comparators, strict=True):
            if isinstance(symbol, ast.Is | ast.IsNot):
                right = "==" if isinstance(symbol, ast.Is) else "!="
                self.refuse(node, "'is' is not allowed in a gate", f"write {right}")
            if isinstance(symbol, ast.In | ast.NotIn) and isinstance(operand, ast.List | ast.Tuple | ast.Set):
                for element in operand.elts:
                    self.expression(element, depth + 1)
            else:
                self.expression(operand, depth + 1)

    def access(self, node: ast.Subscript, depth: int) -> None:
        """``row['x']``, or a place inside a field's JSON."""
        match node.value:
            case ast.Name(id="row"):
                self.read(node, node.slice, is_required=True)
                return
            case ast.Subscript() | ast.Call(func=ast.Attribute(value=ast.Name(id="row"), attr="get")):
                self.expression(node.value, depth + 1)
            case _:
                self.refuse(node, "only fields of the row can be looked into", "write row['field'][...]")
        match node.slice:
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=str() | int()) | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int())):
                return
        self.refuse(node.slice, "a place in a field is a text or a whole number in brackets")

    def read(self, node: ast.expr, key: ast.expr, *, is_required: bool) -> None:
        """One field of the row."""
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            hint = f"write row[{key.id!r}]" if isinstance(key, ast.Name) else "write row['field']"
            self.refuse(key, "a field's name must be a text in quotes", hint)
        self.offsets.setdefault(key.value, self.offset(node))
        if is_required:
            self.required.add(key.value)

    def call(self, node: ast.Call, depth: int) -> None:
        """A function of `ARITY`, or ``row.get``."""
        wrong = next((a for a in node.args if isinstance(a, ast.Starred)), None)
        if wrong is not None or node.keywords:
            self.refuse(wrong or node, "arguments are given by position only")
        values = node.args
        match node.func:
            case ast.Attribute(value=ast.Name(id="row"), attr="get"):
                if len(values) not in (1, 2):
                    self.refuse(node, "row.get takes a field and a default")
                self.read(node, values[0], is_required=False)
                values = values[1:]
            case ast.Name(id=name) if name in ARITY:
                fewest, most = ARITY[name]
                if not fewest <= len(values) <= most:
                    self.refuse(node, f"{name} does not take {len(values)} values")
            case ast.Name(id=name):
                hint = did_you_mean(name, ARITY) or f"there are {', '.join(ARITY)}"
                self.refuse(node, f"there is no function {name!r}", hint)
            case ast.Attribute(attr=name):
                written = ast.get_source_segment(self.line.decode("utf-8", "surrogatepass"), node.func.value)
                hint = f"write {name}({written})" if name in ARITY else f"there are {', '.join(ARITY)}"
                self.refuse(node, f"the method {name!r} cannot be called in a gate", hint)
            case _:
                self.refuse(node, "this cannot be called")
        for value in values:
            self.expression(value, depth + 1)


SYMBOLS: Mapping[type[ast.AST], str] = {
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.UAdd: "+ before a value",
    ast.Invert: "~",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}

FORBIDDEN: Mapping[str, tuple[str, str | None]] = {
    "Attribute": (
        "attributes cannot be read in a gate",
        "write row['field']['entry'] for a place in a field",
    ),
    "JoinedStr": ("f-strings cannot stand in a gate", "join texts with +"),
    "Lambda": ("functions cannot be made in a gate", None),
    "List": ("a list may only stand to the right of 'in'", None),
    "Tuple": ("a tuple may only stand to the right of 'in'", None),
    "Set": ("a set may only stand to the right of 'in'", None),
    "Dict": ("a dict cannot stand in a gate", None),
    "ListComp": ("loops cannot stand in a gate", None),
    "SetComp": ("loops cannot stand in a gate", None),
    "DictComp": ("loops cannot stand in a gate", None),
    "GeneratorExp": ("loops cannot stand in a gate", None),
}


def is_boolean(node: ast.expr) -> bool:
    """Whether a checked expression can only be true or false."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
            return True
        case ast.Call(func=ast.Name(id="startswith" | "endswith")):
            return True
        case ast.BoolOp(values=values):
            return all(is_boolean(value) for value in values)
        case ast.IfExp(body=body, orelse=orelse):
            return is_boolean(body) and is_boolean(orelse)
    return False


class Guard(ast.NodeTransformer):
    """Sends the operators that could make much out of little through the functions below."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Replaces ``*`` and ``%``."""
        self.generic_visit(node)
        name = {ast.Mult: "__multiply", ast.Mod: "__remainder"}.get(type(node.op))
        if name is None:
            return node
        return ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=[node.left, node.right], keywords=[])


def compile_tree(tree: ast.Expression) -> Evaluator:
    """A checked tree as a function of the row."""
    parameters = ast.arguments(posonlyargs=[], args=[ast.arg(arg="row")], kwonlyargs=[], kw_defaults=[], defaults=[])
    function = ast.Expression(body=ast.Lambda(args=parameters, body=Guard().visit(tree.body)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code: CodeType = compile(ast.fix_missing_locations(function), "<gate>", "eval")
    evaluator: Evaluator = eval(code, {"__builtins__": {}, **FUNCTIONS})  # noqa: S307 - the tree is checked
    return evaluator


def text_of(function: str, value: object) -> str:
    """The value, which must be a text."""
    if not isinstance(value, str):
        raise TypeError(f"{function} needs text, not {type(value).__name__}")
    return value


def multiply(left: Any, right: Any) -> object:
    """``*`` for numbers of bounded size; texts and lists are not repeated."""
    for operand in (left, right):
        if isinstance(operand, str | bytes | list | tuple | dict):
            raise TypeError(f"* works on numbers, not on {type(operand).__name__}")
    are_whole = isinstance(left, int) and isinstance(right, int)
    if are_whole and left.bit_length() + right.bit_length() > PRODUCT_LIMIT_BITS:
        raise OverflowError
    return left * right


def remainder(left: Any, right: Any) -> object:
    """``%`` for numbers; texts are not formatted."""
    if isinstance(left, str | bytes):
        raise TypeError("% works on numbers, not on str")
    return left % right


def rounded(value: Any, digits: Any = None) -> object:
    """`round` that never builds a number of millions of digits."""
    if isinstance(digits, int) and abs(digits) > ROUND_LIMIT_DIGITS:
        raise OverflowError
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() > ROUND_LIMIT_DIGITS:
        raise OverflowError
    return round(value, digits)


FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "__multiply": multiply,
    "__remainder": remainder,
    "abs": abs,
    "endswith": lambda value, end: text_of("endswith", value).endswith(text_of("endswith", end)),
    "len": len,
    "lower": lambda value: text_of("lower", value).lower(),
    "max": max,
    "min": min,
    "round": rounded,
    "startswith": lambda value, start: text_of("startswith", value).startswith(text_of("startswith", start)),
    "upper": lambda value: text_of("upper", value).upper(),
}
