// Takes in pictures: chosen, dropped, pasted, from the camera, or a sample.

import * as camera from "./camera.js";

const $ = (id) => document.getElementById(id);

let turn = 0; // a sample that loads slowly yields to what came in after it

export function listen(show) {
  const take = (files, address) => {
    turn += 1;
    $("sample-problem").hidden = $("drop-problem").hidden = true;
    $("camera").close(); // a picture may be pasted while it is open
    show(files, address);
  };
  for (const input of [$("choose"), $("take")]) {
    const chosen = () => {
      if (input.files.length) take([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    };
    input.addEventListener("change", chosen);
    chosen(); // before this script loaded
  }
  listenForDrops(take);
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take([...event.clipboardData.files]);
    else sayNoFile();
  });
  listenForSamples(take);
  camera.listen(take);
  $("phone-camera").hidden = !matchMedia("(pointer: coarse)").matches;
}

function listenForDrops(take) {
  const show = (isOver) => document.body.classList.toggle("dropping", isOver);
  document.addEventListener("dragover", (event) => {
    event.preventDefault(); // else a picture dragged from another page, as its address, replaces this page
    show(true);
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget ?? show(false)); // left the window
  // A drag that ends elsewhere may fire no event, but no pointer moves during a drag.
  for (const end of ["dragend", "pointermove"]) document.addEventListener(end, () => show(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    show(false);
    const { files } = event.dataTransfer;
    if (files.length) take([...files]);
    else sayNoFile();
  });
}

function sayNoFile() {
  $("camera").close();
  const problem = $("drop-problem");
  problem.hidden = true; // so that it is read aloud again
  requestAnimationFrame(() => {
    problem.hidden = false;
    problem.scrollIntoView({ block: "nearest" });
  });
}

function listenForSamples(take) {
  $("samples").addEventListener("click", async (event) => {
    const name = event.target.closest("button")?.dataset.sample;
    if (!name) return;
    turn += 1;
    const mine = turn;
    const address = `web/samples/${name}`;
    $("sample-problem").hidden = true; // so that it is read aloud again
    const blob = await loaded(address).catch(() => null);
    if (mine !== turn) return;
    if (blob) take([new File([blob], name, { type: blob.type })], address);
    else $("sample-problem").hidden = false;
  });
}

async function loaded(address) {
  const response = await fetch(address, { cache: "force-cache" }); // the page shows it, so it is cached
  if (!response.ok) throw new Error(`The status is ${response.status}.`);
  return response.blob();
}
