from clisc_nnunet.trainers.team import Team


def test_alone_everything_falls_to_this_process():
    team = Team.of_this_process()
    assert team == Team(0, 1)
    assert team.share(["a", "b"]) == ["a", "b"]
    assert team.gathered({"b": 1, "a": 2}) == {"a": 2, "b": 1}
    assert list(team.gathered({"b": 1, "a": 2})) == ["a", "b"]
    assert team.from_first("x") == "x"
    team.wait()


def test_shares_are_all_cases_once():
    cases = [str(k) for k in range(7)]
    shares = [Team(rank, 3).share(cases) for rank in range(3)]
    assert sorted(case for share in shares for case in share) == cases
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
