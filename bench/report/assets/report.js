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
  window.addEventListener("beforeprint", () => places.filter((place) => !("drawn" in place.dataset)).forEach(draw));

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

  const filter = document.getElementById("filter");
  if (filter) {
    const rows = [...document.querySelectorAll("#cells tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const [row, text] of rows) row.hidden = !words.every((word) => text.includes(word));
    });
  }
})();
