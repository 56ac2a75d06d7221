"""The comparison that the contract tests rest on sees what it should see."""

from tests.deployments.sandbox.shapes import differences


def test_a_missing_an_extra_and_a_differently_typed_field_are_all_found() -> None:
    real = {"a": 1, "b": {"c": "x"}, "d": [{"e": True}]}
    ours = {"b": {"c": 2}, "d": [{"e": 1}], "f": None}
    assert differences(real, ours) == [
        "a: recorded, missing here",
        "b.c: recorded str, here int",
        "d[].e: recorded bool, here int",
        "f: here, not recorded",
    ]


def test_null_and_an_empty_list_match_anything() -> None:
    assert differences({"a": None, "b": [], "c": "x"}, {"a": 1, "b": ["x"], "c": None}) == []


def test_what_is_left_out_is_not_compared() -> None:
    assert differences({"a": [{"b": 1}]}, {"a": [{"b": "x"}]}, leave_out={"a[].b"}) == []
