// What is drawn: the tiles that are seen, masks and sources over them, marks, compass, scale bar, the map of the whole.
"use strict";
const LEAST_ZOOM = 1 / 256;
const LARGEST_ZOOM = 64;
const SCALE_STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000];
class View {
  constructor(canvas, map, frame, tiles, sky, pixelScale) {
    Object.assign(this, { canvas, map, frame, tiles, sky, pixelScale });
    const most = Math.max(frame.width, frame.height);
    Object.assign(map, { width: Math.max(20, (240 * frame.width) / most), height: Math.max(20, (240 * frame.height) / most) });
    this.plane = frame.planes[0];
    this.mask = frame.planes.find((plane) => plane.mask);
    this.painting = { stretch: "linear", colours: "grey", invert: false, low: 0, high: 1 };
    this.causes = [];
    this.sources = null;
    this.marks = [];
    this.chosen = null;
    this.atKeys = false;
    this.version = 0;
    this.due = false;
    this.fit();
  }

  get width() { return this.canvas.clientWidth; }
  get height() { return this.canvas.clientHeight; }

  fit() {
    this.x = (this.frame.width - 1) / 2;
    this.y = (this.frame.height - 1) / 2;
    this.zoom = Math.max(LEAST_ZOOM, Math.min(this.width / this.frame.width, this.height / this.frame.height) * 0.98);
    this.draw();
  }

  toScreen(x, y) { return [(x - this.x) * this.zoom + this.width / 2, this.height / 2 - (y - this.y) * this.zoom]; }
  toPixel(left, top) { return [(left - this.width / 2) / this.zoom + this.x, this.y - (top - this.height / 2) / this.zoom]; }

  move(dx, dy) { this.centre(this.x + dx, this.y + dy); }

  centre(x, y) {
    this.x = Math.max(-0.5, Math.min(this.frame.width - 0.5, x));
    this.y = Math.max(-0.5, Math.min(this.frame.height - 0.5, y));
    this.draw();
  }

  // Zoom so that what is at this place of the canvas stays there.
  zoomAt(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toPixel(left, top);
    this.zoom = Math.max(LEAST_ZOOM, Math.min(LARGEST_ZOOM, this.zoom * factor));
    const [nowX, nowY] = this.toPixel(left, top);
    this.move(x - nowX, y - nowY);
  }

  // Colours have changed: what was painted is painted anew when it is seen.
  repaint() { this.version += 1; this.table = null; this.draw(); }

  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => { this.due = false; this.drawNow(); });
  }

  drawNow() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = "#0a0d10";
    pen.fillRect(0, 0, this.width, this.height);
    const [left, bottom] = this.toScreen(-0.5, -0.5);
    pen.save();
    pen.beginPath();
    pen.rect(left, bottom - this.frame.height * this.zoom, this.frame.width * this.zoom, this.frame.height * this.zoom);
    pen.clip();
    if (!this.plane.mask) this.drawPlane(pen, this.plane);
    if (this.mask && this.causes.length) this.drawPlane(pen, this.mask);
    pen.restore();
    if (this.sources) this.drawSources(pen);
    this.marks.forEach((mark, place) => this.drawMark(pen, mark, String(place + 1)));
    if (this.atKeys) this.drawCross(pen);
    this.drawCompass(pen);
    this.drawScaleBar(pen);
    this.drawMap();
    this.canvas.dispatchEvent(new CustomEvent("drawn"));
  }

  drawPlane(pen, plane) {
    // Values are shrunk further by the browser; of masks no pixel may get lost in that: they are enlarged.
    const depth = -Math.log2(this.zoom * (window.devicePixelRatio || 1));
    const wanted = Math.max(0, Math.min(this.frame.levels - 1, plane.mask ? Math.ceil(depth) : Math.floor(depth)));
    pen.imageSmoothingEnabled = this.zoom < 1 && !plane.mask;
    const { side, columns, rows } = this.tiles.size(wanted);
    const [x0, y1] = this.toPixel(0, 0);
    const [x1, y0] = this.toPixel(this.width, this.height);
    const within = (value, most) => Math.max(0, Math.min(most - 1, Math.floor((value + 0.5) / side)));
    this.tiles.get(plane, this.frame.levels - 1, 0, 0, true);
    for (let row = within(y0, rows); row <= within(y1, rows); row += 1) {
      for (let column = within(x0, columns); column <= within(x1, columns); column += 1) this.drawTile(pen, plane, wanted, column, row);
    }
  }

  // A tile, or the part of a coarser one that is here until it has come.
  drawTile(pen, plane, wanted, column, row) {
    for (let level = wanted; level < this.frame.levels; level += 1) {
      const coarser = 2 ** (level - wanted);
      const [across, up] = [Math.floor(column / coarser), Math.floor(row / coarser)];
      const tile = this.tiles.get(plane, level, across, up, level === wanted);
      if (!tile) continue;
      const pixels = this.frame.tile / coarser;
      const [fromLeft, fromBottom] = [(column - across * coarser) * pixels, (row - up * coarser) * pixels];
      const [width, height] = [Math.min(pixels, tile.width - fromLeft), Math.min(pixels, tile.height - fromBottom)];
      if (width <= 0 || height <= 0) return;
      const { side } = this.tiles.size(wanted);
      const [left, bottom] = this.toScreen(column * side - 0.5, row * side - 0.5);
      const scale = 2 ** level * this.zoom;
      pen.drawImage(this.painted(plane, tile), fromLeft, tile.height - fromBottom - height, width, height, left, bottom - height * scale, width * scale, height * scale);
      return;
    }
  }

  painted(plane, tile) {
    if (tile.version === this.version) return tile.picture;
    this.table ??= shades(this.painting.stretch, this.painting.colours, this.painting.invert);
    const image = plane.mask
      ? paintMask(tile, this.causes, this.plane.mask ? 1 : 0.75)
      : paintValues(tile, this.table, this.painting.low, this.painting.high);
    tile.picture ??= Object.assign(document.createElement("canvas"), { width: tile.width, height: tile.height });
    tile.picture.getContext("2d").putImageData(image, 0, 0);
    tile.version = this.version;
    return tile.picture;
  }

  stroke(pen, colour, path) {
    for (const [style, width] of [["#000", 3], [colour, 1.4]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.beginPath();
      path();
      pen.stroke();
    }
  }

  write(pen, text, left, top, align = "center") {
    Object.assign(pen, { font: "600 12px system-ui, sans-serif", textAlign: align, textBaseline: "middle", lineWidth: 3, strokeStyle: "#000", fillStyle: "#fff", lineJoin: "round" });
    pen.strokeText(text, left, top);
    pen.fillText(text, left, top);
  }

  drawSources(pen) {
    const { x, y, major, minor, angle, rows } = this.sources;
    for (let place = 0; place < x.length; place += 1) {
      const [left, top] = this.toScreen(x[place], y[place]);
      if (left < -50 || top < -50 || left > this.width + 50 || top > this.height + 50) continue;
      const [a, b] = [Math.max(3, major[place] * this.zoom), Math.max(3, minor[place] * this.zoom)];
      const colour = rows[place] === this.chosen ? "#ffb066" : "#5cd0ff";
      this.stroke(pen, colour, () => pen.ellipse(left, top, a, b, -angle[place] * DEGREE, 0, 2 * Math.PI));
    }
  }

  // The source whose ellipse is nearest to a place of the canvas, within a finger's breadth; null where there is none.
  sourceAt(left, top) {
    if (!this.sources) return null;
    let [best, least] = [null, 14];
    this.sources.x.forEach((x, place) => {
      const [sourceLeft, sourceTop] = this.toScreen(x, this.sources.y[place]);
      const distance = Math.hypot(sourceLeft - left, sourceTop - top);
      if (distance < Math.max(least, best === null ? this.sources.major[place] * this.zoom : 0)) [best, least] = [place, distance];
    });
    return best;
  }

  drawMark(pen, mark, name) {
    const [left, top] = this.toScreen(mark.x, mark.y);
    const radius = Math.max(5, mark.radius * this.zoom);
    this.stroke(pen, "#9dff8a", () => pen.arc(left, top, radius, 0, 2 * Math.PI));
    this.write(pen, name, left, top - radius - 9);
  }

  drawCross(pen) {
    const [left, top] = [this.width / 2, this.height / 2];
    this.stroke(pen, "#ffb066", () => {
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(left + 5 * dx, top + 5 * dy);
        pen.lineTo(left + 16 * dx, top + 16 * dy);
      }
    });
  }

  drawCompass(pen) {
    if (!this.sky) return;
    const { north, east } = this.sky.directions(this.x, this.y);
    const [left, top, length] = [this.width - 46, 46, 24];
    for (const [name, [u, v]] of [["N", north], ["E", east]]) {
      this.stroke(pen, "#fff", () => { pen.moveTo(left, top); pen.lineTo(left + u * length, top - v * length); });
      this.write(pen, name, left + u * (length + 10), top - v * (length + 10));
    }
  }

  drawScaleBar(pen) {
    const scale = this.sky ? this.sky.directions(this.x, this.y).degrees * 3600 : this.pixelScale;
    if (!(scale > 0)) return;
    const arcsec = SCALE_STEPS.filter((step) => (step / scale) * this.zoom <= this.width * 0.25).at(-1);
    if (!arcsec) return;
    const length = (arcsec / scale) * this.zoom;
    const top = this.height - 18;
    this.stroke(pen, "#fff", () => { pen.moveTo(16, top); pen.lineTo(16 + length, top); });
    const text = arcsec < 60 ? `${arcsec}″` : arcsec < 3600 ? `${arcsec / 60}′` : `${arcsec / 3600}°`;
    this.write(pen, text, 16 + length / 2, top - 12);
  }

  drawMap() {
    const [left, bottom] = this.toScreen(0, 0);
    const [right, top] = this.toScreen(this.frame.width - 1, this.frame.height - 1);
    this.map.hidden = left >= 0 && top >= 0 && right <= this.width && bottom <= this.height;
    if (this.map.hidden) return;
    const pen = this.map.getContext("2d");
    const scale = Math.min(this.map.width / this.frame.width, this.map.height / this.frame.height);
    const [width, height] = [this.frame.width * scale, this.frame.height * scale];
    pen.fillStyle = "#0a0d10";
    pen.fillRect(0, 0, this.map.width, this.map.height);
    const tile = this.tiles.get(this.plane, this.frame.levels - 1, 0, 0, true);
    if (tile) pen.drawImage(this.painted(this.plane, tile), 0, this.map.height - height, width, height);
    const [x0, y1] = this.toPixel(0, 0);
    pen.strokeStyle = "#ffb066";
    pen.lineWidth = 2;
    pen.strokeRect((x0 + 0.5) * scale, this.map.height - (y1 + 0.5) * scale, (this.width / this.zoom) * scale, (this.height / this.zoom) * scale);
  }

  // The pixel at a place of the map.
  fromMap(left, top) {
    const scale = Math.min(this.map.width / this.frame.width, this.map.height / this.frame.height);
    const shown = this.map.width / this.map.clientWidth;
    return [(left * shown) / scale - 0.5, (this.map.height - top * shown) / scale - 0.5];
  }
}
