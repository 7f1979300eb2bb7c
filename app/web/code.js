// Writes lines to copy that send the service the same request, though the file itself if the page sent a smaller copy.

import { element } from "./answer.js";
import { hasKey } from "./service.js";

const $ = (id) => document.getElementById(id);
const RAW = "application/octet-stream";

let drawn = [];

export function draw(picture, mode) {
  const asked = [picture, mode, hasKey()];
  if (asked.every((one, place) => one === drawn[place])) return; // a button there may have the focus
  drawn = asked;
  const query = mode === "auto" ? "" : `?conversion=${mode}`;
  const url = new URL(`predict${query}`, document.baseURI).href;
  const address = picture.address && new URL(picture.address, document.baseURI).href; // of a sample
  const fetched = address ? `curl -O ${address}\n` : "";
  const name = picture.name;
  // The bytes decide the format, except for bare pixels: browsers know no type for them, or RAW.
  const isBare = [RAW, ""].includes(picture.file.type);
  const headers = { ...(isBare ? { "Content-Type": RAW } : {}), ...(hasKey() ? { "X-API-Key": "KEY" } : {}) };
  const options = Object.entries(headers).map(([header, value]) => ` -H '${header}: ${value}'`).join("");
  const passed = Object.keys(headers).length ? `, headers=${JSON.stringify(headers)}` : "";
  $("snippets").replaceChildren(
    snippet("curl", `${fetched}curl${options} --data-binary @${quoted(name)} ${quoted(url)}`),
    snippet(
      "Python",
      [
        "import httpx",
        "",
        `url = ${JSON.stringify(url)}`,
        ...(address ? [`picture = httpx.get(${JSON.stringify(address)}).content`] : opened(name)),
        `response = httpx.post(url, content=picture${passed})`,
        "answer = response.json()",
        'print(answer["prediction"]["label"] if response.is_success else answer["detail"])',
      ].join("\n"),
    ),
  );
}

const opened = (name) => [
  "# Save the picture in this folder first, if it is not there.",
  `with open(${JSON.stringify(name)}, "rb") as file:`,
  "    picture = file.read()",
];

function snippet(language, text) {
  const copy = element("button", { type: "button", className: "button small", textContent: "Copy" });
  copy.ariaLabel = `Copy the ${language} lines`;
  const lines = element("pre", { tabIndex: 0, ariaLabel: `${language} lines` }, element("code", { textContent: text }));
  lines.role = "region";
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
      $("status").textContent = `The ${language} lines are copied.`;
    } catch {
      getSelection().selectAllChildren(lines); // without https a page may not write to the clipboard
      copy.textContent = "Selected";
      $("status").textContent = `The ${language} lines are selected.`;
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  });
  const head = element("div", { className: "snippet-head" }, element("h3", { textContent: language }), copy);
  return element("div", { className: "snippet" }, head, lines);
}

// For a POSIX shell: plain names stay plain.
const quoted = (text) => (/^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
