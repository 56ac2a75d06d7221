"""Reads Python test files by their syntax tree."""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.integrity import python_assertions as assertions
from pipeline.integrity import python_markers as markers
from pipeline.integrity.paths import is_test
from pipeline.integrity.suite import Unit

Function = ast.FunctionDef | ast.AsyncFunctionDef


class UnreadableCode(Exception):
    """The file is not Python as this interpreter knows it."""


def read_python(path: str, text: str) -> list[Unit]:
    """The tests, helpers and classes of a file. Of two with one name the last counts, as in Python.

    Raises `UnreadableCode`.
    """
    try:
        tree = ast.parse(text)
        reader = _Reader(path, tree)
        units = [reader.module(tree.body), *reader.units(tree.body)]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnreadableCode(f"{path} is not Python that can be read here: {error}") from error
    return list({unit.name: unit for unit in units}.values())


class _Reader:
    """Walks one module; knows what its names stand for."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self._path = path
        self._collected = is_test(path) and not _says_no_test(tree.body)
        self._constants = {
            target.id: statement.value
            for statement in tree.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        self._aliases = markers.aliases(self._constants)

    def module(self, body: list[ast.stmt]) -> Unit:
        """The module itself, with what it says about all of its tests."""
        return Unit(self._path, "", 1, collected=False, markers=tuple(markers.of_block(body, "module", self._aliases)))

    def units(self, body: list[ast.stmt], inside: str = "", holds: bool = True, iffy: bool = False) -> Iterator[Unit]:
        """Units of a block. `holds`: the class around it is one that runners collect; `iffy`: under a condition."""
        for statement in body:
            if isinstance(statement, Function):
                yield self._function(statement, inside, holds, iffy)
            elif isinstance(statement, ast.ClassDef):
                yield from self._class(statement, inside, iffy)
            else:
                yield from self._rebound(statement, inside)
                for block in _blocks(statement):
                    yield from self.units(block, inside, holds, True)

    def _rebound(self, statement: ast.stmt, inside: str) -> Iterator[Unit]:
        """A name of a test that is deleted or given to something else: no test any more."""
        targets = statement.targets if isinstance(statement, (ast.Assign, ast.Delete)) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id.startswith(("test", "Test")):
                yield Unit(self._path, f"{inside}{target.id}", statement.lineno, collected=False)

    def _class(self, node: ast.ClassDef, inside: str, iffy: bool) -> Iterator[Unit]:
        holds = _collected_class(node)
        name = f"{inside}{node.name}"
        members = list(self.units(node.body, f"{name}.", holds, iffy))
        found = [
            *markers.of_decorators(node, self._aliases),
            *markers.of_block(node.body, f"class {name}", self._aliases),
        ]
        inherits_all = holds and bool(node.bases) and not any(member.collected for member in members)
        yield Unit(
            self._path,
            name,
            node.lineno,
            collected=self._collected and inherits_all,
            body=_body(node) if inherits_all else "",
            markers=tuple(found),
            conditional=iffy,
        )
        yield from members

    def _function(self, node: Function, inside: str, holds: bool, iffy: bool) -> Unit:
        checks = assertions.of_function(node)
        return Unit(
            self._path,
            f"{inside}{node.name}",
            node.lineno,
            collected=self._collected and holds and node.name.startswith("test"),
            body=_body(node),
            assertions=checks.real,
            hollow=checks.hollow,
            calls=checks.calls,
            markers=(*markers.of_decorators(node, self._aliases), *markers.of_function(node)),
            cases=_cases(node, self._constants),
            conditional=iffy,
        )


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of an `if`, `try` or `with`: a module's tests may stand there too."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(statement, field, None)
        if isinstance(block, list):
            yield block
    for handler in getattr(statement, "handlers", ()):
        yield handler.body


def _collected_class(node: ast.ClassDef) -> bool:
    """Runners collect `Test...` without a constructor, and subclasses of something like TestCase."""
    if _says_no_test(node.body):
        return False
    bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    if any("Test" in base for base in bases):
        return True
    constructed = any(isinstance(member, Function) and member.name == "__init__" for member in node.body)
    return node.name.startswith("Test") and not constructed


def _says_no_test(body: list[ast.stmt]) -> bool:
    """Whether a module or class has `__test__ = False`."""
    return any(
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Constant)
        and not statement.value.value
        and any(isinstance(target, ast.Name) and target.id == "__test__" for target in statement.targets)
        for statement in body
    )


def _body(node: Function | ast.ClassDef) -> str:
    statements = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    own = [ast.unparse(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
    return "\n".join([*own, *map(ast.unparse, statements)])


def _cases(node: Function, constants: dict[str, ast.expr]) -> int:
    """How often `parametrize` decorators repeat a test; 0 when their lists are not written out."""
    total = 1
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("parametrize"):
            given = {word.arg: word.value for word in decorator.keywords}
            total *= _length(decorator.args[1] if len(decorator.args) > 1 else given.get("argvalues"), constants)
    return total


def _length(values: ast.expr | None, constants: dict[str, ast.expr]) -> int:
    written = constants.get(values.id) if isinstance(values, ast.Name) else values
    if not isinstance(written, (ast.List, ast.Tuple, ast.Set)):
        return 0
    return 0 if any(isinstance(value, ast.Starred) for value in written.elts) else len(written.elts)


def is_python(path: str) -> bool:
    """Whether the file is Python by its name."""
    return PurePosixPath(path).suffix in (".py", ".pyi")
