// One build: its steps, why it is red, its console as it grows, what can be done with it.
import { Refused, ago, ask, branch, every, get, h, mark, show, state, took } from "./common.js";
import { health } from "./overview.js";
import { liveLog } from "./log.js";

export async function build(name, id) {
  let log = null, path = null, soon = 0, refresh = () => {};
  const top = h("div"), bottom = h("div"), said = h("p.said", { role: "status" });
  await every(5, refresh = async () => {
    const found = await get(path ?? `/builds/${name}/${id}`, true);
    if (!found) return;
    path ??= `/builds/${name}/${found.summary.id}`;
    if (!log) {
      log = liveLog(path, found.log, () => {
        clearTimeout(soon);
        soon = setTimeout(refresh, 300);
      });
      show(top, log.element, bottom);
    }
    if (!found.result || found.summary.status === "running") log.again();
    health(found.poller);
    document.title = `${found.summary.status} · ${name} ${branch(found.summary.ref)}`;
    top.replaceChildren(title(found), chips(found, path), reason(found), actions(found, path, said, refresh), said);
    if (!bottom.querySelector("details[open]")) bottom.replaceChildren(facts(found, path));
  });
}

function title({ summary, build }) {
  const url = (build?.url ?? "").match(/^https?:/) ? `${build.url.replace(/\.git$/, "")}/commit/${summary.commit}` : null;
  const commit = (summary.commit ?? "").slice(0, 12);
  return h("div.title", {},
    h("h1", {}, state(summary.status), h("span", {}, summary.repository), h("span.ref", {}, branch(summary.ref)),
      url ? h("a.commit", { href: url, rel: "noreferrer" }, commit) : h("span.commit", {}, commit)),
    h("p.by", {}, [summary.subject, summary.author].filter(Boolean).join(" · "), summary.subject ? " · " : "",
      summary.version ? h("b", {}, summary.version) : "", summary.version ? " · " : "",
      summary.status === "running" ? "begun " : summary.seconds !== null ? `${took(summary.seconds)} · ` : "", ago(summary.finished_at ?? summary.started_at ?? summary.staged_at)));
}

function chips({ steps, order, runs, result, summary }) {
  const known = new Map(steps.map((step) => [step.name, step]));
  return h("ol.chips", {}, order.map((name) => {
    const step = known.get(name), run = runs[name];
    let status = step?.status ?? null;
    if (run && (!step || run.finished_at > step.started_at)) status = run.exit_code === 0 ? "success" : run.exit_code === 1 ? "failure" : "error";
    if (status === "running" && summary.status !== "running") status = "interrupted";
    const seconds = step?.seconds ?? (run ? (Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000 : null);
    const attempts = step?.attempts > 1 ? `, ${step.attempts} attempts` : "";
    const words = status ?? (result ? "not run" : "to come");
    return h(`li.chip.is-${status ?? "none"}`, { title: `${name}: ${words}${attempts}` }, status ? mark(status) : h("span.dot"), h("span", {}, name), h("small", {}, seconds === null ? words : took(seconds)));
  }));
}

function reason({ summary, result, runs }) {
  const lines = summary.failing ?? [];
  if (!result) {
    const last = Object.entries(runs).filter(([, run]) => run.finished_at).sort(([, one], [, other]) => (one.finished_at < other.finished_at ? 1 : -1))[0];
    if (!last || !last[1].exit_code) return "";
    const status = last[1].exit_code === 1 ? "failure" : "error";
    return h(`div.card.is-${status}`, {}, h(".head", {}, mark(status), h("strong", {}, last[0])), h("p.message", {}, last[1].message ?? `exit code ${last[1].exit_code}`));
  }
  if (!summary.message && !lines.length) return "";
  const kind = summary.status === "error" ? "error" : summary.status === "failure" ? "failure" : "other";
  return h(`div.card.is-${kind}`, {},
    h(".head", {}, mark(summary.status), h("strong", {}, summary.failed_step ?? summary.status), kind === "error" ? h("span.step", {}, "trouble of ours, not the repository's") : null),
    h("p.message", {}, summary.message ?? ""),
    lines.length ? h("ol.failing", {}, lines.map((line) => h("li", {}, h("a", { href: `#L${line.line}` }, `${line.line}`), h("code", {}, line.text)))) : null);
}

function actions({ summary, rights, order, build, result }, path, said, refresh) {
  const may = (right) => rights.includes(right);
  const button = (words, method, where, body) => h("button", {
    type: "button",
    click: async (event) => {
      event.target.disabled = true;
      said.replaceChildren(`${words} …`);
      try {
        const answer = await ask(method, where, body);
        said.replaceChildren(answer.message ?? `${words}: begun`);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        said.replaceChildren(error.message);
      }
      event.target.disabled = false;
      refresh();
    },
  }, words);
  const found = [];
  const manual = build?.source === "manual";
  if (may("builds") && !manual) {
    if (result) found.push(button("Build again", "POST", `${path}/rerun`));
    if (result && summary.failed_step && summary.failed_step !== order[0]) found.push(button(`Go on from ${summary.failed_step}`, "POST", `${path}/rerun`, { from: summary.failed_step }));
    if (!result) found.push(button("Cancel", "POST", `${path}/cancel`));
  }
  if (may("steps") && manual && summary.status !== "running") found.push(...order.map((step) => button(`Run ${step}`, "POST", `${path}/steps/${step}`)));
  if (may("publish") && summary.version && (summary.pushed ?? []).length) found.push(promote(summary, button));
  return found.length ? h("div.actions", {}, found) : "";
}

function promote(summary, button) {
  const name = h("input", { placeholder: "production", "aria-label": "Name for this version", size: 12 });
  const go = button("Promote", "POST", "/promote");
  const form = h("span.promote", {}, name, h("button", {
    type: "button",
    click: () => {
      if (!name.value) return name.focus();
      form.replaceChild(button(`Promote ${summary.version} to ${name.value}`, "POST", "/promote", { repository: summary.repository, version: summary.version, name: name.value }), form.lastChild);
      form.lastChild.click();
    },
  }, "Promote"));
  return go && form;
}

function facts({ summary, build, result, files }, path) {
  const where = `builds/${summary.repository}/${summary.id}`;
  const rows = [
    ["Build", summary.id], ["Commit", summary.commit], ["Ref", summary.ref], ["Source", summary.source],
    ["Staged", summary.staged_at], ["Started", summary.started_at], ["Finished", summary.finished_at],
    ["Image", result?.image], ["Remote", build?.url],
  ].filter(([, value]) => value);
  const story = h("details", {
    toggle: async (event) => {
      if (!event.target.open || event.target.children.length > 1) return;
      const answer = await get(`/why?of=${encodeURIComponent(summary.id)}`).catch((error) => ({ lines: [], error }));
      const lines = answer.lines ?? answer.story ?? [];
      event.target.append(answer.error ? h("p", {}, answer.error.message) : h("ol.story", {}, lines.map((line) => h("li", {}, h("time", {}, line.time), h("b", {}, line.what), ` ${line.why ?? ""}`))));
    },
  }, h("summary", {}, "The story: what was decided, and why"));
  const step = summary.failed_step ?? "unit-test";
  return h("div.facts", {},
    (summary.pushed ?? []).length ? h("section", {}, h("h2", {}, "Pushed"), h("ul.pushed", {}, summary.pushed.map((one) => h("li", {}, h("code", {}, one.split("@")[0]), h("small", {}, one.split("@")[1]))))) : "",
    h("section", {}, h("h2", {}, "Facts"), h("dl", {}, rows.map(([key, value]) => [h("dt", {}, key), h("dd", {}, value)])),
      h("p.files", {}, files.filter((name) => ["version", "tags", "labels", "image", "tested", "pushed"].includes(name)).map((name) => h("a", { href: `/api/v1${path}/files/${name}` }, name)))),
    story,
    h("details", {}, h("summary", {}, "The same by hand, on the build host"), h("pre", {}, `make ${step} BUILD=${where}        # this step alone\nFROM=${step} scripts/pipeline.sh ${where}   # and all behind it`)));
}
