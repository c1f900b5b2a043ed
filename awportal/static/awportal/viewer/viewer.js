// The viewer's page: what its fields, keys, fingers and pointer do.
"use strict";
class Viewer {
  constructor(root, frame) {
    this.root = root;
    this.frame = frame;
    this.canvas = this.find("canvas.sky");
    this.pointers = new Map();
    const sky = frame.sky && new Sky(frame.sky);
    this.tiles = new Tiles(frame, root.dataset.tiles, () => { this.view.draw(); this.tell(); });
    this.view = new View(this.canvas, this.find("canvas.map"), frame, this.tiles, sky, Number(root.dataset.scale));
    this.offerPlanes();
    this.offerCauses();
    this.readAddress();
    this.listen();
    this.recut();
    this.showList();
    this.showMarks();
  }

  find(selector) { return this.root.querySelector(selector); }
  field(name) { return this.root.querySelector(`[name=${name}]`); }

  offerPlanes() {
    const planes = this.frame.planes.filter((plane) => !plane.mask || this.frame.planes.length === 1);
    const words = { SCI: "science", VAR: "variance", WEIGHT: "weight", MASK: "mask" };
    this.field("plane").replaceChildren(...planes.map((plane) => new Option(words[plane.name] ?? plane.name.toLowerCase(), plane.place)));
    this.find(".plane").hidden = planes.length < 2;
    if (planes.every((plane) => plane.mask)) for (const part of this.root.querySelectorAll(".of-values")) part.hidden = true;
  }

  offerCauses() {
    const mask = this.view.mask;
    this.find(".causes").hidden = !mask;
    if (!mask) return;
    const present = this.frame.causes.filter((cause) => mask.counts[cause.bit]);
    const pixels = this.frame.width * this.frame.height;
    this.find(".causes ul").replaceChildren(...present.map((cause) => {
      const line = document.createElement("li");
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "cause", value: cause.bit, checked: true });
      const tint = document.createElement("span");
      tint.className = "tint";
      tint.style.background = `rgb(${cause.tint})`;
      const count = document.createElement("span");
      count.className = "num dim";
      const share = (100 * mask.counts[cause.bit]) / pixels;
      count.textContent = `${mask.counts[cause.bit].toLocaleString("en").replaceAll(",", "\u202f")} (${share < 0.01 ? "< 0.01" : share.toFixed(2)} %)`;
      label.append(box, tint, ` ${cause.cause} `, count);
      line.append(label);
      return line;
    }));
    if (!present.length) this.find(".causes ul").innerHTML = "<li>No pixel is masked.</li>";
  }

  // What the address says of the view (after #), so that a link shows what its sender saw.
  readAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    const choose = (name) => {
      const field = this.field(name);
      if (said.has(name) && [...field.options].some((option) => option.value === said.get(name))) field.value = said.get(name);
    };
    ["plane", "cuts", "stretch", "colours"].forEach(choose);
    for (const name of ["low", "high"]) if (said.has(name)) this.field(name).value = said.get(name);
    this.field("invert").checked = said.has("invert");
    const [x, y, zoom] = ["x", "y", "zoom"].map((name) => Number(said.get(name)));
    if (said.has("zoom") && zoom >= LEAST_ZOOM && zoom <= LARGEST_ZOOM) { this.view.zoom = zoom; this.view.centre(x - 1, y - 1); }
    this.view.marks = (said.get("marks") ?? "").split(";").map((mark) => mark.split(",").map(Number))
      .filter((mark) => mark.length === 3 && mark.every(Number.isFinite)).map(([mx, my, radius]) => ({ x: mx - 1, y: my - 1, radius }));
  }

  writeAddress() {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      const said = new URLSearchParams();
      for (const name of ["plane", "cuts", "stretch", "colours"]) said.set(name, this.field(name).value);
      if (this.field("cuts").value === "hand") for (const name of ["low", "high"]) said.set(name, this.field(name).value);
      if (this.field("invert").checked) said.set("invert", "1");
      said.set("x", (this.view.x + 1).toFixed(1));
      said.set("y", (this.view.y + 1).toFixed(1));
      said.set("zoom", this.view.zoom.toPrecision(4));
      const marks = this.view.marks.map((mark) => `${(mark.x + 1).toFixed(1)},${(mark.y + 1).toFixed(1)},${mark.radius}`);
      if (marks.length) said.set("marks", marks.join(";"));
      history.replaceState(null, "", `#${said}`);
    }, 400);
  }

  // Cuts, stretch and colours from the fields.
  recut() {
    const view = this.view;
    view.plane = this.frame.planes.find((plane) => String(plane.place) === this.field("plane").value) ?? this.frame.planes[0];
    const [low, high] = this.cuts(view.plane);
    Object.assign(view.painting, { low, high, stretch: this.field("stretch").value, colours: this.field("colours").value, invert: this.field("invert").checked });
    const on = new Set([...this.root.querySelectorAll("[name=cause]:checked")].map((box) => Number(box.value)));
    const order = [32, 4, 16, 8, 1, 2, 256, 128, 64];
    view.causes = order.filter((bit) => on.has(bit)).map((bit) => this.frame.causes.find((cause) => cause.bit === bit));
    view.repaint();
    this.writeAddress();
  }

  cuts(plane) {
    const way = this.field("cuts").value;
    if (plane.mask) return [0, 1];
    let cuts = [Number(this.field("low").value), Number(this.field("high").value)];
    if (way === "zscale") cuts = [plane.low, plane.high];
    else if (way === "all") cuts = [plane.least, plane.largest];
    else if (way !== "hand") {
      const last = plane.quantiles.length - 1;
      const part = (100 - Number(way)) / 200;
      cuts = [plane.quantiles[Math.round(part * last)], plane.quantiles[Math.round((1 - part) * last)]];
    }
    if (way !== "hand") ["low", "high"].forEach((name, place) => { this.field(name).value = Number(cuts[place].toPrecision(7)); });
    return cuts;
  }

  listen() {
    const view = this.view;
    this.find("form").addEventListener("submit", (event) => event.preventDefault());
    for (const name of ["low", "high"]) this.field(name).addEventListener("input", () => { this.field("cuts").value = "hand"; this.recut(); });
    for (const name of ["plane", "cuts", "stretch", "colours", "invert"]) this.field(name).addEventListener("change", () => this.recut());
    this.find(".causes").addEventListener("change", () => this.recut());
    this.field("list")?.addEventListener("change", () => this.showList());
    this.root.addEventListener("click", (event) => this.press(event.target.closest("button")));
    this.find(".go").addEventListener("submit", (event) => { event.preventDefault(); this.go(); });
    new ResizeObserver(() => view.draw()).observe(this.canvas);
    this.canvas.addEventListener("drawn", () => this.told && this.tell());
    this.listenToPointer();
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => { view.atKeys = this.canvas.matches(":focus-visible"); view.draw(); if (view.atKeys) this.tellCentre(); });
    this.canvas.addEventListener("blur", () => { view.atKeys = false; view.draw(); });
  }

  press(button) {
    const view = this.view;
    const does = {
      closer: () => view.zoomAt(2), farther: () => view.zoomAt(0.5), fit: () => view.fit(), one: () => view.zoomAt(1 / view.zoom),
      mark: () => this.addMark(view.x, view.y), regions: () => this.saveRegions(),
      clear: () => { view.marks = []; this.showMarks(); },
    };
    if (button && does[button.value]) { does[button.value](); this.writeAddress(); }
    if (button?.dataset.mark) { view.marks.splice(Number(button.dataset.mark), 1); this.showMarks(); }
  }

  listenToPointer() {
    const view = this.view;
    const canvas = this.canvas;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      view.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.offsetX, event.offsetY);
      this.writeAddress();
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      this.pressed = this.pointers.size === 1 ? [event.offsetX, event.offsetY] : null;
      view.atKeys = false;
    });
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => {
      this.pointers.delete(event.pointerId);
      if (name === "pointerup" && this.pressed) this.clicked(event);
      this.pressed = null;
      this.writeAddress();
    });
    const jump = (event) => { if (event.buttons) view.centre(...view.fromMap(event.offsetX, event.offsetY)); };
    for (const name of ["pointerdown", "pointermove"]) view.map.addEventListener(name, jump);
  }

  // One pointer moves the frame, two zoom it between them.
  moved(event) {
    const before = this.pointers.get(event.pointerId);
    const here = [event.offsetX, event.offsetY];
    if (before) {
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      this.pointers.set(event.pointerId, here);
      if (this.pressed && Math.hypot(here[0] - this.pressed[0], here[1] - this.pressed[1]) > 4) this.pressed = null;
      if (others.length === 1) {
        const span = (a, b) => Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1]));
        this.view.zoomAt(span(here, others[0]) / span(before, others[0]), ...others[0]);
      } else if (!this.pressed) this.view.move((before[0] - here[0]) / this.view.zoom, (here[1] - before[1]) / this.view.zoom);
    }
    this.find("output").setAttribute("aria-live", "off");
    this.told = this.view.toPixel(...here);
    this.tell();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.fetchExact(), 250);
  }

  clicked(event) {
    if (event.shiftKey) this.addMark(...this.view.toPixel(event.offsetX, event.offsetY));
    else this.choose(this.view.sourceAt(event.offsetX, event.offsetY));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const view = this.view;
    const step = event.shiftKey ? 1 : Math.max(1, 60 / view.zoom);
    const does = {
      ArrowLeft: () => view.move(-step, 0), ArrowRight: () => view.move(step, 0),
      ArrowUp: () => view.move(0, step), ArrowDown: () => view.move(0, -step),
      "+": () => view.zoomAt(2), "=": () => view.zoomAt(2), "-": () => view.zoomAt(0.5), 0: () => view.fit(), 1: () => view.zoomAt(1 / view.zoom),
      i: () => { this.field("invert").checked = !this.field("invert").checked; this.recut(); },
      m: () => this.addMark(view.x, view.y), Enter: () => this.choose(view.sourceAt(view.width / 2, view.height / 2)),
    };
    const doing = does[event.key];
    if (!doing) return;
    event.preventDefault();
    view.atKeys = true;
    doing();
    this.tellCentre();
    this.writeAddress();
  }

  tellCentre() {
    this.find("output").setAttribute("aria-live", "polite");
    this.told = [this.view.x, this.view.y];
    this.tell();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.fetchExact(), 250);
  }

  pixel() {
    if (!this.told) return null;
    const [x, y] = this.told.map((value) => Math.floor(value + 0.5));
    return x >= 0 && y >= 0 && x < this.frame.width && y < this.frame.height ? [x, y] : null;
  }

  // Where a pointer rests, the pixel itself is fetched: what is drawn may be the mean of many.
  fetchExact() {
    const pixel = this.pixel();
    if (!pixel) return;
    const [column, row] = pixel.map((value) => Math.floor(value / this.frame.tile));
    for (const plane of [this.view.plane, this.view.mask]) if (plane) this.tiles.get(plane, 0, column, row, true);
  }

  // Value, pixel and sky under the pointer, or at the cross of the keyboard.
  tell() {
    this.find(".problem").textContent = this.tiles.failed;
    this.find(".zoom").textContent = this.view.zoom >= 1 ? `${this.view.zoom.toFixed(1)} ×` : `1/${(1 / this.view.zoom).toFixed(1)}`;
    const pixel = this.pixel();
    const say = (name, text) => { this.find(`.read-${name}`).textContent = text; };
    if (!pixel) return;
    const [x, y] = this.told;
    say("pixel", `${(x + 1).toFixed(1)}, ${(y + 1).toFixed(1)}`);
    const { plane, mask, sky } = this.view;
    const found = plane.mask ? null : this.tiles.value(plane, ...pixel);
    say("value", found ? `${Number.isFinite(found.value) ? Number(found.value.toPrecision(7)) : "no value"} ${plane.unit}${found.of > 1 ? ` (mean of ${found.of} × ${found.of})` : ""}` : plane.mask ? "–" : "…");
    const bits = mask && this.tiles.value(mask, ...pixel);
    const causes = bits ? this.frame.causes.filter((cause) => bits.value & cause.bit).map((cause) => cause.cause) : [];
    say("mask", causes.length ? causes.join(", ") : mask ? "none" : "–");
    const place = sky?.at(x, y);
    say("sky", place ? skyText(place) : "–");
    say("degrees", place ? `${place[0].toFixed(6)} ${place[1] < 0 ? "−" : "+"}${Math.abs(place[1]).toFixed(6)}°` : "");
  }

  go() {
    const place = readPlace(this.field("place").value, this.view.sky);
    const inside = place && place[0] > -1 && place[1] > -1 && place[0] < this.frame.width && place[1] < this.frame.height;
    this.find(".go-problem").textContent = inside ? "" : place ? "That place is not on this frame." : `Write a pixel (1024 2031)${this.view.sky ? " or a position (10:00:12.3 +02:12:20, or degrees)" : "; the header has no coordinates"}.`;
    if (!inside) return;
    if (this.view.zoom < 1) this.view.zoom = 2;
    this.view.atKeys = true;
    this.view.centre(...place);
    this.tellCentre();
    this.writeAddress();
  }

  async showList() {
    const wanted = this.field("list")?.value;
    this.choose(null);
    this.view.sources = null;
    this.view.draw();
    if (!wanted) return;
    const told = this.find(".list-told");
    try {
      const answer = await fetch(this.root.dataset.sources.replace("/0/", `/${wanted}/`));
      if (!answer.ok) throw new Error(`the portal answered ${answer.status}`);
      this.view.sources = await answer.json();
      const { x, in_all: all } = this.view.sources;
      told.textContent = `${x.length} sources${x.length < all ? ` of ${all}` : ""}. Click one for its row; by keyboard, bring it to the cross and press Enter.`;
    } catch (error) {
      told.textContent = `The sources did not arrive: ${error.message}. Choose the list again.`;
    }
    this.view.draw();
  }

  async choose(place) {
    const card = this.find(".source");
    this.view.chosen = place === null ? null : this.view.sources.rows[place];
    this.view.draw();
    card.hidden = place === null;
    if (place === null) return;
    const row = this.view.chosen;
    const answer = await fetch(this.root.dataset.row.replace("/0/", `/${this.field("list").value}/`).replace("/0.json", `/${row}.json`));
    if (!answer.ok || this.view.chosen !== row) return;
    const { cells } = await answer.json();
    card.querySelector("h2").textContent = `Source in row ${row + 1}`;
    card.querySelector("dl").replaceChildren(...cells.flatMap(({ name, value, unit }) => {
      const [term, text] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      text.textContent = `${value} ${unit}`;
      text.className = "num";
      return [term, text];
    }));
  }

  addMark(x, y) {
    this.view.marks.push({ x, y, radius: Math.max(3, Number((12 / this.view.zoom).toPrecision(2))) });
    this.showMarks();
  }

  showMarks() {
    const { marks, sky } = this.view;
    this.find(".marks tbody").replaceChildren(...marks.map((mark, place) => {
      const line = document.createElement("tr");
      const cells = [place + 1, `${(mark.x + 1).toFixed(1)}, ${(mark.y + 1).toFixed(1)}`, sky ? skyText(sky.at(mark.x, mark.y)) : "–"];
      const button = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: "✕", ariaLabel: `Take mark ${place + 1} away` });
      button.dataset.mark = place;
      const last = document.createElement("td");
      last.append(button);
      line.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text, className: "num" })), last);
      return line;
    }));
    this.find(".marks table").hidden = this.find(".marks .row").hidden = !marks.length;
    this.view.draw();
    this.writeAddress();
  }

  // As DS9 reads it: in pixels, which count from 1.
  saveRegions() {
    const lines = this.view.marks.map((mark, place) => `circle(${(mark.x + 1).toFixed(2)},${(mark.y + 1).toFixed(2)},${mark.radius}) # text={${place + 1}}`);
    const text = `# Region file format: DS9 version 4.1\nimage\n${lines.join("\n")}\n`;
    const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    Object.assign(document.createElement("a"), { href: address, download: `${this.root.dataset.name}.reg` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }
}
document.addEventListener("DOMContentLoaded", async () => {
  const root = document.querySelector(".viewer");
  const problem = root.querySelector(".problem");
  try {
    const answer = await fetch(root.dataset.frame);
    const frame = await answer.json();
    if (frame.error) throw new Error(frame.error);
    root.hidden = false;
    root.viewer = new Viewer(root, frame);
    root.dataset.ready = "yes";
  } catch (error) {
    root.hidden = false;
    problem.textContent = `The frame cannot be shown: ${error.message}. Download it to look at it yourself.`;
  }
});
