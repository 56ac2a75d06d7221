"""Only assertions count that can fail and that something reaches."""

import ast

import pytest

from pipeline.integrity.python_assertions import of_function


def checks(*lines):
    body = "\n".join(f"    {line}" for line in lines)
    return of_function(ast.parse(f"def test():\n{body}\n").body[0])


@pytest.mark.parametrize(
    "line",
    [
        "assert x",
        "assert x == 1, 'why'",
        "assert len(x) >= 1",
        "assert x or y",
        "assert not x",
        "assert 0 < x",
        "self.assertEqual(x, 1)",
        "self.assertTrue(x)",
        "mock.assert_called_once()",
        "pytest.fail('never')",
        "assert_frame_equal(x, y)",
        "check_order(x)",
        "expect(page).to_have_title('x')",
    ],
)
def test_this_can_fail(line):
    assert (len(checks(line).real), checks(line).hollow) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        "assert True",
        "assert 1",
        "assert 'text'",
        "assert (x == 1, 'why')",
        "assert x == x",
        "assert x or True",
        "assert True and 1",
        "assert not False",
        "assert len(x) >= 0",
        "assert isinstance(x, object)",
        "self.assertTrue(True)",
        "self.assertFalse(False)",
        "self.assertEqual(x, x)",
        "self.assertIsNotNone('x')",
    ],
)
def test_this_always_holds(line):
    assert (checks(line).real, checks(line).hollow) == ((), 1)


@pytest.mark.parametrize(
    "lines",
    [
        ("return", "assert x"),
        ("raise ValueError", "assert x"),
        ("if False:", "    assert x"),
        ("if 1:", "    pass", "else:", "    assert x"),
        ("while 0:", "    assert x"),
        ("for _ in []:", "    assert x"),
        ("try:", "    assert x", "except AssertionError:", "    pass"),
        ("try:", "    assert x", "except (KeyError, Exception) as e:", "    print(e)"),
        ("try:", "    assert x", "except:", "    return"),
        ("with contextlib.suppress(AssertionError):", "    assert x"),
    ],
)
def test_nothing_reaches_this_or_it_is_swallowed(lines):
    assert checks(*lines).real == ()


@pytest.mark.parametrize(
    "lines",
    [
        ("for y in z:", "    assert x"),
        ("if y:", "    return", "assert x"),
        ("try:", "    assert x", "finally:", "    close()"),
        ("try:", "    assert x", "except KeyError:", "    pass"),
        ("try:", "    assert x", "except Exception:", "    raise"),
        ("with open(y):", "    assert x"),
        ("def inner():", "    assert x", "call(inner)"),
    ],
)
def test_this_is_reached(lines):
    assert checks(*lines).real == ("x",)


def test_assertions_are_told_apart_by_what_they_say_not_by_how_it_is_written():
    assert checks("assert x==1, 'a'").real == checks('assert (x == 1), "b"').real == ("x == 1",)
