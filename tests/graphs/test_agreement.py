"""Agreement by hand."""

import math

from mechbench.graphs.agreement import intersection_over_union, recall_at


def test_intersection_over_union():
    assert intersection_over_union("abc", "bcd") == 0.5
    assert intersection_over_union("ab", "ab") == 1.0
    assert intersection_over_union("ab", "") == 0.0
    assert math.isnan(intersection_over_union("", ""))


def test_recall():
    ranked = ["d", "a", "c", "b"]
    assert [recall_at(ranked, "ab", k) for k in range(5)] == [0, 0, 0.5, 0.5, 1.0]
    assert recall_at(ranked, "ax", 4) == 0.5
    assert math.isnan(recall_at(ranked, "", 2))
