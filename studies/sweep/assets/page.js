// Sorts a table by the column whose heading is clicked: by the numbers in data-value, else by text.
document.querySelectorAll("th").forEach(th => th.addEventListener("click", () => {
  const body = th.closest("table").tBodies[0], i = th.cellIndex, up = th.dataset.up !== "1";
  th.dataset.up = up ? "1" : "0";
  const value = row => { const v = row.cells[i].dataset.value; return v === undefined ? row.cells[i].innerText : +v; };
  [...body.rows].sort((a, b) => { const x = value(a), y = value(b);
    return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1); }).forEach(row => body.append(row));
}));
