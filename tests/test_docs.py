"""The documentation names links, files, commands and settings that exist."""

import re
from configparser import ConfigParser
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from clisc_nnunet.settings import Settings
from clisc_nnunet.trainers.round_settings import RoundSettings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
# The record of what was measured, with the file names of its time.
NOTEBOOK = DOCS / "lab_notebook.md"


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    """Of a page's headings, as the site and code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_named_exist(page):
    if page == NOTEBOOK:
        pytest.skip("it names files of earlier commits")
    folders = "clisc_nnunet|dataset_conversion|trainers|benchmarks|tests"
    files = set(re.findall(rf"`((?:{folders})/[\w/]+\.py)`", _text(page)))
    files |= {f"benchmarks/{name}.py" for name in re.findall(r"-m benchmarks\.(\w+)", _text(page))}
    gone = {"benchmarks/note_in_card.py"}  # named as a file of an earlier commit
    assert [name for name in files - gone if not (ROOT / name).exists()] == []


def test_stages_of_the_method_exist():
    rows = re.findall(r"^\| \d+ \w+ \|([^|]+)\|", _text(DOCS / "explanation/method.md"), re.M)
    modules = [name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row)]
    assert len(rows) == 12
    stages = ROOT / "clisc_nnunet" / "stages"
    assert [name for name in modules if not (stages / name).exists()] == []


def test_every_command_has_its_section():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    known = re.findall(r"^(\w+) =", setup["options.entry_points"]["console_scripts"], re.M)
    page = _text(DOCS / "reference/commands.md")
    assert sorted(re.findall(r"^## (clisc_\w+)$", page, re.M)) == sorted(known)


def test_every_setting_is_explained():
    page = _text(DOCS / "reference/settings.md")
    named = set(re.findall(r"`([\w.]+)`", page))
    stages = {k: v for k, v in asdict(Settings()).items() if isinstance(v, dict)}
    assert {f"{stage}.{key}" for stage, values in stages.items() for key in values} <= named
    assert set(asdict(RoundSettings())) <= named


def test_the_python_api_names_modules_that_exist():
    modules = re.findall(r"^::: (\S+)$", _text(DOCS / "reference/python-api.md"), re.M)
    assert modules
    paths = [ROOT / module.replace(".", "/") for module in modules]
    assert [str(p) for p in paths if not (p.is_dir() or p.with_suffix(".py").exists())] == []


def test_the_site_has_every_page():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", yaml.safe_dump(config["nav"])))
    assert listed == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
