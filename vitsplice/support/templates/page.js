for (const input of document.querySelectorAll(".overlay input")) {
  const move = () => input.parentElement.style.setProperty("--position", input.value + "%");
  input.addEventListener("input", move);
  move();
}
for (const film of document.querySelectorAll(".film")) {
  const sequences = JSON.parse(film.querySelector("script").textContent);
  const images = film.querySelectorAll("img"), button = film.querySelector("button");
  const position = film.querySelector(".controls input"), output = film.querySelector("output");
  let timer = null;
  const show = () => {
    images.forEach((image, index) => { image.src = sequences[index][position.value]; });
    output.textContent = position.value;
  };
  const advance = () => {
    position.value = (Number(position.value) + 1) % sequences[0].length;
    show();
  };
  position.addEventListener("input", show);
  button.addEventListener("click", () => {
    timer = timer === null ? setInterval(advance, 1000 / Number(film.dataset.rate)) : clearInterval(timer) ?? null;
    button.textContent = timer === null ? "play" : "stop";
    button.setAttribute("aria-pressed", String(timer !== null));
  });
}
for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), column = head.cellIndex;
    const wasAscending = head.getAttribute("aria-sort") === "ascending";
    const value = row => {
      const cell = row.cells[column];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      const order = typeof x === "number" ? x - y : x.localeCompare(y);
      return wasAscending ? -order : order;
    };
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", wasAscending ? "descending" : "ascending");
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  });
}
for (const box of document.querySelectorAll(".cards")) {
  const form = box.querySelector("form"), cards = [...box.querySelectorAll("article")];
  const cell = (card, row, column) => card.querySelector("tbody").rows[row].cells[column + 1];
  const show = () => {
    const row = Number(form.elements.row.value), column = Number(form.elements.column.value);
    const higher = "higher" in form.elements.row.selectedOptions[0].dataset;
    const rising = higher === (form.elements.end.value === "worst");
    const value = card => "value" in cell(card, row, column).dataset ? Number(cell(card, row, column).dataset.value) : null;
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null);
      return rising ? x - y : y - x;
    };
    for (const card of cards) {
      const note = cell(card, row, column).dataset.note;
      card.querySelector("h3 output").textContent = note ? note : "";
      card.querySelectorAll(".columns figure").forEach((figure, index) => {
        figure.querySelector("output").textContent = cell(card, row, index).textContent;
        figure.classList.toggle("selected", index === column);
      });
    }
    box.append(...cards.sort(compare));
  };
  form.addEventListener("change", show);
  form.addEventListener("submit", event => event.preventDefault());
  show();
}
