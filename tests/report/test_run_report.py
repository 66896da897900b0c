"""Content of the page."""

import json
from html.parser import HTMLParser

import pytest
from helpers.report_run import (
    LISTS,
    NASTY,
    ORDER,
    OUTCOMES,
    RECORD,
    RUN,
    write_page,
    write_page_with_lists,
)

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import UserError
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.report import run_report
from clisc_nnunet.report.run_report import MAX_PLANES, cards, planes_per_case, write_report


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("raw")).read_text(encoding="utf-8")


def test_shows_how_the_labels_were_made(text):
    assert "<h1>Dataset501_CLISC</h1>" in text
    assert "f00d" * 4 in text
    assert "roi.threshold" in text and "<strong>0.3</strong>" in text
    assert "my scans&#39; &amp;&amp; &lt;b&gt;" in text


class Reader(HTMLParser):
    """Parsed names of cases, and elements that are in no template."""

    def __init__(self):
        super().__init__()
        self.names, self.unexpected = [], []

    def handle_starttag(self, tag, attrs):
        self.names += [value for key, value in attrs if key == "data-name"]
        self.unexpected += [tag] if tag == "img" else []


def test_phantoms_are_listed_and_count_as_no_case(text, tmp_path):
    assert "phantom" not in text.partition("<style>")[0] + text.partition("</style>")[2]
    phantoms = [CaseOutcome("phantom_0001", "phantom", "aged head, tumour: core", label_ml=41.06)]
    dataset = DatasetLayout(tmp_path / "Dataset501_CLISC")
    write_report(RUN, OUTCOMES, RECORD, dataset, phantoms=phantoms)
    page = dataset.report_html.read_text(encoding="utf-8")
    assert "1 phantoms in the dataset, not counted as cases" in page
    assert "aged head, tumour: core" in page and "41.1 ml" in page
    assert "<dt>Cases</dt><dd>5</dd>" in page
    reader = Reader()
    reader.feed(page)
    assert reader.names == ORDER


def test_names_are_text_and_nothing_else(text):
    reader = Reader()
    reader.feed(text)
    assert reader.names == ORDER
    assert reader.unexpected == []


def test_nothing_is_fetched_from_elsewhere(text):
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")
    assert "default-src 'none'; img-src data:" in text


def test_least_sure_cases_come_first():
    found = list(cards(RUN, OUTCOMES, planes=1, pictured=100))
    assert [card.outcome.case for card in found] == ORDER
    assert [card.rank for card in found] == [1, 2, 3, 4, 5]
    assert [len(card.planes) for card in found] == [0, 1, 1, 1, 1]


def test_planes_of_a_strip_are_in_order():
    card = list(cards(RUN, OUTCOMES, planes=3, pictured=100))[2]
    assert card.planes[0].plane == 4
    assert [picture.plane for picture in card.strip] == [2, 4, 5]


def test_cases_beyond_the_room_have_no_pictures():
    assert [len(card.planes) for card in cards(RUN, OUTCOMES, 1, pictured=3)] == [0, 1, 1, 0, 0]


@pytest.mark.parametrize(("n", "planes"), [(0, 5), (3, MAX_PLANES), (500, 5), (1000, 2), (9000, 1)])
def test_planes_share_the_room(n, planes):
    assert planes_per_case(n)[0] == planes


def test_a_run_with_nothing_but_failures_has_a_page(tmp_path):
    dataset = DatasetLayout(tmp_path)
    write_report(RUN, OUTCOMES[-1:], {**RECORD, "seconds": {}}, dataset)
    assert "found 4D" in dataset.report_html.read_text(encoding="utf-8")


def test_a_page_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    dataset = DatasetLayout(tmp_path)
    dataset.clisc.mkdir()
    dataset.report_html.write_text("old")

    def stop(*_):
        raise OSError("gone")

    monkeypatch.setattr(run_report, "plane_views", stop)
    with pytest.raises(OSError, match="gone"):
        write_report(RUN, OUTCOMES, RECORD, dataset)
    assert [p.name for p in dataset.clisc.iterdir()] == ["report.html"]
    assert dataset.report_html.read_text() == "old"


def test_the_lists_are_in_the_page_and_break_nothing(tmp_path):
    dataset = DatasetLayout(tmp_path)
    write_page_with_lists(dataset, *LISTS)
    text = dataset.report_html.read_text(encoding="utf-8")
    content = text.split('<script type="application/json" id="lists">')[1].split("</script>")[0]
    lists = json.loads(content)
    expected = {"sure": "sure", "unsure": "unsure  # seen on Monday", "elsewhere": "elsewhere"}
    assert lists == {"trusted": expected, "exclude": {NASTY: NASTY}}
    dataset.exclude_txt.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match=r"exclude\.txt: .*a text file"):
        write_report(RUN, OUTCOMES, RECORD, dataset)
