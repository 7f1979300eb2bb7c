// Asks the service, and turns whatever goes wrong into a problem with a title and a sentence.

import { SENT_SMALLER, size } from "./words.js";

export class Problem extends Error {
  constructor({ title, detail, code, status, mayPass, retryAfterSeconds }) {
    super(detail);
    Object.assign(this, { title, detail, code, status, mayPass, retryAfterSeconds });
  }
}

// Signals of the rounds in which no key was given: asking again for each picture would be a trap.
const declined = new WeakSet();

// The key, for a service that asks for one; the tab keeps it until it is closed.
let key = null;
try {
  key = sessionStorage.getItem("key");
} catch {
  // If the browser blocks storage, only the page remembers it.
}

function remember(given) {
  key = given;
  try {
    sessionStorage.setItem("key", given);
  } catch {
    // As above.
  }
}

// A lost connection goes unnoticed. The service takes at most 30 seconds by default; a proxy in front may wait for a
// slow upload first.
const LONGEST_MILLISECONDS = 120_000;

let mostBytes = Infinity; // until the service says

async function call(path, options = {}) {
  const sent = key;
  const headers = sent ? { ...options.headers, "X-API-Key": sent } : options.headers;
  const end = new AbortController(); // by hand: Safari before 17.4 and Firefox before 124 cannot combine signals
  setTimeout(() => end.abort(), LONGEST_MILLISECONDS);
  if (options.signal?.aborted) end.abort();
  options.signal?.addEventListener("abort", () => end.abort());
  const response = await fetch(path, { ...options, headers, signal: end.signal }).catch(async (error) => {
    if (options.signal?.aborted) throw error;
    if (end.signal.aborted) throw tooLate();
    throw (await isReadable(options.body)) ? unreachable() : unreadable();
  });
  if (response.status !== 401) return response;
  // Of several calls at once, the first asks for the key, and the others reuse it.
  if (key !== sent) return call(path, options);
  if (declined.has(options.signal)) return response;
  const given = askForKey(sent);
  if (given) remember(given);
  else if (options.signal) declined.add(options.signal);
  return given ? call(path, options) : response;
}

function askForKey(refused) {
  let question = refused ? "This service does not know that key. Copy it again." : "This service asks for a key.";
  for (;;) {
    const given = window.prompt(question)?.trim();
    if (!given || /^[\x20-\x7e]+$/.test(given)) return given; // else a header cannot carry it
    question = "That key has characters that no key has, such as curly quotes. Copy it again.";
  }
}

export const hasKey = () => key !== null;

export async function predict(picture, mode, signal) {
  // A file over the limit would be refused only after the upload; what the page shows of it is sharp enough.
  const isTooLarge = picture.file.size > mostBytes;
  const file = isTooLarge ? await picture.reduced() : picture.file;
  if (!file) throw tooLarge(picture.file.size);
  const type = file.type || "application/octet-stream";
  const url = `predict?preview=true&conversion=${mode}`;
  const response = await call(url, { method: "POST", body: file, headers: { "Content-Type": type }, signal });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) {
    if (isTooLarge) answer.conversion.steps.unshift(SENT_SMALLER);
    return answer;
  }
  throw problemOf(response, answer);
}

export async function information() {
  const response = await call("model", { headers: { Accept: "application/json" } });
  if (!response.ok) throw problemOf(response, null);
  const facts = await response.json();
  mostBytes = facts.limits.max_body_bytes;
  return facts;
}

function problemOf(response, body) {
  const seconds = Number.parseInt(response.headers.get("Retry-After"), 10);
  const { ok, status } = response;
  const detail = `The status is ${status}.`;
  const unknown = { title: "No answer that this page understands", detail, code: "unknown" };
  return new Problem({
    ...(body?.detail ? body : unknown),
    status,
    // A key may be found, a line get faster, a limit end, and an answer that broke off come whole.
    mayPass: ok || status >= 500 || [401, 408, 429].includes(status) || body?.code === "body_too_slow",
    retryAfterSeconds: seconds > 0 ? seconds : 0,
  });
}

const unreachable = () =>
  new Problem({
    title: "The service cannot be reached",
    detail: "It may have stopped, or this device may be offline. The picture is kept.",
    code: "unreachable",
    mayPass: true,
    retryAfterSeconds: 5,
  });

const tooLate = () =>
  new Problem({
    title: "No answer came in time",
    detail: "The connection may be slow or lost. The picture is kept; try again, or send a smaller one.",
    code: "unreachable",
    mayPass: true,
  });

const tooLarge = (bytes) =>
  new Problem({
    title: "The picture is too large",
    detail: `It has ${size(bytes)}; the limit is ${size(mostBytes)}. Send a smaller one.`,
    code: "payload_too_large",
    mayPass: false,
  });

const unreadable = () =>
  new Problem({
    title: "The file cannot be read",
    detail: "It may be a folder, or have been moved or changed. Choose it again.",
    code: "unreadable",
    mayPass: false,
  });

export const unexpected = (error) =>
  new Problem({
    title: "This page has failed",
    detail: `${error}. Reload it, or try another browser.`,
    code: "unexpected",
    mayPass: true,
  });

async function isReadable(file) {
  return !file || file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}
