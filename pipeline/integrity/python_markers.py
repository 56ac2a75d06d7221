"""Finds what keeps Python tests from running: skips, expected failures, and hooks that choose tests."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.integrity.findings import FindingKind
from pipeline.integrity.suite import Marker

Function = ast.FunctionDef | ast.AsyncFunctionDef

_SKIPPING = re.compile(
    r"(?:(?:pytest|unittest|nose|twisted\.\w+|mark|pt)\.)*"
    r"(?:skip|skipif|xfail|importorskip|skipIf|skipUnless|expectedFailure|SkipTest)|(?:self|cls)\.skipTest"
)
_DECORATING = re.compile(r"skip|xfail|expected_?failure", re.IGNORECASE)
_HOOKS = frozenset(
    {
        *("pytest_collection_modifyitems", "pytest_ignore_collect", "pytest_collect_file", "pytest_pycollect_makeitem"),
        *("pytest_runtest_makereport", "pytest_runtest_call", "pytest_runtest_protocol", "pytest_sessionfinish"),
        *("pytest_pyfunc_call", "pytest_exception_interact", "pytest_itemcollected", "load_tests"),
    }
)
_REASON_FIRST = ("skip", "xfail", "skipTest", "SkipTest")
_SELECTING = frozenset({"collect_ignore", "collect_ignore_glob"})


def aliases(constants: Mapping[str, ast.expr]) -> frozenset[str]:
    """Names of a module that stand for a skip, such as `needs_docker = pytest.mark.skipif(...)`."""
    return frozenset(
        name
        for name, value in constants.items()
        if name != "pytestmark" and ".mark." in ast.unparse(value) and next(_skips(value, ""), None)
    )


def of_decorators(node: Function | ast.ClassDef, known: frozenset[str]) -> Iterator[Marker]:
    """Skips among the decorators, in the parameters of `parametrize` too."""
    for decorator in node.decorator_list:
        name = ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
        if name in known or _DECORATING.search(name.rpartition(".")[2]):
            yield _marker(decorator, node.name)
        else:
            yield from _skips(decorator, node.name)


def of_function(node: Function) -> Iterator[Marker]:
    """Skips in a function's body, and the function itself where it is a hook that chooses among tests."""
    if node.name in _HOOKS:
        sentence = f"{node.name} decides which tests run or count."
        yield Marker(ast.unparse(node), sentence, node.lineno, FindingKind.SELECTION_NARROWED)
    for statement in node.body:
        yield from _skips(statement, node.name)


def of_block(body: Sequence[ast.stmt], where: str, known: frozenset[str]) -> Iterator[Marker]:
    """Skips that a module or class puts on all of its tests."""
    for statement in body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            yield from _assigned(statement, where, known)
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from _skips(statement, where)


def _assigned(
    statement: ast.Assign | ast.AnnAssign | ast.AugAssign, where: str, known: frozenset[str]
) -> Iterator[Marker]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    text = ast.unparse(statement)
    if names & _SELECTING:
        yield Marker(text, f"Tests are left out: {text}", statement.lineno, FindingKind.SELECTION_NARROWED)
    elif "pytestmark" in names and statement.value is not None:
        yield from _marks(statement.value, where, known)
    elif statement.value is not None and not names & known:
        yield from _skips(statement.value, where)


def _marks(value: ast.expr, where: str, known: frozenset[str]) -> Iterator[Marker]:
    """The skips of a `pytestmark`, also those that stand there under a name of their own."""
    for mark in value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]:
        if isinstance(mark, ast.Name) and (mark.id in known or _DECORATING.search(mark.id)):
            yield _marker(mark, where)
        else:
            yield from _skips(mark, where)


def _skips(node: ast.AST, where: str) -> Iterator[Marker]:
    """Every skip below a node, the outermost of nested ones."""
    name = node.func if isinstance(node, ast.Call) else node
    if isinstance(name, (ast.Name, ast.Attribute)) and _SKIPPING.fullmatch(ast.unparse(name)):
        bare = isinstance(name, ast.Name) and not isinstance(node, ast.Call)
        if not bare:
            yield _marker(node, where)
            return
    for child in ast.iter_child_nodes(node):
        yield from _skips(child, where)


def _marker(node: ast.AST, where: str) -> Marker:
    """The marker without its reason: explaining a skip better is no new skip."""
    text = _without_reason(node)
    line = getattr(node, "lineno", 1)
    return Marker(text, f"{where or 'A test'} may not run any more: {text}", line)


def _without_reason(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ast.unparse(node)
    kept = [word for word in node.keywords if word.arg not in ("reason", "msg")]
    first = 0 if ast.unparse(node.func).endswith(_REASON_FIRST) else 1
    arguments = [value for place, value in enumerate(node.args) if place < first or not _is_text(value)]
    return ast.unparse(ast.Call(func=node.func, args=arguments, keywords=kept))


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str))
