// The page: which pictures are in hand, which of them is shown, and what is asked about them.

import * as answer from "./answer.js";
import * as code from "./code.js";
import * as gallery from "./gallery.js";
import * as intake from "./intake.js";
import { Picture } from "./picture.js";
import { Problem, information, predict, unexpected } from "./service.js";
import * as words from "./words.js";

const $ = (id) => document.getElementById(id);

const state = { pictures: [], current: null, mode: "auto", facts: {}, drawn: null, round: new AbortController() };
let atATime; // requests
let learning = null; // the promise of facts

async function take(files, address) {
  startRound();
  learn();
  atATime = 4; // a browser opens six connections to a host
  for (const picture of state.pictures) picture.forget();
  state.pictures = files.map((file) => new Picture(file, address));
  gallery.open(state.pictures, (picture, byKeyboard) => {
    show(picture);
    reveal("result");
    if (byKeyboard) $("answer").focus({ preventScroll: true }); // else focus stays on what left the screen
  });
  document.body.classList.add("has-picture");
  $("result").hidden = $("code").hidden = false;
  show(state.pictures[0]);
  reveal(files.length > 1 ? "gallery" : "result");
  await askAll();
}

// What changed may be off the screen: on a phone, the answer below the picture.
function reveal(id) {
  const { top } = $(id === "result" ? "answer" : id).getBoundingClientRect();
  if (top < 0 || top > 0.7 * innerHeight) $(id).scrollIntoView();
}

async function show(picture) {
  state.current = picture;
  answer.announcePicture(picture);
  draw();
  speak();
  const image = await picture.shown;
  if (picture !== state.current) return;
  answer.drawPicture(picture, image);
  answer.drawBox(picture.answers.get(state.mode));
}

// A screen reader reads what has changed; in one text, since a second would replace it.
function speak(more = "") {
  const outcome = state.current.answers.get(state.mode);
  const name = state.pictures.length > 1 ? `${state.current.name}: ` : "";
  const text = `${name}${outcome ? answer.spoken(outcome, state.facts) : "Looking at it …"} ${more}`.trim();
  if ($("status").textContent !== text) $("status").textContent = text; // the same text would be read again
}

function startRound() {
  state.round.abort();
  state.round = new AbortController();
}

async function askAll() {
  const { signal } = state.round;
  const { mode } = state;
  const waiting = state.pictures.filter((picture) => !isSettled(picture.answers.get(mode)));
  if (!waiting.length) return;
  const worker = async () => {
    const together = atATime;
    while (waiting.length && !signal.aborted && atATime === together) await ask(waiting.shift(), mode, signal, waiting);
  };
  while (waiting.length && !signal.aborted) await Promise.all(Array.from({ length: atATime }, worker));
  if (!signal.aborted && state.pictures.length > 1) speak($("gallery-title").textContent);
}

// Answers are settled, and refusals that will not change.
const isSettled = (outcome) => outcome && !outcome.mayPass;

async function ask(picture, mode, signal, waiting) {
  const together = atATime;
  for (;;) {
    const outcome = await predict(picture, mode, signal).catch((error) =>
      error instanceof Problem ? error : unexpected(error));
    if (signal.aborted) return;
    if (["too_slow", "body_too_slow"].includes(outcome.code) && together > 1 && state.pictures.length > 1) {
      atATime = 1; // pictures share the uplink, and on a slow one none arrives in time
      waiting.push(picture);
      return;
    }
    picture.answers.set(mode, outcome);
    picture.waitSeconds = outcome.retryAfterSeconds ?? 0;
    draw();
    if (picture === state.current) speak();
    if (!picture.waitSeconds) return;
    await countDown(picture, signal);
    if (signal.aborted) return;
  }
}

async function countDown(picture, signal) {
  while (picture.waitSeconds) {
    if (picture === state.current) answer.drawWait(picture.waitSeconds);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (signal.aborted) return; // the next round may set a longer wait
    picture.waitSeconds -= 1;
  }
  if (picture === state.current) answer.drawWait(0);
}

function tryAgain() {
  startRound();
  for (const picture of state.pictures) {
    if (!isSettled(picture.answers.get(state.mode))) picture.answers.delete(state.mode);
  }
  draw();
  speak();
  askAll();
}

function draw() {
  const { current, mode, pictures } = state;
  gallery.draw(pictures, mode, current);
  const outcome = current.answers.get(mode);
  // While answers to other pictures come in, what is shown may have the focus or be read aloud.
  const drawn = [current, mode, outcome, state.facts];
  if (drawn.every((one, place) => one === state.drawn?.[place])) return;
  state.drawn = drawn;
  answer.drawModes(current, mode);
  answer.drawBox(outcome);
  if (!outcome) answer.drawWaiting();
  else if (outcome instanceof Problem) answer.drawProblem(outcome, current.waitSeconds, tryAgain);
  else answer.drawAnswer(outcome, state.facts);
  code.draw(current, mode);
}

$("modes").addEventListener("change", (event) => {
  state.mode = event.target.value;
  tryAgain(); // a temporary problem met earlier in this mode is out of date
});

addEventListener("online", () => {
  if (state.pictures.some((picture) => picture.answers.get(state.mode)?.code === "unreachable")) tryAgain();
});

intake.listen(take);
gallery.listen(() => state.pictures, () => state.mode);

// Without facts, the sentences lack their numbers. If this fails, the next pictures try it again.
function learn() {
  learning ??= information().then((facts) => {
    state.facts = facts;
    const { formats, max_body_bytes: most } = facts.limits;
    $("limits").prepend(`${formats.join(", ")}, up to ${words.size(most)} each. `);
    if (state.current) draw();
  }, () => (learning = null));
}

learn();
