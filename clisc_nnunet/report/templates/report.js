"use strict";
// The page contains all cases; this script filters, sorts and enlarges them.
const find = (id) => document.getElementById(id);
const list = find("list"), viewer = find("viewer");
const cases = [...list.children];
const buttons = new Map(cases.map((item) => [item, item.querySelector(".open")]));
for (const item of cases) item.words = item.querySelector(".text").textContent.toLowerCase();
let visible = cases, current = null, plane = 0;

// Filters and sorting ----------------------------------------------------------------------------
function number(id, otherwise) {
  const value = parseFloat(find(id).value);
  return Number.isNaN(value) ? otherwise : value;
}

function filter() {
  const allowed = new Set([...document.querySelectorAll("[name=status]:checked")].map((box) => box.value));
  const words = find("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  // Confidences are compared as displayed, with two digits.
  const low = number("low", 0) - 0.005, high = number("high", 1) + 0.005;
  for (const item of cases) {
    const { status, confidence } = item.dataset;
    // Failed cases have no confidence.
    const inRange = ["failed", "trusted"].includes(status) || (confidence >= low && confidence <= high);
    item.hidden = !(allowed.has(status) && inRange && words.every((word) => item.words.includes(word)));
  }
  gather();
}

function order() {
  const [, sign, key] = /^(-?)(.*)$/.exec(find("order").value);
  const value = (item) => (key === "name" ? item.dataset.name : Number(item.dataset[key]));
  const compare = (a, b) => (key === "name" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  cases.sort((a, b) => (sign ? -1 : 1) * compare(value(a), value(b)) || a.dataset.rank - b.dataset.rank);
  list.append(...cases);
  gather();
}

function gather() {
  visible = cases.filter((item) => !item.hidden);
  find("shown").textContent = visible.length === cases.length ? `${cases.length} cases` : `${visible.length} of ${cases.length} cases`;
  find("none").hidden = visible.length > 0;
}

function reset() {
  for (const box of document.querySelectorAll("[name=status]")) box.checked = true;
  find("text").value = "";
  find("low").value = "0";
  find("high").value = "1";
  find("order").value = "rank";
  order();
  filter();
}

// Marks of the user: lists that the trainer reads --------------------------------------------------
const memory = `clisc_nnunet ${location.pathname}`;
// Content of the list files when the page was written: mark of a case, and its line.
const recorded = new Map(), lines = new Map();
for (const [kind, names] of Object.entries(JSON.parse(find("lists").textContent)).sort()) {
  for (const [name, line] of Object.entries(names)) { recorded.set(name, kind); lines.set(`${kind} ${name}`, line); }
}
const verdicts = new Map(recorded);
try {
  const kept = JSON.parse(localStorage.getItem(memory)) ?? {};
  const before = new Map(kept.recorded), marked = new Map(kept.verdicts);
  // Unsaved marks are kept, unless the files have changed since.
  for (const name of new Set([...before.keys(), ...marked.keys()])) {
    if (recorded.get(name) === before.get(name)) setVerdict(name, marked.get(name));
  }
} catch { /* private windows keep nothing */ }

function setVerdict(name, verdict) {
  if (verdict) verdicts.set(name, verdict); else verdicts.delete(name);
}

// Only cases of the dataset can be added to a list.
const inDataset = (item) => "inDataset" in item.dataset;

function judge(item, verdict) {
  if (!inDataset(item)) return;
  const name = item.dataset.name;
  setVerdict(name, verdicts.get(name) === verdict ? null : verdict);
  try { localStorage.setItem(memory, JSON.stringify({ recorded: [...recorded], verdicts: [...verdicts] })); } catch { /* as above */ }
  showVerdicts();
}

function badgeText(item) {
  const verdict = verdicts.get(item.dataset.name);
  if (verdict === "exclude") return "left out";
  if (item.dataset.status === "trusted") return verdict ? "" : "no longer trusted";
  return verdict ?? "";
}

function showVerdicts() {
  for (const item of cases) {
    const badge = item.querySelector(".badge");
    badge.textContent = badgeText(item);
    badge.hidden = !badge.textContent;
    if (item === current) for (const box of viewer.querySelectorAll(".marks input")) {
      box.checked = box.value === verdicts.get(item.dataset.name);
      box.disabled = !inDataset(item);
    }
  }
  for (const button of document.querySelectorAll("[data-save]")) {
    const kind = button.dataset.save, count = listed(kind).length;
    // Lists that have become empty need saving too.
    button.disabled = !count && ![...recorded.values()].includes(kind);
    button.textContent = `Save ${kind}.txt` + (count ? ` (${count})` : "");
  }
}

function listed(kind) {
  // Cases that are not in the dataset this time stay in their list, but cannot be added.
  const known = new Set(cases.filter(inDataset).map((item) => item.dataset.name));
  return [...verdicts.keys()].filter((name) => verdicts.get(name) === kind && (known.has(name) || recorded.get(name) === kind)).sort();
}

function save(kind) {
  // The saved list replaces the existing one, including its comments.
  const text = listed(kind).map((name) => (lines.get(`${kind} ${name}`) ?? name) + "\n").join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = `${kind}.txt`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// Enlarged view ----------------------------------------------------------------------------------
function enlarge(item) {
  current = item;
  const copy = (selector) => item.querySelector(selector)?.cloneNode(true);
  find("viewer-name").textContent = item.dataset.name;
  find("viewer-state").replaceChildren(...copy(".state").childNodes);
  find("viewer-state").className = "state";
  viewer.classList.remove("labelled", "trusted", "empty", "failed");
  viewer.classList.add(item.dataset.status);
  viewer.classList.toggle("bare", !item.querySelector(".panels"));
  find("viewer-reason").textContent = item.querySelector(".reason").textContent;
  find("viewer-numbers").replaceChildren(...(copy(".numbers")?.childNodes ?? []));
  find("viewer-file").textContent = inDataset(item) ? `labelsTr/${item.dataset.name}.nii.gz` : "none";
  const strip = document.createElement("template");
  strip.innerHTML = item.querySelector("script")?.textContent ?? "";
  const planes = [...strip.content.children];
  find("strip").replaceChildren(...planes.map((picture, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Plane ${picture.dataset.plane}`);
    button.append(picture);
    button.addEventListener("click", () => showPlane(place));
    return button;
  }));
  showPlane(Math.max(0, planes.findIndex((picture) => picture.classList.contains("first"))));
  showVerdicts();
  find("previous").disabled = visible.indexOf(item) <= 0;
  find("next").disabled = visible.indexOf(item) === visible.length - 1;
  if (!viewer.open) { viewer.showModal(); viewer.focus(); }
}

function showPlane(place) {
  const thumbs = [...find("strip").children];
  if (!thumbs.length) { find("big").replaceChildren(); return; }
  plane = Math.min(Math.max(place, 0), thumbs.length - 1);
  thumbs.forEach((thumb, at) => thumb.setAttribute("aria-pressed", at === plane));
  const picture = thumbs[plane].querySelector("svg").cloneNode(true);
  picture.removeAttribute("aria-hidden");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `Plane ${picture.dataset.plane} of ${current.dataset.name}`);
  const where = document.createElement("p");
  where.className = "where";
  where.textContent = `plane ${picture.dataset.plane}, ${plane + 1} of ${thumbs.length} shown`;
  find("big").replaceChildren(picture, where);
}

function showLayers() {
  for (const box of viewer.querySelectorAll(".layers input")) viewer.classList.toggle(`show-${box.value}`, box.checked);
}

function toggle(layer) {
  const box = viewer.querySelector(`.layers [value=${layer}]`);
  box.checked = !box.checked;
  showLayers();
}

// Keyboard ---------------------------------------------------------------------------------------
function step(by) {
  if (!visible.length) return;
  const place = visible.indexOf(current ?? document.activeElement.closest?.(".case"));
  const item = visible[place < 0 ? 0 : Math.min(Math.max(place + by, 0), visible.length - 1)];
  if (viewer.open) { enlarge(item); return; }
  buttons.get(item).focus({ preventScroll: true, focusVisible: true });
  item.scrollIntoView({ block: "nearest" });
}

const LAYERS = { c: "cam", r: "roi", p: "prompts", l: "label" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { key, target } = event;
  const typing = target.matches?.("input:not([type=checkbox]), select, textarea");
  if (typing) {
    if (key === "Escape" || (key === "Enter" && target.id === "text")) target.blur();
    return;
  }
  const focused = current ?? target.closest?.(".case");
  if (key === "j" || key === "ArrowDown") step(1);
  else if (key === "k" || key === "ArrowUp") step(-1);
  else if (key === "t" && focused) judge(focused, "trusted");
  else if (key === "x" && focused) judge(focused, "exclude");
  else if (key === "/" && !viewer.open) { find("text").focus(); find("text").select(); }
  else if (viewer.open && key === "ArrowLeft") showPlane(plane - 1);
  else if (viewer.open && key === "ArrowRight") showPlane(plane + 1);
  else if (viewer.open && key in LAYERS) toggle(LAYERS[key]);
  else return;
  event.preventDefault();
});

list.addEventListener("click", (event) => {
  const item = event.target.closest(".open") && event.target.closest(".case");
  if (item) enlarge(item);
});
viewer.addEventListener("close", () => {
  const item = current;
  current = null;
  if (item) {
    buttons.get(item).focus({ preventScroll: true, focusVisible: true });
    item.scrollIntoView({ block: "nearest" });
  }
});
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.querySelector(".layers").addEventListener("change", showLayers);
viewer.querySelector(".marks").addEventListener("change", (event) => judge(current, event.target.value));
find("close").addEventListener("click", () => viewer.close());
find("previous").addEventListener("click", () => step(-1));
find("next").addEventListener("click", () => step(1));
find("text").addEventListener("input", filter);
for (const id of ["low", "high"]) find(id).addEventListener("input", filter);
for (const box of document.querySelectorAll("[name=status]")) box.addEventListener("change", filter);
find("order").addEventListener("change", order);
for (const id of ["reset", "reset2"]) find(id).addEventListener("click", reset);
for (const button of document.querySelectorAll("[data-save]")) button.addEventListener("click", () => save(button.dataset.save));
showLayers();
showVerdicts();
order();
filter();
