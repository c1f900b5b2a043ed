// The tiles of a frame: asked for when they are seen, a few at a time; those seen longest ago are forgotten.
"use strict";
const KEPT_TILES = 80;
const AT_ONCE = 4;
class Tiles {
  constructor(frame, root, onArrival) {
    this.frame = frame;
    this.root = root;
    this.onArrival = onArrival;
    this.kept = new Map();
    this.underWay = 0;
    this.failed = "";
  }

  // Tiles across and up at a level, and pixels a side of what a tile covers.
  size(level) {
    const side = this.frame.tile * 2 ** level;
    return { side, columns: Math.ceil(this.frame.width / side), rows: Math.ceil(this.frame.height / side) };
  }

  // A tile that is here, or null; with `ask` it is fetched if few others are under way.
  get(plane, level, column, row, ask) {
    const key = `${plane.place}/${level}/${column}/${row}`;
    const tile = this.kept.get(key);
    if (tile) {
      this.kept.delete(key);
      this.kept.set(key, tile);
      return tile.values ? tile : null;
    }
    if (ask && this.underWay < AT_ONCE) this.fetch(plane, level, column, row, key);
    return null;
  }

  async fetch(plane, level, column, row, key) {
    const factor = 2 ** level;
    const { side } = this.size(level);
    const tile = {
      width: Math.ceil(Math.min(side, this.frame.width - column * side) / factor),
      height: Math.ceil(Math.min(side, this.frame.height - row * side) / factor),
    };
    this.kept.set(key, tile);
    this.underWay += 1;
    try {
      const answer = await fetch(`${this.root}${key}.tile`);
      if (!answer.ok) throw new Error(`the portal answered ${answer.status}`);
      const buffer = await answer.arrayBuffer();
      tile.values = plane.mask ? new Uint16Array(buffer) : new Float32Array(buffer);
      this.failed = "";
    } catch (error) {
      this.failed = `A part of the frame did not arrive (${error.message}). It is asked for again in some seconds.`;
      setTimeout(() => { this.kept.delete(key); this.onArrival(); }, 3000);
    }
    this.underWay -= 1;
    for (const [oldest] of this.kept) {
      if (this.kept.size <= KEPT_TILES) break;
      this.kept.delete(oldest);
    }
    this.onArrival();
  }

  // The value of one pixel from the finest tile that is here: its value, and of how many pixels a side it is the mean.
  value(plane, x, y) {
    for (let level = 0; level < this.frame.levels; level += 1) {
      const { side } = this.size(level);
      const factor = 2 ** level;
      const [column, row] = [Math.floor(x / side), Math.floor(y / side)];
      const tile = this.get(plane, level, column, row, false);
      if (tile) {
        const place = Math.floor((y - row * side) / factor) * tile.width + Math.floor((x - column * side) / factor);
        return { value: tile.values[place], of: factor };
      }
    }
    return null;
  }
}
