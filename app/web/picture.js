// A picture in hand: the file as it was given, what is shown of it, and the answers to it.

const SHOWN_PIXELS = 1200; // a decoded phone picture takes 50 MB or more, so a smaller one is shown
const TINY_PIXELS = 100; // below this, it is enlarged pixel by pixel
let queue = Promise.resolve(); // pictures are decoded one by one

export class Picture {
  constructor(file, address) {
    this.file = file;
    this.address = address; // of a sample
    this.answers = new Map(); // by mode: the answer, or the problem
    this.waitSeconds = 0; // until it is tried again
    this.isForgotten = false;
    // An `<img>` to copy, or null if it cannot be shown, which does not affect the next in the queue.
    this.shown = queue = queue.then(() => this.#show()).catch(() => null);
  }

  get name() {
    return this.file.name || "picture";
  }

  get isTiny() {
    return Math.max(this.width, this.height) < TINY_PIXELS;
  }

  // A smaller JPEG, if the picture is larger than is shown and the browser can read it; else nothing.
  async reduced() {
    await this.shown;
    return this.copy;
  }

  async #show() {
    if (this.isForgotten) return null;
    const image = new Image();
    image.src = URL.createObjectURL(this.file);
    try {
      await image.decode();
    } catch {
      URL.revokeObjectURL(image.src);
      return null;
    }
    const scale = SHOWN_PIXELS / Math.max(image.naturalWidth, image.naturalHeight);
    [this.width, this.height] = [image.naturalWidth, image.naturalHeight];
    if (scale >= 1) return image;
    this.copy = await reduced(image, scale);
    const smaller = new Image();
    smaller.src = URL.createObjectURL(this.copy);
    await smaller.decode();
    return smaller;
  }

  forget() {
    this.isForgotten = true;
    this.shown.then((image) => image && URL.revokeObjectURL(image.src));
  }
}

async function reduced(image, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  canvas.width = canvas.height = 0; // frees its memory, which is scarce on some phones
  URL.revokeObjectURL(image.src);
  return blob;
}
