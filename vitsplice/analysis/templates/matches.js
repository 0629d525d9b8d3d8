"use strict";
{
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);

  // --- Data ---------------------------------------------------------------------------------------------------------

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const numbers = (Type, text) => new Type(bytes(text).buffer);
  const colours = bytes(data.colours);
  const images = data.images.map((image, side) => ({
    ...image,
    columns: image.grid[1],
    count: image.grid[0] * image.grid[1],
    vectors: numbers(Int8Array, image.vectors),
    nearest: numbers(Int32Array, image.nearest),
    similarities: numbers(Float32Array, image.similarities),
    components: bytes(image.components),
    stage: document.querySelectorAll(".stage")[side],
  }));
  const state = { side: 0, patch: data.selected, overlay: "similarity", matchCount: 1 };

  /** The patches of the other image that are most similar to a patch, the best first. */
  function matchesOf(side, patch) {
    const { nearest, similarities } = images[side];
    const start = patch * data.nearest;
    return Array.from({ length: data.nearest }, (_, rank) => ({
      patch: nearest[start + rank],
      similarity: similarities[start + rank],
    }));
  }

  const bestMatch = (side, patch) => images[side].nearest[patch * data.nearest];

  /** The approximate similarity of a patch to every patch of the other image. */
  function similarityMap(side, patch) {
    const length = data.scales.length;
    const other = images[1 - side];
    const query = data.scales.map((scale, d) => scale * images[side].vectors[patch * length + d]);
    return Float32Array.from({ length: other.count }, (_, n) => {
      let sum = 0;
      for (let d = 0; d < length; d++) sum += query[d] * other.vectors[n * length + d];
      return sum;
    });
  }

  /** The centre of a patch as text, (x, y) in pixels of the image file. */
  function centre(image, patch) {
    const [rows, columns] = image.grid;
    const x = ((patch % columns) + 0.5) * (image.width / columns);
    const y = (Math.floor(patch / columns) + 0.5) * (image.height / rows);
    return `(${Math.round(x)}, ${Math.round(y)})`;
  }

  // --- Drawing ------------------------------------------------------------------------------------------------------

  /** Paint the colours of the patches over an image; null instead of colours hides the overlay. */
  function paint(image, rgb) {
    const canvas = image.stage.querySelector("canvas");
    canvas.hidden = !rgb;
    if (!rgb) return;
    const pixels = new ImageData(image.columns, image.grid[0]);
    for (let n = 0; n < image.count; n++) pixels.data.set([rgb[3 * n], rgb[3 * n + 1], rgb[3 * n + 2], 255], 4 * n);
    canvas.width = pixels.width;
    canvas.height = pixels.height;
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    canvas.style.opacity = byId("opacity").value / 100;
  }

  /** The colours of values on a scale from 0 to a maximum; values outside of this range are clamped. */
  function heatColours(values, maximum) {
    const rgb = new Uint8Array(3 * values.length);
    values.forEach((value, n) => {
      const level = Math.round(255 * Math.min(1, Math.max(0, value / maximum)));
      rgb.set(colours.subarray(3 * level, 3 * level + 3), 3 * n);
    });
    return rgb;
  }

  function mark(image, patch, kind, text = "") {
    const [rows, columns] = image.grid;
    const element = document.createElement("i");
    element.className = kind;
    element.style.left = `${(100 * ((patch % columns) + 0.5)) / columns}%`;
    element.style.top = `${(100 * (Math.floor(patch / columns) + 0.5)) / rows}%`;
    if (!kind.includes("match")) {
      element.style.width = `max(${100 / columns}%, 14px)`;
      element.style.height = `max(${100 / rows}%, 14px)`;
    }
    element.textContent = text;
    image.stage.querySelector(".marks").append(element);
  }

  function drawOverlays() {
    const heated = state.overlay === "similarity";
    images.forEach((image, side) => {
      image.stage.classList.toggle("heated", heated && side !== state.side);
      if (state.overlay === "components") paint(image, image.components);
      else paint(image, state.overlay === "warped" && side === 0 ? bytes(data.warped) : null);
    });
    byId("legend").classList.toggle("hidden", !heated);
    if (!heated) return;
    const maximum = Math.max(0.01, matchesOf(state.side, state.patch)[0].similarity);
    paint(images[1 - state.side], heatColours(similarityMap(state.side, state.patch), maximum));
    byId("low").textContent = "\u2264 0";
    byId("high").textContent = maximum.toFixed(2);
  }

  function drawMarks(matches, back) {
    for (const image of images) image.stage.querySelector(".marks").replaceChildren();
    const other = images[1 - state.side];
    for (let rank = matches.length; rank > 1; rank--) mark(other, matches[rank - 1].patch, "match further", rank);
    mark(other, matches[0].patch, "match best");
    if (back !== state.patch) mark(images[state.side], back, "back");
    mark(images[state.side], state.patch, "selected");
  }

  function describe(matches, back) {
    const [own, other] = [images[state.side], images[1 - state.side]];
    const mutual =
      back === state.patch
        ? "Mutual: each is the best match of the other."
        : `Not mutual: the best match of the patch in ${other.name} is at ${centre(own, back)} in ${own.name} (dashed).`;
    byId("status").textContent =
      `The patch at ${centre(own, state.patch)} in ${own.name} matches best at ${centre(other, matches[0].patch)} in ` +
      `${other.name}, similarity ${matches[0].similarity.toFixed(3)}. ${mutual}`;
    const lines = matches.length > 1 ? matches : [];
    byId("matches").replaceChildren(
      ...lines.map(({ patch, similarity }) =>
        Object.assign(document.createElement("li"), { textContent: `${centre(other, patch)}: ${similarity.toFixed(3)}` }),
      ),
    );
  }

  function draw() {
    const matches = matchesOf(state.side, state.patch).slice(0, state.matchCount);
    const back = bestMatch(1 - state.side, matches[0].patch);
    drawOverlays();
    drawMarks(matches, back);
    describe(matches, back);
  }

  // --- Selection ----------------------------------------------------------------------------------------------------

  function select(side, patch) {
    Object.assign(state, { side, patch });
    draw();
  }

  function patchAt(image, event) {
    const box = image.stage.getBoundingClientRect();
    const index = (position, size, count) => Math.min(count - 1, Math.max(0, Math.floor((position / size) * count)));
    const row = index(event.clientY - box.top, box.height, image.grid[0]);
    return row * image.columns + index(event.clientX - box.left, box.width, image.columns);
  }

  const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  /** Select by key: an arrow selects a neighbour, Enter the best match in the other image. Both start from the selected
      patch; in the image that does not contain it, from the best match of the selected patch. */
  function press(side, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const own = state.side === side ? state.patch : bestMatch(state.side, state.patch);
    if (event.key === "Enter") {
      images[1 - side].stage.focus();
      select(1 - side, bestMatch(side, own));
    } else if (event.key in ARROWS) {
      const [rows, columns] = images[side].grid;
      const [down, right] = ARROWS[event.key].map((step) => step * (event.shiftKey ? 5 : 1));
      const row = Math.min(rows - 1, Math.max(0, Math.floor(own / columns) + down));
      select(side, row * columns + Math.min(columns - 1, Math.max(0, (own % columns) + right)));
    } else return;
    event.preventDefault();
  }

  images.forEach((image, side) => {
    image.stage.style.aspectRatio = `${image.width} / ${image.height}`;
    image.stage.style.maxWidth = `${(34 * image.width) / image.height}rem`;
    image.stage.addEventListener("pointerdown", (event) => select(side, patchAt(image, event)));
    image.stage.addEventListener("pointermove", (event) => {
      if (event.buttons && event.pointerType === "mouse") select(side, patchAt(image, event));
    });
    image.stage.addEventListener("keydown", (event) => press(side, event));
  });

  // --- Controls -----------------------------------------------------------------------------------------------------

  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("input", () => {
    state.overlay = byId("controls").elements.overlay.value;
    state.matchCount = Math.min(data.nearest, Math.max(1, Math.round(Number(byId("count").value)) || 1));
    draw();
  });

  function save(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  function asCsv({ matches }) {
    const head = "first_x,first_y,second_x,second_y,similarity,confidence\n";
    return head + matches.map((m) => `${[...m.first, ...m.second, m.similarity, m.confidence]}\n`).join("");
  }

  byId("json").addEventListener("click", () =>
    save("matches.json", "application/json", JSON.stringify(data.record, null, 2) + "\n"),
  );
  byId("csv").addEventListener("click", () => save("matches.csv", "text/csv", asCsv(data.record)));

  // --- Embedded in another page: as high as the content; light or dark, to match the text around the frame ----------

  const frame = window.frameElement;
  if (frame) {
    const adoptTheme = () => {
      const [red, green, blue] = getComputedStyle(frame.parentElement).color.match(/[\d.]+/g).map(Number);
      const theme = 0.3 * red + 0.6 * green + 0.1 * blue > 128 ? "dark" : "light";
      document.documentElement.style.colorScheme = frame.style.colorScheme = theme;
    };
    adoptTheme();
    parent.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", adoptTheme);
    document.body.classList.add("embedded");
    new ResizeObserver(() => {
      frame.style.height = `${document.documentElement.offsetHeight}px`;
    }).observe(document.documentElement);
  }

  const legend = byId("legend").querySelector("canvas");
  const scale = new ImageData(256, 1);
  for (let n = 0; n < 256; n++) scale.data.set([...colours.subarray(3 * n, 3 * n + 3), 255], 4 * n);
  legend.getContext("2d").putImageData(scale, 0, 0);
  draw();
}
