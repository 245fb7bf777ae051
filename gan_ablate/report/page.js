"use strict";
// Sorting and filtering of tables; the page reads the same without it.
(function () {
  const value = (row, k) => {
    const cell = row.cells[k];
    return k === 0 || cell.dataset.k === undefined ? (k === 0 ? cell.textContent : null) : Number(cell.dataset.k);
  };
  const sort = (table, k, up) => {
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = value(a, k), y = value(b, k);
      if (x === null || y === null) return (x === null) - (y === null); // unknown goes last either way
      return (typeof x === "string" ? x.localeCompare(y, "en") : x - y) * (up ? 1 : -1);
    });
    table.tBodies[0].append(...rows);
  };
  let filters = 0;
  const prepare = (part) => part.querySelectorAll("table.sorts").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, k) => {
      if (k > 0 && !table.tBodies[0].querySelector(`td:nth-child(${k + 1})[data-k]`)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        sort(table, k, up);
      });
    });
    if (table.tBodies[0].rows.length < 8) return;
    const bar = document.createElement("div");
    bar.className = "filter";
    const label = document.createElement("label");
    label.textContent = "Filter ";
    const input = document.createElement("input");
    input.type = "search";
    input.placeholder = "name or verdict";
    input.id = "filter-" + filters++;
    input.setAttribute("aria-label", "Filter: " + table.caption.textContent);
    label.append(input);
    const count = document.createElement("output");
    count.htmlFor = input.id;
    bar.append(label, count);
    table.closest(".scroll").before(bar);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? ` ${shown} of ${table.tBodies[0].rows.length} rows` : "";
    });
  });
  prepare(document);
  addEventListener("replaced", (event) => prepare(event.target)); // of a page that updates itself
  // a link to an arm opens its page
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
})();
