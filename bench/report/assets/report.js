"use strict";
(() => {
  const stored = document.getElementById("figures");
  const figures = stored ? JSON.parse(stored.textContent) : {};
  const hidden = new Set();
  const visible = (trace) => !hidden.has(trace.meta);

  // A phone has room for some of the x axis's labels only: for two at least, as one alone gives no scale.
  function thin(layout, width) {
    const axis = layout.xaxis;
    if (!axis.ticktext) return;
    const room = width - layout.margin.r - (layout.yaxis.type === "category" ? 175 : 75);
    const step = Math.ceil((axis.ticktext.length - 1) / Math.max(1, Math.floor(room / 64)));
    axis.ticktext = axis.ticktext.map((text, place) => (place % step ? "" : text));
  }

  function draw(place) {
    const figure = figures[place.dataset.figure];
    for (const trace of figure.data) trace.visible = visible(trace);
    thin(figure.layout, place.clientWidth);
    return Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displayModeBar: false })
      .then(() => { place.dataset.drawn = ""; });
  }

  // A full run has hundreds of figures: each is drawn when it is about to be seen.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "800px" });
  const places = [...document.querySelectorAll(".figure")];
  places.forEach((place) => seen.observe(place));

  // One option of a choice is shown; on paper all are.
  const choices = [...document.querySelectorAll(".choice")].map((box) => ({
    box, list: box.querySelector("select"), bodies: [...box.querySelectorAll(":scope > .option")],
  }));
  function show({ list, bodies }) {
    bodies.forEach((body, place) => { body.hidden = place !== list.selectedIndex; });
  }
  for (const each of choices) {
    each.box.classList.add("live");
    each.list.addEventListener("change", () => show(each));
    show(each);
  }
  window.addEventListener("beforeprint", () => {
    for (const { bodies } of choices) for (const body of bodies) body.hidden = false;
    places.filter((place) => !("drawn" in place.dataset)).forEach(draw);
  });
  window.addEventListener("afterprint", () => choices.forEach(show));

  function refresh() {
    for (const button of document.querySelectorAll(".legend button[data-line]"))
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.line)));
    for (const place of places.filter((place) => "drawn" in place.dataset))
      Plotly.restyle(place, { visible: place.data.map(visible) });
  }
  for (const button of document.querySelectorAll(".legend button"))
    button.addEventListener("click", () => {
      const line = button.dataset.line;
      if (line === undefined) hidden.clear();
      else if (!hidden.delete(line)) hidden.add(line);
      refresh();
    });

  // Says to the style where a box has more than it shows.
  function hint(box) {
    const more = (length, shown, at) => (length - shown - at > 1 ? "40px" : "0px");
    box.style.setProperty("--right", more(box.scrollWidth, box.clientWidth, box.scrollLeft));
    box.style.setProperty("--below", more(box.scrollHeight, box.clientHeight, box.scrollTop));
  }
  const resized = new ResizeObserver((entries) => entries.forEach((entry) => hint(entry.target.closest(".scroll"))));
  for (const box of document.querySelectorAll(".scroll")) {
    box.addEventListener("scroll", () => hint(box), { passive: true });
    resized.observe(box);
    resized.observe(box.firstElementChild); // rows come and go with the filter
  }

  // Rows are shown that are about a cell which was found, and hold every word of the filter.
  const finder = document.getElementById("finder");
  const cells = finder ? JSON.parse(finder.dataset.rows) : [];
  const filter = document.getElementById("filter");
  const rows = [...document.querySelectorAll("tr[data-cells]")].map((row) => ({
    row, about: row.dataset.cells.split(" ").map(Number), text: row.textContent.toLowerCase(),
    filtered: row.closest("#cells") !== null,
  }));

  function refine() {
    const lists = finder ? [...finder.querySelectorAll("select")] : [];
    const found = cells.map((texts) => lists.every((list, axis) => !list.value || texts[axis] === list.value));
    const isFound = (about) => !found.length || about.some((cell) => found[cell]);
    const words = filter ? filter.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    for (const { row, about, text, filtered } of rows)
      row.hidden = !isFound(about) || (filtered && !words.every((word) => text.includes(word)));
    for (const each of choices) {
      const options = [...each.list.options].filter((option) => option.dataset.cells !== undefined);
      for (const option of options) option.disabled = !isFound(option.dataset.cells.split(" ").map(Number));
      if (each.list.selectedOptions[0].disabled) {
        const first = options.find((option) => !option.disabled);
        if (first) first.selected = true;
        show(each);
      }
    }
    if (!finder) return;
    const n = found.filter(Boolean).length;
    finder.querySelector("output").textContent = n === cells.length ? `${n} cells` : n ? `${n} of ${cells.length} cells`
      : "no such cell was measured";
  }
  if (filter) filter.addEventListener("input", refine);
  if (finder) {
    finder.hidden = false;
    finder.addEventListener("input", refine);
    finder.addEventListener("submit", (event) => event.preventDefault());
    finder.addEventListener("reset", () => setTimeout(refine));
  }
  refine(); // a browser may have kept what was chosen
})();
