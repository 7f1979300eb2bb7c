// Brings in pictures: chosen, dropped, pasted, or one of the samples.

const $ = (id) => document.getElementById(id);

export function listen(take) {
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
  $("samples").addEventListener("click", async (event) => {
    const name = event.target.closest("button")?.dataset.sample;
    if (name) take([await sample(name)], `web/samples/${name}`);
  });
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

async function sample(name) {
  // An empty file when it cannot be had: asking for the answer then says what is wrong.
  const blob = await fetch(`web/samples/${name}`).then((response) => response.blob(), () => new Blob());
  return new File([blob], name, { type: blob.type });
}
