import hashlib

from clisc_nnunet.io.hashing import file_sha256


def test_files_larger_than_a_block_are_read_completely(tmp_path):
    content = b"brain" * 300_000  # one and a half pieces
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
