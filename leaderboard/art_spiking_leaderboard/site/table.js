// Sorts and filters tables that are complete without it.
"use strict";
(() => {
  const value = (row, column, type) => {
    const cell = row.cells[column];
    const raw = cell.dataset.value ?? cell.textContent.trim();
    if (type !== "number") return raw;
    return raw === "" ? NaN : Number(raw);
  };
  const compare = (a, b, type) => {
    if (type !== "number") return a.localeCompare(b, undefined, { numeric: true });
    // What has no number comes last, whichever the direction.
    return a - b;
  };
  // The address holds how each table is sorted and filtered, so that it can be passed on; anchors have no "=".
  const remember = (table, what, value) => {
    const kept = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    if (value) kept.set(`${table.id}.${what}`, value);
    else kept.delete(`${table.id}.${what}`);
    const hash = [...kept].length ? `#${kept}` : "";
    history.replaceState(null, "", location.pathname + location.search + hash);
  };
  const recall = (table, what) => {
    const known = location.hash.includes("=") ? location.hash.slice(1) : "";
    return new URLSearchParams(known).get(`${table.id}.${what}`) ?? "";
  };
  const sort = (table, column, direction) => {
    const head = table.tHead.rows[0].cells;
    const type = head[column].dataset.type;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [row, value(row, column, type)]);
    rows.sort(([, a], [, b]) => {
      if (type === "number" && (Number.isNaN(a) || Number.isNaN(b))) return Number.isNaN(a) - Number.isNaN(b);
      return compare(a, b, type) * (direction === "ascending" ? 1 : -1);
    });
    body.append(...rows.map(([row]) => row));
    for (const cell of head) cell.removeAttribute("aria-sort");
    head[column].setAttribute("aria-sort", direction);
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      if (cell.dataset.type === "none") return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const now = cell.getAttribute("aria-sort");
        // Accuracies are looked at from the top, ranks and names from the start.
        const first = cell.dataset.type === "number" && column > 0 ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const direction = now === first ? other : first;
        sort(table, column, direction);
        remember(table, "sort", `${column}${direction[0]}`);
      });
    });
    const resort = () => {
      const [, column, direction] = /^(\d{1,3})([ad])$/.exec(recall(table, "sort")) ?? [];
      const cell = table.tHead.rows[0].cells[Number(column)];
      if (cell && cell.dataset.type !== "none") sort(table, Number(column), direction === "a" ? "ascending" : "descending");
    };
    resort();
    window.addEventListener("hashchange", resort);
  }
  for (const form of document.querySelectorAll("form[data-filters]")) {
    const tables = form.dataset.filters.split(" ").map((id) => document.getElementById(id));
    const [table] = tables; // the address names the first
    const search = form.querySelector("input[type=search]");
    const unflagged = form.querySelector("[data-only-unflagged]");
    const division = form.querySelector("[data-only-division]");
    const found = form.querySelector(".found");
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of tables.flatMap((each) => [...each.tBodies[0].rows])) {
        const fits = words.every((word) => row.dataset.text.includes(word));
        row.hidden =
          !fits ||
          (unflagged.checked && row.dataset.flags !== "0") ||
          (division.value !== "" && row.dataset.division !== division.value);
      }
      const all = table.tBodies[0].rows.length;
      const shown = table.tBodies[0].querySelectorAll("tr:not([hidden])").length;
      found.textContent = shown === all ? "" : `${shown} of ${all} models`;
    };
    const refill = () => {
      search.value = recall(table, "find");
      unflagged.checked = recall(table, "flags") === "none";
      const asked = recall(table, "division");
      division.value = [...division.options].some((option) => option.value === asked) ? asked : "";
      apply();
    };
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      apply();
      remember(table, "find", search.value.trim());
      remember(table, "flags", unflagged.checked ? "none" : "");
      remember(table, "division", division.value);
    });
    refill();
    window.addEventListener("hashchange", refill);
  }
})();
