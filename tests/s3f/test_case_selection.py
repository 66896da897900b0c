import pytest
from hypothesis import given
from hypothesis import strategies as st

from clisc_nnunet.s3f.case_selection import CaseAgreement, decision_line, select_cases

similarities = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4), st.floats(0, 1), min_size=1
)


def agreements(values):
    return {case: CaseAgreement(value) for case, value in values.items()}


def kept(decisions):
    return {case for case, decision in decisions.items() if decision.kept}


@given(similarities, st.floats(0, 1))
def test_the_most_similar_are_kept_and_never_none(values, ratio):
    stay = kept(select_cases(agreements(values), ratio))
    assert len(stay) == max(int(ratio * len(values) + 1e-9), 1)
    assert min(values[case] for case in stay) >= max(
        [values[case] for case in values if case not in stay], default=0
    )


@given(similarities, st.floats(0, 1))
def test_the_order_of_the_cases_decides_nothing(values, ratio):
    backwards = dict(reversed(values.items()))
    first, second = (select_cases(agreements(v), ratio) for v in (values, backwards))
    assert first == {case: second[case] for case in first}
    assert list(second) == list(backwards)


@pytest.mark.parametrize(
    ("n", "ratio", "count"),
    # 0.29 * 100 and 0.57 * 100 are a hair less than 29 and 57 in floating point.
    [(257, 0.8, 205), (10, 0.7, 7), (5, 0.8, 4), (1, 0.8, 1), (100, 0.29, 29), (100, 0.57, 57)],
)
def test_the_share_is_rounded_down_as_in_the_paper(n, ratio, count):
    values = {f"{k:03d}": k / n for k in range(n)}
    assert len(kept(select_cases(agreements(values), ratio))) == count


@given(similarities, st.floats(0, 1), st.data())
def test_trusted_cases_stay_and_are_not_counted(values, ratio, data):
    trusted = data.draw(st.sets(st.sampled_from(sorted(values))))
    decisions = select_cases(agreements(values), ratio, trusted=trusted)
    assert trusted <= kept(decisions)
    others = len(values) - len(trusted)
    if others:
        assert len(kept(decisions)) == len(trusted) + max(int(ratio * others + 1e-9), 1)


def test_a_tumour_that_is_gone_drops_out_and_a_healthy_brain_stays():
    decisions = select_cases(
        {
            "gone": CaseAgreement(1.0, empty=True),
            "healthy": CaseAgreement(1.0, empty=True, was_empty=True),
            "new": CaseAgreement(0.3, was_empty=True),
        },
        keep_ratio=1.0,
    )
    assert {case: decision.reason for case, decision in decisions.items()} == {
        "gone": "empty prediction",
        "healthy": "no tumour, as before",
        "new": "similar",
    }
    assert kept(decisions) == {"healthy", "new"}


def test_previously_rejected_cases_stay_rejected():
    decisions = select_cases(agreements({"a": 1.0, "b": 0.5}), 1.0, previously_rejected=["a"])
    assert kept(decisions) == {"b"}
    assert decisions["a"].reason == "left out before"


def test_the_line_for_the_log_counts_and_names_the_reasons():
    known = agreements({"a": 0.9, "b": 0.8, "c": 0.1, "d": 0.2}) | {
        "e": CaseAgreement(1.0, empty=True)
    }
    line = decision_line(known, select_cases(known, 0.7, trusted=["c"]))
    assert line == (
        "kept 3 of 5 cases: similarity 0.800 or more; among them 1 trusted; "
        "rejected 1 dissimilar, 1 empty prediction"
    )
    nothing = {"e": CaseAgreement(1.0, empty=True)}
    assert decision_line(nothing, select_cases(nothing, 0.8)).startswith("kept 0 of 1 cases;")


@given(similarities, st.floats(0, 1), st.floats(0, 1))
def test_below_the_least_similarity_nothing_is_kept(values, ratio, least):
    free, strict = (select_cases(agreements(values), ratio, bound) for bound in (0.0, least))
    assert kept(strict) == {case for case in kept(free) if values[case] >= least}


cases = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4),
    st.builds(CaseAgreement, st.floats(0, 1), st.booleans(), st.booleans()),
)


@given(cases, st.floats(0, 1), st.data())
def test_every_case_gets_a_decision_and_trust_goes_above_all(known, ratio, data):
    names = st.sets(st.sampled_from(sorted(known))) if known else st.just(set())
    trusted, previously_rejected = data.draw(names), data.draw(names)
    before = dict(known), set(trusted), set(previously_rejected)
    decisions = select_cases(known, ratio, trusted=trusted, previously_rejected=previously_rejected)
    assert (known, trusted, previously_rejected) == before
    assert list(decisions) == list(known)
    for case, decision in decisions.items():
        if case in trusted:
            assert (decision.kept, decision.reason) == (True, "trusted")
        elif case in previously_rejected:
            assert (decision.kept, decision.reason) == (False, "left out before")
        elif known[case].empty:
            assert decision.kept == known[case].was_empty
        else:
            assert decision.reason == ("similar" if decision.kept else "dissimilar")


@given(similarities, st.floats(0, 1), st.data())
def test_a_case_that_grows_more_similar_is_not_lost(values, ratio, data):
    case = data.draw(st.sampled_from(sorted(values)))
    better = {**values, case: data.draw(st.floats(values[case], 1))}
    if select_cases(agreements(values), ratio)[case].kept:
        assert select_cases(agreements(better), ratio)[case].kept


@given(similarities, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_loses_no_case(values, one, other):
    fewer, more = (kept(select_cases(agreements(values), ratio)) for ratio in sorted((one, other)))
    assert fewer <= more


def test_equally_similar_cases_are_kept_by_their_names():
    for order in ("abcd", "dcba", "cadb"):
        assert kept(select_cases(agreements(dict.fromkeys(order, 0.5)), 0.5)) == {"a", "b"}


def test_no_cases_no_decisions():
    assert select_cases({}, 0.8) == {}
    assert decision_line({}, {}) == "kept 0 of 0 cases; rejected none"
