// From pixel values to colours: cuts, stretch and colour map become one table, and a tile is looked up in it.
"use strict";
const SHADES = 4096;
const STRETCHES = {
  linear: (t) => t,
  sqrt: (t) => Math.sqrt(t),
  log: (t) => Math.log1p(1000 * t) / Math.log1p(1000),
  asinh: (t) => Math.asinh(10 * t) / Math.asinh(10),
  square: (t) => t * t,
};
// Anchors at even steps from dark to bright. Viridis: S. van der Walt, N. Smith (matplotlib, CC0); the others are plain ramps.
const COLOUR_MAPS = {
  grey: [[0, 0, 0], [255, 255, 255]],
  viridis: [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]],
  heat: [[0, 0, 0], [128, 0, 0], [255, 64, 0], [255, 192, 32], [255, 255, 255]],
  cool: [[0, 0, 0], [0, 32, 96], [0, 96, 192], [96, 192, 255], [255, 255, 255]],
};
const NOTHING = 0xff5a4646; // no value: the tint of "no data"
function between(anchors, t) {
  const place = t * (anchors.length - 1);
  const first = Math.min(Math.floor(place), anchors.length - 2);
  return anchors[first].map((low, channel) => low + (place - first) * (anchors[first + 1][channel] - low));
}
function shades(stretch, map, invert) {
  const table = new Uint32Array(SHADES);
  for (let shade = 0; shade < SHADES; shade += 1) {
    const t = STRETCHES[stretch](shade / (SHADES - 1));
    const [red, green, blue] = between(COLOUR_MAPS[map], invert ? 1 - t : t);
    table[shade] = 0xff000000 | (blue << 16) | (green << 8) | red;
  }
  return table;
}
// The first row of a tile is its lowest: pictures have theirs on top.
function paintValues(tile, table, low, high) {
  const image = new ImageData(tile.width, tile.height);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = (SHADES - 1) / (high - low || 1);
  for (let row = 0; row < tile.height; row += 1) {
    const from = row * tile.width;
    const to = (tile.height - 1 - row) * tile.width;
    for (let column = 0; column < tile.width; column += 1) {
      const value = tile.values[from + column];
      let shade = (value - low) * scale;
      if (shade !== shade) { pixels[to + column] = NOTHING; continue; }
      shade = shade < 0 ? 0 : shade > SHADES - 1 ? SHADES - 1 : shade;
      pixels[to + column] = table[shade | 0];
    }
  }
  return image;
}
// `causes` are in the order of what matters most; a pixel takes the tint of the first that it has.
function paintMask(tile, causes, opacity) {
  const image = new ImageData(tile.width, tile.height);
  const pixels = new Uint32Array(image.data.buffer);
  const known = new Map();
  const alpha = Math.round(opacity * 255) << 24;
  const tint = (bits) => {
    const cause = causes.find((each) => bits & each.bit);
    return cause ? alpha | (cause.tint[2] << 16) | (cause.tint[1] << 8) | cause.tint[0] : 0;
  };
  for (let row = 0; row < tile.height; row += 1) {
    const from = row * tile.width;
    const to = (tile.height - 1 - row) * tile.width;
    for (let column = 0; column < tile.width; column += 1) {
      const bits = tile.values[from + column];
      if (bits === 0) continue;
      if (!known.has(bits)) known.set(bits, tint(bits));
      pixels[to + column] = known.get(bits);
    }
  }
  return image;
}
