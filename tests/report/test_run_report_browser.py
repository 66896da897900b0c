"""The page in a real browser, with keyboard input."""

import numpy as np
import pytest
from helpers.browser import CHROMIUM, Browser
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
from clisc_nnunet.report.run_report import write_report

pytestmark = pytest.mark.slow

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("raw"))


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
    # The page moves the focus in the close event of the dialog, which is a separate task.
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
    dataset = DatasetLayout(tmp_path)
    write_report(RUN, OUTCOMES, RECORD, dataset, keep_empty=keep_empty)
    chromium.open(dataset.report_html)
    chromium.press("j", "j", "x", "Enter")  # none
    assert chromium.value(BADGES) == ({"none": "left out"} if keep_empty else {})
    shown = chromium.value("document.getElementById('viewer-file').textContent")
    assert shown == ("labelsTr/none.nii.gz" if keep_empty else "none")


BADGES = """Object.fromEntries([...document.querySelectorAll('.case')]
  .filter(c => !c.querySelector('.badge').hidden)
  .map(c => [c.dataset.name, c.querySelector('.badge').textContent]))"""


def saved(opened, kind):
    """List saved by a click on its button."""
    opened.value(
        "URL.createObjectURL = (blob) => { window.saved = blob; return '#'; };"
        f"document.querySelector('[data-save={kind}]').click()"
    )
    return opened.value("window.saved.text()")


@in_browser
def test_a_new_page_starts_with_what_the_lists_say(chromium, tmp_path):
    dataset = DatasetLayout(tmp_path)
    write_page_with_lists(dataset, *LISTS)
    chromium.open(dataset.report_html)
    assert chromium.value(BADGES) == {"unsure": "trusted", NASTY: "left out"}
    # Saved again unchanged they have the same content, with comments and cases that failed today.
    assert saved(chromium, "trusted") == "elsewhere\nsure\nunsure  # seen on Monday\n"
    assert saved(chromium, "exclude") == f"{NASTY}\n"
    chromium.press("j", "j", "j", "t", "j", "t", "j", "t")  # unsure, NASTY, sure
    assert chromium.value(BADGES) == {NASTY: "trusted", "sure": "no longer trusted"}
    assert saved(chromium, "trusted") == "".join(sorted([f"{NASTY}\n", "elsewhere\n"]))
    assert saved(chromium, "exclude") == ""
    assert chromium.complaints == []


@in_browser
def test_marks_that_were_not_saved_stay_and_changed_files_count(chromium, tmp_path):
    dataset = DatasetLayout(tmp_path)
    write_page_with_lists(dataset)
    chromium.open(dataset.report_html)
    chromium.press("j", "j", "j", "t", "j", "x")  # unsure, NASTY
    write_page_with_lists(dataset, trusted="unsure\n")  # one of the lists was saved
    chromium.open(dataset.report_html)
    assert chromium.value(BADGES) == {"unsure": "trusted", NASTY: "left out"}
    write_page_with_lists(dataset, exclude="unsure\n")  # and then edited by hand
    chromium.open(dataset.report_html)
    assert chromium.value(BADGES) == {"unsure": "left out", NASTY: "left out"}


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
