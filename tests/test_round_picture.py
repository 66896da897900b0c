import numpy as np
import pytest
from matplotlib.image import imread

from clisc_nnunet.report.round_picture import Look, draw_round


def ball(shape=(6, 32, 32), centre=16):
    plane, row, column = np.indices(shape)
    return (plane - 3) ** 2 + (row - centre) ** 2 + (column - centre) ** 2 < 16


@pytest.fixture
def look():
    return Look.of(np.full((6, 32, 32), 90, np.uint8), ball(), ball(centre=14), ball(centre=17))


def test_a_look_shows_the_plane_with_most_tumour(look):
    assert np.array_equal(look.label, ball()[3])
    assert look.pixels.shape == (32, 32)
    nothing = np.zeros((6, 32, 32), bool)
    middle = Look.of(
        np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((6, 32, 32), np.uint8),
        nothing,
        nothing,
        nothing,
    )
    assert (middle.pixels == 3).all()


def test_a_look_is_kept(look, tmp_path):
    look.save(tmp_path / "look.npz")
    back = Look.load(tmp_path / "look.npz")
    assert all(
        np.array_equal(a, b) for a, b in zip(vars(look).values(), vars(back).values(), strict=True)
    )


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_picture_appears_whole_with_kept_and_rejected_in_their_colours(look, tmp_path, n):
    similarity = {f"case {k}": (k + 1) / n for k in range(n)}
    kept = set(list(similarity)[n // 2 :])
    path = tmp_path / "round_01.png"
    draw_round(similarity, kept, dict.fromkeys(similarity, look), "round 1", path)
    image = (imread(path)[..., :3] * 255).round().astype(int)
    green, red = (
        (np.abs(image - c).max(axis=-1) < 4).sum() for c in ((43, 122, 75), (192, 57, 43))
    )
    assert green > 100
    assert (red > 100) == (n > 1)
    assert [p.name for p in tmp_path.iterdir()] == ["round_01.png"]
