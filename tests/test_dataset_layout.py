import pytest

from clisc_nnunet.dataset_layout import read_names
from clisc_nnunet.errors import UserError


def test_names_in_order_with_their_lines(tmp_path):
    path = tmp_path / "list.txt"
    assert read_names(path) == {}
    path.write_text("\ufeffb # seen\r\n\r\n# by hand\r\n a.1 x \r\nb\r\n", encoding="utf-8")
    assert list(read_names(path).items()) == [("b", "b"), ("a.1 x", "a.1 x")]
    path.write_text("b # seen\n")
    assert read_names(path) == {"b": "b # seen"}


def test_a_file_that_is_not_a_text_is_reported(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match=r"list\.txt: .*expected a text file"):
        read_names(tmp_path / "list.txt")
