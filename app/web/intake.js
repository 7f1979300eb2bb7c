// Brings in pictures: chosen, dropped, pasted, of the camera, or one of the samples.

import * as camera from "./camera.js";

const $ = (id) => document.getElementById(id);

let turn = 0; // a sample that loads slowly yields to what came in after it

export function listen(show) {
  const take = (files, address) => {
    turn += 1;
    $("sample-problem").hidden = true;
    show(files, address);
  };
  for (const input of [$("choose"), $("take")]) {
    input.addEventListener("change", () => {
      if (input.files.length) take([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  listenForDrops(take);
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take([...event.clipboardData.files]);
  });
  listenForSamples(take);
  camera.listen(take);
  $("phone-camera").hidden = !matchMedia("(pointer: coarse)").matches;
}

function listenForDrops(take) {
  let depth = 0; // entering a child comes before leaving its parent
  const show = (change) => {
    depth = Math.max(0, change && depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => hasFiles(event) && show(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && show(-1));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(0);
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
}

function listenForSamples(take) {
  $("samples").addEventListener("click", async (event) => {
    const name = event.target.closest("button")?.dataset.sample;
    if (!name) return;
    turn += 1;
    const mine = turn;
    const address = `web/samples/${name}`;
    $("sample-problem").hidden = true; // so that it is read aloud once more
    const blob = await loaded(address).catch(() => null);
    if (mine !== turn) return;
    if (blob) take([new File([blob], name, { type: blob.type })], address);
    else $("sample-problem").hidden = false;
  });
}

async function loaded(address) {
  const response = await fetch(address, { cache: "force-cache" }); // the page shows it, so it is here already
  if (!response.ok) throw new Error(`The status is ${response.status}.`);
  return response.blob();
}
