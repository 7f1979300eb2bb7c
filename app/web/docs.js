// Shows the API document, and offers a picture wherever it asks for a file.

const EXAMPLE = "web/samples/sweater.jpg";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});

new MutationObserver(() => {
  for (const input of document.querySelectorAll("#swagger-ui input[type=file]")) {
    if (!input.parentElement.querySelector(".example")) input.after(button(input));
  }
}).observe(document.getElementById("swagger-ui"), { childList: true, subtree: true });

function button(input) {
  const picture = Object.assign(new Image(), { src: EXAMPLE, alt: "" });
  const made = Object.assign(document.createElement("button"), { type: "button", className: "example" });
  made.append(picture, "Use this picture");
  made.addEventListener("click", async () => {
    const blob = await fetch(EXAMPLE).then((response) => response.blob());
    const files = new DataTransfer();
    files.items.add(new File([blob], "sweater.jpg", { type: blob.type }));
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  return made;
}
