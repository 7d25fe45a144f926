'use strict';
// The table of cells: sorting, filtering, pages. Texts reach the page as text nodes only.
(() => {
  const PAGE_ROWS = 50;
  const PRINTED_ROWS = 500;
  const columns = JSON.parse(document.getElementById('data').textContent);
  const nRows = columns[0].at.length;
  const byId = (id) => document.getElementById(id);
  const table = byId('table');
  const heads = [...table.tHead.rows[0].cells];
  const notes = columns.length - 1;
  const state = { shown: [], page: 0, sorted: -1, down: false };

  // The sort keys of a column: its numbers, or the ranks of its texts in alphabetical order.
  function keysOf(column) {
    if (!column.keys) {
      const order = column.texts.map((_, place) => place);
      const compare = new Intl.Collator('en', { numeric: true }).compare;
      order.sort((a, b) => compare(column.texts[a], column.texts[b]));
      const rank = new Array(order.length);
      order.forEach((place, position) => { rank[place] = column.texts[place] === '' ? null : position; });
      column.keys = column.at.map((place) => rank[place]);
    }
    return column.keys;
  }

  function sortRows(rows) {
    if (state.sorted < 0) return rows;
    const keys = keysOf(columns[state.sorted]);
    const sign = state.down ? -1 : 1;
    // Unknown values are last either way; equal rows keep their order.
    return rows.sort((a, b) => {
      const x = keys[a], y = keys[b];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return sign * (x - y) || a - b;
    });
  }

  // A row has a word if any of its texts has it; each distinct text is searched once.
  function rowsWith(rows, word) {
    const hits = columns.map((column) => column.texts.map((text) => text.toLowerCase().includes(word)));
    return rows.filter((row) => columns.some((column, place) => hits[place][column.at[row]]));
  }

  function choose() {
    let rows = Array.from({ length: nRows }, (_, row) => row);
    for (const word of byId('words').value.toLowerCase().split(/\s+/).filter(Boolean)) rows = rowsWith(rows, word);
    if (byId('undisturbed').checked) rows = rows.filter((row) => columns[notes].texts[columns[notes].at[row]] === '');
    state.shown = sortRows(rows);
    state.page = 0;
    draw();
  }

  function cellOf(column, row) {
    const cell = document.createElement('td');
    const text = column.texts[column.at[row]];
    const bracket = column.kind === 'number' ? text.indexOf(' [') : -1;
    cell.className = column.kind;
    cell.dir = 'auto';
    if (bracket < 0) {
      cell.textContent = text;
    } else {
      const range = document.createElement('span');
      range.className = 'range';
      range.textContent = text.slice(bracket + 1);
      cell.append(text.slice(0, bracket + 1), range);
    }
    return cell;
  }

  function fill(first, count) {
    const body = document.createElement('tbody');
    for (const row of state.shown.slice(first, first + count)) {
      const line = document.createElement('tr');
      for (const column of columns) line.append(cellOf(column, row));
      body.append(line);
    }
    table.tBodies[0].replaceWith(body);
  }

  function draw() {
    const total = state.shown.length;
    const nPages = Math.max(1, Math.ceil(total / PAGE_ROWS));
    fill(state.page * PAGE_ROWS, PAGE_ROWS);
    byId('count').textContent = `${total} of ${nRows} cells` + (total ? '' : ': clear the filter to see them');
    byId('pages').hidden = nPages === 1;
    byId('where').textContent = `page ${state.page + 1} of ${nPages}`;
    byId('first').disabled = byId('previous').disabled = state.page === 0;
    byId('next').disabled = byId('last').disabled = state.page === nPages - 1;
  }

  function turn(page) {
    const last = Math.max(0, Math.ceil(state.shown.length / PAGE_ROWS) - 1);
    state.page = Math.min(last, Math.max(0, page));
    draw();
  }

  // Numbers sort descending first, names ascending; the third press restores the original order.
  function sortBy(place) {
    const downFirst = columns[place].kind === 'number';
    if (state.sorted !== place) {
      state.sorted = place;
      state.down = downFirst;
    } else if (state.down === downFirst) {
      state.down = !downFirst;
    } else {
      state.sorted = -1;
    }
    heads.forEach((head, other) => {
      const word = other !== state.sorted ? 'none' : state.down ? 'descending' : 'ascending';
      head.setAttribute('aria-sort', word);
    });
    choose();
  }

  heads.forEach((head, place) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    button.addEventListener('click', () => sortBy(place));
    head.replaceChildren(button);
  });
  let waiting = 0;
  byId('words').addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(choose, 120);
  });
  byId('words').addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      byId('words').value = '';
      choose();
    }
  });
  byId('undisturbed').addEventListener('change', choose);
  byId('filters').addEventListener('reset', () => setTimeout(choose));
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
  byId('first').addEventListener('click', () => turn(0));
  byId('previous').addEventListener('click', () => turn(state.page - 1));
  byId('next').addEventListener('click', () => turn(state.page + 1));
  byId('last').addEventListener('click', () => turn(Infinity));
  window.addEventListener('beforeprint', () => fill(0, PRINTED_ROWS));
  window.addEventListener('afterprint', draw);
  byId('filters').hidden = false;
  choose();
})();
