// Where pixels lie on the sky: unit vectors at the nodes of a grid, interpolated between them.
"use strict";
const DEGREE = Math.PI / 180;
class Sky {
  constructor(grid) { Object.assign(this, grid); }

  vector(x, y) {
    const across = (x - this.left) / this.dx;
    const up = (y - this.bottom) / this.dy;
    const column = Math.max(0, Math.min(this.nodes - 2, Math.floor(across)));
    const row = Math.max(0, Math.min(this.nodes - 2, Math.floor(up)));
    const s = across - column;
    const t = up - row;
    const node = (i, j, axis) => this.vectors[3 * ((row + j) * this.nodes + column + i) + axis];
    return [0, 1, 2].map((axis) => (1 - s) * (1 - t) * node(0, 0, axis) + s * (1 - t) * node(1, 0, axis)
      + (1 - s) * t * node(0, 1, axis) + s * t * node(1, 1, axis));
  }

  // Right ascension and declination in degrees; pixels count from 0.
  at(x, y) {
    const [a, b, c] = this.vector(x, y);
    return [(Math.atan2(b, a) / DEGREE + 360) % 360, Math.atan2(c, Math.hypot(a, b)) / DEGREE];
  }

  // Step on the sky, in degrees eastwards and northwards, from one pixel to another.
  step(from, to) {
    const [ra, dec] = this.at(...from);
    const [otherRa, otherDec] = this.at(...to);
    const east = ((otherRa - ra + 540) % 360) - 180;
    return [east * Math.cos(dec * DEGREE), otherDec - dec];
  }

  // Pixel steps towards north and east at a place, of unit length, and degrees a pixel.
  directions(x, y) {
    const [ax, ay] = this.step([x - 0.5, y], [x + 0.5, y]);
    const [bx, by] = this.step([x, y - 0.5], [x, y + 0.5]);
    const area = ax * by - ay * bx;
    const unit = ([u, v]) => { const length = Math.hypot(u, v) || 1; return [u / length, v / length]; };
    const sign = Math.sign(area) || 1;
    return { north: unit([-sign * bx, sign * ax]), east: unit([sign * by, -sign * ay]), degrees: Math.sqrt(Math.abs(area)) };
  }

  // The pixel at a place on the sky by Newton's steps, or null where it is not on the frame or near it.
  pixel(ra, dec) {
    const target = [Math.cos(dec * DEGREE) * Math.cos(ra * DEGREE), Math.cos(dec * DEGREE) * Math.sin(ra * DEGREE), Math.sin(dec * DEGREE)];
    let x = this.left + (this.dx * (this.nodes - 1)) / 2;
    let y = this.bottom + (this.dy * (this.nodes - 1)) / 2;
    for (let turn = 0; turn < 30; turn += 1) {
      const here = this.vector(x, y);
      const alongX = this.vector(x + 1, y).map((value, axis) => value - here[axis]);
      const alongY = this.vector(x, y + 1).map((value, axis) => value - here[axis]);
      const miss = target.map((value, axis) => value - here[axis]);
      const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
      const [a, b, c] = [dot(alongX, alongX), dot(alongX, alongY), dot(alongY, alongY)];
      const [p, q] = [dot(alongX, miss), dot(alongY, miss)];
      const determinant = a * c - b * b;
      if (!(determinant > 0)) return null;
      const [stepX, stepY] = [(c * p - b * q) / determinant, (a * q - b * p) / determinant];
      x += stepX; y += stepY;
      if (Math.hypot(stepX, stepY) < 1e-4) return dot(this.vector(x, y), target) > 0 ? [x, y] : null;
    }
    return null;
  }
}
function sexagesimal(value, whole, decimals) {
  const unit = 10 ** decimals;
  let rest = Math.round(Math.abs(value) * 3600 * unit);
  const seconds = ((rest % (60 * unit)) / unit).toFixed(decimals).padStart(decimals + 3, "0");
  rest = Math.floor(rest / (60 * unit));
  return `${String(whole ? Math.floor(rest / 60) % whole : Math.floor(rest / 60)).padStart(2, "0")}:${String(rest % 60).padStart(2, "0")}:${seconds}`;
}
function skyText([ra, dec]) {
  return `${sexagesimal(ra / 15, 24, 2)} ${dec < 0 ? "−" : "+"}${sexagesimal(dec, 0, 1)}`;
}
// "10:00:12.3 +02:12:20", "150.051 2.205" (degrees), or "1024 2031" as pixels where no sign tells otherwise.
function readPlace(text, sky) {
  const words = text.trim().replace(/[−–]/g, "-").split(/[\s,]+/);
  if (words.length !== 2) return null;
  const number = (word) => {
    const parts = word.replace(/^[+-]/, "").split(":").map(Number);
    if (parts.length > 3 || parts.some((part) => !Number.isFinite(part))) return NaN;
    return (word.startsWith("-") ? -1 : 1) * parts.reduceRight((sum, part) => part + sum / 60, 0);
  };
  const [first, second] = words.map(number);
  if (!Number.isFinite(first) || !Number.isFinite(second)) return null;
  const isSky = sky && (text.includes(":") || /[+-]/.test(words[1][0]) || words.every((word) => word.includes(".")));
  if (!isSky) return text.includes(":") ? null : [first - 1, second - 1];
  return sky.pixel(words[0].includes(":") ? first * 15 : first, second);
}
