// The live log: a block a chunk, at most 400 of them; a hidden tab gives its stream back.
import { API, h, size } from "./common.js";

const BLOCKS = 400;
const NUMBERED = 20000; // lines; beyond these a log is text alone
const WHOLE = 1 << 20; // bytes; a log of at most these is shown from its first line

// ESC sequences are dropped, and what a carriage return overwrote.
const plain = (text) => text
  .replace(/\x1b\][^\x07\x1b]*(\x07|\x1b\\)?/g, "")
  .replace(/\x1b(\[[0-?]*[ -\/]*[@-~]|[@-_])?/g, "")
  .replace(/\r\n/g, "\n").replace(/[^\n]*\r/g, "")
  .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[\u202a-\u202e\u2066-\u2069]/g, "");

export function liveLog(path, bytes, told) {
  const box = h("pre.log", { tabindex: "0", "aria-label": "console.log" });
  const before = h("p.before");
  const follow = h("input", { type: "checkbox", id: "follow", checked: "" });
  let source = null, last = "", over = false, line = 1, numbers = true, open = null;
  follow.checked = !location.hash.startsWith("#L");

  const add = (text) => {
    const block = h("div.block");
    const lines = plain(text).split("\n");
    const whole = text.endsWith("\n");
    if (whole) lines.pop();
    if (open && !open.isConnected) open = null;
    lines.forEach((words, index) => {
      if (index === 0 && open) {
        open.append(words);
        return;
      }
      open = h("span.line", numbers ? { id: `L${line}` } : {});
      if (numbers) open.append(h("a.n", { href: `#L${line}`, "data-n": line, tabindex: "-1", "aria-hidden": "true" }));
      open.append(words);
      block.append(open);
      line += 1;
    });
    if (whole) open = null;
    numbers = numbers && line < NUMBERED;
    if (block.firstChild) box.append(block);
    while (box.children.length > BLOCKS) box.firstChild.remove();
    if (follow.checked) box.scrollTop = box.scrollHeight;
    else if (location.hash.startsWith("#L")) jump();
  };
  let jumped = "";
  const jump = () => {
    if (jumped === location.hash) return;
    const target = box.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`);
    if (!target) return;
    jumped = location.hash;
    box.querySelector(".target")?.classList.remove("target");
    target.classList.add("target");
    follow.checked = false;
    box.scrollTop = target.offsetTop - box.offsetTop - box.clientHeight / 3;
  };
  addEventListener("hashchange", jump);
  box.addEventListener("wheel", (event) => { if (event.deltaY < 0) follow.checked = false; }, { passive: true });

  const start = () => {
    if (over || document.hidden) return;
    const query = last ? `from=${last}` : `tail=${bytes <= WHOLE ? "all" : 65536}`;
    source = new EventSource(`${API}${path}/log/events?${query}`);
    source.addEventListener("start", (event) => {
      const { offset } = JSON.parse(event.data);
      box.replaceChildren();
      open = null;
      line = 1;
      numbers = offset === 0;
      before.replaceChildren(...(offset ? [`… ${size(offset)} before this: `, h("a", { href: `/api/v1${path}/log` }, "the whole log")] : []));
    });
    source.addEventListener("message", (event) => {
      last = event.lastEventId;
      add(JSON.parse(event.data));
    });
    source.addEventListener("step", () => told(null));
    source.addEventListener("end", (event) => {
      over = true;
      source.close();
      told(JSON.parse(event.data));
    });
  };
  const stop = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : !source && start()));
  addEventListener("pagehide", stop);
  start();

  const tools = h("p.tools", {}, h("label", { for: "follow" }, follow, " Follow"), h("a", { href: `/api/v1${path}/log` }, "Raw"));
  // A build that has ended may be run again: then there is more to come.
  const again = () => { if (over) { over = false; start(); } };
  return { element: h("section.console", {}, h("h2", {}, "Console", tools), before, box), again };
}
