// Shows several pictures at once, and saves their answers as CSV or JSON.

import { element } from "./answer.js";
import { Problem } from "./service.js";
import * as words from "./words.js";

const $ = (id) => document.getElementById(id);

export function open(pictures, select) {
  $("gallery").hidden = pictures.length < 2;
  const cells = pictures.map((picture) => {
    const button = element("button", { type: "button" });
    button.addEventListener("click", ({ detail }) => select(picture, detail === 0)); // 0: by keyboard
    picture.cell = button;
    return element("li", {}, button);
  });
  $("cells").replaceChildren(...cells);
  for (const picture of pictures) {
    picture.cell.append(element("span", { className: "thumb" }), element("strong"), element("small"));
    picture.shown.then((image) => {
      if (!image) return;
      const className = picture.isTiny ? "tiny" : "";
      picture.cell.firstChild.append(element("img", { src: image.src, alt: "", className }));
    });
  }
}

export function draw(pictures, mode, current) {
  if (pictures.length < 2) return;
  const outcomes = pictures.map((picture) => picture.answers.get(mode));
  const refused = outcomes.filter((outcome) => outcome instanceof Problem).length;
  const done = outcomes.filter(Boolean).length - refused;
  $("gallery-title").textContent = `${done} of ${pictures.length} pictures answered`;
  if (refused) $("gallery-title").textContent += `, ${refused} not`;
  pictures.forEach((picture, place) => drawCell(picture, outcomes[place], picture === current));
}

const drawn = new WeakMap(); // what each cell shows: of thousands, one changes at a time

function drawCell({ cell, name }, outcome, isCurrent) {
  const last = drawn.get(cell);
  if (last && last.outcome === outcome && last.isCurrent === isCurrent) return;
  drawn.set(cell, { outcome, isCurrent });
  const [, verdict, detail] = cell.children;
  cell.setAttribute("aria-current", isCurrent);
  cell.classList.toggle("refused", outcome instanceof Problem);
  if (!outcome) verdict.textContent = "…";
  else if (outcome instanceof Problem) verdict.textContent = outcome.title;
  else if (!outcome.familiar) verdict.textContent = "Unfamiliar";
  else verdict.textContent = `${outcome.prediction.label} ${words.percent(outcome.prediction.probability)}`;
  detail.textContent = name;
}

export function listen(pictures, mode) {
  $("save-csv").addEventListener("click", () => save("answers.csv", "text/csv", csv(pictures(), mode())));
  $("save-json").addEventListener("click", () => save("answers.json", "application/json", json(pictures(), mode())));
}

function json(pictures, mode) {
  const rows = pictures.map((picture) => {
    const outcome = picture.answers.get(mode);
    if (outcome instanceof Problem) {
      const { title, detail, code } = outcome;
      return { filename: picture.name, problem: { title, detail, code } };
    }
    const { preview, ...result } = outcome ?? {};
    return { filename: picture.name, result: outcome ? result : null };
  });
  return `${JSON.stringify(rows, null, 2)}\n`;
}

// The columns of `python -m app.client --csv`, then the conversion and all probabilities.
function csv(pictures, mode) {
  const answered = pictures.map((picture) => picture.answers.get(mode)).find((one) => one?.probabilities);
  const labels = answered?.probabilities.map((one) => one.label) ?? [];
  const head = ["filename", "label", "probability", "prediction_set", "familiar", "familiarity", "error", "conversion", ...labels];
  const rows = pictures.map((picture) => {
    const outcome = picture.answers.get(mode);
    if (!outcome?.prediction) {
      const error = outcome ? `${outcome.code}: ${outcome.detail}` : "";
      return [picture.name, "", "", "", "", "", error, mode, ...labels.map(() => "")];
    }
    const { prediction, prediction_set, familiar, familiarity, probabilities } = outcome;
    const facts = [prediction.label, prediction.probability, prediction_set.join("|"), familiar, familiarity, "", mode];
    return [picture.name, ...facts, ...probabilities.map((one) => one.probability)];
  });
  const mark = "\ufeff"; // else Excel reads names in another encoding
  return mark + [head, ...rows].map((row) => `${row.map(cellOfCsv).join(",")}\r\n`).join("");
}

// A spreadsheet would run a name that starts like a formula.
function cellOfCsv(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
