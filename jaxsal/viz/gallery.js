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
  const by = card => key === "name" ? card.dataset.name : Number(card.dataset[key]);
  const sorted = [...cards].sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    const found = key === "name" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
    return down ? -found : found;
  });
  grid.append(...sorted);
  count.textContent = `${seen} of ${cards.length} shown`;
}

document.querySelector("form").addEventListener("change", show);
show();
