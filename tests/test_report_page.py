"""The page: what is in it, and how it behaves in a real browser."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from finished import FinishedRun
from test_case_view import CASE, EMPTY

from clisc_nnunet.errors import UserError
from clisc_nnunet.outcome import CaseOutcome
from clisc_nnunet.report import report_page
from clisc_nnunet.report.report_page import MAX_PLANES, cards, room, write_report
from clisc_nnunet.settings import RoiSettings, Settings

# Whatever file systems allow; a script that ran would change the page's title.
NASTY = """<img src=x onerror="document.title='run'"></script> & 'a' "b" {{ 7*7 }} \\ 脑"""
RECORD = {
    "command": "clisc_make_pseudo_dataset -i 'my scans' && <b>",
    "clisc_nnunet": "1.2",
    "machine": "Linux, cpu",
    "versions": {"torch": "2.10"},
    "models": {"sam": {"name": "bundled", "sha256": "f00d" * 16}},
    "seconds": {"slices": 2.0, "SAM": 30.0, "total": 33.0},
}


def labelled(case, iou, agreement, ml=2.0):
    reason = "SAM drew on 4 slices"
    return CaseOutcome(
        case, "labelled", reason, label_ml=ml, predicted_iou=iou, agreement=agreement
    )


OUTCOMES = [
    labelled("sure", 0.9, 0.9, 40.0),
    labelled(NASTY, 0.8, 0.8, 7.0),
    labelled("unsure", 0.6, 0.6, 90.0),
    CaseOutcome("none", "empty", "no region of interest is left"),
    CaseOutcome("broken", "failed", "/scans/broken.nii.gz: found 4D; expected 3D"),
]
ORDER = ["broken", "none", "unsure", NASTY, "sure"]
RUN = FinishedRun(
    {
        **dict.fromkeys(["sure", NASTY, "unsure"], CASE),
        "none": replace(CASE, enhanced=EMPTY, label=EMPTY),
    },
    Settings(roi=RoiSettings(threshold=0.3)),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "Dataset501_CLISC" / "clisc" / "report.html"
    path.parent.mkdir(parents=True)
    write_report(RUN, OUTCOMES, RECORD, path)
    return path


@pytest.fixture(scope="module")
def text(page):
    return page.read_text(encoding="utf-8")


def test_tells_how_the_labels_were_made(text):
    assert "<h1>Dataset501_CLISC</h1>" in text
    assert "f00d" * 4 in text
    assert "roi.threshold" in text and "<strong>0.3</strong>" in text
    assert "my scans&#39; &amp;&amp; &lt;b&gt;" in text


class Reader(HTMLParser):
    """Names of cases as a parser sees them, and elements that no template has."""

    def __init__(self):
        super().__init__()
        self.names, self.strangers = [], []

    def handle_starttag(self, tag, attrs):
        self.names += [value for key, value in attrs if key == "data-name"]
        self.strangers += [tag] if tag == "img" else []


def test_names_are_text_and_nothing_else(text):
    reader = Reader()
    reader.feed(text)
    assert reader.names == ORDER
    assert reader.strangers == []


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
    assert room(n)[0] == planes


def test_a_run_with_nothing_but_failures_has_a_page(tmp_path):
    write_report(RUN, OUTCOMES[-1:], {**RECORD, "seconds": {}}, tmp_path / "report.html")
    assert "found 4D" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_page_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def stop(*_):
        raise OSError("gone")

    monkeypatch.setattr(report_page, "plane_views", stop)
    with pytest.raises(OSError, match="gone"):
        write_report(RUN, OUTCOMES, RECORD, path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"


# In a browser, with real keys ---------------------------------------------------------------------

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def chromium():
    with Browser() as browser:
        yield browser


@pytest.fixture
def opened(chromium, page):
    chromium.open(page)
    chromium.value("localStorage.clear()")
    chromium.open(page)
    yield chromium
    assert chromium.complaints == []


def shown(browser):
    return browser.value(
        "[...document.querySelectorAll('.case')].filter(c => c.checkVisibility())"
        ".map(c => c.dataset.name)"
    )


def focused(browser):
    return browser.value("document.activeElement.closest('.case')?.dataset.name")


def enter(browser, selector, value):
    browser.value(
        f"(() => {{ const field = document.querySelector('{selector}'); field.value = '{value}';"
        "field.dispatchEvent(new Event('input', {bubbles: true}));"
        "field.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def enlarged(browser):
    return browser.value("viewer.open ? document.getElementById('viewer-name').textContent : null")


@in_browser
def test_opens_from_disk_and_asks_for_nothing(opened, page):
    assert opened.requests == [page.absolute().as_uri()]
    assert shown(opened) == ORDER
    assert opened.value("document.title") == "Dataset501_CLISC: pseudo-labels"


@in_browser
def test_pictures_are_painted(opened, tmp_path):
    from matplotlib.image import imread

    opened.press("j", "j", "j")
    opened.screenshot(tmp_path / "page.png")
    pixels = np.rint(255 * imread(tmp_path / "page.png")[..., :3]).astype(int)
    sky_blue = np.abs(pixels - [0x56, 0xB4, 0xE9]).sum(axis=2) < 40
    yellow = np.abs(pixels - [0xF0, 0xE4, 0x42]).sum(axis=2) < 40
    assert sky_blue.sum() > 100 and yellow.sum() > 20


@in_browser
def test_keys_step_through_the_cases(opened):
    opened.press("j")
    assert focused(opened) == ORDER[0]
    opened.press("ArrowDown", "j")
    assert focused(opened) == ORDER[2]
    opened.press("k")
    assert focused(opened) == ORDER[1]
    opened.press("ArrowUp", "ArrowUp", "k")
    assert focused(opened) == ORDER[0]
    ring = "getComputedStyle(document.activeElement.closest('.case')).outlineStyle"
    assert opened.value(ring) == "solid"


@in_browser
def test_enter_enlarges_and_escape_closes(opened):
    opened.press("j", "j", "j", "Enter")
    assert enlarged(opened) == "unsure"
    assert opened.value("strip.children.length") == 4
    assert opened.value("big.querySelector('svg').dataset.plane") == "4"
    opened.press("ArrowRight")
    assert opened.value("big.querySelector('svg').dataset.plane") == "5"
    opened.press("ArrowDown")
    assert enlarged(opened) == NASTY
    opened.press("Escape")
    assert enlarged(opened) is None
    # The page moves the focus when it hears that the dialog has closed, which is a task of its own.
    opened.value("new Promise((done) => setTimeout(done, 300))")
    assert focused(opened) == NASTY
    opened.press("k", "Enter")
    assert enlarged(opened) == "unsure"


@in_browser
def test_a_failed_case_shows_its_reason_alone(opened):
    opened.press("j", "Enter")
    assert enlarged(opened) == "broken"
    assert "found 4D" in opened.value("document.getElementById('viewer-reason').innerText")
    assert not opened.value("big.checkVisibility()")
    opened.press("ArrowRight", "j")
    assert opened.value("big.checkVisibility()") and enlarged(opened) == "none"


@in_browser
def test_layers_are_switched_by_keys(opened):
    opened.press("j", "j", "j", "Enter")
    visible = "getComputedStyle(big.querySelector('.layer.{}')).display != 'none'"
    assert opened.value(visible.format("label")) and not opened.value(visible.format("cam"))
    opened.press("l", "c")
    assert not opened.value(visible.format("label")) and opened.value(visible.format("cam"))


@in_browser
def test_filters_by_status_text_and_confidence(opened):
    opened.value("document.querySelector('[value=labelled]').click()")
    assert shown(opened) == ["broken", "none"]
    opened.value("document.querySelector('[value=labelled]').click()")
    enter(opened, "#text", "DREW sure")
    assert shown(opened) == ["unsure", "sure"]
    enter(opened, "#low", "0.9")
    assert shown(opened) == ["sure"]
    assert opened.value("document.getElementById('shown').textContent") == "1 of 5 cases"
    opened.press("j", "Enter")
    assert enlarged(opened) == "sure"
    opened.press("Escape")
    enter(opened, "#text", "no such case")
    assert shown(opened) == [] and opened.value("!document.getElementById('none').hidden")
    opened.value("document.getElementById('reset2').click()")
    assert shown(opened) == ORDER


@in_browser
@pytest.mark.parametrize(
    ("order", "expected"),
    [("-rank", ORDER[::-1]), ("-ml", ["unsure", "sure", NASTY, "broken", "none"])],
)
def test_orders(opened, order, expected):
    enter(opened, "#order", order)
    assert shown(opened) == expected


@in_browser
def test_letters_go_into_the_search_field(opened):
    opened.press("/", "j", "t")
    assert opened.value("document.getElementById('text').value") == "jt"
    opened.press("Escape")
    enter(opened, "#text", "")
    opened.press("j")
    assert focused(opened) == ORDER[0]


@in_browser
def test_verdicts_are_kept_and_make_lists(opened, page):
    opened.press("j", "t")  # a failed case has no label to trust
    assert opened.value("document.querySelectorAll('.badge:not([hidden])').length") == 0
    opened.press("j", "j", "t", "j", "j", "x")
    opened.open(page)
    badges = "[...document.querySelectorAll('.badge:not([hidden])')].map(b => b.textContent)"
    assert opened.value(badges) == ["trusted", "left out"]
    opened.value(
        "URL.createObjectURL = (blob) => { window.saved = blob; return '#'; };"
        "document.querySelector('[data-save=trusted]').click()"
    )
    assert opened.value("window.saved.text()") == "unsure\n"


@in_browser
@pytest.mark.parametrize("keep_empty", [False, True])
def test_a_case_that_was_kept_as_background_can_be_left_out(chromium, tmp_path, keep_empty):
    path = tmp_path / "report.html"
    write_report(RUN, OUTCOMES, RECORD, path, keep_empty=keep_empty)
    chromium.open(path)
    chromium.press("j", "j", "x", "Enter")  # none
    assert chromium.value(BADGES) == ({"none": "left out"} if keep_empty else {})
    shown = chromium.value("document.getElementById('viewer-file').textContent")
    assert shown == ("labelsTr/none.nii.gz" if keep_empty else "none")


BADGES = """Object.fromEntries([...document.querySelectorAll('.case')]
  .filter(c => !c.querySelector('.badge').hidden)
  .map(c => [c.dataset.name, c.querySelector('.badge').textContent]))"""


def saved(opened, kind):
    """The list that a click on its button saves."""
    opened.value(
        "URL.createObjectURL = (blob) => { window.saved = blob; return '#'; };"
        f"document.querySelector('[data-save={kind}]').click()"
    )
    return opened.value("window.saved.text()")


def made_again(path, trusted="", exclude=""):
    """The page of a run over a dataset with these lists; its `sure` label is a corrected one."""
    for name, text in (("trusted.txt", trusted), ("exclude.txt", exclude)):
        (path.parent / name).write_text(text, encoding="utf-8")
    corrected = CaseOutcome("sure", "trusted", "label corrected by a person")
    write_report(RUN, [corrected, *OUTCOMES[1:]], RECORD, path)


LISTS = "unsure  # seen on Monday\nsure\nelsewhere\n", f"{NASTY}\n"


@in_browser
def test_a_page_made_again_starts_with_what_the_lists_say(chromium, tmp_path):
    path = tmp_path / "report.html"
    made_again(path, *LISTS)
    chromium.open(path)
    assert chromium.value(BADGES) == {"unsure": "trusted", NASTY: "left out"}
    # Saved again without a change they say the same, remarks and cases that failed today and all.
    assert saved(chromium, "trusted") == "elsewhere\nsure\nunsure  # seen on Monday\n"
    assert saved(chromium, "exclude") == f"{NASTY}\n"
    chromium.press("j", "j", "j", "t", "j", "t", "j", "t")  # unsure, NASTY, sure
    assert chromium.value(BADGES) == {NASTY: "trusted", "sure": "not trusted any more"}
    assert saved(chromium, "trusted") == "".join(sorted([f"{NASTY}\n", "elsewhere\n"]))
    assert saved(chromium, "exclude") == ""
    assert chromium.complaints == []


@in_browser
def test_marks_that_were_not_saved_stay_and_changed_files_count(chromium, tmp_path):
    path = tmp_path / "report.html"
    made_again(path)
    chromium.open(path)
    chromium.press("j", "j", "j", "t", "j", "x")  # unsure, NASTY
    made_again(path, trusted="unsure\n")  # one of the two lists was put in place
    chromium.open(path)
    assert chromium.value(BADGES) == {"unsure": "trusted", NASTY: "left out"}
    made_again(path, exclude="unsure\n")  # and then changed by hand
    chromium.open(path)
    assert chromium.value(BADGES) == {"unsure": "left out", NASTY: "left out"}


def test_the_lists_are_in_the_page_and_break_nothing(tmp_path):
    made_again(tmp_path / "report.html", *LISTS)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    content = text.split('<script type="application/json" id="lists">')[1].split("</script>")[0]
    lists = json.loads(content)
    expected = {"sure": "sure", "unsure": "unsure  # seen on Monday", "elsewhere": "elsewhere"}
    assert lists == {"trusted": expected, "exclude": {NASTY: NASTY}}
    (tmp_path / "exclude.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match=r"exclude\.txt: .*a text file"):
        write_report(RUN, OUTCOMES, RECORD, tmp_path / "report.html")


@in_browser
def test_every_control_has_a_name(opened):
    opened.press("j", "j", "j", "Enter")
    opened.call("Accessibility.enable")
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "checkbox", "searchbox", "spinbutton", "combobox", "image", "meter"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    assert len(named) > 10
    assert [role for role, name in named if not name.strip()] == []


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(chromium, page, scheme):
    chromium.open(page, scheme)
    contrast = """(() => {
      const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
      const light = (element, what) => {
        const rgb = getComputedStyle(element)[what].match(/[\\d.]+/g);
        const [r, g, b] = rgb.map((v) => linear(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
      };
      const card = document.querySelector(".case.empty"), ground = light(card, "backgroundColor");
      return [".reason", ".numbers dd", ".numbers dt", ".state b", ".open"]
        .map((at) => light(card.querySelector(at), "color"))
        .map((ink) => Math.max(ink, ground) / Math.min(ink, ground));
    })()"""
    assert min(chromium.value(contrast)) > 4.5  # WCAG AA
    ground = chromium.value("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(17, 20, 22)") == (scheme == "dark")
