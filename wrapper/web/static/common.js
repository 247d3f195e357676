// What all views share: elements, answers of the API, words for times and states.

export const main = document.getElementById("main");
// In full, since a page whose address bears a password may ask for nothing relative to it.
export const API = `${location.origin}/api/v1`;
const SVG = "http://www.w3.org/2000/svg";

// An element; attributes that are functions listen. Text is text, wherever it comes from.
export function h(name, about = {}, ...inside) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(about)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...inside.flat(Infinity).filter((part) => part !== null && part !== undefined && part !== false));
  return element;
}

export class Refused extends Error {}

// The API's JSON; null where it is known already (etag). Raises Refused, in its words.
const etags = new Map();
export async function get(path, known = false) {
  const headers = known && etags.has(path) ? { "If-None-Match": etags.get(path) } : {};
  const answer = await fetch(`${API}${path}`, { headers, cache: "no-store" });
  if (answer.status === 304) return null;
  const document = await answer.json();
  if (!answer.ok) throw new Refused(document.detail);
  if (answer.headers.has("ETag")) etags.set(path, answer.headers.get("ETag"));
  return document;
}

// Asks for something, and waits for what becomes of it: {message, build?}
export async function ask(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${API}${path}`, { method, headers, body: JSON.stringify(body ?? {}) });
  const document = await answer.json();
  if (!answer.ok) throw new Refused(document.detail);
  if (!document.request) return document;
  for (;;) {
    const later = await fetch(location.origin + answer.headers.get("Location"), { redirect: "follow" });
    const found = await later.json();
    if (!later.ok) throw new Refused(found.detail);
    if (later.redirected) return { build: found.summary };
    if (later.status === 200) return found;
    await new Promise((go) => setTimeout(go, 300));
  }
}

// Calls look() every some seconds, as long as somebody can see it.
export function every(seconds, look) {
  let timer;
  const run = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      await look();
      document.body.classList.remove("away");
    } catch (error) {
      document.body.classList.add("away");
      if (!main.querySelector(":scope > :not(noscript)") || error instanceof Refused) show(h("p.notice", {}, error.message));
    }
    timer = setTimeout(run, seconds * 1000);
  };
  document.addEventListener("visibilitychange", run);
  return run();
}

export function show(...parts) {
  main.replaceChildren(...parts.filter(Boolean));
}

// Shape and word say a state, colour only helps.
const SHAPES = {
  success: "M4 8.5l2.7 2.7L12 5.5",
  failure: "M5 5l6 6M11 5l-6 6",
  error: "M8 4.5v4.2M8 11.2v.1",
  cancelled: "M4.5 11.5l7-7",
  superseded: "M5 8h6M8.5 5.5L11 8l-2.5 2.5",
  skipped: "M5 8h6",
  queued: "M8 4.8V8l2.2 1.6",
  interrupted: "M6.5 5.5v5M9.5 5.5v5",
  staged: "M5 8h.1M8 8h.1M11 8h.1",
  running: "M8 2.5a5.5 5.5 0 0 1 5.5 5.5",
};
export function mark(status) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `mark is-${status}`);
  svg.setAttribute("aria-hidden", "true");
  const ground = document.createElementNS(SVG, status === "error" ? "path" : "circle");
  if (status === "error") ground.setAttribute("d", "M8 1.2 15.2 14H.8z");
  else for (const [key, value] of [["cx", 8], ["cy", 8], ["r", status === "running" ? 5.5 : 7]]) ground.setAttribute(key, value);
  const sign = document.createElementNS(SVG, "path");
  sign.setAttribute("d", SHAPES[status] ?? "M8 8h.1");
  sign.setAttribute("class", "sign");
  svg.append(ground, sign);
  return svg;
}
export const state = (status) => h("span.state", {}, status ? mark(status) : h("span.dot"), h("span", {}, status ?? "no builds"));

// The last dozen builds, the newest at the right.
export function strip(name, builds) {
  const bars = [...builds].reverse().map((one) =>
    h(`a.bar.is-${one.status}`, { href: `/builds/${name}/${one.id}`, title: `${one.status}, ${one.id}`, "aria-label": one.status }));
  return h("span.strip", {}, bars);
}

export const branch = (ref) => (ref ?? "").replace(/^refs\/(heads|tags)\//, "");
export const link = (build) => `/builds/${build.repository}/${build.id}`;

export function took(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
export function span(time) {
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}
export const ago = (time) => time ? h("time", { datetime: time, title: time }, `${span(time)} ago`) : "";
export const plural = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
export const size = (bytes) => bytes > 1 << 30 ? `${(bytes / (1 << 30)).toFixed(0)} GiB` : bytes > 1 << 20 ? `${(bytes / (1 << 20)).toFixed(1)} MiB` : `${Math.ceil(bytes / 1024)} KiB`;
