// Draws one picture with its answer: the garment's box, what the model saw, how it was made, what the model says.

import { Problem } from "./service.js";
import * as words from "./words.js";

const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Names the picture at once; it is drawn when its turn comes.
export function announcePicture(picture) {
  $("frame").replaceChildren();
  $("caption").textContent = [picture.name, words.size(picture.file.size)].join(" · ");
}

export function drawPicture(picture, image) {
  const size = words.size(picture.file.size);
  const side = image ? [`${picture.width} × ${picture.height}`] : [];
  $("caption").textContent = [picture.name, ...side, size].join(" · ");
  if (!image) {
    const sorry = "The browser cannot show this file.";
    $("frame").replaceChildren(element("p", { className: "unshown", textContent: sorry }));
    return;
  }
  const copy = element("img", { src: image.src, alt: `Your picture, ${picture.name}` });
  copy.classList.toggle("tiny", picture.isTiny);
  copy.style.setProperty("--ratio", picture.width / picture.height);
  $("frame").replaceChildren(copy);
}

export function drawBox(answer) {
  $("frame").querySelector(".box")?.remove();
  const { garment, steps } = answer?.conversion ?? {};
  if (!garment || !$("frame").querySelector("img")) return;
  const { format, width, height } = answer.image; // not the browser's, which may take its size from the tags
  if (format === "WEBP" && steps.includes("exif_transpose")) return; // some browsers do not turn it
  const box = element("div", { className: "box" });
  const share = (pixels, side) => `${(100 * pixels) / side}%`;
  Object.assign(box.style, {
    left: share(garment.left, width),
    top: share(garment.top, height),
    width: share(garment.right - garment.left, width),
    height: share(garment.bottom - garment.top, height),
  });
  $("frame").append(box);
}

// The focused element is removed too: focus moves to the new button, or to the answer for the next Tab.
function replaceAnswer(...parts) {
  const hadFocus = $("answer").contains(document.activeElement);
  $("answer").replaceChildren(...parts);
  if (hadFocus) ($("answer").querySelector("button") ?? $("answer")).focus({ preventScroll: true });
}

export function drawWaiting() {
  const pixels = element("div", { className: "pixels" });
  $("seen").replaceChildren(pixels);
  replaceAnswer(element("p", { className: "verdict waiting", textContent: "Looking at it …" }));
}

export function drawAnswer(answer, facts) {
  const steps = words.steps(answer.conversion).map((step) => element("li", { textContent: step }));
  $("seen").replaceChildren(
    element("img", { className: "pixels", src: answer.preview, alt: "The 28 by 28 grey pixels that the model saw" }),
    element("p", { className: "mode", textContent: words.mode(answer.conversion) }),
    element("ol", { className: "steps" }, ...steps),
  );
  if (answer.familiar) replaceAnswer(...verdict(answer, facts), bars(answer), note(answer, facts));
  else replaceAnswer(...unfamiliar(answer, facts));
}

export function drawProblem(problem, waitSeconds, tryAgain) {
  const seen = problem.mayPass ? "Nothing yet." : "Nothing.";
  $("seen").replaceChildren(element("p", { className: "mode", textContent: seen }));
  const told = element("div", { className: "problem" });
  told.append(
    element("p", { className: "verdict", textContent: problem.title }),
    element("p", { textContent: problem.detail }),
  );
  const again = element("button", { type: "button", className: "button small", textContent: "Try again" });
  again.addEventListener("click", tryAgain);
  replaceAnswer(told, ...(problem.mayPass ? [element("p", { className: "wait", id: "wait" }), again] : []));
  drawWait(waitSeconds);
}

export function drawWait(seconds) {
  if ($("wait")) $("wait").textContent = seconds ? `Trying again in ${words.count(seconds, "second")}.` : "";
}

export function drawModes(picture, mode) {
  for (const input of $("modes").querySelectorAll("input")) {
    input.checked = input.value === mode;
    const answer = picture.answers.get(input.value);
    input.nextElementSibling.querySelector("small").textContent = !answer || answer instanceof Problem
      ? ""
      : answer.familiar ? named(answer) : "Unfamiliar";
  }
}

export function spoken(answer, facts) {
  if (answer instanceof Problem) {
    return `${answer.title}. ${answer.detail}${answer.retryAfterSeconds ? " Trying again automatically." : ""}`;
  }
  return answer.familiar
    ? `${named(answer)}. ${words.sureness(answer, facts)}`
    : [`${UNFAMILIAR}.`, ...words.unfamiliarity(answer, facts)].join(" ");
}

const UNFAMILIAR = "Unlike anything it knows";

const named = ({ prediction: { label, probability } }) => `${label}, ${words.percent(probability)}`;

function verdict(answer, facts) {
  const { label, probability } = answer.prediction;
  return [
    element("p", { className: "verdict" }, label, " ", element("span", { textContent: words.percent(probability) })),
    element("p", { className: "sure", textContent: words.sureness(answer, facts) }),
  ];
}

// Without numbers, which hold only for pictures of what the model knows.
function unfamiliar(answer, facts) {
  const [doubt, ...advice] = words.unfamiliarity(answer, facts);
  return [
    element("p", { className: "verdict", textContent: UNFAMILIAR }),
    element("p", { className: "sure warning", textContent: doubt }),
    ...advice.map((textContent) => element("p", { className: "advice", textContent })),
  ];
}

function bars(answer) {
  const rows = words.ranked(answer.probabilities).map(({ label, probability }) => {
    const bar = element("span", { className: "bar", ariaHidden: "true" }, element("span"));
    bar.firstChild.style.width = `${100 * probability}%`;
    const row = element("li", {}, element("span", { className: "label", textContent: label }), bar);
    row.append(element("span", { className: "number", textContent: words.percent(probability) }));
    row.classList.toggle("named", answer.prediction_set.includes(label));
    return row;
  });
  return element("ol", { className: "bars" }, ...rows);
}

function note({ conversion, probabilities }, facts) {
  return element(
    "p",
    { className: "note" },
    `${words.calibration(conversion, facts)} ` +
      `It puts every picture into one of ${probabilities.length} kinds, and treats two garments as one: `,
    element("a", { href: "model", textContent: "see how well it does" }),
    ".",
  );
}
