"""Counts the assertions of a Python function that can fail and can be reached."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_ASSERTING = re.compile(
    r"_*(?:assert|check|verify|expect|ensure|should)(?:[A-Z_]\w*)?|raises|warns|fail|deprecated_call"
)
_SAME = re.compile(r"assert_?(?:equals?|is|(?:list|dict|set|tuple|count)_?equal|sequence_?equal|almost_?equal)", re.I)
_TRUE = re.compile(r"assert_?(?:true|_|is_?not_?none)", re.I)
_SWALLOWING = frozenset({"AssertionError", "Exception", "BaseException"})


@dataclass(frozen=True, slots=True)
class Checks:
    """The assertions that can fail as text, how many always hold, and the last names of all calls."""

    real: tuple[str, ...]
    hollow: int
    calls: tuple[str, ...]


def of_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Checks:
    """The checks of a function's body; those of a nested function count, those that nothing reaches do not."""
    real, hollow, calls = [], 0, []
    for node in _live(function.body):
        if isinstance(node, ast.Call):
            calls.append(_last_name(node.func))
        holds = _always_holds(node)
        if holds is None:
            continue
        if holds:
            hollow += 1
        else:
            real.append(ast.unparse(node.test if isinstance(node, ast.Assert) else node))
    return Checks(tuple(real), hollow, tuple(calls))


def _always_holds(node: ast.AST) -> bool | None:
    """Whether an assertion cannot fail; None for what is no assertion."""
    if isinstance(node, ast.Assert):
        return _true(node.test)
    if isinstance(node, ast.Call) and _ASSERTING.fullmatch(name := _last_name(node.func)):
        return _true_call(name, node.args)
    return None


def _last_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _true(test: ast.expr) -> bool:
    """Whether an expression is true whatever the code under test does."""
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return bool(elements)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=value)):
            return not value
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(_true, values))
        case ast.BoolOp(op=ast.And(), values=values):
            return all(map(_true, values))
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is() | ast.LtE() | ast.GtE()], comparators=[right]):
            return ast.dump(left) == ast.dump(right) or _length_at_least_zero(test)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id="object")]):
            return True
    return False


def _length_at_least_zero(test: ast.Compare) -> bool:
    left, right = test.left, test.comparators[0]
    counts = isinstance(left, ast.Call) and _last_name(left.func) == "len" and isinstance(test.ops[0], ast.GtE)
    return counts and isinstance(right, ast.Constant) and right.value == 0


def _true_call(name: str, arguments: Sequence[ast.expr]) -> bool:
    if _TRUE.fullmatch(name):
        return bool(arguments) and _true(arguments[0])
    if _SAME.fullmatch(name) and len(arguments) > 1:
        return ast.dump(arguments[0]) == ast.dump(arguments[1])
    return name.lower() == "assertfalse" and isinstance(arguments[:1], list) and _false(arguments)


def _false(arguments: Sequence[ast.expr]) -> bool:
    return bool(arguments) and isinstance(arguments[0], ast.Constant) and not arguments[0].value


def _live(block: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of a block that can be reached and whose failure is not swallowed."""
    for statement in block:
        yield from _live_node(statement)
        if isinstance(statement, (ast.Return, ast.Raise)):
            return


def _live_node(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield from _live_node(value)
        elif isinstance(value, list) and not _dead(node, field):
            if value and isinstance(value[0], ast.stmt):
                yield from _live(value)
            else:
                for child in value:
                    if isinstance(child, ast.AST):
                        yield from _live_node(child)


def _dead(node: ast.AST, field: str) -> bool:
    """Whether nothing in this block of a statement can make a test fail."""
    match node, field:
        case ((ast.If(test=ast.Constant(value=value)) | ast.While(test=ast.Constant(value=value))), "body"):
            return not value
        case ast.If(test=ast.Constant(value=value)), "orelse":
            return bool(value)
        case ast.For(iter=ast.List(elts=[]) | ast.Tuple(elts=[])), "body":
            return True
        case ast.Try(handlers=handlers), "body":
            return any(map(_swallows, handlers))
        case ((ast.With(items=items) | ast.AsyncWith(items=items)), "body"):
            return any(_suppresses(item.context_expr) for item in items)
    return False


def _swallows(handler: ast.ExceptHandler) -> bool:
    """Whether a handler catches failed assertions and lets the test go on as if nothing had happened."""
    names = (
        {_last_name(node) for node in ast.walk(handler.type) if isinstance(node, ast.expr)} if handler.type else None
    )
    if names is not None and not names & _SWALLOWING:
        return False
    inside = [node for statement in handler.body for node in ast.walk(statement)]
    return not any(isinstance(node, ast.Raise) or _always_holds(node) is False for node in inside)


def _suppresses(context: ast.expr) -> bool:
    if not isinstance(context, ast.Call) or _last_name(context.func) != "suppress":
        return False
    return any(_last_name(argument) in _SWALLOWING for argument in context.args)
