// How large tiles are: all of a page on the screen if they can be recognised then; otherwise it scrolls.

const GAP = 6, SMALLEST = 76, LARGEST = 240; // pixels

// Sets columns and size of the tiles; returns the number of columns.
export function fit(box, stage, count) {
  stage.classList.remove("scrolls");
  const [width, height] = [stage.clientWidth, stage.clientHeight];
  let best = { columns: 1, size: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const size = Math.min((width - GAP * (columns - 1)) / columns, (height - GAP * (rows - 1)) / rows, LARGEST);
    if (size > best.size) best = { columns, size };
  }
  if (best.size < SMALLEST) {
    const columns = Math.max(1, Math.min(count, Math.floor((width + GAP) / (SMALLEST + 14 + GAP))));
    best = { columns, size: (width - GAP * (columns - 1)) / columns };
    stage.classList.add("scrolls");
  }
  box.style.setProperty("--columns", best.columns);
  box.style.setProperty("--tile", `${Math.floor(best.size)}px`);
  return best.columns;
}
