from clisc_nnunet.inputs.case_names import unique_names


def test_the_last_folder_is_enough_if_it_is_unique():
    cases = [("HGG", "B_1"), ("LGG", "B_2")]
    assert list(unique_names(cases).values()) == ["B_1", "B_2"]


def test_all_names_are_longer_if_one_is_not_unique():
    cases = [("Center_01", "Patient_01"), ("Center_02", "Patient_01"), ("Center_02", "Patient_02")]
    assert list(unique_names(cases).values()) == [
        "Center_01_Patient_01",
        "Center_02_Patient_01",
        "Center_02_Patient_02",
    ]


def test_a_time_is_never_alone():
    cases = [("P1", "week-044"), ("Utrecht", "0"), ("training01", "training01_02"), ("2019",)]
    assert list(unique_names(cases).values()) == [
        "P1_week-044",
        "Utrecht_0",
        "training01_02",
        "2019",
    ]


def test_names_of_other_cases_are_avoided():
    assert unique_names([("a", "b")], taken={"b"}) == {("a", "b"): "a_b"}


def test_names_are_unique_even_if_parts_repeat():
    cases = [("a", "ab"), ("ab",), ("a", "a", "ab")]
    assert len(set(unique_names(cases).values())) == 3
