/* The playground's state in an address, and back. A link comes from anybody, so only known names with known values are
   taken from it; the rest is listed, for the page to say so. It knows no page, and changes nothing. */
"use strict";

const Link = (() => {
  const G = typeof module !== "undefined" ? require("./game.js") : Game;

  const oneOf = (...values) => ({ values });
  const between = (from, to) => ({ from, to });
  const whole = (from, to) => ({ from, to, whole: true });

  /* What each setting may be: the limits of the page's controls. A map, because an object has names of its own. */
  const KNOWN = new Map(Object.entries({
    data: oneOf("ring", "grid", "spiral", "point", "drawn"),
    game: oneOf(...Object.keys(G.GAMES)),
    generatorRate: between(1e-5, 10 ** -1.5),
    discriminatorRate: between(1e-5, 10 ** -1.5),
    discriminatorSteps: whole(1, 10),
    unrolledSteps: whole(1, 15),
    clipLimit: between(10 ** -2.5, 1),
    penaltyWeight: between(0.01, 10 ** 1.5),
    activation: oneOf("relu", "tanh"),
    learning: oneOf("both", "discriminator", "generator"),
    headStart: whole(0, 100),
    seed: whole(0, 99999),
  }));
  const MOST_DRAWN = 400; // numbers, two a point
  const NUMBER = /^(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;

  const rounded = (value) => (Number.isInteger(value) ? value : Number(value.toPrecision(4))); // as a link writes it

  /* What is allowed, in words. */
  function allowed(name) {
    if (name === "drawn") return `at most ${MOST_DRAWN / 2} points, as the page writes them`;
    const known = KNOWN.get(name);
    if (!known) return "no such setting";
    if (known.values) return `choose ${known.values.join(", ")}`;
    return `${known.whole ? "a whole number " : ""}from ${rounded(known.from)} to ${rounded(known.to)}`;
  }

  /* The setting that the text means, or undefined. */
  function understood(name, text) {
    if (name === "drawn") return unpack(text);
    const known = KNOWN.get(name);
    if (!known) return undefined;
    if (known.values) return known.values.includes(text) ? text : undefined;
    const value = Number(text), low = Math.min(known.from, rounded(known.from)), high = Math.max(known.to, rounded(known.to));
    if (!NUMBER.test(text) || value < low || value > high) return undefined; // a link's own rounding is no fault
    return !known.whole || Number.isInteger(value) ? value : undefined;
  }

  /* One byte a coordinate is finer than a pixel, and a link with 200 points stays below 600 characters. */
  const pack = (drawn) => btoa(String.fromCharCode(...drawn.map((v) => Math.round(((v / G.PLANE + 1) / 2) * 255))))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

  function unpack(text) {
    if (!/^[\w-]+$/.test(text) || text.length % 4 === 1) return undefined;
    const bytes = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    if (bytes.length % 2 || bytes.length > MOST_DRAWN) return undefined;
    return [...bytes].map((letter) => (2 * letter.charCodeAt(0) / 255 - 1) * G.PLANE);
  }

  /* From "#name=value&...": `settings` with what is known, and `ignored`, one {text, allowed} for everything else. An
     address without "=" leads to a place on the page, and says nothing about the game. */
  function read(fragment) {
    const settings = {}, ignored = [];
    if (!fragment.includes("=")) return { settings, ignored };
    for (const [name, text] of new URLSearchParams(fragment.replace(/^#/, ""))) {
      const value = understood(name, text);
      if (value === undefined) ignored.push({ text: `${name}=${text}`, allowed: allowed(name) });
      else if (Object.keys(settings).includes(name)) ignored.push({ text: `${name}=${text}`, allowed: "the first one counts" });
      else settings[name] = value;
    }
    return { settings, ignored };
  }

  function write(settings) {
    const words = [...KNOWN.keys()].map((name) =>
      `${name}=${typeof settings[name] === "number" ? rounded(settings[name]) : settings[name]}`);
    if (settings.drawn.length) words.push(`drawn=${pack(settings.drawn)}`);
    return `#${words.join("&")}`;
  }

  /* One line about what was ignored; nothing if nothing was. A link may be long, and hold signs that hide others. */
  function complaint(ignored) {
    if (!ignored.length) return "";
    const cut = (text) => (text.length > 40 ? `${text.slice(0, 40)}…` : text).replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, "�");
    const named = ignored.slice(0, 3).map(({ text, allowed }) => `“${cut(text)}” (${allowed})`).join(", ");
    const more = ignored.length > 3 ? ` and ${ignored.length - 3} more` : "";
    return `Ignored in the link: ${named}${more}.`;
  }

  return { KNOWN, MOST_DRAWN, complaint, read, rounded, write };
})();

if (typeof module !== "undefined") module.exports = Link;
