from clisc_nnunet.trainers import filter_round


def test_cases_without_stored_slices_are_logged():
    def line(*kept):
        return filter_round.slices_note({"cases": dict(enumerate(kept))})

    assert line({"kept_slices": True}, {"kept_slices": True}) == ""
    assert "1 of 2 cases" in line({"kept_slices": True}, {"kept_slices": False})
    assert "1 of 1 cases" in line({})  # a round of an earlier version
