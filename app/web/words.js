// Says in plain words what the service answers.

const STEPS = {
  decoded_at_half: "Read at half its size, which is plenty",
  decoded_at_quarter: "Read at a quarter of its size, which is plenty",
  decoded_at_eighth: "Read at an eighth of its size, which is plenty",
  exif_transpose: "Turned upright, as the camera noted",
  composited_on_white: "Transparent parts filled with white",
  frame_removed: "Frame removed",
  background_removed: "Background removed",
  no_garment_found: "No garment found, so the whole picture is used",
  trimmed: "Cropped to the garment",
  greyscale: "Colour removed",
  negated: "Dark and light swapped: the model knows bright on black",
  stretched: "Contrast stretched",
  fitted: "Scaled to 28 × 28 pixels, centred on black",
  seen_in_colour: "Also looked at in colour, for what grey does not show",
  resized: "Squeezed to 28 × 28 pixels, whatever it shows",
};

// A step of this page, before those of the service.
export const SENT_SMALLER = "Sent as a smaller copy, since the file is over the limit";

const MODES = {
  native: "Used as it is: already grey and 28 × 28.",
  cut_out: "Treated as a garment already cut out: its background is transparent.",
  bright_on_black: "Treated as a bright garment on black, as in the data set.",
  catalogue: "Treated as a catalogue picture, on a plain light background.",
  photo: "Treated as a photograph.",
  none: "Only resized.",
};

const REMEDIES = {
  native: "send the picture from before it was made grey and 28 × 28",
  none: "choose Auto: only resizing seldom suits a photograph",
};

const LEAST_COVERAGE = 0.9; // that a service can be set to

export const steps = (conversion) => conversion.steps.map((step) => STEPS[step] ?? step.replaceAll("_", " "));

export const mode = (conversion) => MODES[conversion.mode] ?? conversion.mode;

export function percent(probability) {
  if (probability < 0.0005) return "< 0.1%";
  return probability >= 0.9995 ? "> 99.9%" : `${(100 * probability).toFixed(1)}%`;
}

export function listed(labels, word = "or") {
  return labels.length > 1 ? `${labels.slice(0, -1).join(", ")} ${word} ${labels.at(-1)}` : labels[0];
}

// Only these are judged by the figures of photographs; mode `photo` alone may be a pale garment on a plain background.
const isSeenInColour = ({ steps }) => steps.includes("seen_in_colour");

function promised(conversion, { card, coverage }) {
  const sets = card?.prediction_sets.find((one) => one.coverage === coverage);
  return isSeenInColour(conversion) && sets?.photos_coverage
    ? { coverage: sets.photos_coverage, pictures: "photographs" }
    : { coverage, pictures: "pictures like those in Fashion-MNIST" };
}

export function sureness(answer, facts) {
  const { conversion, prediction_set: labels } = answer;
  const { coverage, pictures } = promised(conversion, facts);
  // What holds for all answers together would promise too much for this one.
  if (together(answer) < (coverage ?? LEAST_COVERAGE)) return unsureness(answer);
  const times = coverage ? `${Number((100 * coverage).toFixed(coverage > 0.99 ? 1 : 0))} times in 100` : "nearly always";
  return labels.length > 1
    ? `${listed(labels)}: ${times} it is one of these, for ${pictures}.`
    : `Only this label fits. For ${pictures}, the right one is among those that fit ${times}.`;
}

function unsureness(answer) {
  const { prediction, prediction_set: labels, probabilities } = answer;
  const next = ranked(probabilities).slice(labels.length, labels.length + 2).filter(({ probability }) => probability >= 0.05);
  const others = listed(next.map(({ label, probability }) => `${label} (${percent(probability)})`), "and");
  const doubt = prediction.probability < 0.5 ? "Not sure" : "Not quite sure";
  const right = `${listed(labels)} is right in about ${Math.round(100 * together(answer))} of 100 such answers.`;
  return `${doubt}: ${right}${others ? ` Next ${next.length > 1 ? "come" : "comes"} ${others}.` : ""}`;
}

// The probability that one of the labels named is right.
const together = ({ prediction_set: labels, probabilities }) =>
  probabilities.reduce((sum, { label, probability }) => sum + (labels.includes(label) ? probability : 0), 0);

export const ranked = (probabilities) => [...probabilities].sort((one, other) => other.probability - one.probability);

export function calibration(conversion, { card }) {
  if (!isSeenInColour(conversion) || !card?.photos) {
    return "When it says 80%, it is right about 80 times in 100, for pictures like those in Fashion-MNIST.";
  }
  const { accuracy, ece_equal_mass: off, ece_by_chance: chance, held_out: count, one_label: single } = card.photos;
  const points = (share) => (100 * share).toFixed(1);
  const of = `the ${single?.n} with one right label`;
  const told = chance ? `; of ${of}, its percentages were ${points(off)} points off, ${points(chance)} by chance` : "";
  return `Of ${count} photographs it did not learn from, ${Math.round(100 * accuracy)} in 100 got a label that fits${told}.`;
}

export function unfamiliarity({ conversion, familiarity, prediction, probabilities }, { card }) {
  const more = Math.round(100 * familiarity);
  const { photographs, test } = card?.familiarity.flagged ?? {};
  const [flagged, pictures] =
    conversion.mode === "photo" && photographs ? [photographs, "photographs of these"] : [test, "pictures of the data set"];
  const often = flagged ? `about 1 in ${Math.round(1 / flagged)}` : "a few";
  return [
    `Of 100 pictures of the data set, ${more < 1 ? "all" : 100 - more} are more typical than this one. ` +
      `The nearest kind is ${prediction.label}, but do not rely on it.`,
    `It knows ${listed(probabilities.map(({ label }) => label), "and")}, and calls ${often} ${pictures} unfamiliar too.`,
    `If yours shows one, ${REMEDIES[conversion.mode] ?? "try a picture of that garment alone, upright and on a plain background"}.`,
  ];
}

export function size(bytes) {
  if (bytes < 1024) return count(bytes, "byte");
  const kibibytes = Math.round(bytes / 1024);
  return kibibytes < 1024 ? `${kibibytes} KiB` : `${Number((kibibytes / 1024).toFixed(1))} MiB`;
}

export const count = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
