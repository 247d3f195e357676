// What is red, and why; what runs; what waits, and for what; then all repositories.
import { ago, branch, every, get, h, link, mark, plural, show, size, span, state, strip, took } from "./common.js";

let wanted = ""; // what the filter box holds

export function overview() {
  let seen = null;
  every(5, async () => {
    seen = (await get("/overview", true)) ?? seen;
    if (seen) draw(seen);
  });
}

export function health(poller) {
  const troubles = Object.entries(poller.trouble).map(([name, words]) => `${name}: ${words}`);
  const bad = [
    !poller.running && "No poller runs: nothing is noticed, nothing starts",
    poller.paused && "Paused: pushes are recorded, nothing starts",
    poller.held && `Nothing starts: ${poller.held}`,
    poller.statuses && `Commit statuses are refused: ${poller.statuses}`,
    poller.configuration,
    ...troubles.slice(0, 3),
    troubles.length > 3 && `${troubles.length - 3} repositories more are in trouble`,
  ].filter(Boolean);
  const facts = [
    poller.running && "Poller runs",
    poller.requests_remaining !== null && `${poller.requests_remaining} requests left`,
    poller.disk_free_bytes !== null && `${size(poller.disk_free_bytes)} free`,
  ].filter(Boolean);
  const line = document.getElementById("health");
  line.className = bad.length ? "ill" : "well";
  line.replaceChildren(mark(bad.length ? "error" : "success"), h("span", {}, bad.length ? bad.join(" · ") : facts.join(" · ")));
}

function draw(seen) {
  const { counts } = seen;
  health(seen.poller);
  document.title = counts.red ? `${counts.red} red · Builds` : counts.running ? `${counts.running} running · Builds` : counts.waiting ? `${counts.waiting} waiting · Builds` : "Builds";
  const focus = document.activeElement?.id === "filter" ? document.activeElement.selectionStart : null;
  const moving = [...seen.running.map(running), ...seen.waiting.map(waiting)];
  show(
    h("ul.numbers", {},
      number("red", counts.red, "red", "failure"),
      number("running", counts.running, "running", "running"),
      number("waiting", counts.waiting, "waiting", "queued"),
      number("green", counts.green, "green", "success")),
    seen.red.length ? h("section", {}, h("h2", {}, "Red now"), h("ul.cards", {}, seen.red.map(red))) : null,
    moving.length ? h("section", {}, h("h2", {}, "Running and waiting"), h("ul.rows", {}, moving)) : null,
    first(seen.repositories),
    repositories(seen.repositories),
  );
  if (focus !== null) {
    const box = document.getElementById("filter");
    box.focus();
    box.setSelectionRange(focus, focus);
  }
}

const number = (name, count, word, status) =>
  h(`li.number.${count ? `some-${name}` : "none"}`, {}, h("b", {}, String(count)), h("span", {}, mark(status), word));

const where = (build) => h("a.where", { href: link(build) }, h("strong", {}, build.repository), h("span.ref", {}, branch(build.ref)));

function red({ build, since, strip: bars }) {
  const kind = build.status === "error" ? "error" : "failure";
  const why = kind === "error" ? "trouble of ours" : "failed";
  return h(`li.card.is-${kind}`, {},
    h(".head", {}, mark(kind), where(build),
      h("span.step", {}, build.failed_step ?? "", " ", h("i", {}, why)),
      h("span.since", { title: since }, since ? `red for ${span(since)}` : ""),
      strip(build.repository, bars)),
    h("p.message", {}, build.message ?? "no word of why"),
    build.failing.length ? h("pre.failing", {}, build.failing.map((line) => line.text).join("\n")) : null,
    h("p.by", {}, [build.commit?.slice(0, 7), build.subject, build.author].filter(Boolean).join(" · "), " · ", ago(build.finished_at)));
}

function running({ build }) {
  const begun = build.started_at ? (Date.now() - Date.parse(build.started_at)) / 1000 : 0;
  const usual = build.usual_seconds;
  const bar = h("progress", usual ? { max: usual, value: Math.min(begun, usual), "aria-label": "against the usual time" } : { "aria-label": "for the first time" });
  return h("li.row", {}, mark("running"), where(build), h("span.step", {}, build.step ?? "begins"),
    bar, h("span.time", {}, `${took(Math.round(begun))}${usual ? ` of about ${took(Math.round(usual))}` : ""}`));
}

const waiting = ({ build, why }) =>
  h("li.row", {}, mark(build.status), where(build), h("span.why", {}, why), h("span.time", {}, build.staged_at ? `for ${span(build.staged_at)}` : ""));

// What to do where nothing was built yet.
function first(all) {
  if (!all.length || all.some((one) => one.id)) return null;
  return h("section", {}, h("h2", {}, "No build yet"), h("p.notice", {}, "The next push of a branch is built. To build now: ", h("code", {}, `docker-build-server trigger ${all[0].name}`)));
}

function repositories(all) {
  const rows = all.map((one) => {
    const href = one.id ? `/builds/${one.name}/${one.id}` : null;
    const more = [
      one.paused && "paused",
      !one.configured && "not configured any more",
      one.red > 1 && `${one.red} branches red`,
      one.trouble,
    ].filter(Boolean).join(" · ");
    return h("tr", { "data-name": one.name.toLowerCase() },
      h("td.state", {}, state(one.status)),
      h("td.name", {}, href ? h("a", { href }, one.name) : one.name, h("span.ref", {}, branch(one.ref)), more ? h("span.more", {}, more) : null),
      h("td.version", {}, one.version ?? ""),
      h("td.time", {}, took(one.seconds)),
      h("td.time", {}, ago(one.finished_at)),
      h("td.strip-cell", {}, strip(one.name, one.strip)));
  });
  const body = h("tbody", {}, rows);
  const none = h("p.notice", { hidden: "" }, "No repository has that in its name.");
  const filter = () => {
    let some = false;
    for (const row of rows) some = !(row.hidden = !row.dataset.name.includes(wanted.toLowerCase())) || some;
    none.hidden = some || !rows.length;
  };
  const box = h("input", { id: "filter", type: "search", placeholder: "Filter", "aria-label": "Filter repositories", value: wanted, input: (event) => { wanted = event.target.value; filter(); } });
  filter();
  if (!all.length) return h("section.first", {}, h("h2", {}, "No repository yet"), h("p", {}, "Name one in config.json, and the poller watches it: ", h("code", {}, '"repositories": {"OWNER/NAME": {}}')));
  return h("section", {},
    h("h2", {}, plural(all.length, "repositor").replace(/r$/, "ry").replace(/rs$/, "ries"), all.length > 5 ? box : null),
    h("table", {}, h("thead", {}, h("tr", {}, ["State", "Repository", "Version", "Took", "When", "Last dozen"].map((word) => h("th", { scope: "col" }, word)))), body), none);
}
