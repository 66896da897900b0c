import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from clisc_nnunet.trainers.round_figure import KEPT, OUTLINES, REJECTED, RoundSnapshot, draw_round


def ball(shape=(6, 32, 32), centre=16):
    plane, row, column = np.indices(shape)
    return (plane - 3) ** 2 + (row - centre) ** 2 + (column - centre) ** 2 < 16


@pytest.fixture
def look():
    return RoundSnapshot.of(
        np.full((6, 32, 32), 90, np.uint8), ball(), ball(centre=14), ball(centre=17)
    )


def test_a_snapshot_shows_the_plane_with_most_tumour(look):
    assert np.array_equal(look.label, ball()[3])
    assert np.array_equal(look.network, ball(centre=14)[3])
    assert np.array_equal(look.sam, ball(centre=17)[3])
    assert look.pixels.shape == (32, 32)
    nothing = np.zeros((6, 32, 32), bool)
    middle = RoundSnapshot.of(
        np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((6, 32, 32), np.uint8),
        nothing,
        nothing,
        nothing,
    )
    assert (middle.pixels == 3).all()


@pytest.mark.parametrize(
    ("label", "network", "plane"),
    [
        ((0, 9, 0, 0, 0), (0, 0, 0, 4, 0), 1),
        ((0, 4, 0, 0, 0), (0, 0, 0, 9, 0), 3),
        ((0, 9, 6, 0, 0), (0, 0, 6, 9, 0), 2),
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 1), 4),
        ((1, 0, 0, 0, 0), (0, 0, 0, 0, 0), 0),
    ],
)
def test_prediction_and_label_count_alike(label, network, plane):
    """Pixels of label and network in each plane; SAM's answer does not count."""
    wide = np.arange(8 * 11).reshape(8, 11)
    by_plane = [np.stack([wide < n for n in counts]) for counts in (label, network)]
    pixels = np.zeros((5, 8, 11), np.uint8) + np.arange(5, dtype=np.uint8)[:, None, None]
    look = RoundSnapshot.of(pixels, *by_plane, np.ones((5, 8, 11), bool))
    assert (look.pixels == plane).all() and look.pixels.shape == (8, 11)
    assert look.label.sum() == label[plane] and look.network.sum() == network[plane]


def test_a_snapshot_is_kept(look, tmp_path):
    look.save(tmp_path / "look.npz")
    back = RoundSnapshot.load(tmp_path / "look.npz")
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


@pytest.fixture
def figure(monkeypatch, tmp_path):
    """Returns a function that draws a round and gives the figure."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))
    )

    def draw(similarity, kept, looks):
        draw_round(similarity, kept, looks, "round 1", tmp_path / "round_01.png")
        return figures[-1]

    return draw


def test_bars_stand_in_the_order_of_similarity_in_the_colour_of_the_decision(figure, look):
    similarity = {"a": 0.9, "c": 0.2, "b": 0.2, "d": 0.5}
    order = figure(similarity, {"a", "b"}, {"a": look}).axes[0]
    assert [bar.get_height() for bar in order.patches] == [0.2, 0.2, 0.5, 0.9]
    colours = [to_hex(bar.get_facecolor()) for bar in order.patches]
    assert colours == [KEPT, REJECTED, REJECTED, KEPT]
    assert order.get_ylim() == (0, 1)
    left, right = order.get_xlim()
    assert left < 0 and right > 3


def test_cases_are_shown_row_by_row_with_what_was_decided(figure, look):
    similarity = {f"case {k}": k / 10 for k in range(6)}
    panels = figure(similarity, {"case 4", "case 5"}, dict.fromkeys(similarity, look)).axes[1:]
    titles = [panel.get_title() for panel in panels]
    assert titles[0] == "case 0\n0.000, rejected" and titles[5] == "case 5\n0.500, kept"
    assert [panel.title.get_color() for panel in panels] == [REJECTED] * 4 + [KEPT] * 2
    places = [
        (panel.get_subplotspec().rowspan.start, panel.get_subplotspec().colspan.start)
        for panel in panels
    ]
    assert places == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]


def test_a_name_with_dollars_is_no_formula(figure, look):
    assert figure({"a$b_$c": 0.5}, {"a$b_$c"}, {"a$b_$c": look}).axes[1].get_title()


def test_each_outline_has_its_own_colour(figure, look):
    sizes = {"label": 3, "network": 5, "SAM": 7}
    masks = [np.zeros((32, 32), bool) for _ in sizes]
    for mask, size in zip(masks, sizes.values(), strict=True):
        mask[4 : 4 + size, 10 : 10 + size] = True
    panel = figure({"a": 0.5}, {"a"}, {"a": RoundSnapshot(look.pixels, *masks)}).axes[1]
    width = {
        to_hex(lines.get_edgecolor()[0]): np.ptp(lines.get_paths()[0].vertices[:, 0])
        for lines in panel.collections
    }
    assert width == {to_hex(OUTLINES[name]): size for name, size in sizes.items()}
    # Rows go down and columns to the right, as in the pixels.
    vertices = panel.collections[0].get_paths()[0].vertices
    assert vertices.mean(axis=0) == pytest.approx((11, 5), abs=0.3)


def test_grey_values_are_shown_as_they_are_and_nothing_has_no_outline(figure):
    empty = np.zeros((8, 8), bool)
    pixels = np.full((8, 8), 90, np.uint8)
    panel = figure({"a": 0.0}, set(), {"a": RoundSnapshot(pixels, empty, empty, empty)}).axes[1]
    assert panel.images[0].get_clim() == (0, 255)
    assert np.array_equal(panel.images[0].get_array(), pixels)
    assert not panel.collections


def test_a_round_without_snapshots_still_has_its_order(figure):
    assert len(figure({"a": 0.4}, {"a"}, {}).axes) == 1


def test_a_picture_that_fails_leaves_the_old_one(look, tmp_path, monkeypatch):
    path = tmp_path / "round_01.png"
    path.write_bytes(b"old")

    def stop(self, target, **_):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", stop)
    with pytest.raises(OSError, match="disk full"):
        draw_round({"a": 0.5}, {"a"}, {"a": look}, "round 1", path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["round_01.png"]
