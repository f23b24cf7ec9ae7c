const grid = document.querySelector(".grid");
const cards = [...grid.children];
const filters = [...document.querySelectorAll("[data-filter]")];
const order = document.querySelector("[data-sort]");
const count = document.querySelector("output");

function show() {
  let seen = 0;
  for (const card of cards) {
    card.hidden = filters.some(f => f.value && card.dataset[f.dataset.filter] !== f.value);
    seen += !card.hidden;
  }
  const [key, down] = [order.value.replace("-", ""), order.value.endsWith("-")];
  const by = card => key === "score" ? Number(card.dataset.score) : card.dataset.name;
  const sorted = [...cards].sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    const found = key === "score" ? x - y : x.localeCompare(y, undefined, { numeric: true });
    return down ? -found : found;
  });
  grid.append(...sorted);
  count.textContent = `${seen} of ${cards.length} shown`;
}

document.querySelector("form").addEventListener("change", show);
show();
